"""When each word and each sound of a text is heard: the durations that the models speak with, counted up.

Times are seconds from the start of the speech; words are those of the caller's text as written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from speech.text.frontend import Phonemes
from speech.text.marks import Marked
from speech.text.phonemize import PUNCTUATION
from speech.text.tokenizer import Tokenizer
from speech.text.words import is_letter, label_words, map_piece

_STRESS = "ˈˌ"


@dataclass(frozen=True)
class Timing:
    """A word or sound: from `start` to `end` in seconds; `offset` is where a word begins in the text that was given."""

    text: str
    start: float
    end: float
    offset: int | None = None

    def shifted(self, seconds: float) -> Timing:
        """The same, so much later."""
        return replace(self, start=round(self.start + seconds, 6), end=round(self.end + seconds, 6))


@dataclass(frozen=True)
class Source:
    """Where the ids of a sentence come from: a piece of a text, what it was read as, and by which tokenizer."""

    marked: Marked  # the whole
    piece: str
    start: int  # of the piece in the whole
    phonemes: Phonemes
    tokenizer: Tokenizer

    def places(self) -> list[int]:
        """Where in the whole the characters of the piece are."""
        return map_piece(self.marked.text, self.piece, self.start)


@dataclass
class Timings:
    """Of a speech, or of a part of one."""

    words: list[Timing]
    phonemes: list[Timing]

    def add(self, other: Timings) -> None:
        """Puts others behind these."""
        self.words += other.words
        self.phonemes += other.phonemes

    def shifted(self, seconds: float) -> Timings:
        """The same, so much later."""
        return Timings(
            [word.shifted(seconds) for word in self.words],
            [phoneme.shifted(seconds) for phoneme in self.phonemes],
        )


@dataclass
class Spoken:
    """A sentence as it was spoken: wav [T] and the frames of each of its ids [S]."""

    wav: np.ndarray
    durations: list[int]


def time_sentence(source: Source | None, durations: Sequence[int], frame_seconds: float) -> Timings:
    """Words and sounds of one sentence, counted from its beginning.

    Args:
        source: of the ids; None for ids of which no text is known: nothing is timed then.
        durations: frames of each id [S].
        frame_seconds: of one frame.
    """
    if source is None:
        return Timings([], [])
    encoded = source.tokenizer.encode(source.phonemes)
    words, labels = label_words(source.piece, source.phonemes)
    edges = [0, *np.cumsum(durations).tolist()]
    spans: dict[int, tuple[int, int]] = {}  # of words, in frames
    sounds: list[tuple[str, int, int]] = []
    begun: int | None = None  # where the blanks before a sound begin
    for number, (symbol, place) in enumerate(zip(encoded.symbols, encoded.places, strict=True)):
        first, last = edges[number], edges[number + 1]
        if not symbol:  # a blank sounds with what follows it
            begun = first if begun is None else begun
            continue
        if _is_pause(symbol):
            begun = None
            continue
        first, begun = first if begun is None else begun, None
        word = labels[place]
        if word is not None:
            spans[word] = (spans.get(word, (first,))[0], last)
        _add_sound(sounds, symbol, first, last)
    places = source.places()

    def seconds(frames: int) -> float:
        return round(frames * frame_seconds, 6)

    heard = [
        Timing(
            words[word].text,
            seconds(first),
            seconds(last),
            source.marked.given_place(places[words[word].start]),
        )
        for word, (first, last) in sorted(spans.items())
    ]
    return Timings(heard, [Timing(text, seconds(a), seconds(b)) for text, a, b in sounds if b > a])


def time_sentences(
    sentences: Iterable[Sequence[int]],
    durations: Iterable[Sequence[int]],
    lengths: Iterable[int],
    sample_rate: int,
    frame_seconds: float,
) -> Timings:
    """Words and sounds of a whole text.

    Args:
        sentences: `Sentence`s, or plain ids, which are not timed.
        durations: of each sentence, frames of its ids.
        lengths: samples from the start of each sentence to that of the next.
    """
    whole, position = Timings([], []), 0
    for sentence, frames, length in zip(sentences, durations, lengths, strict=True):
        own = time_sentence(getattr(sentence, "source", None), frames, frame_seconds)
        whole.add(own.shifted(position / sample_rate))
        position += length
    return whole


def _is_pause(symbol: str) -> bool:
    return symbol.isspace() or symbol in PUNCTUATION


def _add_sound(sounds: list[tuple[str, int, int]], symbol: str, first: int, last: int) -> None:
    """Adds a symbol: a sound of its own, or a mark of the one before it (length) or after it (stress)."""
    bare = symbol.strip(_STRESS)
    before = sounds[-1] if sounds and sounds[-1][2] == first else None
    if before is not None and (not before[0].strip(_STRESS) or (bare and not is_letter(bare[0]))):
        sounds[-1] = (before[0] + symbol, before[1], last)
    else:
        sounds.append((symbol, first, last))
