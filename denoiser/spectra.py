"""What denoisers share: compressed spectra in, a cleaned wave out. B batch, T samples, N frames (every `hop_length` samples, the
first one centred on sample 0), F frequency bins."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOTHING = 1e-7  # magnitude under which a bin is empty: 0 keeps its slope finite, and levelled speech lies at 1 to 100
SILENCE_RMS = 1e-12  # -240 dB re full scale; below, no gain could make it speech


@dataclass
class DenoiserOutput:
    """The spectrum of the clean speech as predicted."""

    magnitude: Tensor  # [B, F, N], compressed
    phase: Tensor  # [B, F, N] in radians, between -2 pi and 2 pi

    @property
    def spec(self) -> Tensor:
        """The compressed complex spectrum [B, F, N, 2]: real and imaginary part."""
        magnitude = self.magnitude.float()
        return torch.stack([magnitude * self.phase.cos(), magnitude * self.phase.sin()], dim=-1)


def check_spectra(n_fft: int, hop_length: int, win_length: int, compression: float) -> None:
    """Refuses sizes of spectra that make none: ValueError."""
    if not 0 < hop_length < win_length <= n_fft:
        raise ValueError(
            f"expected hop_length < win_length <= n_fft, got {hop_length}, {win_length}, {n_fft}"
        )
    if not 0 < compression <= 1:
        raise ValueError(f"compression must lie above 0 and at most at 1, got {compression}")


class SpectralDenoiser(nn.Module):
    """Speech enhancement on compressed magnitude and phase; subclasses say what `forward` makes of them, and are `Pretrained`.

    Their `config` has sample_rate, n_fft, hop_length, win_length (samples) and compression.
    """

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.win_length), persistent=False)

    def forward(self, magnitude: Tensor, phase: Tensor) -> DenoiserOutput:
        """Noisy magnitude and phase, each [B, F, N] as `analyse` gives them -> those of the clean speech."""
        raise NotImplementedError

    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """wav [B, T], T > n_fft / 2 -> compressed magnitude and phase, each [B, F, N], N = T // hop_length + 1."""
        config = self.config
        spec = torch.stft(
            wav.float(),
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window.float(),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        magnitude = spec.abs()
        compressed = magnitude.clamp(min=NOTHING) ** config.compression
        return torch.where(magnitude > NOTHING, compressed, 0.0), spec.angle()

    def synthesise(self, magnitude: Tensor, phase: Tensor, length: int) -> Tensor:
        """Compressed magnitude and phase, each [B, F, N] -> wav [B, length]."""
        config = self.config
        spec = torch.polar(magnitude.float() ** (1 / config.compression), phase.float())
        return torch.istft(
            spec,
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window.float(),
            center=True,
            length=length,
        )

    @torch.inference_mode()
    def infer(self, wav: Tensor, gain: Tensor | None = None) -> Tensor:
        """Noisy speech -> clean speech of the same length and level; silence stays silence.

        Args:
            wav: [B, T] at `sample_rate`, T > 0; a batch gives what its utterances give one by one.
            gain: factors [B] that bring `wav` to the level the model works at; None = `level_gain` of each utterance.
                The output is divided by them again.

        Returns:
            [B, T] in float32.

        Raises:
            ValueError: if `wav` has another shape or no samples.
        """
        if wav.dim() != 2 or wav.shape[1] == 0:
            raise ValueError(f"expected wav of shape [B, T] with T > 0, got {list(wav.shape)}")
        length = wav.shape[-1]
        gain = (level_gain(wav) if gain is None else gain.to(wav.device))[:, None]
        # Whole frames, so that no sample at the end is lost, and enough of them to reflect at the ends.
        whole = max(length, self.config.n_fft) + self.config.hop_length - 1
        whole -= whole % self.config.hop_length
        levelled = F.pad(wav.float() * gain, (0, whole - length))
        magnitude, phase = self.analyse(levelled)
        dtype = next(self.parameters()).dtype
        out = self(magnitude.to(dtype), phase.to(dtype))
        clean = self.synthesise(out.magnitude, out.phase, whole)[:, :length]
        return torch.where(gain > 0, clean / gain, 0.0)


def level_gain(wav: Tensor) -> Tensor:
    """The factor that brings wav [B, T] to an RMS of 1, the level a `Denoiser` works at -> [B]; 0 = silence.

    In float32 and in this order, as the published code does: at the first frame and in the lowest and highest bin the sign
    of a phase of 180 degrees hangs on the last digit.
    """
    energy = wav.float().square().sum(dim=-1)
    gain = torch.sqrt(wav.shape[-1] / energy)
    return torch.where(energy > wav.shape[-1] * SILENCE_RMS**2, gain, 0.0)
