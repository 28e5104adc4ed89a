"""Inline pronunciation: `[word](/phonemes/)` says a word exactly as written between the slashes.

    The [Worcester](/wˈʊstɚ/) sauce is on the table.

The notation is the one of Kokoro's front end: a Markdown link whose target is IPA, so that it cannot be met by chance and
the written word stays at hand for subtitles. The word may be empty; an ending
belongs inside (`[Kokoro's](/kˈoʊkəɹoʊz/)`). Nothing inside the slashes is normalised; symbols that
a tokenizer does not know are reported by it like any other.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_OVERRIDE = re.compile(r"\[([^\[\]]*)\]\(/([^/()]*)/\)")
# what people type on a plain keyboard for IPA signs, and tie bars, which espeak's phonemes are written without
_TYPED = str.maketrans({"g": "ɡ", ":": "ː", "'": "ˈ", "’": "ˈ", "\u0361": None, "\u035c": None})


@dataclass(frozen=True)
class Segment:
    """A stretch of text, or of given phonemes.

    Args:
        text: the text as written (for an override, the word in brackets).
        phonemes: the given phonemes, None where the text has to be phonemised.
    """

    text: str
    phonemes: str | None = None


def split_overrides(text: str) -> list[Segment]:
    """The text cut at its overrides; the segments' texts in order are the text without the notation."""
    return [segment for _, segment in find_segments(text)]


def find_segments(text: str) -> list[tuple[int, Segment]]:
    """`split_overrides`, with where the text of each segment begins."""
    segments, end = [], 0
    for match in _OVERRIDE.finditer(text):
        if match.start() > end:
            segments.append((end, Segment(text[end : match.start()])))
        phonemes = unicodedata.normalize("NFC", match[2]).translate(_TYPED)
        segments.append((match.start(1), Segment(match[1], " ".join(phonemes.split()))))
        end = match.end()
    if end < len(text):
        segments.append((end, Segment(text[end:])))
    return segments


def remove_overrides(text: str) -> str:
    """The text as a reader sees it: every override replaced by its word."""
    return "".join(segment.text for segment in split_overrides(text))
