"""Dates and years in the words of a language: "12.5.2024" -> "dwunastego maja dwa tysiące dwudziestego czwartego roku"."""

from __future__ import annotations

import datetime
import functools
import re

from speech.text.normalize.localized_data import Data
from speech.text.normalize.localized_numbers import ordinal, year

_ISO = re.compile(r"(?<![\w./-])(\d{4})-(\d{2})-(\d{2})(?![\w/-]|\.\d)")
_DAY_FIRST = re.compile(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?![\w/-]|\.\d)")
_YEAR_SIGNS = {"pl": re.compile(r"(?<=\b\d{4}) ?r\."), "ru": re.compile(r"(?<=\b\d{4}) ?г\.")}
_YEARS = {
    "pl": re.compile(r"\b(?:([Ww]e?|[Pp]o|[Oo]) )?([1-9]\d{3}) (roku)\b"),
    "ru": re.compile(r"\b(?:([Вв]о?) )?([1-9]\d{3}) (году|года|год)\b"),
}
_FROM_TO = {"pl": ("([Oo]d)", "ego"), "ru": ("([Сс]о?)", "gm")}  # "с 5 по 10 мая"
_GERMAN_DAY = re.compile(
    r"\b((?:[Aa]m|[Vv]om|[Zz]um|[Bb]is|[Dd]e[mnrs]|[Aa]b|[Ss]eit) )(\d{1,2})\.(\d{1,2})\.(?!\d)"
)
_GERMAN_ORDINAL = re.compile(
    r"\b((?:[Aa]m|[Ii]m|[Vv]om|[Zz]u[mr]|[Bb]eim|[Dd]e[mnrs]|[Dd]ie|[Dd]as) )(\d{1,3})\.(?= [^\W\d_])"
)
# "(am) Montag, dem 3. Mai", "Montag, 3. Mai" and "im Mai, 3. Woche" are not told apart by their first words alone
_GERMAN_WEAK = re.compile(r"\b(?:am|vom|zum|zur|beim|im|de[mns]|bis|ab|seit|nach|vor) $", re.I)
_GERMAN_THE = re.compile(r"\b(?:der|die|das) $", re.I)
_GERMAN_YEAR = re.compile(
    r"\b(Jahr(?:e[sn]?)?|[Ss]eit|[Aa]nno) (1[1-9]\d\d)(?![\w%€$]|[.,]\d| ?[€$%]| (?:k?[mgW]|[th]|Euro|Dollar|Tage\w*|Jahre\w*)\b)"
)


def speak_dates(text: str, data: Data) -> str:
    """Dates in figures, and days before the name of a month where they are said as ordinals; what is no day of the
    calendar stays."""
    if data.language in _YEAR_SIGNS:
        text = _YEAR_SIGNS[data.language].sub(lambda m: _year_sign(m, data.language), text)
    text = _ISO.sub(lambda m: _date(m, m[3], m[2], m[1], data), text)
    text = _DAY_FIRST.sub(lambda m: _date(m, m[1], m[3], m[4], data), text)
    if data.language == "de":
        text = _GERMAN_DAY.sub(lambda m: m[1] + _date(m, m[2], m[3], None, data, m[1]), text)
    if data.language in _FROM_TO:
        word, form = _FROM_TO[data.language]
        rule = rf"\b{word} (\d{{1,2}})(?= (?:до|по|do) \d{{1,2}} (?:{'|'.join(data.months)})\b)"
        text = re.sub(rule, lambda m: f"{m[1]} {ordinal(int(m[2]), data.language, form)}", text)
    if data.language in ("de", "pl", "ru", "sv"):
        text = _named(data).sub(lambda m: _date(m, m[1], str(data.months[m[2].lower()]), m[3], data), text)
    if data.language == "de":
        text = _GERMAN_ORDINAL.sub(lambda m: m[1] + ordinal(int(m[2]), "de", _german_ending(m[1])), text)
        text = _GERMAN_YEAR.sub(lambda m: f"{m[1]} {year(int(m[2]), 'de')}", text)
    elif data.language in _YEARS:
        text = _YEARS[data.language].sub(lambda m: _spoken_year(m, data.language), text)
        text = re.sub(r"\b(roku|года) (?:roku|года)\b", r"\1", text)
    elif data.language in ("fr", "it"):
        first = ordinal(1, data.language)
        text = re.sub(rf"(?<![\w.,'])1°?(?= (?:{'|'.join(data.months)})\b)", first, text)
    return text


