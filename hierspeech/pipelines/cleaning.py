"""How noisy a reference is, and how much of a room is in it, and how much of its voice is therefore taken from a cleaned copy
(`--denoise-ratio auto`).

Cleaning costs a voice some of its likeness, and noise and rooms cost it more; which one is the less depends on how much there is of
them (docs/lite.md, experiments 44 and 46).

Shapes: T samples.
"""

from collections.abc import Callable

import numpy as np

from speech.audio import block_power
from speech.reverberation import decay_rate, dereverberate

# Speech over what the denoiser takes away: nothing is cleaned from the first on, as much as helps below the second.
CLEAN_DB, NOISY_DB = 17.0, 9.0
DRY_RATE, ROOM_RATE = 320.0, 250.0  # dB/s by which sound dies away: the same of rooms
MOST = 0.8  # of the cleaned copy
SURELY_CLEAN_DB = 40.0  # loud blocks over quiet ones: no denoiser needs to listen
BLOCK = 400  # samples


def needed_cleaning(
    wav: np.ndarray, sample_rate: int, denoise: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, np.ndarray | None]:
    """Listens for noise and rooms in a reference.

    Args:
        wav: [T] at `sample_rate` Hz, prepared as for the style encoders.
        denoise: a denoiser, [T] -> [T].
    Returns:
        The share of the cleaned copy, 0 to `MOST`, and that copy [T], without noise where there is much and without a room where it
        sounds long; None where nothing was needed.
    """
    noisy, heard = _noisiness(wav, denoise)
    # in what is cleaned of noise, which would hide how sound dies away
    roomy = _between(decay_rate(heard, sample_rate), DRY_RATE, ROOM_RATE)
    most = max(noisy, roomy)
    if most == 0:
        return 0.0, None
    dry = dereverberate(heard, sample_rate) if roomy > 0 else heard
    return MOST * most, heard + np.float32(roomy / most) * (dry - heard)


def _noisiness(wav: np.ndarray, denoise: Callable[[np.ndarray], np.ndarray]) -> tuple[float, np.ndarray]:
    """How noisy wav [T] is, 0 to 1, and what to hear instead: wav itself where it is 0."""
    power_db = 10 * np.log10(block_power(wav, max(1, min(len(wav), BLOCK))) + 1e-10)
    if np.percentile(power_db, 95) - np.percentile(power_db, 8) >= SURELY_CLEAN_DB:
        return 0.0, wav
    cleaned = denoise(wav)
    noise, speech = (float(np.square(x, dtype=np.float64).sum()) for x in (wav - cleaned, cleaned))
    noisy = _between(10 * np.log10(max(speech, 1e-12) / max(noise, 1e-12)), CLEAN_DB, NOISY_DB)
    return noisy, cleaned if noisy > 0 else wav


def _between(value: float, nothing: float, everything: float) -> float:
    """0 from `nothing` on upwards, 1 from `everything` on downwards."""
    return float(np.clip((nothing - value) / (nothing - everything), 0.0, 1.0))
