"""Spectra of exported graphs as plain convolutions with a Fourier basis.

ONNX has operators for them, but onnxruntime computes those many times slower than a matrix product of the same size
(docs/export.md has figures), and an inverse STFT is none of them. So every module that has a spectrum in it is replaced, for
export alone, by a subclass whose analysis is one convolution and whose synthesis is one transposed convolution. Weights,
names and results (to rounding) are those of the module.

Shapes: B batch, T samples, N frames, F = n_fft // 2 + 1 frequency bins.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoiser import BandDenoiser, Denoiser
from denoiser.spectra import NOTHING, SpectralDenoiser
from hierspeech.synthesizer.carrier import Carrier
from hierspeech.synthesizer.harmonic import HarmonicSource
from hierspeech.synthesizer.istft import ISTFTGenerator
from speech.spectrogram import LinearSpectrogram
from speechsr.istft_model import ISTFTSpeechSR

SMALLEST_ENVELOPE = 1e-11  # as torch.istft divides; beyond it nothing is left of the signal


def replace_spectra(model: nn.Module) -> nn.Module:
    """Replaces the spectra in `model` in place, for export; returns the same model."""
    for module in model.modules():
        for kind, (replacement, prepare) in REPLACEMENTS.items():
            if type(module) is kind:
                prepare(module)
                module.__class__ = replacement
    return model


def analysis_basis(window: Tensor, n_fft: int) -> Tensor:
    """Weights [2F, 1, n_fft] of the convolution that gives the real, then the imaginary parts of windowed frames."""
    angle = _angles(n_fft)  # [F, n_fft]
    basis = torch.cat([angle.cos(), _exact_sine(angle, n_fft)]) * _centred(window, n_fft)
    return basis.float()[:, None]


def synthesis_basis(window: Tensor, n_fft: int) -> Tensor:
    """Weights [2F, 1, n_fft] of the transposed convolution that adds up windowed inverse transforms."""
    angle = _angles(n_fft)
    share = torch.full((len(angle), 1), 2.0, dtype=torch.float64)
    share[0] = share[-1] = 1.0  # every other bin stands for its mirror image too
    basis = torch.cat([share * angle.cos(), share * _exact_sine(angle, n_fft)]) / n_fft
    return (basis * _centred(window, n_fft)).float()[:, None]


def envelope_basis(window: Tensor, n_fft: int) -> Tensor:
    """Weights [1, 1, n_fft] of the transposed convolution that adds up squared windows."""
    return _centred(window, n_fft).square().float()[None, None]


def _angles(n_fft: int) -> Tensor:
    bins, samples = torch.arange(n_fft // 2 + 1), torch.arange(n_fft)
    return (bins[:, None] * samples % n_fft).double() * (2 * math.pi / n_fft)  # [F, n_fft]


def _exact_sine(angle: Tensor, n_fft: int) -> Tensor:
    """-sin, with the zeros of the lowest and the highest bin exact, so that phases there are 0 or 180 degrees."""
    sine = -angle.sin()
    sine[0] = sine[-1] = 0.0
    return sine


def _centred(window: Tensor, n_fft: int) -> Tensor:
    left = (n_fft - len(window)) // 2
    return F.pad(window.detach().double().cpu(), (left, n_fft - len(window) - left))


def analyse(wav: Tensor, basis: Tensor, hop_length: int) -> tuple[Tensor, Tensor]:
    """wav [B, T], padded already -> real and imaginary part, each [B, F, N]."""
    real, imaginary = F.conv1d(wav[:, None], basis, stride=hop_length).chunk(2, dim=1)
    return real, imaginary


def overlap_add(real: Tensor, imaginary: Tensor, basis: Tensor, hop_length: int) -> Tensor:
    """Parts of a spectrum, each [B, F, N] -> sum of windowed inverse transforms [B, (N - 1) * hop_length + n_fft]."""
    return F.conv_transpose1d(torch.cat([real, imaginary], 1), basis, stride=hop_length)[:, 0]


def _between_hops(spec: Tensor, module: nn.Module, n_fft: int, hop: int, mask: Tensor | None) -> Tensor:
    """`speech.modules.istft.overlap_add` with the bases of `module`."""
    wav = overlap_add(spec.real, spec.imag, module.synthesis, hop)
    ones = torch.ones_like(spec.real[:, :1]) if mask is None else mask
    envelope = F.conv_transpose1d(ones, module.squares, stride=hop)[:, 0]
    pad = (n_fft - hop) // 2
    return wav[:, pad:-pad] / envelope[:, pad:-pad].clamp(min=1e-4)


class _LinearSpectrogram(LinearSpectrogram):
    def forward(self, wav: Tensor) -> Tensor:
        pad, n_frames = self.config.n_fft // 2, wav.shape[-1] // self.config.hop_length
        wav = F.pad(wav[:, None], (pad, pad), mode="reflect")[:, 0]
        real, imaginary = analyse(wav, self.analysis, self.config.hop_length)
        power = (real.square() + imaginary.square())[..., :n_frames]
        return power if self.power == 2.0 else power.clamp(min=1e-14).pow(self.power / 2)


class _HarmonicSource(HarmonicSource):
    def spectrum(self, wav: Tensor) -> Tensor:
        pad = (self.config.n_fft - self.config.hop_length) // 2
        real, imaginary = analyse(F.pad(wav, (pad, pad)), self.analysis, self.config.hop_length)
        magnitude = (real.square() + imaginary.square()).sqrt().clamp(min=1e-5)
        factor = magnitude.sqrt() / magnitude * 0.3
        return torch.cat([real * factor, imaginary * factor], 1)


class _Carrier(Carrier):
    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        pad = (self.n_fft - self.hop_length) // 2
        return analyse(F.pad(wav, (pad, pad)), self.analysis, self.hop_length)

    def overlap_add(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        return _between_hops(spec, self, self.n_fft, self.hop_length, mask)


class _ISTFTGenerator(ISTFTGenerator):
    def overlap_add(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        return _between_hops(spec, self, self.config.n_fft, self.config.hop_length, mask)


class _ISTFTSpeechSR(ISTFTSpeechSR):
    def analyse(self, wav: Tensor) -> Tensor:
        # One sample less than a frame of silence gives as many frames as silence up to a whole number of frames does.
        pad, hop = self.config.n_fft // 2, self.config.hop_length
        real, imaginary = analyse(F.pad(wav[:, 0], (pad, pad + hop - 1)), self.analysis, hop)
        return torch.complex(real, imaginary)[:, : self.kept]

    def synthesise(self, spec: Tensor, samples: int) -> Tensor:
        scale, pad = self.config.scale, self.out_fft // 2
        wav = overlap_add(spec.real * scale, spec.imag * scale, self.synthesis, self.out_hop)
        envelope = F.conv_transpose1d(torch.ones_like(spec.real[:, :1]), self.squares, stride=self.out_hop)[
            :, 0
        ]
        return (wav / envelope.clamp(min=SMALLEST_ENVELOPE))[:, None, pad : pad + samples]


class _SpectralDenoiser(SpectralDenoiser):
    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        pad = self.config.n_fft // 2
        wav = F.pad(wav[:, None], (pad, pad), mode="reflect")[:, 0]
        real, imaginary = analyse(wav, self.analysis, self.config.hop_length)
        magnitude = (real.square() + imaginary.square()).sqrt()
        compressed = magnitude.clamp(min=NOTHING) ** self.config.compression
        # ONNX has no atan2, and what the exporter makes of it turns negative numbers without imaginary part to -180 degrees.
        phase = torch.where((imaginary == 0) & (real < 0), math.pi, torch.atan2(imaginary, real))
        return torch.where(magnitude > NOTHING, compressed, 0.0), phase

    def synthesise(self, magnitude: Tensor, phase: Tensor, length: int) -> Tensor:
        magnitude, hop, pad = (
            magnitude ** (1 / self.config.compression),
            self.config.hop_length,
            self.config.n_fft // 2,
        )
        wav = overlap_add(magnitude * phase.cos(), magnitude * phase.sin(), self.synthesis, hop)
        envelope = F.conv_transpose1d(torch.ones_like(phase[:, :1]), self.squares, stride=hop)[:, 0]
        return (wav / envelope.clamp(min=SMALLEST_ENVELOPE))[:, pad : pad + length]


class _Denoiser(_SpectralDenoiser, Denoiser):
    pass


class _BandDenoiser(_SpectralDenoiser, BandDenoiser):
    pass


def _add(module: nn.Module, analysis: Tensor, synthesis: Tensor, n_fft: int, out_fft: int) -> None:
    """Gives a module the bases for its windows; those that it does not use do not get into the graph."""
    module.register_buffer("analysis", analysis_basis(analysis, n_fft), persistent=False)
    module.register_buffer("synthesis", synthesis_basis(synthesis, out_fft), persistent=False)
    module.register_buffer("squares", envelope_basis(synthesis, out_fft), persistent=False)


def _one_window(module: nn.Module) -> None:
    _add(module, module.window, module.window, module.config.n_fft, module.config.n_fft)


def _two_windows(module: nn.Module) -> None:
    _add(module, module.window, module.out_window, module.config.n_fft, module.out_fft)


def _window_of_carrier(module: nn.Module) -> None:
    _add(module, module.window, module.window, module.n_fft, module.n_fft)


REPLACEMENTS = {
    Carrier: (_Carrier, _window_of_carrier),
    LinearSpectrogram: (_LinearSpectrogram, _one_window),
    HarmonicSource: (_HarmonicSource, _one_window),
    ISTFTGenerator: (_ISTFTGenerator, _one_window),
    ISTFTSpeechSR: (_ISTFTSpeechSR, _two_windows),
    Denoiser: (_Denoiser, _one_window),
    BandDenoiser: (_BandDenoiser, _one_window),
}
"""Module class -> (subclass for export, what gives an instance its bases)."""
