"""Units, percent and money in the words of a language: "5 kg" -> "5 Kilogramm", "3,50 zł" -> "3 złote 50 groszy"."""

from __future__ import annotations

import functools
import re
from decimal import Decimal

from speech.text.normalize.localized_data import Data
from speech.text.normalize.localized_numbers import agreeing, to_decimal
from speech.text.normalize.localized_tables import OWN_MONEY

_ABBREVIATION = re.compile(r"\. ?(?:\d|\w\.)")
_AMOUNT = r"\d{1,12}(?:[.,]\d{1,2})?"


@functools.lru_cache(maxsize=64)
def _unit_rule(decimal: str, signs: tuple[str, ...]) -> re.Pattern[str]:
    written = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))
    number = rf"\d{{1,12}}(?:{re.escape(decimal)}\d{{1,9}})?"
    # "5kg", "5 kg", "5 kg."; not "5 km2x", "5 m/x", "v1.5 m", "A4 s"
    return re.compile(rf"(?<![\w.,:/])({number})( ?)({written})(?![\w²³/°'-]|\.\w)")


def speak_units(text: str, data: Data) -> str:
    """Numbers with a unit, whose words agree with them; where CLDR has no words the text stays."""

    def say(match: re.Match[str]) -> str:
        number, space, sign = match.groups()
        if not space and sign in ("s", "t", "V", "W", "l"):  # names of things and "50s"
            return match[0]
        following = match.string[match.end() : match.end() + 2]
        if sign == "°" and data.language in ("es", "it", "pt") and following[1:].isalpha():
            return match[0]  # "3° piano" is a floor, "30° all'ombra" is hot
        if len(sign) == 1 and sign.isalpha() and _ABBREVIATION.match(match.string, match.end()):
            return match[0]  # "2024 m. E.", "Długa 5 m. 3"
        key = data.units[sign]
        pattern = data.unit(key, to_decimal(number, data.decimal))
        if pattern is None:
            return match[0]
        return say_counted(pattern, number, data, "f" if key in data.grammar.feminine else "m")

    rule = _unit_rule(data.decimal, tuple(data.units))
    text = _drop_stops(text, data)
    if data.language == "tr":  # the sign stands before the number
        text = re.sub(r"(?<![\w%])%(?=\d)", "yüzde ", text)
    return rule.sub(say, text)


def say_counted(pattern: str, number: str, data: Data, gender: str) -> str:
    """A pattern with its number, in words where they have to agree."""
    words = agreeing(number, data.language, gender)
    if data.language == "it" and words == "una" and re.match(r"\{0\} [aeiou]", pattern):
        return pattern.replace("{0} ", "un'")
    return pattern.replace("{0}", words)


@functools.lru_cache(maxsize=64)
def _money_rules(signs: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    written = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))
    before = re.compile(rf"(?<!\w)({written}) ?({_AMOUNT})(?![\w%']|[.,]\d)")
    after = re.compile(rf"(?<![\w.,:/])({_AMOUNT}) ?({written})(?![\w/']|\.\w)")
    return before, after


def speak_money(text: str, data: Data) -> str:
    """Amounts with the sign, the code or the local abbreviation of a currency."""
    before, after = _money_rules(tuple(data.currencies))
    # a currency between two amounts is that of the first
    text = after.sub(lambda m: _amount(m[1], data.currencies[m[2]], m[0], data) + _stop(m), text)
    return before.sub(lambda m: _amount(m[2], data.currencies[m[1]], m[0], data), text)


def _stop(match: re.Match[str]) -> str:
    """The full stop of an abbreviation that ends a sentence too."""
    following = match.string[match.end() :].lstrip()[:1]
    return "." if match[0].endswith(".") and (not following or following.isupper()) else ""


def _amount(amount: str, code: str, written: str, data: Data) -> str:
    """Words of an amount, e.g. ("3,50", "PLN"), or what was written where they are not known."""
    whole, sign, decimals = re.match(r"(\d+)([.,]?)(\d*)", amount).groups()  # type: ignore[union-attr]
    if sign and len(decimals) != 2 and sign != data.decimal:
        return written
    known = data.grammar.money.get(code)
    if known is None:
        value = Decimal(f"{whole}.{decimals}" if decimals else whole)
        own = OWN_MONEY.get(data.language, {}).get(code)
        counted = data.form(value, own) if own else data.currency(code, value)
        return f"{whole}{data.decimal + decimals if decimals else ''} {counted}"
    name, gender, hundredth, cent_gender = known
    if code == "USD" and data.locale.territory in ("BR", "MX", "419"):
        hundredth = "centavo|centavos"
    if len(decimals) == 1 or (decimals.strip("0") and not hundredth):
        value = to_decimal(f"{whole}{data.decimal}{decimals}", data.decimal)
        return f"{whole}{data.decimal}{decimals} {data.form(value, name)}"
    large = say_counted("{0} " + data.form(int(whole), name), whole, data, gender)
    if not decimals.strip("0"):
        return large
    small = str(int(decimals))
    cents = say_counted("{0} " + data.form(int(small), hundredth), small, data, cent_gender)
    if not int(whole):
        return cents
    return f"{large} {data.grammar.cents}{cents if data.grammar.names_cents else decimals.lstrip('0')}"


def _drop_stops(text: str, data: Data) -> str:
    """The full stop of an abbreviation goes where a word follows: "5 Std. lang", "2 godz. później"."""
    short = [re.escape(sign) for sign in data.units if sign.isalpha() and len(sign) > 1]
    if not short:
        return text
    return re.sub(rf"(?<=\d)( ?(?:{'|'.join(short)}))\.(?= [^\W\dA-ZÄÖÜА-Я_])", r"\1", text)
