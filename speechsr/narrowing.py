"""What is left of a wideband recording at a low sample rate: a random low-pass filter, then one of several resamplers.

A model that has seen one filter learns to undo it and fails on all others (NU-Wave 2, Han and Lee 2022, trains on random
Chebyshev filters for that reason). The paper does not say how its inputs were made; all frequencies here are our choice
and stand in the configuration. Every filter is of linear or zero phase, so that input and target stay aligned. T samples.
"""

from collections.abc import Callable, Mapping

import numpy as np

from speech.audio import resample
from speech.resampling import resample_kaiser

LowPass = Callable[[np.ndarray, float, int, np.random.Generator], np.ndarray]
WINDOWS = ("hann", "hamming", "blackman")


def narrow(
    wav: np.ndarray,
    from_rate: int,
    to_rate: int,
    filters: Mapping[str, float],
    resamplers: Mapping[str, float],
    cutoff_range: tuple[float, float],
    order_range: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Filter wav [T] and resample it -> float32 [T * to_rate / from_rate].

    Args:
        filters, resamplers: names of `LOW_PASSES` and `RESAMPLERS` with their relative frequencies.
        cutoff_range: share of the narrow band (0 to to_rate / 2) that passes.
        order_range: of the filters; an IIR filter runs forwards and backwards, which doubles it.
    """
    low_pass, resampler = (draw(weights, rng) for weights in (filters, resamplers))
    cutoff = rng.uniform(*cutoff_range) * to_rate / from_rate
    order = int(rng.integers(order_range[0], order_range[1] + 1))
    filtered = LOW_PASSES[low_pass](np.asarray(wav, np.float64), cutoff, order, rng)
    return RESAMPLERS[resampler](filtered, from_rate, to_rate).astype(np.float32)


def draw(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of the names, as often as its weight says."""
    names = sorted(weights)  # not the order of the file: batches are a function of the seed
    chances = np.array([weights[name] for name in names], np.float64)
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def no_filter(wav: np.ndarray, cutoff: float, order: int, rng: np.random.Generator) -> np.ndarray:
    """Leave it to the resampler, as inference does."""
    return wav


def windowed_sinc(wav: np.ndarray, cutoff: float, order: int, rng: np.random.Generator) -> np.ndarray:
    """FIR filter by the window method: an ideal one cut off after `order` * 4 zero crossings on either side."""
    from scipy.signal import fftconvolve, firwin

    half = round(4 * order / cutoff)
    window = WINDOWS[rng.integers(len(WINDOWS))] if rng.random() < 0.5 else ("kaiser", rng.uniform(2.0, 14.0))
    return fftconvolve(wav, firwin(2 * half + 1, cutoff, window=window), mode="same")


def butterworth(wav: np.ndarray, cutoff: float, order: int, rng: np.random.Generator) -> np.ndarray:
    """No ripple, a gentle slope: some of what lies above the cut-off remains and is left to the resampler."""
    from scipy.signal import butter

    return _both_ways(butter(order, min(cutoff, 0.99), output="sos"), wav)


def chebyshev(wav: np.ndarray, cutoff: float, order: int, rng: np.random.Generator) -> np.ndarray:
    """Chebyshev's first kind: 0.05 to 1 dB of ripple in the pass band."""
    from scipy.signal import cheby1

    return _both_ways(cheby1(order, rng.uniform(0.05, 1.0), min(cutoff, 0.99), output="sos"), wav)


def elliptic(wav: np.ndarray, cutoff: float, order: int, rng: np.random.Generator) -> np.ndarray:
    """Ripple in both bands (0.05 to 1 dB, and 20 to 50 dB down), the steepest slope of its order."""
    from scipy.signal import ellip

    ripple, attenuation = rng.uniform(0.05, 1.0), rng.uniform(20.0, 50.0)
    return _both_ways(ellip(order, ripple, attenuation, min(cutoff, 0.99), output="sos"), wav)


def resample_by_fft(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Cut the spectrum off at to_rate / 2, nothing below it being touched: wav [T] -> [T * to_rate / from_rate]."""
    length = round(len(wav) * to_rate / from_rate)
    spectrum = np.fft.rfft(wav)[: (length + 1) // 2]
    return np.fft.irfft(spectrum, length) * (length / len(wav))


def _both_ways(sections: np.ndarray, wav: np.ndarray) -> np.ndarray:
    """Forwards and backwards: zero phase, twice the attenuation."""
    from scipy.signal import sosfiltfilt

    return sosfiltfilt(sections, wav)


LOW_PASSES: dict[str, LowPass] = {
    "none": no_filter,
    "sinc": windowed_sinc,
    "butterworth": butterworth,
    "chebyshev": chebyshev,
    "elliptic": elliptic,
}
RESAMPLERS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "soxr": resample,  # what inference hears recordings through ...
    "kaiser": resample_kaiser,  # ... and in the published pipelines
    "fft": resample_by_fft,
}
