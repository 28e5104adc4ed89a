"""The transformer of the token models: pre-RMSNorm, rotary positions, grouped-query attention, GEGLU, no biases.

Sources: RMSNorm (Zhang & Sennrich 2019), rotary positions (Su et al. 2021), GEGLU (Shazeer 2020), grouped queries (Ainslie et al. 2023);
a learned null key and value in cross-attention, so that attention is defined where all context is masked, which classifier-free guidance
needs. Layout [B, N, C] inside, unlike the convolutional modules. Masks are bool, True = valid.

Positions are numbers of any scale: a token at 25/s in front of codes at 50/s gets positions 0, 2, 4, ..., and cross-attention between
the two then knows where they meet in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.kv_cache import KVCache

ROPE_BASE = 10000.0


@dataclass
class TransformerConfig:
    """Sizes and kind of a stack of layers."""

    width: int = 256
    heads: int = 4
    kv_heads: int | None = None  # fewer key/value heads than heads (grouped queries); None = as many
    layers: int = 4
    ff_mult: float = (
        4.0  # the GEGLU's inner width is two thirds of it, so that weights are those of a plain feed-forward
    )
    dropout: float = 0.0
    causal: bool = False
    cross_width: int | None = None  # width of the context; None = no cross-attention
    rope: bool = True  # rotary positions in self-attention
    null_kv: bool = False  # a learned key and value that cross-attention always sees

    def __post_init__(self) -> None:
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        if min(self.width, self.heads, self.layers, kv_heads) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"expected a width that is a multiple of twice the heads, got {self.width} and {self.heads}"
            )
        if self.heads % kv_heads:
            raise ValueError(f"expected kv_heads that divide {self.heads} heads, got {kv_heads}")
        if self.null_kv and self.cross_width is None:
            raise ValueError("null_kv is of cross-attention, expected a cross_width with it")

    @property
    def groups(self) -> int:
        """Key/value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


@dataclass
class Surroundings:
    """What all layers of one forward pass share: who sees whom, and where everything stands."""

    mask: Tensor | None  # bool, broadcasts to [B, 1, N, keys]
    is_causal: bool  # `mask` is None and a token sees itself and what is before
    angles: tuple[Tensor, Tensor] | None  # cosine and sine of the positions, [B or 1, 1, N, head_dim / 2]
    cross_mask: Tensor | None  # [B, 1, 1 or N, M]
    cross_angles: tuple[Tensor, Tensor] | None  # of the queries in cross-attention
    slots: Tensor | None  # [B, N], with a cache


