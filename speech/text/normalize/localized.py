"""The normaliser of languages other than English: what espeak misreads is put into words of the language.

Numbers stay digits, which espeak reads in every language, unless a word beside them asks for another form ("1 h" is "eine
Stunde", "2 мин" "две минуты"). Names and plurals come from CLDR through Babel, ordinals from num2words, small words from
localized_grammar.py; what these do not know is left as it is.
"""

from __future__ import annotations

import functools
import re

from speech.text.normalize.characters import tidy
from speech.text.normalize.localized_data import Data, find_data
from speech.text.normalize.localized_numbers import ordinal

_MINUS = re.compile(r"(?:(?<=^)|(?<=[\s(]))-(?=\d)")
_LEADING_PLUS = re.compile(r"(?:(?<=^)|(?<=[\s(]))\+(?=\d{1,3}(?!\d| ?\d))")
_PLUS = re.compile(r"(?<=[\d)]) ?\+ ?(?=[\d(])")
_EQUALS = re.compile(r"(?<=[\w)%]) = (?=[\w(-])")
_AND = re.compile(r"(?<=\s)&(?=\s)")
_AND_BEFORE_I = re.compile(r"(?<=\s)&(?= h?i(?!e))", re.I)  # "padres e hijos", but "agua y hielo"
_NEEDED = re.compile(r"[\d&=+]|[IVX]e\b")
_ROMAN_CENTURY = re.compile(r"\b([IVX]{1,6})e(?= siècles?\b)")
# "el 1º piso" is "el primer piso", "el 1º de mayo" is "el primero de mayo"
_SPANISH_NOUN = re.compile(r" (?!(?:de|del|y|o|en|a|al|que|por|con|es|la|el|lo|se|fue)\b)[a-záéíóúñ]{3}")
_RUSSIAN_ENDINGS = {
    "й": "nm",
    "я": "nf",
    "е": "nn",
    "го": "gm",
    "му": "dm",
    "м": "pm",
    "ю": "af",
    "ой": "gf",
}


def normalize_localized(text: str, language: str) -> str:
    """A text as words and digits that espeak reads right; a language without rules is only tidied."""
    text = tidy(text)
    if not _NEEDED.search(text):
        return text
    data = find_data(language)
    if data is None:
        return text
    from speech.text.normalize.localized_dates import speak_dates
    from speech.text.normalize.localized_quantities import speak_money, speak_units
    from speech.text.normalize.localized_times import speak_times

    text = _join_groups(text, data)
    text = speak_dates(text, data)
    text = speak_times(text, data)
    text = _speak_sign(_MINUS, data.grammar.minus, text)
    text = _speak_ranges(text, data)
    text = speak_money(text, data)
    text = speak_units(text, data)
    text = _speak_ordinals(text, data.language)
    if data.grammar.decimal:
        text = re.sub(r"(?<![\d.,])(\d+),(\d+)(?!\d|[.,]\d)", rf"\1 {data.grammar.decimal} \2", text)
    if data.language == "es":
        text = _AND_BEFORE_I.sub("e", text)
    for rule, word in (
        (_LEADING_PLUS, data.grammar.plus),
        (_PLUS, data.grammar.plus),
        (_EQUALS, data.grammar.equals),
        (_AND, data.grammar.ampersand),
    ):
        text = _speak_sign(rule, word, text)
    return " ".join(text.split())


def _speak_sign(rule: re.Pattern[str], word: str, text: str) -> str:
    return rule.sub(f" {word} ", text) if word else text


def _join_groups(text: str, data: Data) -> str:
    """1.234.567 and 1 234 567 without what groups their digits, where the language groups so."""
    group = data.group
    if data.language == "pt" and data.decimal == ",":
        group = "."  # as people write, whatever CLDR says of Portugal
    if group in ".,":
        rule = rf"(?<![\w.,:/-])\d{{1,3}}(?:{re.escape(group)}\d{{3}})+(?!\w|{re.escape(group)}\d)"
        return re.sub(rule, lambda m: m[0].replace(group, ""), text)
    if group.isspace():
        return re.sub(
            r"(?<![\w.,:/-])(?<!\d )\d{1,3}(?: \d{3})+(?! ?\d)", lambda m: m[0].replace(" ", ""), text
        )
    return text


