"""Waveform discriminators: complex STFT at several resolutions, and periods (section 4.10).

`WaveDiscriminator` holds both kinds. Its default configuration is the published one for 16 kHz and 24 kHz; at 48 kHz an
STFT of 4096 points is added in front.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.weight_norm import weight_norm

LEAKY_SLOPE = 0.1


@dataclass
class DiscriminatorConfig:
    """What a `WaveDiscriminator` consists of."""

    stft_sizes: list[int] = field(
        default_factory=lambda: [2048, 1024, 512, 256, 128]
    )  # samples; hop = size / 4
    stft_channels: int = 32
    periods: list[int] = field(default_factory=lambda: [2, 3, 5, 7, 11])  # samples
    period_channels: list[int] = field(default_factory=lambda: [32, 128, 512, 1024, 1024])

    def __post_init__(self):
        if not self.stft_sizes and not self.periods:
            raise ValueError("a discriminator needs at least one of stft_sizes and periods, got none")
        if any(size % 4 for size in self.stft_sizes):
            raise ValueError(
                f"stft_sizes must be multiples of 4 (the hop is a quarter), got {self.stft_sizes}"
            )


def config_48k() -> DiscriminatorConfig:
    """The published configuration for 48 kHz."""
    return DiscriminatorConfig(stft_sizes=[4096, 2048, 1024, 512, 256, 128])


@dataclass
class DiscriminatorOutput:
    """What one sub-discriminator says: `logits` [B, K] and its feature maps, the last of which holds the logits."""

    logits: Tensor
    features: list[Tensor]


class STFTDiscriminator(nn.Module):
    """2-D convolutions on real and imaginary part of one STFT (EnCodec's MS-STFT discriminator)."""

    def __init__(self, n_fft: int, channels: int = 32):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # Strides act on frequency, dilations on time.
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        for dilation in (1, 2, 4):
            layers.append(
                nn.Conv2d(
                    channels, channels, (3, 9), stride=(1, 2), dilation=(dilation, 1), padding=(dilation, 4)
                )
            )
        layers.append(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1)))
        self.convs = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.conv_post = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, wav: Tensor) -> DiscriminatorOutput:
        """wav [B, 1, T], T >= n_fft."""
        if wav.shape[-1] < self.n_fft:
            raise ValueError(
                f"this STFT discriminator needs at least {self.n_fft} samples, got {wav.shape[-1]}"
            )
        # In float32 always: there is no STFT of half precision.
        spec = torch.stft(
            wav[:, 0].float(),
            self.n_fft,
            self.n_fft // 4,
            window=self.window,
            center=False,
            return_complex=True,
        )
        spec = spec / self.window.square().sum().sqrt()
        x = torch.stack((spec.real, spec.imag), dim=1).transpose(2, 3)  # [B, 2, frames, frequencies]
        return _run(self.convs, self.conv_post, x)


class PeriodDiscriminator(nn.Module):
    """2-D convolutions on a wave folded into rows of `period` samples (HiFi-GAN)."""

    def __init__(self, period: int, channels: list[int] | tuple[int, ...] = (32, 128, 512, 1024, 1024)):
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList()
        for i, (before, after) in enumerate(zip([1, *channels[:-1]], channels, strict=True)):
            stride = 1 if i == len(channels) - 1 else 3
            self.convs.append(
                weight_norm(nn.Conv2d(before, after, (5, 1), stride=(stride, 1), padding=(2, 0)))
            )
        self.conv_post = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> DiscriminatorOutput:
        """wav [B, 1, T]; the end is reflected up to a multiple of the period."""
        missing = -wav.shape[-1] % self.period
        if missing:
            wav = F.pad(wav, (0, missing), mode="reflect")
        return _run(
            self.convs, self.conv_post, wav.unflatten(-1, (-1, self.period))
        )  # [B, 1, T / period, period]


class WaveDiscriminator(nn.Module):
    """All sub-discriminators, STFT ones first (the published class of this content is called MultiPeriodDiscriminator)."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config = config
        self.discriminators = nn.ModuleList(
            [STFTDiscriminator(size, config.stft_channels) for size in config.stft_sizes]
            + [PeriodDiscriminator(period, config.period_channels) for period in config.periods]
        )

    def forward(self, wav: Tensor) -> list[DiscriminatorOutput]:
        """wav [B, 1, T], T at least the largest STFT size -> one output per sub-discriminator."""
        return [discriminator(wav) for discriminator in self.discriminators]


def _run(convs: nn.ModuleList, conv_post: nn.Module, x: Tensor) -> DiscriminatorOutput:
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), LEAKY_SLOPE)
        features.append(x)
    x = conv_post(x)
    return DiscriminatorOutput(x.flatten(1), [*features, x])
