"""ConvNeXt blocks in one dimension, optionally modulated by a style vector: the body of the `lite` models.

Source: Liu et al., "A ConvNet for the 2020s"; used for speech by Vocos (Siuzdak 2023). The style modulation is the
adaptive layer normalisation of HierSpeech++'s flows (section 3.9 of the hand-over) without its attention.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, (style-modulated) layer norm, two-layer perceptron, scaled residual.

    Args:
        channels: width C.
        expansion: width of the perceptron in multiples of C.
        kernel_size: taps of the depthwise convolution (odd).
        style_channels: size of the style vector, 0 for none.
        residual_scale: initial weight of the block's output.
    """

    def __init__(
        self,
        channels: int,
        expansion: float = 3.0,
        kernel_size: int = 7,
        style_channels: int = 0,
        residual_scale: float = 0.2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.depthwise = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, elementwise_affine=style_channels == 0)
        self.modulation = nn.Linear(style_channels, 2 * channels) if style_channels else None
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.full((channels,), residual_scale))
        if self.modulation is not None:
            nn.init.normal_(self.modulation.weight, std=0.02)
            nn.init.zeros_(self.modulation.bias)

    def silence(self) -> None:
        """Makes the block one that adds nothing, until it is trained."""
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        """x [B, C, N], mask [B, 1, N] (float, 1 = valid), style [B, style_channels] -> [B, C, N], 0 where masked."""
        h = self.depthwise(x if mask is None else x * mask).transpose(1, 2)  # [B, N, C]
        h = self.norm(h)
        if self.modulation is not None:
            scale, shift = self.modulation(style)[:, None].chunk(2, dim=-1)
            h = h * (1 + scale) + shift
        h = self.contract(self.dropout(F.gelu(self.expand(h), approximate="tanh")))
        x = x + (h * self.scale).transpose(1, 2)
        return x if mask is None else x * mask
