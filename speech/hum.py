"""Mains hum: the steady line at 50 or 60 Hz, and at its multiples, that leads and transformers leave in recordings.

It is no part of a voice, but a pitch tracker follows it through pauses and weak vowels: one recording in five of
LibriSpeech has it. A line is known by its steadiness: in nearly every half second, pauses and speech alike, it stands out of
what lies beside it, as no voice does. Its amplitude is then followed over a second and taken off, which leaves everything
more than 2 Hz away as it was, and recordings without hum untouched.

Shapes: T samples, K places 0.25 s apart.
"""

import numpy as np

MAINS_HZ = (50.0, 60.0)
MULTIPLES = 6  # of the mains, that one included
DRIFT_HZ = 1.5  # how far a line may lie from its nominal place
STANDS_OUT_DB = 12.0  # above its surroundings, in three of four windows; hum had 24 to 27, six recordings without it at most 5.2
WINDOW_SECONDS = 0.5  # in which a line is looked for
MAX_WINDOWS = 240  # looked at, evenly spread
LOWEST_RATE = 1000  # Hz; below, the highest line has no surroundings
BLOCK_SECONDS = 60  # worked on at once, which bounds memory
HOP_SECONDS = (
    0.25  # between the places at which its amplitude is measured, each over twice that on either side
)


def find_hum(wav: np.ndarray, sample_rate: int) -> list[float]:
    """Frequencies in Hz of the hum of a recording [T], none where there is none or less than half a second."""
    width = int(WINDOW_SECONDS * sample_rate)
    if len(wav) < width or sample_rate < LOWEST_RATE:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(wav, width)[:: width // 4]
    windows = windows[:: -(-len(windows) // MAX_WINDOWS)] * np.hanning(width).astype(np.float32)
    # every half Hz, up to what lies around the highest line
    n_fft = 4 * width
    bins = int((MULTIPLES * (MAINS_HZ[-1] + DRIFT_HZ) + 25) / sample_rate * n_fft)
    power = np.stack([np.abs(np.fft.rfft(window, n_fft)[:bins]) ** 2 for window in windows])
    power += 1e-9 * width  # under -90 dB re full scale nothing stands out
    frequencies = np.arange(bins) * sample_rate / n_fft
    found: list[float] = []
    for mains in MAINS_HZ:
        first = _line(power, frequencies, mains, DRIFT_HZ)
        if first is not None:
            # in pauses, since harmonics of a voice pass by there
            quiet = power[power.sum(axis=1) <= np.quantile(power.sum(axis=1), 0.25)]
            multiples = (_line(quiet, frequencies, n * first, n * 0.25) for n in range(2, MULTIPLES + 1))
            found += [first, *(line for line in multiples if line is not None)]
    return found


def remove_hum(wav: np.ndarray, sample_rate: int, lines: list[float] | None = None) -> np.ndarray:
    """wav [T] without its hum -> [T]; a wav without hum is returned as it is.

    Args:
        lines: what `find_hum` says (default: it is asked).
    """
    lines = find_hum(wav, sample_rate) if lines is None else lines
    if not lines or not len(wav):
        return wav
    remover = HumRemover(sample_rate, lines)
    starts = range(0, len(wav), BLOCK_SECONDS * sample_rate)
    blocks = (wav[start : start + BLOCK_SECONDS * sample_rate] for start in starts)
    return np.concatenate([remover.push(block, last=k == len(starts) - 1) for k, block in enumerate(blocks)])


class HumRemover:
    """Takes known lines off a recording that comes block by block; what comes out is the same however it is cut."""

    def __init__(self, sample_rate: int, lines: list[float]) -> None:
        """lines: frequencies in Hz; with none everything passes."""
        self.sample_rate, self.lines = sample_rate, lines
        self._hop = int(HOP_SECONDS * sample_rate)
        self._held = np.zeros(0, np.float32)  # starts at a whole hop of the recording
        self._done = 0  # samples of it that went out

    def push(self, wav: np.ndarray, last: bool) -> np.ndarray:
        """The next block [T] -> what is ready [T'], up to a second less than came; all of it with the last one."""
        if not self.lines:
            return wav
        self._held = np.concatenate([self._held, wav.astype(np.float32)])
        reach = 3 * self._hop  # on either side of a sample, what decides what is taken off it
        stop = len(self._held) if last else self._whole_hops(len(self._held) - reach)
        if stop <= self._done:
            return np.zeros(0, np.float32)
        out = self._taken_off(self._held)[self._done : stop]
        passed = self._whole_hops(stop - reach)
        self._held, self._done = self._held[passed:], stop - passed
        return out

    def _whole_hops(self, samples: int) -> int:
        return max(samples, 0) // self._hop * self._hop

    def _taken_off(self, wav: np.ndarray) -> np.ndarray:
        # the amplitude at a place is measured from `half` before it to `half` behind
        hop, half = self._hop, 2 * self._hop
        window = np.hanning(2 * half + 1)[:-1].astype(np.float32)
        places = len(wav) // hop + 2
        weights = _windows(np.ones(len(wav), np.float32), places, hop, half) @ window
        time = np.arange(len(wav)) / self.sample_rate
        share = (np.arange(hop) / hop).astype(np.float32)
        out = wav.copy()
        for line in self.lines:
            turn = np.exp(2j * np.pi * line * time).astype(np.complex64)
            still = wav * turn.conj()  # the line, brought to 0 Hz
            amplitude = _windows(still, places, hop, half) @ window / np.maximum(weights, 1e-3)
            between = amplitude[:-1, None] * (1 - share) + amplitude[1:, None] * share
            out -= 2 * (between.reshape(-1)[: len(wav)] * turn).real
        return out


def _windows(x: np.ndarray, places: int, hop: int, half: int) -> np.ndarray:
    """x [T] -> what lies around each place [K, 2 * half], zeros outside."""
    padded = np.pad(x, (half, (places - 1) * hop + half - len(x)))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[::hop]


def _line(power: np.ndarray, frequencies: np.ndarray, at: float, drift: float) -> float | None:
    """The frequency near `at` that stands out in three of four windows of power [windows, bins], or None."""
    distance = np.abs(frequencies - at)
    near, around = distance <= max(drift, 0.5), (distance >= 8) & (distance <= 20)
    best = np.flatnonzero(near)[np.median(power[:, near], axis=0).argmax()]
    ratio = 10 * np.log10(power[:, best] / power[:, around].mean(axis=1))
    if np.percentile(ratio, 25) < STANDS_OUT_DB:
        return None
    return float(_peak(np.log(power[:, best - 1 : best + 2]).mean(axis=0), frequencies[best - 1 : best + 2]))


def _peak(values: np.ndarray, frequencies: np.ndarray) -> float:
    """The top of the parabola through three points."""
    before, here, after = values
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return frequencies[1] + float(np.clip(shift, -1, 1)) * (frequencies[2] - frequencies[1])
