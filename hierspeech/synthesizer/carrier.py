"""Carrier: what the upper bands of speech are made of, pulses and noise in step with the pitch, under the spectrum of a generated wave.

A generator that predicts spectra frame by frame must predict the phase of each bin from features that cannot hold it, and losses on
mel bands do not hear what it does instead: phases that turn alike in every frame, a hum at the frame rate in each /s/ and above
2 kHz in each vowel (docs/lite.md, experiment 40). So where speech is noise, or nearly, the phases come from the excitation
(harmonic plus noise model, Stylianou 2001): noise in the upper bands where the voice is silent; above some 3 kHz of voiced frames the
excitation's pulses and noise that swells with them. Below, the generator's wave is left alone. Its own spectrum, smoothed over some
100 Hz, shapes what takes its place: that of the wave that came out, since frames of a generator need not agree, and what disagrees
cancels (experiment 42). Nothing is trained.

Shapes: B batch, T samples, H samples to a frame of the source's features, K = T / H such frames, F bins of the carrier's STFT and J of
its frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.modules.istft import overlap_add

SMOOTHING = 2  # bins on either side over which the wave's spectrum is smoothed, the last of them by half
EVEN_POWER = 0.844  # of spectra of equal size and noise's phases what the wave has that is made of them: frames overlap and must agree


@dataclass
class CarrierConfig:
    """Which bins are carried, and how much of voiced ones are pulses."""

    from_hz: float = 3000.0  # below it voiced frames stay as they are
    full_hz: float = 4000.0  # above it all is carried
    pulses_low: float = 0.65  # share of the power that pulses have at from_hz
    pulses_high: float = 0.25  # and at half of the sample rate
    swell: float = 0.18  # periods: width of the noise around each pulse
    unvoiced_hz: float = 2500.0  # below it unvoiced frames stay as they are
    n_fft: int = 320  # of the windows in which it is shaped; a quarter of it is their hop

    def __post_init__(self):
        if not 0 <= self.from_hz < self.full_hz:
            raise ValueError(f"carrier: expected 0 <= from_hz < full_hz, got {self}")
        if not (0 <= self.pulses_low <= 1 and 0 <= self.pulses_high <= 1) or self.swell <= 0:
            raise ValueError(f"carrier: expected shares of pulses of 0 to 1 and a swell above 0, got {self}")

    @property
    def reach(self) -> int:
        """Samples of a wave on either side that a sample of the carried one depends on, at most."""
        return self.n_fft


class Carrier(nn.Module):
    """Makes the carrier of an excitation (`forward`), and puts it under the spectrum of a wave (`carry`).

    `frame_samples` is H, `sample_rate` in Hz.
    """

    def __init__(self, config: CarrierConfig, frame_samples: int, sample_rate: int) -> None:
        super().__init__()
        if config.full_hz > sample_rate / 2:
            raise ValueError(
                f"carrier.full_hz {config.full_hz:g}: expected half of the sample rate {sample_rate} at most"
            )
        self.hop_length = config.n_fft // 4
        if config.n_fft < 8 or config.n_fft % 8 or frame_samples % self.hop_length:
            raise ValueError(
                f"carrier.n_fft {config.n_fft}: expected a multiple of 8 of which a quarter divides {frame_samples}"
            )
        self.config, self.n_fft, self.frame_samples = config, config.n_fft, frame_samples
        self.channels = 3 * frame_samples
        hertz = torch.linspace(0, sample_rate / 2, config.n_fft // 2 + 1)
        way = ((hertz - config.from_hz) / (sample_rate / 2 - config.from_hz)).clamp(min=0)
        pulses = config.pulses_low + (config.pulses_high - config.pulses_low) * way
        carried = ((hertz - config.from_hz) / (config.full_hz - config.from_hz)).clamp(0, 1)
        smoothing = torch.ones(2 * SMOOTHING + 1) / (2 * SMOOTHING)
        smoothing[[0, -1]] /= 2
        self.register_buffer("smoothing", smoothing[None, None], persistent=False)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("pulses", pulses[:, None], persistent=False)
        self.register_buffer("voiced_share", carried[:, None], persistent=False)
        self.register_buffer(
            "unvoiced_share", (hertz >= config.unvoiced_hz).float()[:, None], persistent=False
        )

    def forward(self, pulses: Tensor, noise: Tensor, cycles: Tensor, voiced: Tensor) -> Tensor:
        """The carrier of an excitation, in frames that features can be put beside.

        Args:
            pulses: pulse train of unit power [B, T], 0 where unvoiced.
            noise: of unit power [B, T].
            cycles: 0 to 1, how much of a period has passed since the last pulse [B, T].
            voiced: 0 or 1 [B, T].

        Returns:
            [B, 3 H, K]: of each frame the samples of the pulses, of the noise, which swells in step with them, and of `voiced`.
        """
        width = self.config.swell
        near = torch.minimum(cycles, 1 - cycles)
        swell = (-(near / width).square() / 2).exp() / (width * torch.pi**0.5) ** 0.5  # of unit power
        noise = torch.where(voiced > 0, swell * noise, noise)
        return torch.cat([self._framed(wave) for wave in (pulses, noise, voiced)], 1)

    def carry(self, wav: Tensor, carrier: Tensor, mask: Tensor | None = None) -> Tensor:
        """A generated wave with other phases and fine structure where it is carried.

        Args:
            wav: [B, T].
            carrier: [B, 3 H, K] of `forward`.
            mask: [B, 1, K], 1 = valid; None if all is.

        Returns:
            [B, T]
        """
        with torch.autocast(wav.device.type, enabled=False):
            return self._carry(wav.float(), carrier.float(), mask).to(wav.dtype)

    def _carry(self, wav: Tensor, carrier: Tensor, mask: Tensor | None) -> Tensor:
        pulses, noise, voiced = (self._unframed(part) for part in carrier.chunk(3, dim=1))
        if mask is not None:
            frames = mask.repeat_interleave(self.frame_samples, -1)[:, 0]
            wav, pulses, noise = wav * frames, pulses * frames, noise * frames
            mask = frames[:, None, :: self.hop_length]
        voiced = F.avg_pool1d(voiced[:, None], self.hop_length)  # [B, 1, J]
        real, imaginary = self.analyse(wav)
        share = voiced * self.voiced_share + (1 - voiced) * self.unvoiced_share
        # not 1 - share: of a share that is 1 but for rounding the root would be audible
        kept = voiced * (1 - self.voiced_share) + (1 - voiced) * (1 - self.unvoiced_share)
        shape = (share * self._smoothed(real.square() + imaginary.square())).clamp(min=1e-20).sqrt()
        kept = kept.clamp(min=0).sqrt()
        carried_real, carried_imaginary = self._mixed(pulses, noise, voiced)
        spec = torch.complex(kept * real + shape * carried_real, kept * imaginary + shape * carried_imaginary)
        return self.overlap_add(spec if mask is None else spec * mask, mask)

    def _mixed(self, pulses: Tensor, noise: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
        """Pulses and noise [B, T], voiced [B, 1, J] -> real and imaginary part [B, F, J] of unit power on average."""
        scale = 1 / self.window.square().sum().sqrt()
        periodic = self.pulses * voiced
        (real, imaginary), (noise_real, noise_imaginary) = self.analyse(pulses), self.analyse(noise)
        # of unvoiced noise the phases alone: what it is shaped to should not be speckled by chance once more
        size = (noise_real.square() + noise_imaginary.square()).clamp(min=1e-6).sqrt() * EVEN_POWER**0.5
        even = (1 - periodic).sqrt() * (voiced * scale + (1 - voiced) / size)
        periodic = periodic.sqrt() * scale
        return periodic * real + even * noise_real, periodic * imaginary + even * noise_imaginary

    def _smoothed(self, power: Tensor) -> Tensor:
        """[B, F, J] -> the same, smoothed over bins."""
        padded = F.pad(power.transpose(1, 2), (SMOOTHING, SMOOTHING), mode="replicate")  # [B, J, F + 4]
        smooth = F.conv1d(padded.flatten(0, 1)[:, None], self.smoothing)
        return smooth.view(power.shape[0], power.shape[2], -1).transpose(1, 2)

    def _framed(self, wav: Tensor) -> Tensor:
        """[B, T] -> [B, H, K]."""
        return wav.view(wav.shape[0], -1, self.frame_samples).transpose(1, 2)

    def _unframed(self, frames: Tensor) -> Tensor:
        """[B, H, K] -> [B, T]."""
        return frames.transpose(1, 2).flatten(1)

    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """wav [B, T] -> real and imaginary part [B, F, J] of frames that lie between the hops, as `overlap_add` wants them."""
        pad = (self.n_fft - self.hop_length) // 2
        padded = F.pad(wav, (pad, pad))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        )
        return spectrum.real, spectrum.imag

    def overlap_add(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        """`speech.modules.istft.overlap_add` with the carrier's frames: [B, F, J] -> [B, T]."""
        return overlap_add(spec, self.window, self.hop_length, mask)
