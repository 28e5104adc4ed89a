"""Inline languages: `<pl>` says that what follows is Polish, so that one sentence can mix languages.

    <en>Good morning is <pl>dzień dobry <en>in Polish.

Only the code of a language that is known makes a tag; `a < b`, `<3` and `<br/>` stay what they are. A text that uses tags is
checked for mistyped ones: there, what looks like a tag and names no language is an error.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from speech.text.languages import LANGUAGES, find_language

if TYPE_CHECKING:
    from speech.text.frontend import Phonemes
    from speech.text.tokenizer import Encoded

_TAG = re.compile(r"<([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)>")


def split_languages(text: str, language: str) -> list[tuple[str, str]]:
    """The text cut at its tags: (language code, text) of each stretch in order; the first is in `language`.

    Stretches without a visible character are left out, but for the last one, which says in what language a following
    sentence goes on.

    Raises:
        ValueError: the text has tags, and one of them names no known language.
    """
    return [(code, text[start:stop]) for code, start, stop in find_stretches(text, language)]


def find_stretches(text: str, language: str) -> list[tuple[str, int, int]]:
    """`split_languages`, with where each stretch begins and ends in place of its text."""
    tags = list(_TAG.finditer(text))
    if not any(_is_language(tag[1]) for tag in tags):
        return [(language, 0, len(text))]
    if unknown := next((tag[0] for tag in tags if not _is_language(tag[1])), None):
        raise ValueError(
            f"the tag {unknown} in the text names no language: expected a code such as <en> or <pl>"
        )
    edges = [0, *(place for tag in tags for place in tag.span()), len(text)]
    codes = [language, *(_canonical(tag[1]) for tag in tags)]
    stretches = list(zip(codes, edges[::2], edges[1::2], strict=True))
    return [(code, a, b) for code, a, b in stretches[:-1] if text[a:b].strip()] + stretches[-1:]


def remove_tags(text: str) -> str:
    """The text without its language tags; what only looks like one stays."""
    return _TAG.sub(lambda tag: "" if _is_language(tag[1]) else tag[0], text)


def match_language(code: str, known: list[str]) -> int:
    """The place in `known` (the languages of a model) of the one that speaks `code`: itself, one with the same espeak
    voice ("en" is "en-us"), or another variety of the language ("pt-br" for "pt").

    Raises:
        ValueError: the model does not speak it.
    """
    code = _canonical(code)
    if code in known:
        return known.index(code)
    voice = find_language(code).voice
    for place, other in enumerate(known):
        if find_language(other).voice == voice:
            return place
    for place, other in enumerate(known):
        if other.split("-")[0] == code.split("-")[0]:
            return place
    raise ValueError(f"the model does not speak {code!r}: its languages are {', '.join(known)}")


def language_ids(phonemes: Phonemes, encoded: Encoded, languages: list[str]) -> list[int] | None:
    """The language of each of `encoded.ids` as its place in `languages` (a model's); None for a model without languages.

    Raises:
        ValueError: the model does not speak one of the languages.
    """
    if not languages:
        return None
    found = {code: match_language(code, languages) for code in dict.fromkeys(phonemes.languages)}
    return [found[phonemes.languages[place]] for place in encoded.places]


def _canonical(code: str) -> str:
    return code.lower().replace("_", "-")


@functools.lru_cache(maxsize=256)
def _is_language(code: str) -> bool:
    if _canonical(code) in LANGUAGES:
        return True
    try:
        find_language(code)
    except ValueError:
        return False
    return True
