"""How spoken pieces of a text are joined: pauses by what stands between them, and fades so that joints do not click."""

import numpy as np

from speech.text.chunking import BORDERS

# Seconds at speed 1, besides the silence that pieces end with of themselves. "sentence" is that of every pause before
# there were others; a model speaks the sentences within a piece without one.
PAUSE_SECONDS = {
    "word": 0.05,
    "comma": 0.1,
    "colon": 0.15,
    "sentence": 0.2,
    "paragraph": 0.5,
    "section": 1.0,
}


def pause_samples(border: str, speed: float, sample_rate: int) -> int:
    """Samples of silence after a piece that ends with `border`; twice the speed halves them."""
    if border not in PAUSE_SECONDS:
        raise ValueError(f"border {border!r}: expected one of {', '.join(BORDERS)}.")
    return int(PAUSE_SECONDS[border] / speed * sample_rate)


def join(pieces: list[np.ndarray], pauses: list[int], fade_samples: int, fade_ends: bool) -> np.ndarray:
    """Pieces [T] -> one wav, with linear fades at the joints, at both ends too if wanted.

    `pauses` are the samples of silence after each piece; that of the last one is left out.
    """
    joined: list[np.ndarray] = []
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        joined.append(fade(piece, fade_samples, index > 0 or fade_ends, not last or fade_ends))
        if not last:
            joined.append(np.zeros(pauses[index], np.float32))
    return np.concatenate(joined)


def fade(piece: np.ndarray, fade_samples: int, at_start: bool, at_end: bool) -> np.ndarray:
    """A copy of piece [T] that rises from silence and falls back to it, linearly, where wanted."""
    wav = piece.copy()
    n_samples = min(fade_samples, len(wav) // 2)
    ramp = np.arange(1, n_samples + 1, dtype=np.float32) / (n_samples + 1)
    if at_start:
        wav[:n_samples] *= ramp
    if at_end:
        wav[len(wav) - n_samples :] *= ramp[::-1]
    return wav
