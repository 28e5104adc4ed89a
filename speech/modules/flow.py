"""Normalising flow with AdaLN-zero transformer blocks (HierSpeech++ "BiT-Flow"; sections 3.9 and 3.10).

The couplings shift one half of the channels by a function of the other half, without scaling, so the log-determinant is
zero. The transformer blocks inside work on [B, N, C].
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.kernels.prepacked import gelu_of
from speech.precision import multiplying_in_bf16


class SelfAttention(nn.Module):
    """Multi-head self-attention without positions, as in ViT: one fused projection for queries, keys and values."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels {channels} must be a multiple of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """x [B, N, C]; key_mask [B, N] bool, True = may be attended to, or None -> [B, N, C]."""
        q, k, v = (
            self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # each [B, heads, N, dim]
        keys = None if key_mask is None else key_mask[:, None, None]
        attend = _attend_in_products if _by_products(q) else F.scaled_dot_product_attention
        return self.proj(attend(q, k, v, keys).transpose(1, 2).flatten(2))


def _by_products(q: Tensor) -> bool:
    """Whether plain products are the faster attention: in bf16 on a CPU, where torch's fused one reaches a fifth of the peak."""
    return q.dtype == torch.bfloat16 and q.device.type == "cpu" and not torch.is_grad_enabled()


def _attend_in_products(q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None) -> Tensor:
    """q, k, v [B, heads, N, dim] bf16, keys [B, 1, 1, N] bool or None -> [B, heads, N, dim]."""
    rows, heads = len(q), q.shape[1]
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    bias = q.new_zeros(())
    if keys is not None:
        bias = torch.zeros_like(keys, dtype=q.dtype).masked_fill(~keys, -torch.inf)
        bias = bias.expand(-1, heads, -1, -1).flatten(0, 1)
    weights = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5).softmax(-1)
    return (weights @ v).unflatten(0, (rows, heads))


class ConvMLP(nn.Module):
    """Convolution over time to a wider space, GELU (tanh form), and a pointwise layer back."""

    def __init__(self, channels: int, hidden: int, kernel_size: int, dropout: float):
        super().__init__()
        self.fc1 = nn.Conv1d(channels, hidden, kernel_size, padding=kernel_size // 2)
        self.fc2 = nn.Conv1d(hidden, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C], mask [B, N, 1] -> [B, N, C], zero where the mask is False."""
        x = self.dropout(gelu_of(self.fc1, x.transpose(1, 2))) * mask.transpose(1, 2)
        return self.dropout(self.fc2(x).transpose(1, 2) * mask)


class AdaLNBlock(nn.Module):
    """Transformer block whose layer norms are shifted, scaled and gated by a code (DiT's AdaLN-zero)."""

    def __init__(self, channels: int, heads: int, kernel_size: int, mlp_ratio: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False, eps=1e-6)
        self.attn = SelfAttention(channels, heads)
        self.mlp = ConvMLP(channels, mlp_ratio * channels, kernel_size, dropout)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))

    def forward(self, x: Tensor, mask: Tensor, code: Tensor, official_padding: bool) -> Tensor:
        """x [B, N, C], mask [B, N, 1] bool, code [B, 1, C] -> [B, N, C]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(code).chunk(6, dim=-1)
        x = x * mask
        attended = (self.norm(x) * mask) * (1 + scale_a) + shift_a
        # The published code lets padded frames, which hold `shift_a`, be attended to.
        attended = self.attn(attended, None if official_padding else mask[..., 0])
        x = x + gate_a * attended * mask
        y = self.norm(x) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(y if official_padding else y * mask, mask)


class TransformerCoupling(nn.Module):
    """Shifts the second half of the channels by what transformer blocks make of the first half."""

    def __init__(
        self, channels: int, heads: int, n_blocks: int, kernel_size: int, mlp_ratio: int, dropout: float
    ):
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, channels, 1)
        self.blocks = nn.ModuleList(
            AdaLNBlock(channels, heads, kernel_size, mlp_ratio, dropout) for _ in range(n_blocks)
        )
        self.post = nn.Conv1d(channels, channels // 2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # Zero gates and a zero shift: every coupling starts out as the identity.
        for module in [self.post] + [block.modulation[1] for block in self.blocks]:
            nn.init.zeros_(module.weight)

    def shift(self, x: Tensor, mask: Tensor, code: Tensor, official_padding: bool) -> Tensor:
        """x [B, C/2, N] (the half that stays), mask [B, 1, N] bool, code [B, 1, C] -> shift [B, C/2, N]."""
        h = (self.pre(x) * mask).transpose(1, 2)  # [B, N, C]
        for block in self.blocks:
            h = block(h, mask.transpose(1, 2), code, official_padding)
        return self.post(h.transpose(1, 2)) * mask


@dataclass
class FlowConfig:
    """Sizes of a `TransformerFlow`; with `n_flows` 0 it is the identity."""

    n_flows: int = 4
    n_blocks: int = 3
    heads: int = 2
    kernel_size: int = 5
    mlp_ratio: int = 4
    dropout: float = 0.1


class TransformerFlow(nn.Module):
    """Couplings with channel flips in between, conditioned on a style.

    Args:
        channels: even number of channels of the flow and of its transformer blocks.
        style_channels: size of the style vector.
        heads: attention heads.
        n_flows: number of couplings; 0 makes the flow the identity.
        n_blocks: transformer blocks per coupling.
        kernel_size, mlp_ratio, dropout: of the convolutional MLP in each block.
        official_padding: let padded frames take part in attention and in the MLP's convolution, as the published code
            does. By default a row of a padded batch gives the same values as alone.
    """

    def __init__(
        self,
        channels: int,
        style_channels: int,
        heads: int,
        n_flows: int = 4,
        n_blocks: int = 3,
        kernel_size: int = 5,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        official_padding: bool = False,
    ):
        super().__init__()
        if channels % 2:
            raise ValueError(f"a coupling halves its channels, so they must be even, got {channels}")
        self.official_padding = official_padding
        self.bf16 = False  # of the products in `inverse`; set by speech/fast.py
        self.couplings = nn.ModuleList(
            TransformerCoupling(channels, heads, n_blocks, kernel_size, mlp_ratio, dropout)
            for _ in range(n_flows)
        )
        if n_flows:
            self.style_proj = nn.Sequential(
                nn.Linear(style_channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, channels)
            )

    def forward(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Posterior latent to prior latent.

        Args:
            x: [B, C, N].
            mask: [B, 1, N] bool, True = valid.
            style: [B, style_channels].

        Returns:
            [B, C, N], zero where the mask is False.
        """
        if not self.couplings:
            return x * mask
        x, code, mask = x * mask, self.style_proj(style)[:, None], mask.bool()
        for coupling in self.couplings:
            kept, moved = x.chunk(2, dim=1)
            moved = (moved + coupling.shift(kept, mask, code, self.official_padding)) * mask
            x = torch.cat((kept, moved), dim=1).flip(1)
        return x

    def inverse(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Prior latent to posterior latent: undoes `forward`, same shapes."""
        if not self.couplings:
            return x * mask
        with multiplying_in_bf16(self.bf16, x):
            x, code, mask = x * mask, self.style_proj(style)[:, None], mask.bool()
            for coupling in reversed(self.couplings):
                kept, moved = x.flip(1).chunk(2, dim=1)
                moved = (moved - coupling.shift(kept, mask, code, self.official_padding)) * mask
                x = torch.cat((kept, moved), dim=1)
        return x
