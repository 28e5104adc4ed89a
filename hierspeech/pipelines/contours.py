"""How high, lively and loud each frame of a sentence is asked to be, by options, marks and the rule on questions.

Numpy alone: pipelines and exported graphs shape what they speak alike. Shapes: S ids, N frames at 50 Hz, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hierspeech.pipelines.timings import Source
from speech.text.marks import Marked
from speech.text.words import label_words

HIGHEST_F0_HZ = 1100.0  # of any voice, however far it is shifted


@dataclass(frozen=True)
class Contour:
    """What is asked of each frame [N] of a sentence."""

    shift: np.ndarray  # of pitch, natural logarithm
    spread: np.ndarray  # factor on how far pitch moves
    gain_db: np.ndarray


def contour(
    source: Source | None,
    durations: Sequence[int],
    n_frames: int,
    shift: float,
    spread: float,
    rise: np.ndarray | None = None,
) -> Contour | None:
    """The contour of a sentence, whose pitch is shifted by so many semitones and spread; None where nothing is asked.

    Args:
        source: of the sentence's ids; durations: frames of each of them [S].
        n_frames: N.
        rise: semitones [N] on top, of a question (`questions.question_rise`).
    """
    asked = _asked(source, durations, n_frames, shift, spread)
    if rise is None:
        return asked
    if asked is None:
        asked = Contour(
            np.zeros(n_frames, np.float32), np.ones(n_frames, np.float32), np.zeros(n_frames, np.float32)
        )
    return replace(asked, shift=asked.shift + rise * math.log(2) / 12)


def _asked(
    source: Source | None, durations: Sequence[int], n_frames: int, shift: float, spread: float
) -> Contour | None:
    """What options and marks ask for."""
    marked = None if source is None else source.marked
    if marked is None or not marked.has("pitch", "range", "energy"):
        if shift == 0 and spread == 1:
            return None
        whole = np.ones(n_frames, np.float32)
        return Contour(whole * shift * math.log(2) / 12, whole * spread, whole * 0)
    values = np.array(_id_values(source, marked))  # [S, 3]
    rows = np.repeat(values, np.asarray(durations, int), axis=0)[:n_frames]
    rows = np.pad(rows, ((0, n_frames - len(rows)), (0, 0)), "edge" if len(rows) else "constant")
    rows = rows.astype(np.float32)
    return Contour((rows[:, 0] + shift) * math.log(2) / 12, rows[:, 1] * spread, rows[:, 2])


def _id_values(source: Source, marked: Marked) -> list[tuple[float, float, float]]:
    """Pitch, range and energy that the marks say of each id: those of its word; a pause goes on with the word before."""
    encoded = source.tokenizer.encode(source.phonemes)
    words, labels = label_words(source.piece, source.phonemes)
    places = source.places()
    of_word = [
        tuple(marked.value(name, places[word.start]) for name in ("pitch", "range", "energy"))
        for word in words
    ]
    values, current = [], of_word[0] if of_word else (0.0, 1.0, 0.0)
    for place in encoded.places:
        label = labels[place]
        current = current if label is None else of_word[label]
        values.append(current)
    return values


def moves_pitch(asked: Contour | None) -> bool:
    """Whether there is anything to do for `move_pitch`."""
    return asked is not None and bool(asked.shift.any() or (asked.spread != 1).any())


def move_pitch(log_f0: np.ndarray, asked: Contour, mean: float | None, floor_hz: float) -> np.ndarray:
    """log(F0 + 1) [4N] of a sentence, shifted and spread around `mean`, the voice's mean ln F0 (None: the sentence's); unvoiced frames stay so."""
    voiced = log_f0 > 0
    ln = np.log(np.expm1(log_f0.astype(np.float32)).clip(min=1.0))
    if mean is None:
        mean = float(ln[voiced].mean()) if voiced.any() else 0.0
    shift, spread = (row.repeat(4)[: len(log_f0)] for row in (asked.shift, asked.spread))
    hz = np.exp(np.float32(mean) + shift + spread * (ln - np.float32(mean))).clip(floor_hz, HIGHEST_F0_HZ)
    return np.where(voiced, np.log1p(hz), log_f0).astype(np.float32)


def gains(asked: Contour | None, hop: int) -> np.ndarray | None:
    """Factors [T] on the samples of a sentence, which move from word to word in a frame's time; None for none."""
    if asked is None or not asked.gain_db.any():
        return None
    centres = (np.arange(len(asked.gain_db)) + 0.5) * hop
    db = np.interp(np.arange(len(asked.gain_db) * hop), centres, asked.gain_db)
    return (10 ** (db / 20)).astype(np.float32)
