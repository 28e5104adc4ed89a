"""The step of one token of a causal transformer, in a third of the operations that `Transformer.forward` takes for it.

While a token model writes, every step is one token a row, and on a CPU most of its time goes into starting operations, not into arithmetic. Here
what does not change from step to step is made once (rotary factors of every place, transposed weights), keys and values of a place are written in
one copy, attention needs no mask because all rows are at the same place, and residuals are added by the matrix product itself.

    step = OneToken(transformer, cache, filled)     # after the prompt went through `transformer(..., cache=cache)`
    hidden = step(x)                                # [B, C] -> [B, C], as often as the cache has places

Rows at different places (prompts of different lengths) and compiled steps go through `Transformer.forward`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from speech.modules.kv_cache import KVCache
from speech.modules.transformer import CrossAttention, Layer, RMSNorm, Transformer, rotary


class OneToken:
    """See this file's docstring.

    Args:
        transformer: causal, in eval mode; its weights are used as they are, so that they must not change while this lives.
        cache: of the transformer, with the context's keys and values where there is a context.
        filled: places of the cache that all rows have filled. `cache.position` is not looked at and not moved on.
        positions: of every place [max_len]; None = 0, 1, 2, ...

    Raises:
        ValueError: a transformer that is not causal or in training, or one with cross-attention and no context.
    """

    def __init__(
        self, transformer: Transformer, cache: KVCache, filled: int, positions: Tensor | None = None
    ) -> None:
        config = transformer.config
        if not config.causal or transformer.training:
            raise ValueError("steps of one token: expected a causal transformer in eval mode")
        if config.cross_width is not None and not cache.cross:
            raise ValueError("this transformer has cross-attention, expected a cache with a context")
        self.cache, self.filled = cache, filled
        self.heads, self.groups, self.dim = config.heads, config.groups, config.head_dim
        weight = transformer.layers[0].attention.to_qkv.weight
        self.full_precision = weight.dtype == torch.float32
        self.eps = torch.full((1, 1), transformer.norm.eps, device=weight.device)
        self.layers = [self._parts(layer) for layer in transformer.layers]
        self.norm = transformer.norm
        if positions is None:
            positions = torch.arange(cache.max_len, device=weight.device)
        cos, sin = (x[0, 0] for x in rotary(positions, self.dim))  # [L, dim / 2]
        cos, sin = torch.cat([cos, cos], 1)[:, None], torch.cat([-sin, sin], 1)[:, None]
        self.angles = None
        if config.rope:  # queries and keys turn, values stay
            shape = (len(cos), self.groups, self.dim)
            turned = (-1, self.heads + self.groups, -1)
            self.angles = (
                torch.cat([cos.expand(*turned), cos.new_ones(shape)], 1),
                torch.cat([sin.expand(*turned), sin.new_zeros(shape)], 1),
            )
        self.cross_angles = (cos, sin) if cache.cross_rotary else None
        # a mask that hides nothing is none
        mask = cache.cross_mask
        self.cross_mask = None if mask is None or bool(mask.all()) else mask

    def __call__(self, x: Tensor) -> Tensor:
        """Take in the token of every row, x [B, C]; returns [B, C] behind the last norm.

        Raises:
            ValueError: the cache is full.
        """
        place, cache, heads, groups = self.filled, self.cache, self.heads, self.groups
        if place >= cache.max_len:
            raise ValueError(f"{place + 1} tokens do not fit the cache of {cache.max_len}")
        batch, dim = len(x), self.dim
        rows = (batch, groups, heads // groups, dim)  # queries that share a key lie in the rows of one head
        for number, (norm, qkv_weight, out, cross, ff_norm, ff_in, ff_out) in enumerate(self.layers):
            qkv = F.linear(self._normed(x, norm), qkv_weight).view(batch, heads + 2 * groups, dim)
            if self.angles is not None:
                qkv = self._turned(qkv, self.angles, place)
            stored = cache.stored[number]
            stored[:, :, place] = qkv[:, heads:]
            keys, values = stored[:, :groups, : place + 1], stored[:, groups:, : place + 1]
            heard = F.scaled_dot_product_attention(qkv[:, :heads].reshape(rows), keys, values)
            x = torch.addmm(x, heard.reshape(batch, -1), out)
            if cross is not None:
                norm, q_weight, out = cross
                q = F.linear(self._normed(x, norm), q_weight).view(batch, heads, dim)
                if self.cross_angles is not None:
                    q = self._turned(q, self.cross_angles, place)
                keys, values = cache.cross[number]
                heard = F.scaled_dot_product_attention(q.reshape(rows), keys, values, self.cross_mask)
                x = torch.addmm(x, heard.reshape(batch, -1), out)
            value, gate = F.linear(self._normed(x, ff_norm), ff_in).chunk(2, -1)
            x = torch.addmm(x, value * F.gelu(gate), ff_out)
        self.filled += 1
        return self._normed(x, self.norm)

    def _parts(self, layer: Layer) -> tuple:
        cross = None if layer.cross is None else self._cross_parts(layer.cross_norm, layer.cross)
        return (
            layer.norm, layer.attention.to_qkv.weight, layer.attention.to_out.weight.t(), cross,
            layer.ff_norm, layer.ff_in.weight, layer.ff_out.weight.t(),
        )  # fmt: skip

    @staticmethod
    def _cross_parts(norm: RMSNorm, cross: CrossAttention) -> tuple:
        return norm, cross.to_q.weight, cross.to_out.weight.t()

    def _normed(self, x: Tensor, norm: RMSNorm) -> Tensor:
        if not self.full_precision:
            return norm(x)
        # the operation of torch is put together from seven small ones on a CPU
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.addcmul(self.eps, size, size, value=1 / x.shape[-1]).rsqrt_() * norm.weight

    def _turned(self, x: Tensor, angles: tuple[Tensor, Tensor], place: int) -> Tensor:
        cos, sin = angles
        half = torch.cat([x[..., self.dim // 2 :], x[..., : self.dim // 2]], -1)
        return torch.addcmul(x * cos[place], half, sin[place]).to(x.dtype)
