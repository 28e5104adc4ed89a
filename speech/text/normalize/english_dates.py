"""English dates, years, decades and times of day in words."""

from __future__ import annotations

import re

from speech.text.normalize.english_numbers import cardinal, number, ordinal, plural, year
from speech.text.normalize.english_tables import MONTH_NAMES, MONTHS, WEEKDAYS

_MONTH = rf"(?:{'|'.join(MONTH_NAMES)}|(?:{'|'.join(m.capitalize() for m in MONTHS)})\b\.?)"
_YEAR = r"[12]\d{3}"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_SUFFIX = r"(?:st|nd|rd|th)?"

_ISO = re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?:T(?=\d{2}:))?(?![\d-])")
_NUMERIC = re.compile(r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?![\d/-]|\.\d)")
_WEEKDAY = re.compile(
    rf"\b({'|'.join(d.capitalize() for d in WEEKDAYS)})\.?,?(?= {_MONTH} \d|,? \d{{1,2}} {_MONTH})"
)
_SHORT_WEEKDAY = re.compile(rf"\b({'|'.join(d.capitalize() for d in WEEKDAYS)})\.(?=,| [a-z])")
_DAYS = "|".join(day.capitalize() for day in WEEKDAYS)
_WEEKDAYS = re.compile(rf"\b({_DAYS})\.?(?:-| [-—] )({_DAYS})\b(\.(?=\s+[a-z\d]|,))?")
_MONTH_DAY = re.compile(
    rf"\b({_MONTH}) ({_DAY}){_SUFFIX}(?:\s?(?:-|to)\s?({_DAY}){_SUFFIX})?(?![\d:%]|[.,/]\d)(,? (?={_YEAR}\b))?"
)
_DAY_MONTH = re.compile(
    rf"(\b[Tt]he )?\b({_DAY})({_SUFFIX})(?:-({_DAY}){_SUFFIX})? (?:of )?({_MONTH})(?![a-z])"
)
_SHORT_MONTH = re.compile(
    rf"\b({'|'.join(m.capitalize() for m in MONTHS if m != 'may')})\.(?! ?[A-Z])|\b(Jan|Feb|Aug|Sept|Oct|Nov|Dec)\."
)
_MONTH_YEAR = re.compile(rf"\b({_MONTH})(?= '?\d{{2,4}}\b)")
_DECADE = re.compile(r"(?<![\d,.])'?(?:(\d{2})?(\d)0|(\d{2})00)(?:'?s)\b")
_SHORT_YEAR = re.compile(r"(?<!\w)'(\d\d)\b(?!')")
_YEARS = re.compile(rf"(?<![\d,.$€£#-])\b({_YEAR})(?:\s?[-/]\s?)({_YEAR}|\d{{2}})\b(?![,.]\d|[-/])")
_EARLY_YEAR = re.compile(
    r"(?i)(\b(?:in|since|until|till|from|by|year|AD|around|circa) )(10[1-9]\d)\b(?![,.]?\d|%| [a-z])"
)
_SINGLE_YEAR = re.compile(r"(?<![\d,.$€£#])\b(1[1-9]\d{2}|20\d{2})\b(?![,.]?\d|%)")

_AMPM = r"(?:\s?([AaPp])\.?[Mm]\b(?:\.(?!\s*$|\s+[A-Z])|\.(?=\s+[A-Z]\.))?)"
_CLOCK = re.compile(rf"(?<![\d:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?{_AMPM}?(?![\d:])")
_CLOCK_RANGE = re.compile(rf"(\d(?::\d\d)?{_AMPM}?)\s?-\s?(?=\d{{1,2}}(?::\d\d|{_AMPM}))")
_HOUR = re.compile(rf"(?<![\d:.])(1[0-2]|0?[1-9]){_AMPM}")
_RATIO = re.compile(r"(?<![\d:])(\d+):(\d+)(?![\d:])")


