"""The text cleaner of the published HierSpeech++ models, "english_cleaners2" (hand-over section 2.5), up to phonemes.

Kept as it is, oddities included ("Mrs." becomes "misess"): the published weights heard exactly this.
"""

from __future__ import annotations

import re

_ABBREVIATIONS = [
    (re.compile(rf"\b{short}\.", re.IGNORECASE), long)
    for short, long in (
        ("mrs", "misess"),
        ("mr", "mister"),
        ("dr", "doctor"),
        ("st", "saint"),
        ("co", "company"),
        ("jr", "junior"),
        ("maj", "major"),
        ("gen", "general"),
        ("drs", "doctors"),
        ("rev", "reverend"),
        ("lt", "lieutenant"),
        ("hon", "honorable"),
        ("sgt", "sergeant"),
        ("capt", "captain"),
        ("esq", "esquire"),
        ("ltd", "limited"),
        ("col", "colonel"),
        ("ft", "fort"),
    )
]


def clean_english(text: str) -> str:
    """ASCII by unidecode, lower case, abbreviations in order, white space collapsed. Numbers stay for espeak."""
    from unidecode import unidecode  # only the published voices need it

    text = unidecode(text.encode("utf-8", "ignore").decode("utf-8")).lower()  # it warns of lone surrogates
    for pattern, long in _ABBREVIATIONS:
        text = pattern.sub(long, text)
    return " ".join(text.split())
