"""Clock times in the words of a language: "14:30" -> "14 Uhr 30", "o czternastej 30", "14 heures 30"."""

from __future__ import annotations

import functools
import re

from speech.text.normalize.localized_data import Data
from speech.text.normalize.localized_numbers import agreeing, ordinal, polish_adjective

_HOUR, _MINUTE = r"([01]?\d|2[0-4])", r"([0-5]\d)"
_COLON = re.compile(rf"(?<![\w:.,/+-]){_HOUR}:{_MINUTE}(?![\d:]|[.,/-]\d)")
_LETTER = re.compile(rf"(?<![\w:.,/+-]){_HOUR} ?h ?{_MINUTE}(?!\w|[:.,/]\d)")  # 14h30
_BETWEEN = re.compile(r"(?<=\d:\d\d) ?- ?(?=\d{1,2}:\d\d(?!\d))")
_AFTER_ARTICLE = {  # nothing but the hour is said of 14:00 behind these
    "es": re.compile(r"\b(?:las?|de|a|desde|hasta|entre) $", re.I),
    "pt": re.compile(r"(?:\b(?:as?|das?)|[àÀ]s?) $", re.I),
    "it": re.compile(r"(?:\b(?:ore|alle|dalle|delle|le)|l') ?$", re.I),
    "sv": re.compile(r"\b(?:klockan|kl\.?) $", re.I),
}
_POLISH_HOUR = re.compile(r"\b([Gg]odzin)(a|ie|y|ą) (\d{1,2})(?![\w:.,]\d|[\d:])")
_POLISH_ENDINGS = (
    (re.compile(r"\b(?:o|po|do|od|około|godzinie|godziny) $", re.I), "ej"),
    (re.compile(r"\b(?:na|przed|między|godziną) $", re.I), "ą"),
)


def speak_times(text: str, data: Data) -> str:
    """Times with a colon, with "h" in the languages that write so, and with a full stop beside a word for the clock."""
    if not data.known:
        return text
    if data.language == "pl":
        text = re.sub(
            r"\b(?:([Oo]|[Pp]o|[Oo]d|[Dd]o|[Oo]koło|[Pp]rzed) )?(godz)\. ?(?=\d)", _polish_clock, text
        )
    text = _BETWEEN.sub(f" {data.grammar.between} " if data.grammar.between else " ", text)
    if data.language == "de":
        text = re.sub(r"\b([Uu]m|[Aa]b|[Gg]egen|[Bb]is) (\d{1,2}) h\b", r"\1 \2 Uhr", text)
    for rule in _dotted(data.grammar.clock, data.grammar.clock_after):
        text = rule.sub(r"\1:\2", text)
    rules = [_COLON, _LETTER] if data.language in ("fr", "es", "it", "pt") else [_COLON]
    for rule in rules:
        text = rule.sub(lambda m: _time(m[1], m[2], m.string[: m.start()], data), text)
    text = _once(text, data.language)
    if data.language == "pl":
        text = _POLISH_HOUR.sub(_polish_hour, text)
    return text


@functools.cache
def _dotted(before: str, after: str) -> list[re.Pattern[str]]:
    rules = []
    if before:
        # a look-behind has to have one width, so each word has its own
        behind = "|".join(rf"(?<=\b{word} )" for word in before.split("|"))
        rules.append(re.compile(rf"(?:{behind}){_HOUR}\.{_MINUTE}(?!\w|[.,]\d)", re.I))
    if after:
        rules.append(re.compile(rf"(?<![\w:.,/+-]){_HOUR}\.{_MINUTE}(?= {after}\b)"))
    return rules


def _time(hour_digits: str, minute_digits: str, before: str, data: Data) -> str:
    language, hour, minute = data.language, int(hour_digits), int(minute_digits)
    bare = language in _AFTER_ARTICLE and _AFTER_ARTICLE[language].search(before) is not None
    if language in ("de", "nl"):
        spoken = agreeing(str(hour), language, "m")
        return f"{spoken} {data.grammar.clock_after}" + (f" {minute}" if minute else "")
    if language == "fr":
        spoken = agreeing(str(hour), "fr", "f")
        return f"{spoken} heure{'s' if hour > 1 else ''}" + (f" {minute}" if minute else "")
    if language in ("es", "pt"):
        spoken = agreeing(str(hour), language, "f")
        if minute:
            return f"{spoken} {data.grammar.ampersand} {minute}"
        return spoken if bare else f"{spoken} hora{'' if hour == 1 else 's'}"
    if language == "it":
        spoken = agreeing(str(hour), "it", "f")
        return f"{spoken} e {minute}" if minute else (spoken if bare else f"ore {spoken}")
    if language == "pl":
        return _polish_words(hour, before) + (f" {_two_digits(minute, 'zero')}" if minute else "")
    if language == "ru":
        if minute:
            return f"{hour} {_two_digits(minute, 'ноль')}"
        return f"{hour} {data.form(hour, 'час|часа|часов|часа')}"
    if language == "sv":
        return (
            f"{hour} {_two_digits(minute, 'noll')}"
            if minute
            else (str(hour) if bare else f"{hour} noll noll")
        )
    return f"{hour} {_two_digits(minute, 'sıfır')}" if minute else str(hour)  # tr


def _two_digits(minute: int, zero: str) -> str:
    return f"{zero} {minute}" if minute < 10 else str(minute)


def _once(text: str, language: str) -> str:
    """What the time has been given already and was written behind it too: "14 Uhr 30 Uhr", "14 y 30 h"."""
    if language in ("de", "nl"):
        return re.sub(r"\b(Uhr|uur)((?: \d\d?)?) \1\b", r"\1\2", text)
    if language in ("es", "pt"):
        return re.sub(r"(?<=\d)( [ye] \d\d?) h\b\.?|\b(horas?) h(?:oras?)?\b\.?", r"\1\2", text)
    if language == "sv":
        return re.sub(r"\b([Kk])l\.? (?=\d)", r"\1lockan ", text)
    return text


def _polish_clock(match: re.Match[str]) -> str:
    before = (match[1] or "").lower()
    ending = {"": "a", "o": "ie", "po": "ie", "przed": "ą"}.get(before, "y")
    return f"{match[1] + ' ' if before else ''}godzin{ending} "


def _polish_hour(match: re.Match[str]) -> str:
    if int(match[3]) > 24:
        return match[0]
    return f"{match[1]}{match[2]} " + _polish_words(int(match[3]), f"{match[1]}{match[2]} ")


def _polish_words(hour: int, before: str) -> str:
    """A hour as the feminine ordinal that goes behind these words: "o czternastej"."""
    form = next((form for rule, form in _POLISH_ENDINGS if rule.search(before)), "a")
    return ordinal(hour, "pl", form) if hour else polish_adjective("zerowy", form)
