"""How a sentence is said: in whose voice, how fast, how high, how lively, how loud; by the options and the marks in its text.

What the marks say is on top of the options: semitones and dB are added, factors multiplied. Words are the smallest unit of pitch,
range and energy; pieces of text that of speed and voice. Shapes: S ids, N frames at 50 Hz, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import SPEEDS
from hierspeech.pipelines.options import DEFAULT_SHARE, SpeakingOptions
from hierspeech.pipelines.pauses import pause_samples
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.sentences import Sentence
from hierspeech.pipelines.timings import Source
from speech.text.marks import Mark, Marked, read_marks
from speech.text.words import find_sentences, label_words

HIGHEST_F0_HZ = 1100.0  # of any voice, however far it is shifted


@dataclass(frozen=True)
class Delivery:
    """How the sentences of a text are said: the voice, a second one where voices are mixed, and filled-in options."""

    prompt: VoicePrompt
    options: SpeakingOptions
    second: VoicePrompt | None = None

    def speed(self, sentence: Sequence[int]) -> float:
        """Of a sentence: the option's, times that of its mark, within what the models can do."""
        return min(max(self.options.speed * getattr(sentence, "speed", 1.0), SPEEDS[0]), SPEEDS[1])

    def voice(self, sentence: Sequence[int]) -> VoicePrompt:
        """The prompt of a sentence.

        Raises:
            ValueError: it has a share of a second voice, and there is none.
        """
        share = getattr(sentence, "mix", None)
        if self.second is None:
            if share is not None:
                raise ValueError(
                    f"the mark <mix={share:g}> in the text: expected a second voice to mix (mix_with)."
                )
            return self.prompt
        if share is None:
            share = self.options.mix if isinstance(self.options.mix, int | float) else DEFAULT_SHARE
        return VoicePrompt.mix(self.prompt, self.second, share)

    def pause(self, sentence: Sentence, sample_rate: int) -> int:
        """Samples of silence behind a sentence: what a mark says, else what its border and speed ask for."""
        if sentence.pause is not None:
            return int(sentence.pause * sample_rate)
        return pause_samples(sentence.border, self.speed(sentence), sample_rate)


def mark_text(text: str, mix: float | Sequence[float] | None) -> str | Marked:
    """The text, with a mark before each sentence where `mix` has a share for each.

    Raises:
        ValueError: not as many shares as sentences.
    """
    if mix is None or isinstance(mix, int | float):
        return text
    marked = read_marks(text)
    places = [start for start, _ in find_sentences(marked.text)]
    if len(places) != len(mix):
        raise ValueError(f"mix has {len(mix)} shares, expected one for each of {len(places)} sentences.")
    own = [Mark(place, "mix", float(share)) for place, share in zip(places, mix, strict=True)]
    kept = [mark for mark in marked.marks if mark.name != "mix"]
    return replace(marked, marks=sorted([*kept, *own], key=lambda mark: mark.place))


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


def shape_pitch(log_f0: Tensor, asked: Contour | None, prompt: VoicePrompt, floor_hz: float) -> Tensor:
    """log(F0 + 1) [1, 1, 4N] of a sentence, shifted and spread around the voice's mean; unvoiced frames stay so."""
    if asked is None or not (asked.shift.any() or (asked.spread != 1).any()):
        return log_f0
    voiced = log_f0 > 0
    ln = torch.log(torch.expm1(log_f0.float()).clamp(min=1.0))
    mean = prompt.log_f0_mean if prompt.has_pitch else float(ln[voiced].mean()) if voiced.any() else 0.0
    shift, spread = (
        torch.from_numpy(row.repeat(4)).to(log_f0.device)[: log_f0.shape[-1]]
        for row in (asked.shift, asked.spread)
    )
    moved = mean + shift + spread * (ln - mean)
    hz = moved.exp().clamp(floor_hz, HIGHEST_F0_HZ)
    return torch.where(voiced, torch.log1p(hz).to(log_f0.dtype), log_f0)


def gains(asked: Contour | None, hop: int) -> np.ndarray | None:
    """Factors [T] on the samples of a sentence, which move from word to word in a frame's time; None for none."""
    if asked is None or not asked.gain_db.any():
        return None
    centres = (np.arange(len(asked.gain_db)) + 0.5) * hop
    db = np.interp(np.arange(len(asked.gain_db) * hop), centres, asked.gain_db)
    return (10 ** (db / 20)).astype(np.float32)
