"""Semantic features and style -> log F0 at four times their rate (HierSpeech++ section 3.3, a small HiFi-GAN)."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.resblocks import LEAKY_SLOPE, HiFiGANBlock, MultiKernelBlock
from speech.modules.weight_norm import weight_norm

F0_PER_FRAME = 4  # F0 is described every 5 ms, semantic features every 20 ms
# The published model ends with the framework's default slope, unlike everywhere else.
FINAL_SLOPE = 0.01


@dataclass
class PitchConfig:
    """Sizes of the pitch predictor; channels halve at every up-sampling."""

    hidden: int = 256
    upsample_rates: list[int] = field(default_factory=lambda: [2, 2])
    upsample_kernels: list[int] = field(default_factory=lambda: [4, 4])
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 5, 7])
    dilations: list[int] = field(default_factory=lambda: [1, 3, 5])

    def __post_init__(self):
        if math.prod(self.upsample_rates) != F0_PER_FRAME:
            raise ValueError(f"upsample_rates must multiply to {F0_PER_FRAME}, got {self.upsample_rates}")
        if len(self.upsample_rates) != len(self.upsample_kernels):
            raise ValueError(
                f"upsample_rates and upsample_kernels must be equally many, got {self.upsample_rates} and "
                f"{self.upsample_kernels}"
            )


class PitchPredictor(nn.Module):
    """Upsamples semantic features to an F0 curve.

    Padding is masked before every convolution: a padded frame then acts like the zeros beyond the end of a lone
    utterance, so results do not depend on the batch.
    """

    def __init__(self, config: PitchConfig, semantic_dim: int, style_channels: int):
        super().__init__()
        self.rates = config.upsample_rates
        self.conv_pre = nn.Conv1d(semantic_dim, config.hidden, 7, padding=3)
        self.style_proj = nn.Conv1d(style_channels, config.hidden, 1)
        self.ups = nn.ModuleList()
        self.stages = nn.ModuleList()
        channels = config.hidden
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            padding = (kernel - rate) // 2
            conv = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=padding)
            self.ups.append(weight_norm(conv))
            channels //= 2
            self.stages.append(
                MultiKernelBlock(HiFiGANBlock, channels, config.kernel_sizes, config.dilations)
            )
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(self, semantic: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predicts log(F0_Hz + 1).

        Args:
            semantic: [B, C, N], zero where padded.
            style: [B, C_style].
            mask: [B, 1, N], True = valid; None = everything is valid.

        Returns:
            [B, 1, 4N], zero where padded.
        """
        x = self.conv_pre(semantic) + self.style_proj(style.unsqueeze(2))
        for rate, up, stage in zip(self.rates, self.ups, self.stages, strict=True):
            x = up(_masked(F.leaky_relu(x, LEAKY_SLOPE), mask))
            mask = None if mask is None else mask.repeat_interleave(rate, dim=2)
            x = stage(x, mask)
        x = self.conv_post(_masked(F.leaky_relu(x, FINAL_SLOPE), mask))
        return _masked(x, mask)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def cut_slices(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """x [B, C, time] -> [B, C, length], item b from starts[b] on; zeros where an item ends earlier."""
    x = F.pad(x, (0, length))
    index = starts.unsqueeze(1) + torch.arange(length, device=x.device)  # [B, length]
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))
