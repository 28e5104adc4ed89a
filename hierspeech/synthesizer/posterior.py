"""Dual-audio posterior encoder: linear spectrogram and waveform -> acoustic latent (paper section 3.2.1; spec 4.3).

Training and resynthesis only.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

from speech.modules.gaussian import DiagonalGaussian
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d, stretch_mask
from speech.modules.wavenet import WaveNet
from speech.modules.weight_norm import weight_norm


@dataclass
class PosteriorConfig:
    """Sizes of a `PosteriorEncoder`; the product of `down_strides` must be the hop length."""

    hidden: int = 192
    kernel_size: int = 5
    n_layers: int = 16
    wave_channels: list[int] = field(default_factory=lambda: [16, 32, 64, 128, 192])
    down_kernels: list[int] = field(default_factory=lambda: [17, 10, 8, 4])
    down_strides: list[int] = field(default_factory=lambda: [8, 5, 4, 2])
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 7, 11])
    dilations: list[int] = field(default_factory=lambda: [1, 3, 5])

    def __post_init__(self):
        if not len(self.down_kernels) == len(self.down_strides) == len(self.wave_channels) - 1:
            raise ValueError(
                "posterior: expected as many down_kernels as down_strides and one more wave_channels, got "
                f"{len(self.down_kernels)}, {len(self.down_strides)} and {len(self.wave_channels)}"
            )


class PosteriorEncoder(nn.Module):
    """A WaveNet over the spectrogram beside a down-sampling AMP network over the wave.

    Args:
        config: sizes.
        spec_channels: bins of the linear spectrogram.
        latent: channels of the distribution.
        style_channels: size of the style vector.
        hop_length: samples per frame.
    """

    def __init__(
        self, config: PosteriorConfig, spec_channels: int, latent: int, style_channels: int, hop_length: int
    ):
        super().__init__()
        if prod(config.down_strides) != hop_length:
            raise ValueError(
                f"posterior.down_strides multiply to {prod(config.down_strides)}, expected the hop length {hop_length}"
            )
        self.hop_length = hop_length
        self.strides = list(config.down_strides)
        channels = config.wave_channels
        self.wave_pre = nn.Conv1d(1, channels[0], 7, padding=3)
        self.downs = nn.ModuleList()
        self.stages = nn.ModuleList()
        for i, (kernel, stride) in enumerate(zip(config.down_kernels, config.down_strides, strict=True)):
            conv = nn.Conv1d(channels[i], channels[i + 1], kernel, stride=stride, padding=(kernel - 1) // 2)
            self.downs.append(weight_norm(conv))
            self.stages.append(
                MultiKernelBlock(AMPBlock, channels[i + 1], config.kernel_sizes, config.dilations)
            )
        self.activation_post = Activation1d(channels[-1])
        self.conv_post = nn.Conv1d(channels[-1], channels[-1], 7, padding=3)
        self.spec_pre = nn.Conv1d(spec_channels, config.hidden, 1)
        self.spec_net = WaveNet(config.hidden, config.kernel_size, config.n_layers, style_channels)
        self.proj = nn.Conv1d(config.hidden + channels[-1], 2 * latent, 1)

    def forward(
        self, spec: Tensor, wav: Tensor, style: Tensor, frame_mask: Tensor | None = None
    ) -> DiagonalGaussian:
        """Encode recorded speech.

        Args:
            spec: [B, spec_channels, N].
            wav: [B, 1, hop_length * N].
            style: [B, style_channels].
            frame_mask: [B, N] bool, True = valid; None if every frame is valid.

        Returns:
            mean and log_std [B, latent, N], zero where the mask is False.
        """
        if wav.shape[-1] != self.hop_length * spec.shape[-1]:
            raise ValueError(
                f"wav has {wav.shape[-1]} samples for {spec.shape[-1]} frames, expected {self.hop_length} a frame"
            )
        mask = None if frame_mask is None else frame_mask[:, None]  # [B, 1, N]
        keep = 1 if mask is None else mask
        x = self.spec_net(self.spec_pre(spec) * keep, mask, style[..., None])
        x = torch.cat((x, self._encode_wave(wav, mask) * keep), dim=1)
        return DiagonalGaussian.project(self.proj, x, mask)

    def _encode_wave(self, wav: Tensor, mask: Tensor | None) -> Tensor:
        rate = self.hop_length  # steps per frame
        step_mask = None if mask is None else stretch_mask(mask, rate)
        x = wav if mask is None else wav * step_mask
        x = self.wave_pre(x)
        for down, stage, stride in zip(self.downs, self.stages, self.strides, strict=True):
            x = down(x if mask is None else x * step_mask)
            rate //= stride
            step_mask = None if mask is None else stretch_mask(mask, rate)
            x = stage(x, step_mask)
        return self.conv_post(self.activation_post(x, step_mask))  # [B, C, N]
