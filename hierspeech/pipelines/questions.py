"""Questions that rise: a rule on the pitch of the last word, for voices whose training text had no question marks.

In English a question that can be answered by yes or no ends high, one that asks with "what" or "who" ends low, and so does the
choice between two things (Wells 2006, "English Intonation", chapter 2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hierspeech.pipelines.timings import Source
from speech.text.words import find_sentences, label_words

_ASKING = frozenset(
    "what who whom whose which when where why how what's who's where's when's how's why's".split()
)
_PREPOSITIONS = frozenset("in on at to for from of with by about until since under over".split())
_OPENINGS = frozenset("and but so or well oh ah now then yes no okay ok hey say tell me please".split())
_CLOSING = "\"'”’»)]} "
RISE_SECONDS = 0.3  # over which the pitch climbs, at most
END_SECONDS = 0.1  # what is voiced in them, at most, is the height of the end
MOST_SEMITONES = 18.0  # of a climb, whatever it would take


def rises(sentence: str) -> bool:
    """Whether an English sentence is a question that ends high.

    >>> rises("Are you coming?"), rises("Where are you?"), rises("Tea or coffee?"), rises("You are late.")
    (True, False, False, False)
    """
    if not sentence.rstrip(_CLOSING).endswith("?"):
        return False
    words = re.findall(r"[a-z]+(?:['’][a-z]+)*", sentence.lower().replace("’", "'"))
    if not words or "or" in words[1:]:
        return False
    while len(words) > 1 and words[0] in _OPENINGS:
        words = words[1:]
    first = words[1] if words[0] in _PREPOSITIONS and len(words) > 1 else words[0]
    return first not in _ASKING


def question_rise(
    source: Source | None,
    durations: Sequence[int],
    n_frames: int,
    log_f0: np.ndarray,
    semitones: float,
    spread: float = 1.0,
    frame_rate: float = 50.0,
) -> np.ndarray | None:
    """Semitones [n_frames] on the pitch of a piece that ends such a question: up within its last word, as far as it takes to end
    high. None for others, and where it ends as high already.

    Args:
        source: of the piece; durations: frames of each of its ids [S].
        log_f0: log(F0 + 1) of the piece as it is [4N or more], 0 unvoiced.
        semitones: how far above its median the piece shall end, a voice's `question_rise`; 0 is None for all.
        spread: factor on how far pitch will move from its mean. frame_rate: of the N frames, Hz.
    """
    if source is None or semitones == 0 or not source.piece.rstrip(_CLOSING).endswith("?"):
        return None
    if not (source.phonemes.languages or [""])[-1].startswith("en") or not rises(_whole_sentence(source)):
        return None
    encoded = source.tokenizer.encode(source.phonemes)
    words, labels = label_words(source.piece, source.phonemes)
    if not words:
        return None
    edges = np.concatenate([[0], np.cumsum(durations)])
    last = [
        k for k, place in enumerate(encoded.places) if labels[place] == len(words) - 1 and encoded.symbols[k]
    ]
    if not last:
        return None
    return _climb(log_f0[: 4 * n_frames], edges[last[0]], edges[last[-1] + 1], semitones, spread, frame_rate)


def _climb(
    log_f0: np.ndarray, start: int, stop: int, semitones: float, spread: float, frame_rate: float
) -> np.ndarray | None:
    """The climb of log_f0 [4N] from frame `start` to the last voiced one before `stop`."""
    voiced = np.flatnonzero(log_f0 > 0)
    own = voiced[(voiced >= 4 * start) & (voiced < 4 * stop)]
    if len(own) == 0:
        return None
    height = 12 / np.log(2) * spread * np.log(np.expm1(log_f0[voiced].astype(np.float64)))
    end = own[-1] + 1
    first = max(4 * start, end - round(4 * RISE_SECONDS * frame_rate))
    ramp = np.interp(np.arange(len(log_f0)) + 0.5, [first, end], [0.0, 1.0])
    heard = own[own >= end - round(4 * END_SECONDS * frame_rate)]
    missing = semitones - (height[np.isin(voiced, heard)].mean() - np.median(height))
    climb = min(missing / ramp[heard].mean(), MOST_SEMITONES)
    return (climb * ramp.reshape(-1, 4).mean(1)).astype(np.float32) if climb > 0 else None


def _whole_sentence(source: Source) -> str:
    """The sentence that ends with the piece: its first word may have been said in a piece before."""
    text = source.marked.text
    end = source.start + max(len(source.piece.rstrip()) - 1, 0)
    for start, stop in find_sentences(text):
        if start <= end < stop + len(_CLOSING):
            return text[start : max(stop, end + 1)]
    return source.piece
