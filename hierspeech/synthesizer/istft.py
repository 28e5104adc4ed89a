"""iSTFT generator: ConvNeXt blocks at 100 Hz and one inverse STFT, the waveform generator of the `lite` voice.

Stands in the place of the AMP generator (section 4.6 of the hand-over): no up-sampling network, so that most of the work is done
at 100 Hz (after Vocos, Siuzdak 2023), with style-modulated layer norms and a harmonic source. docs/lite.md has its speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hierspeech.synthesizer.carrier import Carrier
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.istft import overlap_add
from speech.spectrogram import AudioConfig

MAX_LOG_MAGNITUDE = 5.0  # e^5 is louder than full scale; a wild frame of an untrained network stays finite


@dataclass
class ISTFTGeneratorConfig:
    """Sizes of the generator."""

    width: int = 256
    layers: int = 8
    expansion: float = 2.5
    kernel_size: int = 7
    n_fft: int = 640
    hop_length: int = 160


class ISTFTGenerator(nn.Module):
    """Latent frames, source features and style -> waveform."""

    def __init__(
        self,
        config: ISTFTGeneratorConfig,
        latent: int,
        style_channels: int,
        source_channels: int,
        audio: AudioConfig,
        carrier: Carrier | None = None,
    ) -> None:
        super().__init__()
        if audio.hop_length % config.hop_length:
            raise ValueError(
                f"istft.hop_length {config.hop_length} must divide the frame hop {audio.hop_length}"
            )
        if (config.n_fft - config.hop_length) % 2 or config.n_fft < 2 * config.hop_length:
            raise ValueError(f"istft: expected an n_fft of hop_length plus an even number, got {config}")
        if carrier is not None and carrier.frame_samples != config.hop_length:
            raise ValueError(
                f"a carrier in frames of {carrier.frame_samples} samples needs an istft of the same hop_length, got {config}"
            )
        self.config = config
        self.carrier = carrier
        self.source_channels = source_channels
        self.rate = audio.hop_length // config.hop_length
        self.latent_in = nn.Conv1d(latent, config.width, 3, padding=1)
        self.source_in = nn.Conv1d(source_channels, config.width, 3, padding=1) if source_channels else None
        self.style_in = nn.Linear(style_channels, config.width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, config.expansion, config.kernel_size, style_channels)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2 * (config.n_fft // 2 + 1))
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(
        self,
        z: Tensor,
        source: Tensor | None,
        style: Tensor,
        frame_mask: Tensor | None = None,
        colour: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """z [B, latent, N], source [B, source_channels, N * rate] (the carrier's behind them), style [B, style_channels] -> wav [B, 1, T], 0 in padding.

        `colour` takes and gives the logarithm of the magnitudes [B, n_fft / 2 + 1, N * rate] before they are heard.
        """
        z = z.repeat_interleave(self.rate, -1)  # [B, latent, N * rate]
        mask = None if frame_mask is None else frame_mask.repeat_interleave(self.rate, 1)[:, None].to(z.dtype)
        x = self.latent_in(z if mask is None else z * mask) + self.style_in(style)[..., None]
        carrier = None
        if self.source_in is not None:
            source, carrier = source[:, : self.source_channels], source[:, self.source_channels :]
            source = source.to(x.dtype)
            x = x + self.source_in(source if mask is None else source * mask)
        x = x if mask is None else x * mask
        for block in self.blocks:
            x = block(x, mask, style)
        log_magnitude, angle = self.head(self.norm(x.transpose(1, 2))).transpose(1, 2).float().chunk(2, dim=1)
        if colour is not None:
            log_magnitude = colour(log_magnitude)
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp()
        if mask is not None:
            magnitude = magnitude * mask
        wav = self.overlap_add(torch.polar(magnitude, angle), mask)
        if self.carrier is not None:
            wav = self.carrier.carry(wav, carrier, mask)
        if frame_mask is not None:
            wav = wav * frame_mask.repeat_interleave(wav.shape[-1] // frame_mask.shape[-1], 1)
        return wav[:, None]

    def overlap_add(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        """`speech.modules.istft.overlap_add` with this generator's frames."""
        return overlap_add(spec, self.window, self.config.hop_length, mask)
