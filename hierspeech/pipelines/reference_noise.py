"""How noisy a reference is, and how much of its voice is therefore taken from a cleaned copy (`--denoise-ratio auto`).

Cleaning costs a voice some of its likeness, and noise costs it more; which one is the less depends on how much noise there is
(docs/lite.md, experiment 44).

Shapes: T samples.
"""

from collections.abc import Callable

import numpy as np

from speech.audio import block_power

# Speech over what the denoiser takes away: nothing is cleaned from the first on, as much as helps below the second.
CLEAN_DB, NOISY_DB = 17.0, 9.0
MOST = 0.8  # of the cleaned copy
SURELY_CLEAN_DB = 40.0  # loud blocks over quiet ones: no denoiser needs to listen
BLOCK = 400  # samples


def needed_ratio(
    wav: np.ndarray, clean: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, np.ndarray | None]:
    """Listens for noise in a reference.

    Args:
        wav: [T], prepared as for the style encoders.
        clean: a denoiser, [T] -> [T].
    Returns:
        The share of the cleaned copy, 0 to `MOST`, and that copy [T]; None where it was not needed.
    """
    power_db = 10 * np.log10(block_power(wav, max(1, min(len(wav), BLOCK))) + 1e-10)
    if np.percentile(power_db, 95) - np.percentile(power_db, 8) >= SURELY_CLEAN_DB:
        return 0.0, None
    cleaned = clean(wav)
    noise, speech = (float(np.square(x, dtype=np.float64).sum()) for x in (wav - cleaned, cleaned))
    snr_db = 10 * np.log10(max(speech, 1e-12) / max(noise, 1e-12))
    ratio = MOST * float(np.clip((CLEAN_DB - snr_db) / (CLEAN_DB - NOISY_DB), 0.0, 1.0))
    return ratio, cleaned if ratio > 0 else None
