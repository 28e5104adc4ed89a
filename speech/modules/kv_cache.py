"""What a causal transformer remembers while it writes token after token: keys and values, in tensors of a fixed size.

Sizes and addresses never change, so that the step of one token can be compiled (and captured in a CUDA graph) once. Every row has its own
write position: rows with prompts of different lengths lie side by side, and a row goes back by lowering its position, because what
lies at and behind the position is never attended to. Keys and values of the context (cross-attention) are computed once.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of every layer, [B, kv_heads, max_len, head_dim], and of the context, [B, kv_heads, M, head_dim].

    Args:
        layers, batch, kv_heads, max_len, head_dim: sizes.

    Attributes:
        stored: per layer both of them, [B, 2 kv_heads, max_len, head_dim], the keys first; `keys` and `values` are its halves.
        position: long [B], slot that the next token of each row is written to; the number of tokens remembered.
        reach: attention looks at the first `reach` slots only (a quicker eager step); None = all, which a compiled step wants.
        cross: per layer the keys and values of the context; empty until the first call with a context.
        cross_mask: bool [B, 1, 1, M], True = valid.
        cross_rotary: whether the context's keys have rotary positions.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, 2 * kv_heads, max_len, head_dim)
        self.stored = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(layers)]
        self.keys = [both[:, :kv_heads] for both in self.stored]
        self.values = [both[:, kv_heads:] for both in self.stored]
        self.position = torch.zeros(batch, dtype=torch.long, device=device)
        self.max_len = max_len
        self.reach: int | None = None
        self.cross: list[tuple[Tensor, Tensor]] = []
        self.cross_mask: Tensor | None = None
        self.cross_rotary = False

    @property
    def batch(self) -> int:
        return len(self.position)

    def slots(self, n_tokens: int) -> Tensor:
        """Slots of the next `n_tokens` tokens, long [B, n]."""
        return self.position[:, None] + torch.arange(n_tokens, device=self.position.device)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values [B, kv_heads, n, head_dim] at `slots` [B, n]; returns all of them, up to `reach`.

        Slots past the end are an error of the caller (`Transformer.forward` checks a `reach`, which costs no wait for the device).
        """
        index = slots[:, None, :, None].expand_as(keys)
        self.keys[layer].scatter_(2, index, keys.to(self.keys[layer].dtype))
        self.values[layer].scatter_(2, index, values.to(self.values[layer].dtype))
        stored = self.keys[layer], self.values[layer]
        return stored if self.reach is None else tuple(x[:, :, : self.reach] for x in stored)

    def mask(self, slots: Tensor) -> Tensor:
        """Which slots the tokens at `slots` [B, n] attend to: their own and those before; bool [B, 1, n, length]."""
        length = self.max_len if self.reach is None else min(self.reach, self.max_len)
        return (torch.arange(length, device=slots.device) <= slots[..., None])[:, None]

    def advance(self, n_tokens: int | Tensor) -> None:
        """Move every row's position on by `n_tokens`, a number or long [B]; negative numbers take tokens back."""
        self.position.add_(n_tokens)

    def rewind(self, position: Tensor) -> None:
        """Set the rows' positions to `position` [B]: what was written from there on is forgotten."""
        self.position.copy_(position)

    def reorder(self, rows: Tensor) -> None:
        """Row b becomes a copy of row `rows[b]` (long [B]), as beams need it; the context stays where it is."""
        for tensor in (*self.stored, self.position):
            tensor.copy_(tensor.index_select(0, rows))
