"""Harmonic source: an excitation signal made from F0 itself, handed to the generator as a spectrum.

Stands in the place of the source network (section 4.5 of the hand-over) when F0 is given and need not be predicted again. The
excitation is a band-limited pulse train where the voice sounds and noise where it does not (neural source-filter models,
Wang et al. 2019): it brings the phase of every harmonic, which is the hardest thing to learn from little data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hierspeech.synthesizer.carrier import Carrier, CarrierConfig
from speech.spectrogram import AudioConfig

F0_HOP = 80  # samples
NOISE_SAMPLES = 1 << 17  # 8 s: the stretch of fixed noise that inference repeats


@dataclass
class HarmonicSourceConfig:
    """Sizes of the excitation's spectrum; `hop_length` sets the rate of the generator that reads it."""

    channels: int = 128
    n_fft: int = 640
    hop_length: int = 160
    noise: float = 0.03  # standard deviation of the noise added to pulses of unit power
    carrier: CarrierConfig | None = (
        None  # what the upper bands are made of, handed on to a generator that puts it under its wave
    )


class HarmonicSource(nn.Module):
    """log F0 -> features [B, channels, T / hop_length] of a pulse-and-noise excitation, and behind them its carrier, if any."""

    def __init__(
        self, config: HarmonicSourceConfig, latent: int, style_channels: int, audio: AudioConfig
    ) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = audio.sample_rate
        self.out_channels = config.channels
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        # Inference repeats one stretch of noise, so that equal inputs give equal speech, alone or in a batch.
        noise = np.random.default_rng(0).standard_normal(NOISE_SAMPLES, dtype=np.float32)
        self.register_buffer("noise", torch.from_numpy(noise), persistent=False)
        self.carrier: Carrier | None = None
        if config.carrier is not None:
            self.carrier = Carrier(config.carrier, config.hop_length, audio.sample_rate)
        self.proj = nn.Conv1d(2 * (config.n_fft // 2 + 1), config.channels, 1)

    def forward(
        self, z: Tensor, style: Tensor, log_f0: Tensor, frame_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """log_f0 [B, 1, 4N] -> (features [B, channels, 320 N / hop_length], None); z, style are not used.

        With a carrier [B, channels + carrier.channels, 320 N / hop_length].
        """
        if frame_mask is not None:
            log_f0 = log_f0 * frame_mask.repeat_interleave(4, 1)[:, None]
        pulses, noise, cycles, voiced = self.parts(log_f0)
        if frame_mask is not None:
            samples = frame_mask.repeat_interleave(noise.shape[-1] // frame_mask.shape[-1], 1)
            pulses, noise = pulses * samples, noise * samples
        features = self.proj(self.spectrum(self._mixed(pulses, noise, voiced)).to(self.proj.weight.dtype))
        if self.carrier is not None:
            with torch.autocast(log_f0.device.type, enabled=False):
                features = torch.cat([features, self.carrier(pulses * voiced, noise, cycles, voiced)], 1)
        if frame_mask is not None:
            rate = features.shape[-1] // frame_mask.shape[-1]
            features = features * frame_mask.repeat_interleave(rate, 1)[:, None]
        return features, None

    def excitation(self, log_f0: Tensor) -> Tensor:
        """log_f0 [B, 1, 4N] -> excitation [B, 320 N] in float32."""
        pulses, noise, _, voiced = self.parts(log_f0)
        return self._mixed(pulses, noise, voiced)

    def _mixed(self, pulses: Tensor, noise: Tensor, voiced: Tensor) -> Tensor:
        return voiced * (pulses + self.config.noise * noise) + (1 - voiced) * 0.3 * noise

    def parts(self, log_f0: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log_f0 [B, 1, 4N] -> pulses and noise of unit power, cycles (0 to 1, since the last pulse), voiced (0 or 1), all [B, 320 N].

        All harmonics up to the Nyquist frequency in closed form: sum_{k=1..K} cos kx = (sin((K + 1/2) x) / sin(x/2) - 1) / 2.
        """
        with torch.autocast(log_f0.device.type, enabled=False):
            f0 = torch.expm1(log_f0[:, 0].float())  # [B, 4N] Hz
            voiced = (f0 > 20).float()
            # a straight line between voiced values; beside silence the value is held, so that no pitch glides to zero
            smooth = _linear(f0, F0_HOP)
            voiced_wave = voiced.repeat_interleave(F0_HOP, 1)
            held = f0.repeat_interleave(F0_HOP, 1)
            steady = _linear(voiced, F0_HOP) > 0.999
            f0_wave = torch.where(steady, smooth, held)
            # the phase is summed in double precision: a minute of speech has hundreds of thousands of radians
            cycles = (f0_wave.double() / self.sample_rate).cumsum(1)
            cycles = (cycles - cycles.floor()).float()
            angle = cycles * (2 * math.pi)
            harmonics = (self.sample_rate / 2 / f0_wave.clamp(min=20)).floor().clamp(min=1)
            half = torch.sin(angle / 2)
            safe = torch.where(half.abs() < 1e-4, torch.full_like(half, 1e-4), half)
            ratio = torch.sin((harmonics + 0.5) * angle) / safe
            ratio = torch.where(half.abs() < 1e-4, 2 * harmonics + 1, ratio)
            pulses = (ratio - 1) / 2 * torch.sqrt(2 / harmonics)  # unit power
            noise = torch.randn_like(pulses) if self.training else self._fixed_noise(pulses.shape[-1])
            return pulses, noise.expand_as(pulses), cycles, voiced_wave

    def _fixed_noise(self, samples: int) -> Tensor:
        # rounded up by one too many: division rounds towards zero in exported graphs, so not -(-samples // ...)
        return self.noise.repeat(samples // NOISE_SAMPLES + 1)[:samples][None]

    def spectrum(self, wav: Tensor) -> Tensor:
        """Real and imaginary part of the STFT, compressed: [B, T] -> [B, 2 F, T / hop_length]."""
        config = self.config
        with torch.autocast(wav.device.type, enabled=False):
            # the frames of the inverse STFT at the generator's end: frame k is centred on sample hop * (k + 1/2)
            pad = (config.n_fft - config.hop_length) // 2
            spec = torch.stft(
                F.pad(wav, (pad, pad)), config.n_fft, config.hop_length, window=self.window, center=False,
                return_complex=True,
            )  # fmt: skip
            magnitude = spec.abs().clamp(min=1e-5)
            spec = spec / magnitude * magnitude.sqrt() * 0.3  # pulses and noise come nearer to one another
            return torch.cat([spec.real, spec.imag], 1)


def _linear(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x[:, None], scale_factor=factor, mode="linear", align_corners=False)[:, 0]