def speak_dates(text: str, day_first: bool) -> str:
    """Dates, decades and years in words; `day_first` reads 3/4/2025 as the third of April."""
    text = _ISO.sub(lambda m: _date(int(m[1]), int(m[2]), int(m[3]), m[0], day_first), text)
    text = _NUMERIC.sub(lambda m: _numeric(m, day_first), text)
    text = _WEEKDAYS.sub(lambda m: f"{WEEKDAYS[m[1].lower()]} to {WEEKDAYS[m[2].lower()]}", text)
    text = _WEEKDAY.sub(lambda m: f"{WEEKDAYS[m[1].lower()]}, ", text).replace(",  ", ", ")
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _SHORT_WEEKDAY.sub(lambda m: WEEKDAYS[m[1].lower()], text)
    text = _MONTH_YEAR.sub(lambda m: _month(m[1]), text)
    text = _SHORT_MONTH.sub(lambda m: _month(m[1] or m[2]), text)
    text = _DECADE.sub(_decade, text)
    text = _SHORT_YEAR.sub(lambda m: _two_digits(m[1]), text)
    return _YEARS.sub(_years, text)


def speak_years(text: str) -> str:
    """Four digits from 1100 to 2099 that nothing else has claimed, as years (1500 is "fifteen hundred" either way)."""
    text = _EARLY_YEAR.sub(lambda m: m[1] + year(int(m[2])), text)
    return _SINGLE_YEAR.sub(lambda m: year(int(m[1])), text)


def speak_times(text: str) -> str:
    """Times of day and ratios in words; runs before dates so that "5-7 p.m." is not read as anything else."""
    text = _CLOCK_RANGE.sub(r"\1 to ", text)
    text = _CLOCK.sub(_clock, text)
    text = _HOUR.sub(lambda m: f"{cardinal(int(m[1]))} {m[2].upper()}M", text)
    return _RATIO.sub(lambda m: f"{number(m[1])} to {number(m[2])}", text)


def _month(name: str) -> str:
    return MONTHS.get(name.rstrip(".").lower(), name)


def _date(years: int, month: int, day: int, written: str, day_first: bool) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return written
    name = MONTH_NAMES[month - 1]
    spoken = f"the {ordinal(day)} of {name}" if day_first else f"{name} {ordinal(day)}"
    return f"{spoken}, {year(years)} " if written.endswith("T") else f"{spoken}, {year(years)}"


def _numeric(match: re.Match[str], day_first: bool) -> str:
    first, second, years = int(match[1]), int(match[3]), int(match[4])
    if len(match[4]) == 2:
        years += 1900 if years > 40 else 2000
    day_first = day_first or match[2] == "."  # dots are written only where the day goes first
    month, day = (second, first) if day_first else (first, second)
    if month > 12:
        month, day = day, month
    return _date(years, month, day, match[0], day_first)


def _month_day(match: re.Match[str]) -> str:
    until = f" to {ordinal(int(match[3]))}" if match[3] else ""
    return f"{_month(match[1])} {ordinal(int(match[2]))}{until}{', ' if match[4] else ''}"


def _day_month(match: re.Match[str]) -> str:
    until = f" to the {ordinal(int(match[4]))}" if match[4] else ""
    return f"{match[1] or 'the '}{ordinal(int(match[2]))}{until} of {_month(match[5])}"


def _two_digits(digits: str) -> str:
    return f"oh {cardinal(int(digits))}" if digits.startswith("0") else cardinal(int(digits))


def _decade(match: re.Match[str]) -> str:
    if match[3] is not None:
        return plural(
            cardinal(int(match[3]) * 100) if int(match[3]) % 10 == 0 else f"{cardinal(int(match[3]))} hundred"
        )
    if match[1] and match[2] == "0":
        return plural(
            cardinal(int(match[1]) * 100) if int(match[1]) % 10 == 0 else f"{cardinal(int(match[1]))} hundred"
        )
    if match[2] == "0":
        return match[0]
    decade = plural(cardinal(int(match[2]) * 10))
    return f"{cardinal(int(match[1]))} {decade}" if match[1] else decade


def _years(match: re.Match[str]) -> str:
    first, last = match[1], match[2]
    if len(last) == 2 and int(last) <= int(first[2:]):
        return match[0]  # 1944-12 is no range of years
    return f"{year(int(first))} to {year(int(last)) if len(last) == 4 else _two_digits(last)}"


def _clock(match: re.Match[str]) -> str:
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    if minute:
        spoken = f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif half:
        spoken = cardinal(hour)
    else:
        spoken = f"{cardinal(hour)} o'clock" if 1 <= hour <= 12 else f"{cardinal(hour)} hundred hours"
    if second:
        spoken += f" and {cardinal(int(second))} second{'' if int(second) == 1 else 's'}"
    return f"{spoken} {half.upper()}M" if half else spoken
