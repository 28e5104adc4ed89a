"""Mel-cepstra, and the dynamic time warping that lays one rendering of a sentence onto another.

Shapes: T samples, N and M frames of two wavs, C coefficients, P steps of a path.
"""

from __future__ import annotations

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import NotMeasured

SAMPLE_RATE = 16000
N_FFT, HOP_LENGTH, N_MELS = 1024, 160, 80  # 10 ms
MAX_CELLS = 40_000_000  # of the table of distances: two wavs of a minute


def mel_cepstrum(wav: np.ndarray, n_coefficients: int = 25) -> np.ndarray:
    """wav float32 [T] at 16 kHz -> mel-cepstrum [N, C] of natural logarithms, 10 ms frames.

    Normed as SPTK's, of minimum phase: log|H| = c_0 + sum of c_k cos(k w) over the mel axis w.
    """
    if len(wav) < N_FFT:
        wav = np.pad(wav, (0, N_FFT - len(wav)))
    half = N_FFT // 2
    padded = np.pad(np.asarray(wav, np.float32), half, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    amplitude = np.abs(np.fft.rfft(frames * window, axis=1))
    log_mel = np.log(np.maximum(amplitude @ _mel_filters().T, 1e-5))
    k, m = np.arange(n_coefficients), np.arange(N_MELS)
    cosines = np.cos(np.pi * np.outer(m + 0.5, k) / N_MELS)  # [M, C]
    return log_mel @ cosines * np.where(k == 0, 1, 2) / N_MELS  # log|H| = c_0 + sum of c_k cos(...)


def _mel_filters() -> np.ndarray:
    """Triangles of unit area-per-bin weight on the HTK mel scale [M, bins], each summing to 1: they average amplitudes."""
    edges_mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), N_MELS + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    bins = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(rise, fall), 0, None)
    empty = filters.sum(axis=1) == 0  # the lowest are narrower than a bin: they take the nearest one
    filters[empty, np.abs(bins[None] - edges[1:-1][empty, None]).argmin(axis=1)] = 1
    return filters / filters.sum(axis=1, keepdims=True)


def align(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dynamic time warping by Euclidean distance: features [N, C], [M, C] -> frames of the path ([P], [P]).

    Steps (1, 1), (1, 0) and (0, 1) of equal weight, from the first frames to the last; anti-diagonals are worked out at once.

    Raises:
        NotMeasured: the table would be too large.
    """
    n, m = len(first), len(second)
    if n * m > MAX_CELLS:
        raise NotMeasured(f"too long to align ({n} and {m} frames)")
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    distance = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    # diagonal d holds the cells i + j = d, indexed by i; one column of infinity on the left stands for i = -1
    before = np.full(n + 1, np.inf)
    last = np.full(n + 1, np.inf)
    step = np.zeros((n, m), np.int8)  # 0: both, 1: first goes on, 2: second goes on
    for d in range(n + m - 1):
        i = np.arange(max(0, d - m + 1), min(n, d + 1))
        options = np.stack([before[i], last[i], last[i + 1]])  # cells (i-1, j-1), (i-1, j), (i, j-1)
        best = options.argmin(axis=0)
        here = np.full(n + 1, np.inf)
        come = np.zeros(1) if d == 0 else options[best, np.arange(len(i))]
        here[i + 1] = come + distance[i, d - i]
        step[i, d - i] = best
        before, last = last, here
    i, j = n - 1, m - 1
    path = [(i, j)]
    while i or j:
        way = step[i, j]
        i, j = i - (way != 2), j - (way != 1)
        path.append((i, j))
    one, two = np.array(path[::-1]).T
    return one, two


def aligned_cepstra(item: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mel-cepstra of wav and target, trimmed of silence at both ends, and their path: ([N, C], [M, C], [P], [P])."""
    wav, target = (trim(item.load(role, SAMPLE_RATE)[0]) for role in ("wav", "target"))
    first, second = mel_cepstrum(wav), mel_cepstrum(target)
    return (
        first,
        second,
        *align(first[:, 1:], second[:, 1:]),
    )  # c_0 is loudness, which is no place in a sentence


def trim(wav: np.ndarray, below_db: float = 40.0) -> np.ndarray:
    """Without what is more than `below_db` under the loudest 10 ms at the beginning and the end.

    Raises:
        NotMeasured: nothing is left, the sound is silent.
    """
    active = np.flatnonzero(levels_db(wav) > -below_db)
    if len(active) == 0:
        raise NotMeasured("the sound is silent")
    return wav[active[0] * HOP_LENGTH : (active[-1] + 1) * HOP_LENGTH]


def levels_db(wav: np.ndarray) -> np.ndarray:
    """Level of each 10 ms [N], in dB under the loudest one; -inf everywhere in silence."""
    count = max(1, len(wav) // HOP_LENGTH)
    wav = np.pad(wav, (0, max(0, count * HOP_LENGTH - len(wav))))[: count * HOP_LENGTH]
    power = np.square(wav.reshape(count, -1), dtype=np.float64).mean(axis=1)
    if power.max() < 1e-10:  # -100 dB re full scale
        return np.full(count, -np.inf)
    return 10 * np.log10(np.maximum(power / power.max(), 1e-12))
