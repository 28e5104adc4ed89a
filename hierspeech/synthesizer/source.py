"""Source network: acoustic latent -> pitch-bearing features and predicted F0 at 200 Hz (paper section 3.2.3; spec 4.5).

Every source module of the synthesizer is built as `Source(config, latent, style_channels, audio)`, has `out_channels`
and is called as `source(z, style, log_f0, frame_mask)`.
"""

from dataclasses import dataclass, field
from math import prod

from torch import Tensor, nn

from hierspeech.synthesizer.encoders import F0_PER_FRAME
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d, stretch_mask
from speech.modules.weight_norm import weight_norm
from speech.spectrogram import AudioConfig


@dataclass
class SourceConfig:
    """Sizes of a `SourceNetwork`; channels halve at every up-sampling."""

    hidden: int = 256
    upsample_rates: list[int] = field(default_factory=lambda: [2, 2])
    upsample_kernels: list[int] = field(default_factory=lambda: [4, 4])
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 5, 7])
    dilations: list[int] = field(default_factory=lambda: [1, 3, 5])

    def __post_init__(self):
        if len(self.upsample_rates) != len(self.upsample_kernels):
            raise ValueError(
                "source: expected as many upsample_rates as upsample_kernels, got "
                f"{self.upsample_rates} and {self.upsample_kernels}"
            )
        if prod(self.upsample_rates) != F0_PER_FRAME:
            raise ValueError(
                f"source.upsample_rates must multiply to {F0_PER_FRAME}, got {self.upsample_rates}"
            )


class SourceNetwork(nn.Module):
    """Up-samples latent frames to the rate of F0 and predicts F0 from them; the given F0 is not used."""

    def __init__(self, config: SourceConfig, latent: int, style_channels: int, audio: AudioConfig):
        super().__init__()
        self.rates = list(config.upsample_rates)
        self.out_channels = config.hidden // 2 ** len(self.rates)
        self.conv_pre = weight_norm(nn.Conv1d(latent, config.hidden, 7, padding=3))
        self.cond = nn.Conv1d(style_channels, config.hidden, 1)
        self.ups = nn.ModuleList()
        self.stages = nn.ModuleList()
        channels = config.hidden
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            self.ups.append(upsampling(channels, kernel, rate))
            channels //= 2
            self.stages.append(MultiKernelBlock(AMPBlock, channels, config.kernel_sizes, config.dilations))
        self.activation_post = Activation1d(channels)
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(
        self, z: Tensor, style: Tensor, log_f0: Tensor | None = None, frame_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict what the waveform generator needs to know about pitch.

        Args:
            z: acoustic latent [B, latent, N], zero in padding.
            style: [B, style_channels].
            log_f0: [B, 1, 4N], ignored here (other sources take the pitch from it).
            frame_mask: [B, N] bool, True = valid; None if every frame is valid.

        Returns:
            features [B, out_channels, 4N] and predicted log(F0 + 1) [B, 1, 4N], both zero in padding.
        """
        mask = None if frame_mask is None else frame_mask[:, None]
        x = self.conv_pre(z) + self.cond(style[..., None])
        for up, stage, rate in zip(self.ups, self.stages, self.rates, strict=True):
            x = up(x if mask is None else x * mask)
            mask = None if mask is None else stretch_mask(mask, rate)
            x = stage(x, mask)
        features = self.activation_post(x, mask)  # [B, out_channels, 4N]
        log_f0_hat = self.conv_post(features)
        return features, log_f0_hat if mask is None else log_f0_hat * mask


def upsampling(channels: int, kernel: int, rate: int) -> nn.ConvTranspose1d:
    """A weight-normalised transposed convolution that halves the channels and multiplies the length by `rate`."""
    # With an odd surplus (kernel - rate) one sample more must be cut on one side; no published layer needs that.
    if (kernel - rate) % 2:
        raise ValueError(f"upsample kernel minus rate must be even, got kernel {kernel} and rate {rate}")
    return weight_norm(
        nn.ConvTranspose1d(channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2)
    )
