"""References of a narrow band (telephones, 8 kHz files, strong compression): where their sound ends, and what is put beyond.

A style made of such a recording is that of a muffled voice. So the bands that it lacks are filled first, with what the voice's
own model speaks of the recording's sounds in an average voice, as loud as both are together at the edge (docs/lite.md, experiment 45).

Shapes: T samples, K bands.
"""

import numpy as np

BAND_HZ, WINDOW_SECONDS, HOP_SECONDS = 62.5, 0.032, 0.01
LOUD = 95.0  # percentile of the frames of each band that is its level
ABSENT_DB, FAINT_DB = -55.0, -42.0  # under the loudest band: nothing there; the edge, where something is
ABSENT_LOW_DB, FAINT_LOW_DB = -30.0, -15.0  # the same for low bands, which hold the most of speech
HIGHEST = 7 / 8  # of half the sample rate: sound up to there is called wide
LOWEST_HZ = 125.0  # sound below that is all there is to ask for
EDGE = 1.6, 2.5  # how far into the band, as a factor on its upper and lower edge, levels are compared
MOST_GAIN = 4.0


def occupied_band(wav: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Where the sound of a recording begins and ends, Hz; (0, sample_rate / 2) of one that is wide enough.

    Args:
        wav: [T] at `sample_rate` Hz.
    """
    half = sample_rate / 2
    levels = _levels_db(wav, sample_rate)
    edges = np.arange(len(levels) + 1) * BAND_HZ
    high = edges[_last(levels >= ABSENT_DB)]
    if high > HIGHEST * half:
        return 0.0, half
    high = edges[_last(levels >= FAINT_DB)]
    if edges[np.argmax(levels >= ABSENT_LOW_DB)] < LOWEST_HZ:
        return 0.0, float(high)
    return float(edges[np.argmax(levels >= FAINT_LOW_DB)]), float(high)


def fill_bands(wav: np.ndarray, copy: np.ndarray, low: float, high: float, sample_rate: int) -> np.ndarray:
    """wav [T] from `low` to `high` Hz, `copy` [T] beyond, as loud as wav next to the edges -> float32 [T]."""
    spectrum, other = np.fft.rfft(wav), np.fft.rfft(copy)
    hz = np.fft.rfftfreq(len(wav), 1 / sample_rate)
    filled = np.where((hz >= low) & (hz <= high), spectrum, 0)
    for beyond, near in (
        (hz > high, (hz > high / EDGE[0]) & (hz <= high)),
        (hz < low, (hz >= low) & (hz < EDGE[1] * low)),
    ):
        ours, theirs = (np.square(np.abs(x[near])).sum() for x in (spectrum, other))
        filled[beyond] = min(np.sqrt(ours / max(theirs, 1e-12)), MOST_GAIN) * other[beyond]
    return np.fft.irfft(filled, len(wav)).astype(np.float32)


def _levels_db(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """[K] of bands `BAND_HZ` wide, in loud frames, over the loudest of them."""
    window, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, (0, max(0, window - len(wav)))), window)
    power = np.square(np.abs(np.fft.rfft(frames[::hop] * np.hanning(window))))
    bins = round(BAND_HZ * WINDOW_SECONDS)
    bands = power[:, : power.shape[1] // bins * bins].reshape(len(power), -1, bins).mean(2)
    levels = 10 * np.log10(np.percentile(bands, LOUD, axis=0) + 1e-12)
    return levels - levels.max()


def _last(there: np.ndarray) -> int:
    """One behind the last band that is there."""
    return len(there) - int(np.argmax(there[::-1]))
