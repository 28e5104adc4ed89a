"""The English normaliser: every rule in the order it has to run."""

from __future__ import annotations

import re

from speech.text.normalize.characters import tidy
from speech.text.normalize.english_dates import speak_dates, speak_times, speak_years
from speech.text.normalize.english_quantities import (
    speak_measures,
    speak_money,
    speak_numbers,
    speak_telephones,
)
from speech.text.normalize.english_words import (
    drop_smileys,
    speak_abbreviations,
    speak_addresses,
    speak_roman_numerals,
    speak_signs,
)

_STOP_BEFORE_MARK = re.compile(r"(?<![.\s])\.(?=\s?[,;:])")  # left of "James II.,"
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[,.!?;:…])")


def normalize_english(text: str, language: str = "en-us") -> str:
    """English text as words and punctuation. Dates like 3/4/2025 start with the month in "en-us" and "en" only."""
    text = drop_smileys(tidy(text))
    text = speak_addresses(text)
    text = speak_telephones(text)  # before anything that reads parts of them as numbers
    text = speak_times(text)
    text = speak_money(text)
    text = speak_dates(text, day_first=language not in ("en", "en-us"))
    text = speak_measures(text)
    text = speak_roman_numerals(text)  # before capital words are taken for acronyms
    text = speak_abbreviations(text)
    text = speak_years(text)
    text = speak_numbers(text)
    text = speak_signs(text)
    return _STOP_BEFORE_MARK.sub("", _SPACE_BEFORE_MARK.sub("", " ".join(text.split())))
