"""Where somebody speaks, and where a long recording is best cut: an energy detector on the powers of 10 ms blocks.

The threshold follows the recording: some decibels above a noise floor, and not further below the speech around it than weak
consonants lie (in the manner of the energy detectors of ITU-T P.56 and of minimum statistics, Martin 2001). Docs and the
figures beside another detector: docs/prepare.md.
"""

from __future__ import annotations

import numpy as np

from speech.audio import block_power

BLOCKS_PER_SECOND = 100
BAND_HZ = ((60.0, 180.0), (4000.0, 5000.0))  # hum lies below, hiss above; edges soft, or they ring
SMOOTHING_BLOCKS = 5
FLOOR_SECONDS, LEVEL_SECONDS = 15.0, 30.0  # windows in which noise and speech may change their levels
ABOVE_FLOOR_DB = 3.0
BELOW_SPEECH_DB = 32.0
LEAST_RANGE_DB = (
    8.0  # with less between quiet and loud blocks nothing tells speech from noise: all of it is speech
)
SILENCE_DB = -70.0
SHORTEST_SPEECH_SECONDS, SHORTEST_PAUSE_SECONDS = 0.08, 0.2
LONGEST_PAUSE_SECONDS = 2.0  # no piece holds a longer one
MARGIN_SECONDS = 0.2  # kept around the speech of a piece


def find_speech(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Whether each block of 10 ms of wav [T] belongs to speech, bool [T // block]; pauses under 200 ms count as speech."""
    level_db = block_levels(wav, sample_rate)
    if len(level_db) == 0:
        return np.zeros(0, bool)
    floor = _percentile_around(level_db, 8, FLOOR_SECONDS)
    loud = _percentile_around(level_db, 95, LEVEL_SECONDS)
    threshold = np.maximum(floor + ABOVE_FLOOR_DB, loud - BELOW_SPEECH_DB)
    speech = (level_db > np.maximum(threshold, SILENCE_DB)) | (
        (loud - floor < LEAST_RANGE_DB) & (level_db > SILENCE_DB)
    )
    speech = _without_runs(speech, True, SHORTEST_SPEECH_SECONDS)
    return _without_runs(speech, False, SHORTEST_PAUSE_SECONDS)


def find_pauses(wav: np.ndarray, sample_rate: int) -> list[tuple[float, float]]:
    """(start, end) in seconds of every pause of at least 200 ms in wav [T], also before and after all speech."""
    return [(a / BLOCKS_PER_SECOND, b / BLOCKS_PER_SECOND) for a, b in _runs(~find_speech(wav, sample_rate))]


def choose_pieces(
    seconds: float,
    pauses: list[tuple[float, float]],
    max_seconds: float,
    quietest: np.ndarray | None = None,
) -> list[tuple[float, float]]:
    """Cuts a recording into pieces of at most `max_seconds`, at its long pauses first.

    Every pause above 2 s is cut out. What is still too long is cut at the longest pause of the later half of what fits,
    else of all that fits; else at the quietest block, where `quietest` gives the level of each block of 10 ms, and not at
    all where it is None (the piece is then longer than wanted).

    Returns: (start, end) of each piece in seconds, in order, with up to 200 ms of the pauses around it.
    """
    pieces: list[tuple[float, float]] = []
    start = 0.0
    for a, b in [p for p in pauses if p[1] - p[0] >= LONGEST_PAUSE_SECONDS] + [(seconds, seconds)]:
        if a > start:
            end = min(a + MARGIN_SECONDS, seconds)
            pieces += _shorten(start, end, pauses, max_seconds, quietest)
        start = max(b - MARGIN_SECONDS, start)
    return pieces


def _shorten(start: float, end: float, pauses, max_seconds: float, quietest) -> list[tuple[float, float]]:
    pieces = []
    while end - start > max_seconds:
        # a piece that starts here may end at any of these pauses, without more of it than the margin
        ends = [(min(a + MARGIN_SECONDS, (a + b) / 2), a, b) for a, b in pauses if a > start]
        fits = [p for p in ends if start + max_seconds / 8 < p[0] <= start + max_seconds and p[2] < end]
        late = [p for p in fits if p[0] > start + max_seconds / 2]
        if fits:
            cut, a, b = max(late or fits, key=lambda p: p[2] - p[1])
            pieces.append((start, cut))
            start = max(b - MARGIN_SECONDS, (a + b) / 2)
        elif quietest is not None:
            low = int((start + max_seconds / 2) * BLOCKS_PER_SECOND)
            high = int((start + max_seconds) * BLOCKS_PER_SECOND)
            cut = (low + int(quietest[low:high].argmin())) / BLOCKS_PER_SECOND
            pieces.append((start, cut))
            start = cut
        else:
            later = [p for p in ends if p[0] > start + max_seconds and p[2] < end]
            if not later:
                break
            cut, a, b = later[0]
            pieces.append((start, cut))
            start = max(b - MARGIN_SECONDS, (a + b) / 2)
    return [*pieces, (start, end)]


def block_levels(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Smoothed level of every 10 ms block in the band of speech, dB re full scale."""
    wav = np.asarray(wav, np.float32)
    block = sample_rate // BLOCKS_PER_SECOND
    # filtered in stretches, each with something of its neighbours: long recordings need no long transforms
    size, around = 1 << 16, 2048
    step = (size - 2 * around) // block * block
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    (low, full), (still, high) = BAND_HZ
    edges = np.clip(
        np.minimum((frequencies - low) / (full - low), (high - frequencies) / (high - still)), 0, 1
    )
    band = (0.5 - 0.5 * np.cos(np.pi * edges)).astype(np.float32)
    padded, power = np.pad(wav, (around, around)), []
    for start in range(0, len(wav), step):
        filtered = np.fft.irfft(np.fft.rfft(padded[start : start + step + 2 * around], size) * band, size)
        power.append(block_power(filtered[around : around + min(step, len(wav) - start)], block))
    power = np.concatenate(power) if power else np.zeros(0)
    kernel = np.ones(SMOOTHING_BLOCKS) / SMOOTHING_BLOCKS
    padded = np.pad(power, SMOOTHING_BLOCKS // 2, mode="edge") if len(power) else power
    return 10 * np.log10(np.convolve(padded, kernel, "valid") + 1e-12) if len(power) else power


def _percentile_around(values: np.ndarray, percent: float, seconds: float) -> np.ndarray:
    """The percentile of `values` [n] in a window of `seconds` around every block, found once a second."""
    half, total = int(seconds * BLOCKS_PER_SECOND / 2), len(values)
    centres = np.arange(0, total + BLOCKS_PER_SECOND, BLOCKS_PER_SECOND)
    found = []
    for centre in centres:
        low = max(0, min(centre - half, total - 2 * half))  # a whole window also at the ends
        found.append(np.percentile(values[low : low + 2 * half], percent))
    return np.interp(np.arange(total), centres, found)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _without_runs(flags: np.ndarray, value: bool, seconds: float) -> np.ndarray:
    """`flags` with the runs of `value` that are shorter than `seconds` turned over."""
    flags = flags.copy()
    for a, b in _runs(flags == value):
        if b - a < seconds * BLOCKS_PER_SECOND and (value or (a > 0 and b < len(flags))):
            flags[a:b] = not value
    return flags
