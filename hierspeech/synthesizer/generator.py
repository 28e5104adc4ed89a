"""Waveform generator: acoustic latent and source features -> wav, by AMP blocks (BigVGAN; paper 3.2.3; spec 4.6).

Every generator of the synthesizer is built as `Generator(config, latent, style_channels, source_channels, audio)` and is
called as `generator(z, source_features, style, frame_mask)`.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierspeech.synthesizer.encoders import F0_PER_FRAME
from hierspeech.synthesizer.source import upsampling
from speech.modules.resblocks import LEAKY_SLOPE, AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d, stretch_mask
from speech.modules.weight_norm import weight_norm
from speech.spectrogram import AudioConfig


@dataclass
class AMPGeneratorConfig:
    """Sizes of an `AMPGenerator`; channels halve at every up-sampling, the first of which must reach the rate of F0."""

    hidden: int = 512
    upsample_rates: list[int] = field(default_factory=lambda: [4, 5, 4, 2, 2])
    upsample_kernels: list[int] = field(default_factory=lambda: [8, 11, 8, 4, 4])
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 7, 11])
    dilations: list[int] = field(default_factory=lambda: [1, 3, 5])

    def __post_init__(self):
        if len(self.upsample_rates) != len(self.upsample_kernels):
            raise ValueError(
                "amp: expected as many upsample_rates as upsample_kernels, got "
                f"{self.upsample_rates} and {self.upsample_kernels}"
            )
        if self.upsample_rates[0] != F0_PER_FRAME:
            raise ValueError(f"amp.upsample_rates must start with {F0_PER_FRAME}, got {self.upsample_rates}")


class DownBlock(nn.Module):
    """Source features at 200 Hz -> the generator's input channels at 50 Hz, with a linear path around three convolutions."""

    def __init__(self, channels: int, out_channels: int, factor: int):
        super().__init__()
        self.factor = factor
        self.residual = weight_norm(nn.Conv1d(channels, out_channels, 1))
        self.convs = nn.ModuleList()
        for i, dilation in enumerate((1, 2, 4)):
            conv = nn.Conv1d(
                channels if i == 0 else out_channels, out_channels, 3, dilation=dilation, padding=dilation
            )
            self.convs.append(weight_norm(conv))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, C, factor * N], mask [B, 1, N] or None -> [B, out_channels, N], undefined where the mask is False."""
        x = x[..., :: self.factor]  # nearest-neighbour down-sampling
        residual = self.residual(x)
        for conv in self.convs:
            x = F.leaky_relu(x, LEAKY_SLOPE)
            x = conv(x if mask is None else x * mask)
        return x + residual


class AMPGenerator(nn.Module):
    """Transposed convolutions, each followed by the mean of AMP blocks."""

    def __init__(
        self,
        config: AMPGeneratorConfig,
        latent: int,
        style_channels: int,
        source_channels: int,
        audio: AudioConfig,
    ):
        super().__init__()
        if prod(config.upsample_rates) != audio.hop_length:
            raise ValueError(
                f"amp.upsample_rates multiply to {prod(config.upsample_rates)}, "
                f"expected the hop length {audio.hop_length}"
            )
        self.rates = list(config.upsample_rates)
        channels = config.hidden
        self.conv_pre = weight_norm(nn.Conv1d(latent, channels, 7, padding=3))
        self.cond = nn.Conv1d(style_channels, channels, 1)
        self.source_down = DownBlock(source_channels, channels, F0_PER_FRAME)
        self.source_proj = nn.Conv1d(source_channels, channels // 2, 7, padding=3)
        self.ups = nn.ModuleList()
        self.stages = nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            self.ups.append(upsampling(channels, kernel, rate))
            channels //= 2
            self.stages.append(MultiKernelBlock(AMPBlock, channels, config.kernel_sizes, config.dilations))
        self.activation_post = Activation1d(channels)
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(
        self, z: Tensor, source_features: Tensor, style: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        """Generate a wave.

        Args:
            z: acoustic latent [B, latent, N], zero in padding.
            source_features: [B, source_channels, 4N], zero in padding.
            style: [B, style_channels].
            frame_mask: [B, N] bool, True = valid; None if every frame is valid. With a mask each row of a padded
                batch comes out as it would alone.

        Returns:
            wav: [B, 1, hop_length * N] in [-1, 1], zero in padding.
        """
        mask = None if frame_mask is None else frame_mask[:, None]
        x = self.conv_pre(z) + self.source_down(source_features, mask) + self.cond(style[..., None])
        for i, (up, stage, rate) in enumerate(zip(self.ups, self.stages, self.rates, strict=True)):
            x = up(x if mask is None else x * mask)
            mask = None if mask is None else stretch_mask(mask, rate)
            if i == 0:
                x = x + self.source_proj(source_features)
            x = stage(x, mask)
        wav = torch.tanh(self.activation_post.into(self.conv_post, x, mask))
        return wav if mask is None else wav * mask
