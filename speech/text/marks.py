"""Inline marks: how a part of a text is said, and pauses, written as tags with a number.

    I <energy=4>really</energy> mean it. <speed=0.8>Slowly now.</speed> <pause=1.5> <pitch=+3><range=1.5>What?

A mark holds until the next one of its name, its closing tag, or the end of the text. `pitch` (semitones), `range` (factor on how
far the melody moves) and `energy` (dB) count for the words behind them; `speed` (factor), `mix` (share of a second voice) and
`pause` (seconds) cut the text, so that they stand best between sentences or phrases. Language tags such as <pl> and
pronunciations are other notations and may be mixed with these.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from speech.text.language_tags import remove_tags
from speech.text.overrides import remove_overrides

LIMITS = {
    "pitch": (-12.0, 12.0),  # semitones
    "range": (0.0, 3.0),
    "energy": (-20.0, 20.0),  # dB
    "speed": (0.25, 4.0),
    "mix": (0.0, 1.0),
    "pause": (0.0, 10.0),  # seconds
}
NEUTRAL = {"pitch": 0.0, "range": 1.0, "energy": 0.0, "speed": 1.0}
_CUTTING = ("speed", "mix", "pause")
_MARK = re.compile(rf"<(/?)({'|'.join(LIMITS)})(?:\s*=\s*([^<>]*))?>")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Mark:
    """From a place of the text on, `name` has this value; None is the end of one."""

    place: int
    name: str
    value: float | None


@dataclass(frozen=True)
class Passage:
    """A part of a text in which speed and voice stay the same."""

    start: int
    stop: int
    speed: float = 1.0
    mix: float | None = None  # None = as the caller says
    pause: float | None = None  # seconds behind it; None = what its border asks for


@dataclass
class Marked:
    """A text without its marks, and what they said.

    Args:
        text: what is read.
        marks: in order, places in `text`.
        cuts: for each mark, (its place in `text`, how many characters were taken out up to and with it).
    """

    text: str
    marks: list[Mark] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)

    def given_place(self, place: int) -> int:
        """Where the character at a place of `text` stands in the text as it was given."""
        found = bisect_right(self.cuts, place, key=lambda cut: cut[0])
        return place + (self.cuts[found - 1][1] if found else 0)

    def value(self, name: str, place: int) -> float:
        """Of `pitch`, `range` or `energy` at a place."""
        values = [mark.value for mark in self.marks if mark.name == name and mark.place <= place]
        return NEUTRAL[name] if not values or values[-1] is None else values[-1]

    def has(self, *names: str) -> bool:
        """Whether one of these is said anywhere."""
        return any(mark.name in names for mark in self.marks)

    def passages(self) -> Iterator[Passage]:
        """The text cut where its speed or voice changes or a pause is wanted; those without a word are left out."""
        current = Passage(0, len(self.text))
        held: Passage | None = None
        for mark in [*(mark for mark in self.marks if mark.name in _CUTTING), Mark(len(self.text), "", None)]:
            if self.text[current.start : mark.place].strip():
                if held is not None:
                    yield held
                held = replace(current, stop=mark.place, pause=None)
                current = replace(current, start=mark.place)
            if mark.name == "pause" and held is not None and mark.value is not None:
                held = replace(held, pause=(held.pause or 0.0) + mark.value)
            elif mark.name == "speed":
                current = replace(current, speed=1.0 if mark.value is None else mark.value)
            elif mark.name == "mix":
                current = replace(current, mix=mark.value)
        if held is not None:
            yield held


def read_marks(text: str) -> Marked:
    """Takes the marks out of a text.

    Raises:
        ValueError: a mark without a number, or with one outside its range.
    """
    parts, marks, cuts = [], [], []
    end = length = removed = 0
    for match in _MARK.finditer(text):
        closing, name, value = match.groups()
        parts.append(text[end : match.start()])
        length += match.start() - end
        end, removed = match.end(), removed + len(match[0])
        marks.append(Mark(length, name, None if closing else _number(match[0], name, value)))
        cuts.append((length, removed))
    return Marked("".join([*parts, text[end:]]), marks, cuts)


def remove_notation(text: str) -> str:
    """A text as a reader sees it: without marks and language tags, every pronunciation as its word."""
    return remove_overrides(remove_tags(_MARK.sub("", text)))


def _number(tag: str, name: str, value: str | None) -> float:
    lowest, highest = LIMITS[name]
    number = float(value) if value is not None and _NUMBER.fullmatch(value.strip()) else None
    if number is None or not lowest <= number <= highest:
        raise ValueError(
            f"the mark {tag} in the text: expected a number from {lowest:g} to {highest:g}, as in <{name}={highest / 2:g}>."
        )
    return number
