"""What the denoiser is taught with (MP-SENet, Lu et al. 2023, section 2.3), as pure functions in float32.

B batch, T samples, F frequency bins, N frames; magnitudes and complex spectra are compressed, |X| ** 0.3 with the phase
kept. Phase distances are in radians.
"""

import math

import torch
from torch import Tensor


def magnitude_loss(made: Tensor, clean: Tensor) -> Tensor:
    """Mean squared difference of compressed magnitudes [B, F, N]."""
    return (made - clean).square().mean()


def phase_loss(made: Tensor, clean: Tensor) -> Tensor:
    """Anti-wrapping distance of phases [B, F, N] (Ai and Ling 2023): instantaneous, group delay, angular frequency.

    The phase itself depends on where a frame starts, its differences along frequency (group delay) and time
    (instantaneous angular frequency) do much less: the three are added.
    """
    difference = made - clean
    return (
        _unwrapped(difference).mean()
        + _unwrapped(difference.diff(dim=1)).mean()
        + _unwrapped(difference.diff(dim=2)).mean()
    )


def complex_loss(made: Tensor, clean: Tensor) -> Tensor:
    """Mean squared distance in the complex plane: spectra [B, F, N, 2] (real, imaginary) -> scalar.

    The published code weighs the mean over both parts twice, which is this mean of squared distances.
    """
    return (made.float() - clean.float()).square().sum(-1).mean()


def time_loss(made: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of waves [B, T]."""
    return (made.float() - clean.float()).abs().mean()


def polar(magnitude: Tensor, phase: Tensor) -> Tensor:
    """Magnitude and phase [B, F, N] -> (real, imaginary) [B, F, N, 2]."""
    return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()], dim=-1)


def compressed_spectrum(
    wav: Tensor, n_fft: int, hop_length: int, win_length: int, compression: float
) -> Tensor:
    """wav [B, T] -> X |X| ** (compression - 1) as [B, F, N, 2], with finite gradients where X is 0.

    The same spectrum as the model's `analyse` gives as magnitude and phase, whose slopes are infinite at silence.
    """
    window = torch.hann_window(win_length, device=wav.device)
    spec = torch.stft(
        wav.float(),
        n_fft,
        hop_length,
        win_length,
        window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    spec = torch.view_as_real(spec)
    power = spec.square().sum(-1, keepdim=True) + 1e-9
    return spec * power ** ((compression - 1) / 2)


def _unwrapped(difference: Tensor) -> Tensor:
    """The distance of two angles on the circle, 0 to pi."""
    return (difference - 2 * math.pi * torch.round(difference / (2 * math.pi))).abs()
