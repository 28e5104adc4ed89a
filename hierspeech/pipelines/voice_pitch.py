"""Where a voice's pitch lies, measured on a recording; numpy alone, since pipelines and exported graphs measure alike."""

import numpy as np

from speech.f0 import pitch_statistics

MIN_VOICED_FRAMES = 10  # fewer (50 ms) say nothing of the pitch of a voice


def pitch_range(f0: np.ndarray, recordings: str = "levelled") -> tuple[float, float]:
    """Mean and standard deviation of ln F0 over the voiced frames of f0 [F] in Hz; (0, 0) if there are too few.

    Of "levelled" recordings only the usual frames count (`speech.f0.pitch_statistics`), in published pipelines all do.
    """
    if (f0 > 0).sum() < MIN_VOICED_FRAMES:
        return 0.0, 0.0
    if recordings == "levelled":
        return pitch_statistics(f0)
    log_f0 = np.log(f0[f0 > 0].astype(np.float64))
    return float(log_f0.mean()), float(log_f0.std())
