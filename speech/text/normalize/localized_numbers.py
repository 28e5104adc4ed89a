"""Number words that agree with what they count, ordinals and years, over num2words, whose slips are mended here.

Plain numbers stay digits: espeak reads them in every language, and as it did before.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal

# last words of a cardinal as num2words has them -> before a masculine and before a feminine noun ("sv": common, neuter)
_BEFORE_NOUNS: dict[str, list[tuple[str, str, str]]] = {
    "de": [(r"^eins$", "ein", "eine")],
    "fr": [(r"\bun$", "un", "une")],
    "es": [(r"veintiuno$", "veintiún", "veintiuna"), (r"\buno$", "un", "una"), (r"ientos\b", "ientos", "ientas")],
    "it": [(r"^uno$", "un", "una")],
    "pt": [(r"\bum$", "um", "uma"), (r"\bdois$", "dois", "duas"), (r"entos\b", "entos", "entas")],
    "pl": [(r"^jeden$", "jeden", "jedna"), (r"\bdwa$", "dwa", "dwie")],
    "ru": [(r"\bодин$", "один", "одна"), (r"\bдва$", "два", "две")],
    "sv": [(r"^ett$", "en", "ett")],
}  # fmt: skip
_ORDINALS = {("sv", 20): "tjugonde"}  # "tjugode" in num2words 0.5.14


@functools.lru_cache(maxsize=4096)
def _words(value: int, language: str, to: str, case: str = "n", gender: str = "m") -> str:
    from num2words import num2words  # 0.05 s, only when a text has numbers

    options = {"case": case, "gender": gender} if language == "ru" else {}
    return num2words(value, lang=language, to=to, **options)


def cardinal(value: int, language: str) -> str:
    """21 -> "vingt et un"."""
    return _words(value, language, "cardinal")


def agreeing(digits: str, language: str, gender: str) -> str:
    """A number as typed, in digits where espeak reads it right before a noun of that gender ("m", "f"), else as words.

    ("1", "de", "f") -> "eine", ("22", "ru", "f") -> "двадцать две", ("5", "de", "f") -> "5".
    """
    if not digits.isdecimal() or len(digits) > 9 or language not in _BEFORE_NOUNS:
        return digits
    words = plain = cardinal(int(digits), language)
    for pattern, masculine, feminine in _BEFORE_NOUNS[language]:
        words = re.sub(pattern, feminine if gender == "f" else masculine, words)
    return digits if words == plain else words


def ordinal(value: int, language: str, form: str = "") -> str:
    """An ordinal in the form that its place asks for.

    Args:
        form: what the language has: "de": ending after "dritt" ("e", "en", "er"); "pl": of a masculine one, "ego" or "ym",
            of a feminine "a", "ej" or "ą"; "ru": case and gender as num2words names them ("gm"); "fr", "es", "it", "pt":
            "f" for the feminine.
    """
    if language == "ru":
        return _words(value, "ru", "ordinal", (form or "n")[0], (form or "nm")[1:] or "m")
    words = _ORDINALS.get((language, value)) or _words(value, language, "ordinal")
    if language == "de":
        return words[:-1] + (form or "e")
    if language == "pl" and form:
        parts = words.split(" ")
        return " ".join(
            polish_adjective(part, form) if place >= len(parts) - (2 if _is_ten(parts) else 1) else part
            for place, part in enumerate(parts)
        )
    if form == "f" and language in ("es", "it", "pt"):
        return re.sub(r"o\b", "a", words)
    return "première" if form == "f" and language == "fr" and value == 1 else words


def year(value: int, language: str) -> str:
    """1984 -> "neunzehnhundertvierundachtzig" in German; digits where espeak reads years as it should."""
    if language == "de" and 1100 <= value < 2000:
        return _words(value, "de", "year")
    return str(value)


def to_decimal(number: str, decimal: str) -> Decimal:
    """The value of a number as typed in a language with that decimal sign; its zeros count for its plural."""
    return Decimal(number.replace(decimal, "."))


def _is_ten(parts: list[str]) -> bool:
    """Whether the last but one of Polish ordinal words is one too, "dwudziesty" of "dwudziesty pierwszy"."""
    return len(parts) > 1 and re.search(r"dzie(?:sty|siąty)$", parts[-2]) is not None


def polish_adjective(word: str, form: str) -> str:
    """An adjective in -y or -i in another form: trzeci -> trzeciego, trzecia; drugi -> drugiego, druga."""
    stem = word[:-1]
    if word.endswith("y"):
        return stem + form
    if form in ("ego", "ej", "ym"):
        return word + ("m" if form == "ym" else form)
    return stem + ("i" if word == "trzeci" else "") + form
