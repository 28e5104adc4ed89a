"""Resampling by a Kaiser-windowed sinc, as the published HierSpeech++ pipelines hear recordings (hand-over section 8.1).

Band-limited interpolation (J. O. Smith, "Digital Audio Resampling Home Page", ccrma.stanford.edu/~jos/resample): every
output sample is the sum of its neighbours in the input, weighted by a sinc that a window ends after a few zero
crossings. Zero crossings, cutoff and window are those of torchaudio's "sinc_interp_kaiser", which the published models
were trained and used with. Everything of our own goes through soxr, `speech.audio.resample`, which has the steeper filter.

Shapes: T input samples, P phases (places of an output sample between two input samples), K taps.
"""

import math

import numpy as np

ZERO_CROSSINGS = 6  # of the sinc, on either side
ROLLOFF = 0.99  # cutoff as a share of the lower of the two Nyquist frequencies
KAISER_BETA = 14.769656459379492
PHASE_BLOCK = 256  # phases whose taps are held at once: rates without a common divisor have thousands


def resample_kaiser(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """wav [T] at from_rate Hz -> float32 [ceil(T * to_rate / from_rate)] at to_rate Hz.

    Sample m of the output lies at m / to_rate seconds; what lies before and after the recording is silence. Any pair of
    whole rates will do; memory is that of the input and the output.

    Raises:
        ValueError: a rate that is not a positive whole number.
    """
    for rate in (from_rate, to_rate):
        if rate < 1 or rate != int(rate):
            raise ValueError(f"sample rate {rate}: expected a positive whole number of Hz.")
    wav = np.asarray(wav, dtype=np.float32)
    divisor = math.gcd(int(from_rate), int(to_rate))
    step, n_phases = int(from_rate) // divisor, int(to_rate) // divisor
    if step == n_phases or len(wav) == 0:
        return wav
    # Output sample m = n_phases * f + phase lies at input sample step * f + phase * step / n_phases.
    out = np.empty(-(-len(wav) * n_phases // step), dtype=np.float32)
    reach = taps_reach(step, n_phases)
    padded = np.pad(wav, (reach, reach + step + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 2)
    for first in range(0, min(n_phases, len(out)), PHASE_BLOCK):
        phases = np.arange(first, min(first + PHASE_BLOCK, n_phases, len(out)))
        for phase, taps in zip(phases, kaiser_taps(phases, step, n_phases), strict=True):
            start = phase * step // n_phases
            count = -(-(len(out) - phase) // n_phases)
            out[phase::n_phases] = windows[start::step][:count] @ taps
    return out


def kaiser_taps(phases: np.ndarray, step: int, n_phases: int) -> np.ndarray:
    """The weights [P, K] of the input samples around the outputs at `phases` [P], K = 2 * reach + 2.

    Tap k belongs to the input sample k - reach after the last one that is not later than the output.
    """
    reach = taps_reach(step, n_phases)
    cutoff = ROLLOFF * min(1.0, n_phases / step)  # in units of the input's Nyquist frequency
    fractions = (phases * step % n_phases) / n_phases  # [P] of an input sample
    crossings = cutoff * (
        np.arange(-reach, reach + 2) - fractions[:, None]
    )  # [P, K] distance in zero crossings
    window = np.i0(KAISER_BETA * np.sqrt((1 - (crossings / ZERO_CROSSINGS) ** 2).clip(0))) / np.i0(
        KAISER_BETA
    )
    taps = np.where(np.abs(crossings) < ZERO_CROSSINGS, cutoff * np.sinc(crossings) * window, 0.0)
    return taps.astype(np.float32)


def taps_reach(step: int, n_phases: int) -> int:
    """How many input samples the sinc reaches to either side."""
    return math.ceil(ZERO_CROSSINGS / (ROLLOFF * min(1.0, n_phases / step)))
