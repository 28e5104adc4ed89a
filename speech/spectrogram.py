"""Linear and log-mel spectrograms: the one definition of both, and of the signal parameters (HierSpeech++ spec 2.1, 2.2).

The mel follows torchaudio's `MelSpectrogram`: centred STFT with reflect padding, periodic Hann window, power 2, HTK mel
triangles without area normalisation, then ln(mel + 0.001). The last frame is dropped, so that T samples give
N = T // hop_length frames. Shapes: T samples, N frames, M mel bins, F = n_fft // 2 + 1 frequency bins.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEL_FLOOR = 1e-3  # added to the mel power, not clamped, before the logarithm


@dataclass
class AudioConfig:
    """Signal parameters of a model; two models fit together only if these are equal."""

    sample_rate: int = 16000
    n_fft: int = 1280
    win_length: int = 1280
    hop_length: int = 320
    n_mels: int = 80
    f_min: float = 0.0  # Hz
    f_max: float = 8000.0  # Hz

    def __post_init__(self):
        if min(self.sample_rate, self.n_fft, self.win_length, self.hop_length, self.n_mels) < 1:
            raise ValueError(
                f"audio: sample_rate, n_fft, win_length, hop_length and n_mels must be positive, got {self}"
            )
        if self.win_length > self.n_fft:
            raise ValueError(f"audio: win_length {self.win_length} must not exceed n_fft {self.n_fft}")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"audio: expected 0 <= f_min < f_max <= {self.sample_rate / 2:g} Hz, got {self.f_min:g} and {self.f_max:g}"
            )


def short_windows() -> AudioConfig:
    """25 ms every 10 ms, for models that tell sounds and speakers apart."""
    return AudioConfig(n_fft=512, win_length=400, hop_length=160)


def mel_filterbank(config: AudioConfig) -> Tensor:
    """HTK mel triangles with peak 1 -> [F, M] (mel = 2595 log10(1 + f / 700))."""
    frequencies = torch.linspace(0, config.sample_rate // 2, config.n_fft // 2 + 1)
    low, high = (2595.0 * math.log10(1.0 + f / 700.0) for f in (config.f_min, config.f_max))
    mels = torch.linspace(low, high, config.n_mels + 2)
    corners = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)  # Hz, [M + 2]
    widths = corners.diff()
    slopes = corners[None, :] - frequencies[:, None]  # [F, M + 2]
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0)


class LinearSpectrogram(nn.Module):
    """Magnitude (power=1) or power (power=2) spectrogram: wav [B, T] -> spec [B, n_fft // 2 + 1, T // hop_length]."""

    def __init__(self, config: AudioConfig, power: float = 1.0):
        super().__init__()
        self.config = config
        self.power = power
        self.register_buffer("window", torch.hann_window(config.win_length), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, T] in [-1, 1] -> spec [B, F, N]; always computed in float32."""
        config = self.config
        n_frames = wav.shape[-1] // config.hop_length
        pad = config.n_fft // 2
        # Reflection needs more samples than it adds; a shorter signal is followed by silence first.
        wav = F.pad(wav.float(), (0, max(0, pad + 1 - wav.shape[-1])))
        with torch.autocast(wav.device.type, enabled=False):
            wav = F.pad(wav[:, None], (pad, pad), mode="reflect")[:, 0]
            spec = torch.stft(
                wav,
                config.n_fft,
                config.hop_length,
                config.win_length,
                self.window,
                center=False,
                return_complex=True,
            )[..., :n_frames]
            power = spec.real.square() + spec.imag.square()
            if self.power == 2.0:
                return power
            # The floor keeps the gradient of the root finite at exact silence.
            return power.clamp(min=1e-14).pow(self.power / 2)


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram ln(mel power + 0.001): wav [B, T] -> mel [B, M, T // hop_length]."""

    def __init__(self, config: AudioConfig):
        super().__init__()
        self.config = config
        self.spectrogram = LinearSpectrogram(config, power=2.0)
        self.register_buffer("filterbank", mel_filterbank(config), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, T] in [-1, 1] -> log-mel [B, M, N]; always computed in float32."""
        spec = self.spectrogram(wav)  # [B, F, N]
        with torch.autocast(spec.device.type, enabled=False):
            return torch.log(self.filterbank.T @ spec + MEL_FLOOR)