@functools.cache
def _range(decimal: str) -> re.Pattern[str]:
    number = rf"\d{{1,4}}(?:{re.escape(decimal)}\d{{1,2}})?"
    return re.compile(rf"(?<![\w.,:/+-])({number}) ?- ?({number})(?![/:\d-]|[.,]\d)")


def _speak_ranges(text: str, data: Data) -> str:
    """3-5, from less to more: not the parts of a telephone number, and not a score of 2-1."""

    def say(match: re.Match[str]) -> str:
        first, last = (float(number.replace(data.decimal, ".")) for number in match.groups())
        telephone = max(map(len, match.groups())) > 3 and len(match[1]) != len(match[2])
        zero = any(re.match(r"0\d", number) for number in match.groups())
        if first >= last or telephone or zero:
            return match[0]
        return f"{match[1]} {data.grammar.between} {match[2]}"

    return _range(data.decimal).sub(say, text) if data.grammar.between else text


def _speak_ordinals(text: str, language: str) -> str:
    """Numbers with the sign or the ending of an ordinal, where espeak does not read them."""
    if language in ("es", "it", "pt"):
        text = re.sub(
            r"(?<![\w.,])(\d{1,2})\.?([ºª])(?!\w)",
            lambda m: _romance_ordinal(m, language),
            text,
        )
        if language == "es":
            text = re.sub(r"(?<![\w.,])([13])\.?er\b", lambda m: ordinal(int(m[1]), "es")[:-1], text)
    elif language == "fr":
        text = re.sub(r"(?<![\w.,])1(ers?|[èe]?res?)\b", lambda m: _french_first(m[1]), text)
        text = re.sub(r"(?<![\w.,])2(nde?s?)\b", lambda m: f"seco{m[1]}", text)
        text = re.sub(r"(?<![\w.,])(\d{1,3})(?:i?[eè]mes?|es?)\b", lambda m: ordinal(int(m[1]), "fr"), text)
        text = _ROMAN_CENTURY.sub(_century, text)
    elif language == "nl":
        text = re.sub(r"(?<![\w.,])(\d{1,3})(?:e|ste|de)\b", lambda m: ordinal(int(m[1]), "nl"), text)
    elif language == "sv":
        text = re.sub(r"(?<![\w.,])(\d{1,3}):[ae]\b", lambda m: ordinal(int(m[1]), "sv"), text)
    elif language == "ru":
        text = re.sub(
            rf"(?<![\w.,])(\d{{1,4}})-({'|'.join(sorted(_RUSSIAN_ENDINGS, key=len, reverse=True))})\b",
            lambda m: ordinal(int(m[1]), "ru", _RUSSIAN_ENDINGS[m[2]]),
            text,
        )
    return text


def _romance_ordinal(match: re.Match[str], language: str) -> str:
    """Up to ten; espeak reads the others, without a full stop inside, and num2words errs in Spanish from 12 on."""
    value, sign = int(match[1]), match[2]
    if not 1 <= value <= 10:
        return f"{value}{sign}"
    words = ordinal(value, language, "f" if sign == "ª" else "")
    before_noun = language == "es" and value in (1, 3) and _SPANISH_NOUN.match(match.string, match.end())
    return words[:-1] if sign == "º" and before_noun else words


def _french_first(ending: str) -> str:
    plural = "s" if ending.endswith("s") else ""
    return ordinal(1, "fr", "" if ending.startswith("er") else "f") + plural


def _century(match: re.Match[str]) -> str:
    from speech.text.normalize.english_numbers import roman

    value = roman(match[1])
    return ordinal(value, "fr") if value else match[0]
