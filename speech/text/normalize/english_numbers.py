"""English number words: cardinals, ordinals, decimals, years, digits, Roman numerals. The words come from num2words."""

from __future__ import annotations

import functools
import re

_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_LONGEST = 18  # digits of a number that is read as one; longer ones are read digit by digit
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
"""Regular expression of an unsigned number as people type it."""


@functools.lru_cache(maxsize=4096)
def _words(value: int, to: str) -> str:
    from num2words import num2words  # 0.03 s, only when a text has numbers

    return num2words(value, lang="en", to=to).replace(",", "")


def cardinal(value: int) -> str:
    """1234 -> "one thousand two hundred and thirty-four"."""
    return _words(value, "cardinal")


def ordinal(value: int) -> str:
    """21 -> "twenty-first"."""
    return _words(value, "ordinal")


def spell_digits(digits: str, zero: str = "zero") -> str:
    """ "507" -> "five zero seven"; other characters are skipped."""
    return " ".join(zero if digit == "0" else cardinal(int(digit)) for digit in digits if digit.isdecimal())


def number(text: str) -> str:
    """Words of a number as typed: "1,234.50", ".5", "007", with a sign or not."""
    sign = "minus " if text.startswith("-") else ""
    whole, point, decimals = text.lstrip("+-").replace(",", "").partition(".")
    if len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0")):
        words = spell_digits(whole)
    else:
        words = cardinal(int(whole)) if whole else ""
    if point:
        words = f"{words} point {spell_digits(decimals)}".strip()
    return sign + words


def year(value: int) -> str:
    """1984 -> "nineteen eighty-four", 1905 -> "nineteen oh five", 2005 -> "two thousand and five", 1900 -> "nineteen
    hundred"."""
    high, low = divmod(value, 100)
    if value < 1000 or high % 10 == 0 and low < 10:
        return cardinal(value)
    if low == 0:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {'oh ' if low < 10 else ''}{cardinal(low)}"


def pairs(digits: str) -> str:
    """Numbers of rooms, flights, roads: "747" -> "seven forty-seven", "101" -> "one oh one", "1026" -> "ten twenty-six"."""
    if len(digits) not in (3, 4) or digits.startswith("0") or digits.endswith("00"):
        return number(digits)
    low = int(digits[-2:])
    return f"{cardinal(int(digits[:-2]))} {'oh ' if low < 10 else ''}{cardinal(low)}"


def plural(words: str) -> str:
    """The plural of number words: "ninety" -> "nineties", "six" -> "sixes"."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def roman(numeral: str) -> int | None:
    """The value of a Roman numeral in capitals, None if it is not one."""
    if not numeral or not _ROMAN.fullmatch(numeral):
        return None
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
