"""Written text to words that a phonemizer reads right: one normaliser per language where numbers and signs need it."""

from __future__ import annotations

from collections.abc import Callable

from speech.text.languages import find_language

__all__ = ["NORMALIZERS", "normalize"]


def _english(text: str, language: str) -> str:
    from speech.text.normalize.english import (
        normalize_english,
    )  # its rules are compiled only where they are used

    return normalize_english(text, language)


def _localized(text: str, language: str) -> str:
    from speech.text.normalize.localized import normalize_localized

    return normalize_localized(text, language)


def _english_cleaners2(text: str, language: str) -> str:
    from speech.text.normalize.english_cleaners2 import clean_english

    return clean_english(text)


def _generic(text: str, language: str) -> str:
    from speech.text.normalize.characters import tidy

    return tidy(text)


def _none(text: str, language: str) -> str:
    return text


NORMALIZERS: dict[str, Callable[[str, str], str]] = {
    "english": _english,  # our rules, over number words of num2words
    "localized": _localized,  # other languages: names of CLDR (Babel), ordinals of num2words; digits stay espeak's
    "generic": _generic,  # any language: characters are tidied, numbers and signs are left to espeak, which knows most
    "english_cleaners2": _english_cleaners2,  # what the published HierSpeech++ models were trained with
    "none": _none,
}
"""Name -> function (text, language code) -> text."""


def normalize(text: str, language: str = "en-us", normalizer: str | None = None) -> str:
    """The text with numbers, dates, money, abbreviations and signs written out.

    Args:
        text: any Unicode text.
        language: a code of speech.text.languages or any espeak voice.
        normalizer: key of NORMALIZERS; None = the one of the language.
    Raises:
        ValueError: unknown language or normaliser.
    """
    found = find_language(language)
    name = normalizer or found.normalizer
    if name not in NORMALIZERS:
        raise ValueError(f"unknown normalizer {name!r}: known are {', '.join(NORMALIZERS)}")
    return NORMALIZERS[name](text, found.code)