def _date(
    match: re.Match[str], day: str, month: str, year_digits: str | None, data: Data, before: str | None = None
) -> str:
    """A date in the order and the case of the language, or what was written if there is no such day."""
    written = match[0] if before is None else match[0][len(before) :]
    try:
        datetime.date(int(year_digits or 2000), int(month), int(day))
    except ValueError:
        return written
    number, name = int(day), data.month(int(month))
    if data.language == "de":
        ending = _german_ending(match.string[: match.start()] if before is None else before)
        words = f"{ordinal(number, 'de', ending)} {name}"
        return f"{words} {year(int(year_digits), 'de')}" if year_digits else words
    if data.language == "pl":
        words = f"{ordinal(number, 'pl', 'ego')} {name}"
        return f"{words} {ordinal(int(year_digits), 'pl', 'ego')} roku" if year_digits else words
    if data.language == "ru":
        until = re.search(r"\bпо $", match.string[: match.start()])
        words = f"{ordinal(number, 'ru', 'nn' if until else 'gm')} {name}"
        return f"{words} {ordinal(int(year_digits), 'ru', 'gm')} года" if year_digits else words
    if data.language == "sv":
        return " ".join([ordinal(number, "sv"), name, *([year_digits] if year_digits else [])])
    spoken = str(number)
    if number == 1 and (data.language == "fr" or str(data.locale) == "pt_BR"):
        spoken = ordinal(1, data.language)
    elif number == 1 and data.language == "it" and not match.string[: match.start()].endswith("'"):
        spoken = ordinal(1, "it")
    pattern = _pattern(data)
    if pattern is None:
        return written
    return pattern.format(d=spoken, m=name, y=int(year_digits or 0))


@functools.cache
def _pattern(data: Data) -> str | None:
    """CLDR's long date as a template with d, m and y; None where it has full stops or more than these and words."""
    pattern = data.locale.date_formats["long"].pattern
    parts = re.fullmatch(r"d( (?:'[^']+' )?)MMMM( (?:'[^']+' )?)y", pattern)
    if parts is None or "." in pattern:
        return None
    first, second = (part.replace("'", "") for part in parts.groups())
    return "{d}" + first + "{m}" + second + "{y}"


@functools.cache
def _named(data: Data) -> re.Pattern[str]:
    """A day, a month by its name and, if there is one, the year: of languages whose days are ordinals."""
    stop = r"\. ?" if data.language == "de" else " "
    names = "|".join(map(re.escape, data.months))
    tail = {"pl": "(?: roku)?", "ru": "(?: года)?"}.get(data.language, "")
    return re.compile(
        rf"(?<![\w.,:/-])(\d{{1,2}}){stop}({names})\b(?: (\d{{4}})(?![\w/-]|[.,:]\d){tail})?", re.I
    )


def _german_ending(before: str) -> str:
    """Of an ordinal behind these words: "am dritten", "der dritte", "dritter"."""
    if _GERMAN_WEAK.search(before):
        return "en"
    return "e" if _GERMAN_THE.search(before) else "er"


def _year_sign(match: re.Match[str], language: str) -> str:
    """ "r." and "г." written out; the full stop stays where it ends a sentence too."""
    following = match.string[match.end() :].lstrip()[:1]
    stop = "." if not following or following.isupper() or following in "\"»”'" else ""
    if language == "pl":
        return f" roku{stop}"
    inside = re.search(r"\b[Вв]о? \d{4}$", match.string[: match.start()])
    return (" году" if inside else " года") + stop


def _spoken_year(match: re.Match[str], language: str) -> str:
    before, digits, noun = match.groups()
    if language == "pl":
        form = "ym" if before else "ego"
    else:
        form = {"году": "pm", "года": "gm", "год": "nm"}[noun]
    return f"{before + ' ' if before else ''}{ordinal(int(digits), language, form)} {noun}"
