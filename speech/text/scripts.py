"""Does a text fit its language? By the scripts of its letters, which are known from their Unicode names."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

from speech.text.language_tags import find_stretches
from speech.text.languages import LANGUAGES, find_language
from speech.text.overrides import split_overrides


class LanguageWarning(UserWarning):
    """A text that will be spoken, though hardly as it is meant."""


FEWEST_LETTERS = 3  # of a text; fewer may be a name or a sign
READ_LETTERS = 5000  # of a long text this much is looked at
_NAMES = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana"}
_KANA = ("HIRAGANA", "KATAKANA", "CJK")


def count_scripts(text: str) -> Counter[str]:
    """How many letters of each script a text has, by the first word of their Unicode names: LATIN, CYRILLIC, CJK."""
    text = text[:READ_LETTERS]
    if text.isascii():
        letters = sum(character.isalpha() for character in text)
        return Counter({"LATIN": letters} if letters else {})
    return Counter(script for script in map(_script, text) if script)


def check_languages(text: str, language: str, trained: list[str]) -> list[str]:
    """What is to be said of a text before it is spoken: one sentence for each language that does not fit; mostly none.

    Args:
        text: with its language tags; `language` is that of its beginning.
        trained: codes of the languages that the voice was trained on.
    """
    texts: dict[str, str] = {}
    for code, start, stop in find_stretches(text, language):
        if len(texts.get(code, "")) < READ_LETTERS:
            parts = split_overrides(text[start:stop][: 2 * READ_LETTERS])
            # a word whose pronunciation is given may be of any language
            texts[code] = texts.get(code, "") + " ".join(part.text for part in parts if part.phonemes is None)
    found = []
    for code, words in texts.items():
        if not words.strip():
            continue
        sentence = _misfit(words, code)
        if sentence is None and not _speaks(code, trained):
            known = ", ".join(trained)
            sentence = f"the voice was trained on {known}, not on {code}: it will be spoken with the nearest sounds it has."
        found += [sentence] if sentence else []
    return found


def _misfit(text: str, code: str) -> str | None:
    """A sentence about a text whose letters are mostly of a script that the language is not written in."""
    scripts = find_language(code).scripts
    own = [script for script in scripts if script != "LATIN"] or list(scripts)
    letters = count_scripts(text)
    total = letters.total()
    if not own or total < FEWEST_LETTERS or 2 * sum(letters[script] for script in own) >= total:
        return None
    seen = next(script for script, _ in letters.most_common() if script not in own)
    fitting = [known for known in languages_of(seen) if known != code][:4]
    hint = f"; --language {' or '.join(fitting)} may be meant" if fitting else ""
    names = " or ".join(dict.fromkeys(map(_name, own[:1])))
    return f"the text is mostly in {_name(seen)} letters, and {code} is written in {names} ones{hint}."


def languages_of(script: str) -> list[str]:
    """Codes of the listed languages that are written in a script."""
    if script == "LATIN":
        return [code for code, known in LANGUAGES.items() if known.scripts == ("LATIN",)]
    if script in _KANA[:2]:
        return ["ja"]
    return [code for code, known in LANGUAGES.items() if script in known.scripts and code != "ja"]


def _speaks(code: str, trained: list[str]) -> bool:
    """Whether a voice knows a language, or another variety of it."""
    voice = find_language(code).voice
    return any(
        other.split("-")[0] == code.split("-")[0] or find_language(other).voice == voice for other in trained
    )


def _name(script: str) -> str:
    return _NAMES.get(script, script.title())


@functools.lru_cache(maxsize=8192)
def _script(character: str) -> str:
    if unicodedata.category(character)[0] != "L":
        return ""
    return unicodedata.name(character, "?").split(" ")[0].split("-")[0]
