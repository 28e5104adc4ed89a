"""Pitch: an autocorrelation tracker at 200 Hz (after Boersma 1993, the method of Praat's default), in vectorised numpy.

Per frame: the autocorrelation of a Hann-windowed stretch, from a low-passed and slightly flattened spectrum, divided
by the window's own; its peaks are candidates, and the best path through candidates and "unvoiced" is the track.
`docs/f0.md` has accuracy and speed beside other trackers. Shapes: T samples, F = T // 80 frames, K candidates.
"""

import numpy as np

SAMPLE_RATE = 16000
HOP_LENGTH = 80  # samples; 5 ms
PERIODS = 2.5  # length of the window in periods of f0_min
LOWPASS_HZ = (1500.0, 2500.0)  # voicing is judged below; the noise of breath lies above
FLATTENING = 0.75  # exponent on the power spectrum: strong first formants no longer pass for a pitch
N_CANDIDATES = 8
VOICING_THRESHOLD = 0.34  # autocorrelation at which voiced and unvoiced are worth the same
SILENCE_THRESHOLD = 0.02  # of the loudest frame's level: quieter frames tend to unvoiced
SILENCE_FLOOR = 1e-4  # RMS re full scale under which nothing is voiced
OCTAVE_COST = 0.01  # per octave below f0_max: of equal peaks the highest pitch wins
JUMP_COST = 0.7  # per octave between neighbouring frames
VOICING_COST = 0.4  # per change between voiced and unvoiced
USUAL_DEVIATIONS = 3.0  # robust standard deviations from the median that a voice may go ...
USUAL_REACH = 0.5  # ... and ln of Hz that it may go in any case
BLOCK_FRAMES = 1000  # frames worked on at once, which bounds memory


def extract_f0(
    wav: np.ndarray, sample_rate: int = SAMPLE_RATE, f0_min: float = 60.0, f0_max: float = 400.0
) -> np.ndarray:
    """Tracks the pitch of one voice.

    Args:
        wav: float [T] in [-1, 1] at 16 kHz; another sample_rate is resampled first.
        f0_min, f0_max: search range in Hz. Raise f0_max (up to 1100) for expressive or high voices.
    Returns:
        f0 float32 [T // 80] in Hz, 0 = unvoiced; frame k is centred on sample 80 k + 40.
    Raises:
        ValueError: samples that are not finite, or a range outside 20 <= f0_min < f0_max <= 2000.
    """
    if not 20 <= f0_min < f0_max <= 2000:
        raise ValueError(
            f"f0 range: expected 20 <= f0_min < f0_max <= 2000 Hz, got {f0_min:g} and {f0_max:g}."
        )
    wav = np.asarray(wav, dtype=np.float32)
    if not np.isfinite(wav).all():
        raise ValueError("f0: the wav holds samples that are not finite numbers.")
    if sample_rate != SAMPLE_RATE:
        from speech.audio import resample  # only callers with another rate need the resampler

        wav = resample(wav, sample_rate, SAMPLE_RATE)
    if len(wav) < HOP_LENGTH:
        return np.zeros(0, dtype=np.float32)
    f0, strength, level = _candidates(wav, f0_min, f0_max)
    # Unvoiced is worth more the quieter the frame is against the loudest one.
    relative = level / max(float(level.max()), SILENCE_FLOOR)
    unvoiced = VOICING_THRESHOLD + np.maximum(
        0.0, 2.0 - relative * (1 + VOICING_THRESHOLD) / SILENCE_THRESHOLD
    )
    unvoiced = np.where(level < SILENCE_FLOOR, 9.0, unvoiced)
    path = _best_path(np.concatenate([strength, unvoiced[:, None]], axis=1).astype(np.float32), f0)
    track = np.concatenate([f0, np.zeros((len(f0), 1), np.float32)], axis=1)[np.arange(len(f0)), path]
    return np.where(track > 0, track.clip(f0_min, f0_max), 0.0).astype(np.float32)


