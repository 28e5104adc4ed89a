"""Spectral losses and figures of SpeechSR's training, computed in float32. B batch, T samples."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_FLOOR = 1e-5  # of magnitudes; 16-bit noise lies about here


def multi_resolution_stft(
    made: Tensor, wide: Tensor, sizes: Sequence[int], floor: float = LOG_FLOOR
) -> Tensor:
    """Spectral convergence plus L1 of log magnitudes, averaged over STFT sizes (Parallel WaveGAN, Yamamoto et al. 2020).

    The mel distance averages wide bands at high frequencies, which is where super-resolution works; this one does not.

    Args:
        made, wide: [B, T], T at least the largest size.
        sizes: of the STFTs in samples; hop = size / 4, Hann window.
        floor: of the magnitudes whose logarithms are compared.
    """
    total = wide.new_zeros((), dtype=torch.float32)
    for size in sizes:
        a, b = magnitude(made, size), magnitude(wide, size)
        convergence = (a - b).norm() / b.norm().clamp(min=1e-3)
        logs = F.l1_loss(a.clamp(min=floor).log(), b.clamp(min=floor).log())
        total = total + convergence + logs
    return total / len(sizes)


def magnitude(wav: Tensor, size: int) -> Tensor:
    """wav [B, T] -> STFT magnitudes [B, size // 2 + 1, N] of a full-scale sine's order of 1."""
    with torch.autocast(wav.device.type, enabled=False):
        window = torch.hann_window(size, device=wav.device)
        spec = torch.stft(wav.float(), size, size // 4, window=window, center=False, return_complex=True) / (
            size / 4
        )
        # the root has no gradient at 0
        return (spec.real.square() + spec.imag.square() + 1e-14).sqrt()


def log_spectral_distance(
    made: Tensor, wide: Tensor, sample_rate: int, above_hz: float = 0.0, size: int = 2048
) -> Tensor:
    """Root mean square over frequency of the difference of log10 power, mean over frames: a scalar, in bels.

    Args:
        made, wide: [B, T]; a piece shorter than `size` is followed by silence.
        above_hz: only frequencies above it count.
    """
    missing = max(0, size - wide.shape[-1])
    first = int(above_hz * size / sample_rate) + 1 if above_hz else 0
    powers = [2 * magnitude(F.pad(x, (0, missing)), size).clamp(min=LOG_FLOOR).log10() for x in (made, wide)]
    difference = (powers[0] - powers[1])[:, first:]
    return difference.square().mean(dim=1).sqrt().mean()