class RMSNorm(nn.Module):
    """x / root mean square of x * gain, in float32."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


def rotary(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [.., 1, N, head_dim / 2] of rotary positions [N] or [B, N] (numbers, not necessarily whole)."""
    half = head_dim // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / half
    angles = positions.float()[..., None] * ROPE_BASE**-exponents  # [.., N, half]
    if positions.dim() == 1:
        angles = angles[None]
    return angles.cos()[:, None], angles.sin()[:, None]


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (i, i + half) of `x` [B, H, N, head_dim] by their positions' angles."""
    cos, sin = angles
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool = False) -> Tensor:
    """Attention of q [B, H, N, D] over k, v [B, G, M, D], where G divides H; returns [B, N, H * D].

    Queries that share a key head become further rows of it, so that keys are never copied.
    """
    batch, heads, length, dim = q.shape
    groups = k.shape[1]
    if heads == groups:
        out = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), mask, is_causal=is_causal)
    else:
        if is_causal:
            mask = torch.ones(length, k.shape[2], dtype=torch.bool, device=q.device).tril()
        if mask is not None and mask.shape[-2] > 1:
            mask = mask.repeat(*(1,) * (mask.dim() - 2), heads // groups, 1)
        rows = q.reshape(batch, groups, -1, dim)
        out = F.scaled_dot_product_attention(rows, k.to(q.dtype), v.to(q.dtype), mask)
        out = out.reshape(batch, heads, length, dim)
    return out.transpose(1, 2).flatten(2)


def visible(mask: Tensor) -> Tensor:
    """`mask` where a query that may see nothing sees everything, so that a row of padding stays finite."""
    return mask | ~mask.any(-1, keepdim=True)


class SelfAttention(nn.Module):
    """Queries, keys and values of one sequence, from one projection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.groups, self.dim = config.heads, config.groups, config.head_dim
        self.to_qkv = nn.Linear(config.width, (self.heads + 2 * self.groups) * self.dim, bias=False)
        self.to_out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, around: Surroundings, layer: int, cache: KVCache | None) -> Tensor:
        qkv = self.to_qkv(x).unflatten(-1, (-1, self.dim)).transpose(1, 2)  # [B, H + 2G, N, D]
        qk, v = qkv.split([self.heads + self.groups, self.groups], 1)
        if around.angles is not None:
            qk = rotate(qk, around.angles)
        q, k = qk.split([self.heads, self.groups], 1)
        if cache is not None:
            k, v = cache.write(layer, around.slots, k, v)
        return self.to_out(attend(q, k, v, around.mask, around.is_causal))


class CrossAttention(nn.Module):
    """Queries of the sequence over keys and values of a context [B, M, cross_width]."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.groups, self.dim = config.heads, config.groups, config.head_dim
        self.norm = RMSNorm(config.cross_width)
        self.to_q = nn.Linear(config.width, config.width, bias=False)
        self.to_kv = nn.Linear(config.cross_width, 2 * self.groups * self.dim, bias=False)
        self.to_out = nn.Linear(config.width, config.width, bias=False)
        self.null = nn.Parameter(torch.randn(2, self.groups, 1, self.dim) * 0.02) if config.null_kv else None

    def keys_values(self, context: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys and values [B, G, M, D] (M + 1 with the null key in front) of a context."""
        kv = self.to_kv(self.norm(context)).unflatten(-1, (-1, self.dim)).transpose(1, 2)
        k, v = kv.chunk(2, 1)
        if positions is not None:
            k = rotate(k, rotary(positions, self.dim))
        if self.null is not None:
            null = self.null.to(k.dtype)[:, None].expand(-1, len(context), -1, -1, -1)
            k, v = torch.cat([null[0], k], 2), torch.cat([null[1], v], 2)
        return k, v

    def forward(self, x: Tensor, around: Surroundings, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        q = self.to_q(x).unflatten(-1, (-1, self.dim)).transpose(1, 2)
        if around.cross_angles is not None:
            q = rotate(q, around.cross_angles)
        return self.to_out(attend(q, *keys_values, around.cross_mask))


class Layer(nn.Module):
    """Self-attention, cross-attention where there is a context, and a GEGLU feed-forward, each added to its input."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        inner = int(config.width * config.ff_mult * 2 / 3)
        self.norm, self.attention = RMSNorm(config.width), SelfAttention(config)
        crossing = config.cross_width is not None
        self.cross_norm = RMSNorm(config.width) if crossing else None
        self.cross = CrossAttention(config) if crossing else None
        self.ff_norm = RMSNorm(config.width)
        self.ff_in = nn.Linear(config.width, 2 * inner, bias=False)
        self.ff_out = nn.Linear(inner, config.width, bias=False)
        # of what is added, not of the attention's weights: that would forbid the quick kernels
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        around: Surroundings,
        keys_values: tuple[Tensor, Tensor] | None,
        layer: int,
        cache: KVCache | None,
    ) -> Tensor:
        x = x + self.drop(self.attention(self.norm(x), around, layer, cache))
        if keys_values is not None:
            x = x + self.drop(self.cross(self.cross_norm(x), around, keys_values))
        value, gate = self.ff_in(self.ff_norm(x)).chunk(2, -1)
        return x + self.drop(self.ff_out(value * F.gelu(gate)))


class Transformer(nn.Module):
    """A stack of layers with a last RMSNorm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        for name, parameter in self.named_parameters():
            if name.endswith(("to_out.weight", "ff_out.weight")):  # deep stacks start near the identity
                parameter.data.mul_((2 * config.layers) ** -0.5)

    def make_cache(
        self,
        batch: int,
        max_len: int,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        context_positions: Tensor | None = None,
    ) -> KVCache:
        """An empty cache for `batch` rows of up to `max_len` tokens; with the context's keys and values where one is given."""
        config, weight = self.config, self.layers[0].attention.to_qkv.weight
        sizes = (config.layers, batch, config.groups, max_len, config.head_dim)
        cache = KVCache(*sizes, device=weight.device, dtype=weight.dtype)
        if context is not None:
            self._remember(cache, context, context_mask, context_positions)
        return cache

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        positions: Tensor | None = None,
        context_positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """One pass over all tokens, or with a `cache` over the tokens that follow those it holds.

        Args:
            x: [B, N, C].
            mask: bool [B, N], True = valid. A causal stack needs none for padding at the end (None is quicker). With a cache it says how
                many tokens each row has (padding at the end); the row's position then moves on by these only.
            context: [B, M, cross_width]; with a cache used by the first call, and not looked at later.
            context_mask: bool [B, M].
            positions: [N] or [B, N], of the tokens; None = 0, 1, 2, ... (in a cache, counted on).
            context_positions: [M] or [B, M]; given, cross-attention too has rotary positions (None = none).
            cache: made by `make_cache`.

        Returns:
            [B, N, C].
        """
        around, crossed = self.surroundings(
            x, mask, context, context_mask, positions, context_positions, cache
        )
        x = self.norm(self.run(x, around, crossed, cache=cache))
        if cache is not None:
            cache.advance(x.shape[1] if mask is None else mask.sum(1))
        return x

    def run(
        self,
        x: Tensor,
        around: Surroundings,
        crossed: list[tuple[Tensor, Tensor]],
        first: int = 0,
        last: int | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Layers `first` to `last` (exclusive) without the last norm and without moving the cache's position, for early exits.

        `around` and `crossed` are what `surroundings` returned.
        """
        for number in range(first, len(self.layers) if last is None else last):
            x = self.layers[number](x, around, crossed[number] if crossed else None, number, cache)
        return x

    def surroundings(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        positions: Tensor | None = None,
        context_positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Surroundings, list[tuple[Tensor, Tensor]]]:
        """What the layers share, and each layer's keys and values of the context; arguments as of `forward`."""
        config, length = self.config, x.shape[1]
        crossing = config.cross_width is not None
        if not crossing and context is not None:
            raise ValueError("a context was given to a transformer without cross-attention (cross_width)")
        if crossing and context is None and (cache is None or not cache.cross):
            raise ValueError("this transformer has cross-attention, expected a context")
        crossed, cross_mask = self._context(context, context_mask, context_positions, cache)
        slots, rotating = None, context_positions is not None
        if cache is not None:
            rotating = cache.cross_rotary
            if not config.causal:
                raise ValueError("a cache needs a causal transformer")
            if length > cache.max_len or (cache.reach or 0) > cache.max_len:
                raise ValueError(
                    f"{max(length, cache.reach or 0)} tokens do not fit the cache of {cache.max_len}"
                )
            slots = cache.slots(length)
            seen, is_causal = cache.mask(slots), False
        else:
            seen = None if mask is None else visible(mask[:, None, None, :])
            is_causal = config.causal and mask is None
            if config.causal and mask is not None:
                seen = seen & torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        if positions is None:
            positions = torch.arange(length, device=x.device) if slots is None else slots
        angles = rotary(positions, config.head_dim)
        around = Surroundings(
            mask=seen,
            is_causal=is_causal,
            angles=angles if config.rope else None,
            cross_mask=cross_mask,
            cross_angles=angles if rotating else None,
            slots=slots,
        )
        return around, crossed

    def _context(self, context, context_mask, positions, cache):
        if self.config.cross_width is None:
            return [], None
        if cache is None:
            return self._keys_values(context, positions), self._cross_mask(context, context_mask)
        if not cache.cross:
            self._remember(cache, context, context_mask, positions)
        return cache.cross, cache.cross_mask

    def _remember(self, cache: KVCache, context, context_mask, positions) -> None:
        cache.cross = self._keys_values(context, positions)
        cache.cross_mask = self._cross_mask(context, context_mask)
        cache.cross_rotary = positions is not None

    def _keys_values(self, context: Tensor, positions: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        return [layer.cross.keys_values(context, positions) for layer in self.layers]

    def _cross_mask(self, context: Tensor, mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        if self.config.null_kv:
            mask = F.pad(mask, (1, 0), value=True)
        return visible(mask[:, None, None, :])