def pitch_statistics(f0: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of ln F0 over the usual voiced frames of f0 [F] in Hz, at least one of them voiced.

    Frames far from the median are creaks, noise, and octaves that the tracker mistook. Where they are a sixth of all, they double
    the deviation and move the mean by semitones.
    """
    log_f0 = np.log(f0[f0 > 0].astype(np.float64))
    distance = np.abs(log_f0 - np.median(log_f0))
    robust_deviation = 1.4826 * float(np.median(distance))
    usual = log_f0[distance <= max(USUAL_REACH, USUAL_DEVIATIONS * robust_deviation)]
    return float(usual.mean()), float(usual.std())


def _candidates(wav: np.ndarray, f0_min: float, f0_max: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """wav [T] -> candidate f0 [F, K] in Hz, their strength [F, K] (-inf = none), level of the frame [F] (RMS)."""
    n_frames = len(wav) // HOP_LENGTH
    width = int(PERIODS * SAMPLE_RATE / f0_min) // 2 * 2
    first, last = int(SAMPLE_RATE / f0_max), int(np.ceil(SAMPLE_RATE / f0_min))  # lags in samples
    n_fft = _fft_size(width + last + 2)
    window = np.hanning(width + 1)[:-1].astype(np.float32)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, n_fft)) ** 2)[: last + 2].astype(np.float32)
    frequencies = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    low, high = LOWPASS_HZ
    band = ((high - frequencies) / (high - low)).clip(0, 1) * (2 * frequencies / f0_min - 1).clip(0, 1)
    n_bins = int(np.flatnonzero(band)[-1]) + 1
    band = band[:n_bins].astype(np.float32)

    padded = np.pad(wav, (width // 2, width // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[HOP_LENGTH // 2 :: HOP_LENGTH][:n_frames]
    f0 = np.empty((n_frames, N_CANDIDATES), np.float32)
    strength = np.empty((n_frames, N_CANDIDATES), np.float32)
    level = np.empty(n_frames, np.float32)
    for start in range(0, n_frames, BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        spectrum = np.fft.rfft(frames[block] * window, n_fft)[:, :n_bins]
        power = (spectrum.real**2 + spectrum.imag**2) * band
        level[block] = np.sqrt(2 * power.sum(axis=1) / (n_fft * np.square(window).sum()))
        correlation = np.fft.irfft(power**FLATTENING, n_fft)[:, : last + 2]
        correlation /= np.maximum(correlation[:, :1], 1e-20) * (own / own[0])
        f0[block], strength[block] = _peaks(correlation, first, last, f0_max)
    return f0, strength, level


def _peaks(correlation: np.ndarray, first: int, last: int, f0_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Normalised autocorrelation [F, last + 2] -> the K best peaks' f0 in Hz and strength, by parabolas."""
    before, here, after = (correlation[:, first + d : last + 1 + d] for d in (-1, 0, 1))
    lags = np.arange(first, last + 1)
    cost = (OCTAVE_COST * np.log2(f0_max * lags / SAMPLE_RATE)).astype(np.float32)
    is_peak = (here >= before) & (here > after) & (here > VOICING_THRESHOLD / 2)
    score = np.where(is_peak, here - cost, -np.inf)
    score = np.pad(score, ((0, 0), (0, max(0, N_CANDIDATES - len(lags)))), constant_values=-np.inf)
    best = np.argpartition(score, -N_CANDIDATES, axis=1)[:, -N_CANDIDATES:]
    strength = np.take_along_axis(score, best, axis=1)
    best = np.minimum(best, len(lags) - 1)
    before, here, after = (np.take_along_axis(x, best, axis=1) for x in (before, here, after))
    curvature = before - 2 * here + after
    shift = np.where(curvature < 0, 0.5 * (before - after) / np.where(curvature < 0, curvature, -1), 0).clip(
        -1, 1
    )
    height = 0.25 * (after - before) * shift
    strength = np.minimum(strength + np.where(np.isfinite(strength), height, 0), 1.0)
    return (SAMPLE_RATE / (lags[best] + shift)).astype(np.float32), strength.astype(np.float32)


def _best_path(score: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Viterbi: score [F, K + 1] (the last is unvoiced) and f0 [F, K] -> the chosen column of each frame [F]."""
    n_frames, n_states = score.shape
    pitch = np.log2(f0)
    cost = np.full((n_states, n_states), VOICING_COST, np.float32)
    cost[-1, -1] = 0
    choice = np.zeros((n_frames, n_states), np.int64)
    best = score[0]
    columns = np.arange(n_states)
    for t in range(1, n_frames):
        np.abs(pitch[t - 1][:, None] - pitch[t][None, :], out=cost[:-1, :-1])
        cost[:-1, :-1] *= JUMP_COST
        total = best[:, None] - cost
        choice[t] = total.argmax(axis=0)
        best = total[choice[t], columns] + score[t]
    path = np.empty(n_frames, np.int64)
    path[-1] = best.argmax()
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = choice[t, path[t]]
    return path


def _fft_size(at_least: int) -> int:
    """The smallest product of 2 and a power of 2, or of 3 and one, that is not below `at_least`."""
    power = 1 << (at_least - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= at_least else power
