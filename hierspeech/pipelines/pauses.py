"""How spoken pieces of a text are joined: pauses by what stands between them, and fades so that joints do not click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierspeech.pipelines.arguments import SPEEDS
from speech.text.chunking import BORDERS

if TYPE_CHECKING:
    from hierspeech.pipelines.sentences import Sentence

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


def sentence_speed(speed: float, sentence: Sequence[int]) -> float:
    """At which a sentence is spoken where `speed` is asked for: times that of its mark, within what the models can do."""
    return min(max(speed * getattr(sentence, "speed", 1.0), SPEEDS[0]), SPEEDS[1])


def pause_behind(sentence: Sentence, speed: float, sample_rate: int) -> int:
    """Samples of silence behind a sentence spoken at `speed`: what a mark says, else what its border and speed ask for."""
    if sentence.pause is not None:
        return int(sentence.pause * sample_rate)
    return pause_samples(sentence.border, speed, sample_rate)


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
    gains = rising(len(piece), min(fade_samples, len(piece) // 2))
    return piece * (gains if at_start else 1) * (gains[::-1] if at_end else 1)


def rising(samples: int, ramp_samples: int) -> np.ndarray:
    """Gains float32 [samples] that rise on a straight line over the first `ramp_samples`, then are 1."""
    ramp = np.arange(1, ramp_samples + 1, dtype=np.float32) / (ramp_samples + 1)
    return np.concatenate([ramp, np.ones(samples - ramp_samples, np.float32)])
