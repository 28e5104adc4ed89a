"""Orthogonal wavelet analysis: a waveform split into equally wide bands, as strided convolutions.

HierSpeech++ judges super-resolved speech in the four bands that two levels of a discrete wavelet transform make of 48 kHz
audio; each has a rate of 12 kHz. Which wavelet is not said. Ours are Daubechies' (I. Daubechies, "Ten Lectures on
Wavelets", SIAM 1992, chapter 6), computed from their definition by `daubechies`; the tree of bands is the wavelet packet
(Coifman and Wickerhauser 1992). B batch, T samples, L taps.
"""

from math import comb

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def daubechies(moments: int) -> np.ndarray:
    """The low-pass filter of Daubechies' wavelet with `moments` vanishing moments: float64 [2 * moments], norm 1.

    Among all orthogonal filters of its length it is the flattest at 0 Hz and at the Nyquist frequency. One moment gives
    Haar's wavelet (1, 1) / sqrt(2). The minimum-phase root is taken of each pair.
    """
    if not 1 <= moments <= 16:  # the roots of higher orders lose their digits
        raise ValueError(f"expected 1 to 16 vanishing moments, got {moments}")
    # |H|^2 = cos^2N(w / 2) * P(sin^2(w / 2)); a root y of P gives two roots z, 1 / z of H through y = (2 - z - 1 / z) / 4.
    polynomial = [comb(moments - 1 + k, k) for k in range(moments)][::-1]
    taps = np.ones(1)
    for y in np.roots(polynomial):
        pair = np.roots([1.0, 4 * y - 2, 1.0])
        taps = np.convolve(taps, [1.0, -pair[np.abs(pair).argmin()]])
    for _ in range(moments):
        taps = np.convolve(taps, [1.0, 1.0])
    taps = taps.real
    return taps * np.sqrt(2) / taps.sum()


class WaveletPacket(nn.Module):
    """Splits a waveform into 2**levels bands of equal width, ordered by frequency.

    The transform is orthogonal (it keeps energy, and its transpose is its inverse); a piece of audio is taken as periodic
    for that, since nobody knows its neighbours. The more vanishing moments, the less of a band leaks into the next one.

    Args:
        levels: of halving: 2 give four bands of a quarter of the sample rate each.
        moments: vanishing moments of the wavelet; 1 is Haar's.
    """

    def __init__(self, levels: int = 2, moments: int = 8):
        super().__init__()
        if levels < 1:
            raise ValueError(f"expected at least one level of wavelet analysis, got {levels}")
        self.levels = levels
        low = daubechies(moments)
        high = low[::-1] * (-1.0) ** np.arange(len(low))  # the quadrature mirror filter
        filters = torch.tensor(np.stack([low, high]), dtype=torch.float32)[:, None]  # [2, 1, L]
        self.register_buffer("filters", filters, persistent=False)
        # Halving the rate turns the spectrum of an upper half around: in it, "low" is the higher of the two next halves.
        self.order = [[i ^ (i // 2 % 2) for i in range(2 ** (level + 1))] for level in range(levels)]

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] -> bands [B, 2**levels, T / 2**levels], the lowest first; always computed in float32.

        Raises:
            ValueError: T no multiple of 2**levels, or too short for the filter.
        """
        taps, samples = self.filters.shape[-1], wav.shape[-1]
        if samples % 2**self.levels or samples >> (self.levels - 1) < max(taps - 2, 2):
            raise ValueError(
                f"{self.levels} levels of wavelet analysis with {taps} taps need a multiple of {2**self.levels} samples, "
                f"at least {max(taps - 2, 2) << (self.levels - 1)}, got {samples}"
            )
        with torch.autocast(wav.device.type, enabled=False):
            bands = wav.float()
            for order in self.order:
                batch, n_bands, length = bands.shape
                x = F.pad(bands.reshape(-1, 1, length), (0, taps - 2), mode="circular")
                halves = F.conv1d(x, self.filters, stride=2)  # [B * bands, 2, length / 2]
                bands = halves.reshape(batch, 2 * n_bands, length // 2)[:, order]
        return bands
