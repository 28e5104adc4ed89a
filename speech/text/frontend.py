"""Text to phonemes, the whole way: inline languages, overrides, normaliser, characters that cannot be spoken, espeak.

The one function that pipelines and the preparation of corpora share, so that models hear at inference what they heard in
training.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from speech.text.language_tags import find_stretches
from speech.text.languages import Language, find_language
from speech.text.normalize import normalize
from speech.text.overrides import find_segments
from speech.text.phonemize import phonemize

# Two characters that espeak knows in no language: it reads them as "letter ..." and "Chinese letter"
_UNKNOWN_LETTER, _UNKNOWN_IDEOGRAPH = "ꓐ", "㐀"
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[,.!?;:…])")
_MARKED = 4  # phonemes of "letter" that tell a reading of an unknown letter


@dataclass(frozen=True)
class Stretch:
    """A part of a text that was phonemised at once: its place in the text, and how it was read."""

    start: int
    stop: int
    phonemes: str
    given: bool  # by an override, not by espeak
    language: str
    normalizer: str | None


class Phonemes(str):
    """A phoneme string that remembers how it came about.

    Args:
        text: the phonemes.
        normalized: the words that were phonemised, overrides as their words.
        dropped: characters of the text that cannot be spoken in its language, in order, repeats included.
        languages: the language code of each character of `text`.
        stretches: what the string is made of, in order, but for white space.
    """

    normalized: str
    dropped: list[str]
    languages: list[str]
    stretches: list[Stretch]

    def __new__(
        cls,
        text: str,
        normalized: str = "",
        dropped: list[str] | None = None,
        languages: list[str] | None = None,
        stretches: list[Stretch] | None = None,
    ) -> Phonemes:
        phonemes = super().__new__(cls, text)
        phonemes.normalized = normalized
        phonemes.dropped = dropped or []
        phonemes.languages = languages or []
        phonemes.stretches = stretches or []
        return phonemes


def text_to_phonemes(text: str, language: str = "en-us", normalizer: str | None = None) -> Phonemes:
    """Phonemes of a text in the given language.

    Args:
        text: any Unicode text, with `[word](/phonemes/)` where a pronunciation is given (see speech.text.overrides) and
            `<pl>` where another language begins (see speech.text.language_tags).
        language: a code of speech.text.languages or any espeak voice; of the text up to its first tag.
        normalizer: key of speech.text.normalize.NORMALIZERS, None = the one of the language. "english_cleaners2" gives
            the phonemes of the published front end (phonemizer 3.2.1).
    Returns:
        The phonemes, a `str`; empty if nothing can be spoken. `.dropped` lists what had to be left out: letters of
        scripts that have no transliteration, signs that espeak has no name for, control characters. Invisible format
        characters (zero-width spaces, soft hyphens) stand for no speech and are not listed.
    Raises:
        ValueError: unknown language or normaliser.
    """
    voice = find_language(language).voice
    parts = []
    for code, start, stop in find_stretches(text, language):
        same = (
            find_language(code).voice == voice
        )  # a normaliser that was asked for is one of the text's language
        parts.append((code, _speak(text[start:stop], code, normalizer if same else None, start)))
    spoken, languages = "", []
    for code, phonemes in parts:
        if phonemes:
            stretch = f" {phonemes}" if spoken else str(phonemes)
            spoken += stretch
            languages += [code] * len(stretch)
    normalized = " ".join(phonemes.normalized for _, phonemes in parts if phonemes.normalized)
    dropped = [character for _, phonemes in parts for character in phonemes.dropped]
    stretches = [stretch for _, phonemes in parts if phonemes for stretch in phonemes.stretches]
    return Phonemes(spoken, normalized, dropped, languages, stretches)


@functools.lru_cache(maxsize=16384)
def speak_word(word: str, language: str, normalizer: str | None = None) -> str:
    """Phonemes of a word as it is said by itself, without notation; kept, since most words come again."""
    found = find_language(language)
    dropped: list[str] = []
    written = normalize(_without_controls(word, dropped), language, normalizer)
    if normalizer != "english_cleaners2":
        written = _speakable(written, found, dropped)
    return phonemize(written, language, keep_decimals=normalizer != "english_cleaners2")


def _speak(text: str, language: str, normalizer: str | None, offset: int = 0) -> Phonemes:
    """`text_to_phonemes` of a text in one language, which begins at `offset` of the whole."""
    found = find_language(language)
    published = normalizer == "english_cleaners2"
    spoken, words, dropped, stretches = "", "", [], []
    for start, segment in find_segments(text):
        place = (offset + start, offset + start + len(segment.text))
        if segment.phonemes is not None:
            stretches.append(Stretch(*place, segment.phonemes, True, language, normalizer))
            spoken += segment.phonemes
            words += segment.text
            continue
        readable = _without_controls(segment.text, dropped)
        written = normalize(readable, language, normalizer)
        if published:  # its cleaner leaves nothing but ASCII
            dropped += [character for character in readable if not _has_ascii(character)]
        else:
            written = _speakable(written, found, dropped)
        phonemes = phonemize(written, language, keep_decimals=not published)
        stretches.append(Stretch(*place, phonemes, False, language, normalizer))
        before, after = readable[:1].isspace(), readable[-1:].isspace()
        spoken += " " * before + phonemes + " " * after
        words += " " * before + written + " " * after
    return Phonemes(" ".join(spoken.split()), " ".join(words.split()), dropped, stretches=stretches)


def _without_controls(text: str, dropped: list[str]) -> str:
    kept = []
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") and not character.isspace():
            dropped.append(character)
        else:
            kept.append(character)
    return "".join(kept)


def _speakable(text: str, language: Language, dropped: list[str]) -> str:
    """The text without the characters that espeak has no reading for, which go to `dropped`; letters of foreign
    scripts are transliterated where that is possible."""
    if text.isascii():
        return text
    kept = []
    for character in text:
        reading = character if character.isascii() else _reading(character, language)
        if reading is None:
            dropped.append(character)
        kept.append(reading or "")
    return _SPACE_BEFORE_MARK.sub("", " ".join("".join(kept).split()))


@functools.lru_cache(maxsize=8192)
def _reading(character: str, language: Language) -> str | None:
    """What to hand to espeak for a character: itself, its transliteration, or None if it cannot be spoken."""
    category = unicodedata.category(character)
    if category[0] in "PZ" or category in ("Sc", "Cf", "Nd"):
        return character
    script = unicodedata.name(character, "?").split(" ")[0].split("-")[0]
    if category[0] == "M" and script in (
        "COMBINING",
        "?",
    ):  # a stray accent: those of real letters are composed
        return None
    if category[0] in "LM" and language.scripts and script not in language.scripts:
        return _transliterate(character, language) or ("" if category[0] == "M" else None)
    if category[0] == "M":  # a vowel sign of the language's own script
        return character
    spoken = phonemize(character, language.voice)
    if not spoken or (category[0] == "L" and _is_unknown(spoken, language.voice)):
        return None
    return f" {character} " if category[0] == "S" else character


def _transliterate(character: str, language: Language) -> str | None:
    from unidecode import unidecode  # its tables are only needed for text in a foreign script

    latin = unidecode(character, errors="replace", replace_str="").lower()
    return latin if latin.strip() and "LATIN" in language.scripts else None


def _has_ascii(character: str) -> bool:
    """Whether the published cleaner keeps anything of a character that stands for speech."""
    if character.isascii() or unicodedata.category(character) in ("Mn", "Cf"):
        return True
    from unidecode import unidecode

    return bool(unidecode(character))


def _is_unknown(spoken: str, voice: str) -> bool:
    letter, ideograph = phonemize(_UNKNOWN_LETTER, voice), phonemize(_UNKNOWN_IDEOGRAPH, voice)
    return spoken in (letter, ideograph) or spoken.startswith(letter[:_MARKED])
