"""Carrier: what the upper bands of speech are made of, pulses and noise in step with the pitch, for the generator to shape.

A generator that predicts spectra frame by frame must predict the phase of each bin from features that cannot hold it, and losses on
mel bands do not hear what it does instead: phases that turn alike in every frame, a hum at the frame rate in each /s/ and above
2 kHz in each vowel (docs/lite.md, experiment 40). So where speech is noise, or nearly, the phases come from the excitation
(harmonic plus noise model, Stylianou 2001): noise where the voice is silent; above some 2 kHz of voiced frames the excitation's
pulses and noise that swells with them. Below, the generator keeps its own. Nothing is trained. What is carried has windows of its
own, shorter than the generator's, so that bursts stay short.

Shapes: B batch, F bins of the generator's STFT, K of its frames, C bins of the carrier's, T = hop_length * K samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.modules.istft import overlap_add


@dataclass
class CarrierConfig:
    """Which bins of voiced frames are carried, and how much of them are pulses."""

    from_hz: float = 1750.0  # below it voiced frames have the generator's own phases
    full_hz: float = 2750.0  # above it all is carried
    pulses_low: float = 0.65  # share of the power that pulses have at from_hz
    pulses_high: float = 0.25  # and at half of the sample rate
    swell: float = 0.18  # periods: width of the noise around each pulse
    unvoiced_hz: float = 800.0  # below it unvoiced frames have the generator's own phases
    n_fft: int = 320  # of the windows in which it is shaped

    def __post_init__(self):
        if not 0 <= self.from_hz < self.full_hz:
            raise ValueError(f"carrier: expected 0 <= from_hz < full_hz, got {self}")
        if not (0 <= self.pulses_low <= 1 and 0 <= self.pulses_high <= 1) or self.swell <= 0:
            raise ValueError(f"carrier: expected shares of pulses of 0 to 1 and a swell above 0, got {self}")


class Carrier(nn.Module):
    """Makes the carrier of an excitation (`forward`), puts magnitudes onto it (`carried`), adds up what comes of it (`overlap_add`).

    `n_fft` and `hop_length` are those of the generator's STFT.
    """

    def __init__(self, config: CarrierConfig, n_fft: int, hop_length: int, sample_rate: int) -> None:
        super().__init__()
        if config.full_hz > sample_rate / 2:
            raise ValueError(
                f"carrier.full_hz {config.full_hz:g}: expected half of the sample rate {sample_rate} at most"
            )
        if n_fft % (2 * hop_length):
            raise ValueError(
                f"carrier: expected an n_fft of an even number of hops, got {n_fft} and {hop_length}"
            )
        if n_fft % config.n_fft or config.n_fft % (2 * hop_length):
            raise ValueError(
                f"carrier.n_fft {config.n_fft}: expected an even number of hops of {hop_length} that divides {n_fft}"
            )
        self.config, self.hop_length = config, hop_length
        self.generator_fft, self.n_fft = n_fft, config.n_fft
        self.step = n_fft // config.n_fft  # bins of the generator to one of the carrier
        self.channels = 2 * (config.n_fft // 2 + 1) + 1
        hertz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
        way = ((hertz[:: self.step] - config.from_hz) / (sample_rate / 2 - config.from_hz)).clamp(min=0)
        pulses = config.pulses_low + (config.pulses_high - config.pulses_low) * way
        carried = ((hertz - config.from_hz) / (config.full_hz - config.from_hz)).clamp(0, 1)
        ripple = n_fft // hop_length  # bins between lines at the frame rate
        # of powers in windows of n_fft those in windows of config.n_fft
        smoothing = torch.ones(ripple + 1) / ripple / self.step
        smoothing[[0, -1]] /= 2
        self.reach = ripple // 2
        self.register_buffer("smoothing", smoothing[None, None], persistent=False)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("pulses", pulses[:, None], persistent=False)
        self.register_buffer("voiced_share", carried[:, None], persistent=False)
        self.register_buffer(
            "unvoiced_share", (hertz >= config.unvoiced_hz).float()[:, None], persistent=False
        )

    def forward(self, pulses: Tensor, noise: Tensor, cycles: Tensor, voiced: Tensor) -> Tensor:
        """The carrier of an excitation.

        Args:
            pulses: pulse train of unit power [B, T], 0 where unvoiced.
            noise: of unit power [B, T].
            cycles: 0 to 1, how much of a period has passed since the last pulse [B, T].
            voiced: 0 or 1 [B, T].

        Returns:
            [B, 2 * C + 1, K]: real and imaginary part, of unit power on average, and the voiced share of each frame.
        """
        width = self.config.swell
        near = torch.minimum(cycles, 1 - cycles)
        swell = (-(near / width).square() / 2).exp() / (width * torch.pi**0.5) ** 0.5  # of unit power
        noise = torch.where(voiced > 0, swell * noise, noise)
        share = F.avg_pool1d(voiced[:, None], self.hop_length)  # [B, 1, K]
        periodic = self.pulses * share
        weights = periodic.sqrt(), (1 - periodic).sqrt()
        (real, imaginary), (noise_real, noise_imaginary) = self.analyse(pulses), self.analyse(noise)
        # of unvoiced noise the phases alone: what it is shaped to should not be speckled by chance once more
        size = (noise_real.square() + noise_imaginary.square()).sqrt().clamp(min=1e-4)
        even = weights[1] * (share + (1 - share) / size)
        real = weights[0] * real + even * noise_real
        imaginary = weights[0] * imaginary + even * noise_imaginary
        return torch.cat([real, imaginary, share], 1)

    def carried(self, magnitude: Tensor, angle: Tensor, carrier: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes and the generator's angles [B, F, K], what `forward` gave -> two complex spectra.

        Returns:
            the generator's own part [B, F, K], and the carried one [B, C, K], in windows of the carrier.
        """
        bins = (self.channels - 1) // 2
        voiced = carrier[:, -1:]
        # not 1 - share: of a share that is 1 but for rounding the root would be audible
        kept = voiced * (1 - self.voiced_share) + (1 - voiced) * (1 - self.unvoiced_share)
        share = voiced * self.voiced_share + (1 - voiced) * self.unvoiced_share
        own = torch.polar(kept.clamp(min=0).sqrt() * magnitude, angle)
        # a generator whose phases turn alike in every frame has learnt magnitudes with the same ripple, which mels do not see
        power = F.pad(magnitude.square().transpose(1, 2), (self.reach, self.reach), mode="replicate")
        smooth = F.conv1d(power.flatten(0, 1)[:, None], self.smoothing, stride=self.step)
        smooth = smooth.view(power.shape[0], power.shape[1], -1).transpose(1, 2)
        shape = (share[:, :: self.step] * smooth).clamp(min=1e-20).sqrt()
        return own, torch.complex(shape * carrier[:, :bins], shape * carrier[:, bins:-1])

    def overlap_add(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        """`speech.modules.istft.overlap_add` with the carrier's frames: [B, C, K] -> [B, T]."""
        return overlap_add(spec, self.window, self.hop_length, mask)

    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """wav [B, T] -> real and imaginary part [B, C, K] of frames that are centred on sample hop * (k + 1/2), as the generator's."""
        pad = (self.n_fft - self.hop_length) // 2
        padded = F.pad(wav, (pad, pad))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        )
        spectrum = spectrum / self.window.square().sum().sqrt()
        return spectrum.real, spectrum.imag
