"""What CLDR knows of a language, through Babel: separators, plurals, months, names of units and of money."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from speech.text.normalize.localized_grammar import GRAMMARS, Grammar
from speech.text.normalize.localized_tables import (
    CURRENCIES,
    LOCAL_CURRENCIES,
    NO_UNITS,
    UNITS,
    WITHOUT_GRAMMAR,
)

# Codes that espeak and CLDR write differently; without a region, Babel's "pt" is Brazil's
_LOCALES = {"pt": "pt_PT", "fr-fr": "fr_FR", "no": "nb"}
_PLURALS = ("one", "few", "many", "other")


@dataclass(frozen=True, eq=False)
class Data:
    """A language as the rules need it.

    Args:
        language: first part of its code, the key of its grammar.
        locale: Babel's.
        grammar: empty for a language that is not in GRAMMARS.
        decimal: its decimal sign.
        units, currencies: what is written beside a number -> CLDR's key.
        months: what a month is called after the number of a day, in lower case -> its number.
    """

    language: str
    locale: Any
    grammar: Grammar
    decimal: str
    group: str
    units: dict[str, str]
    currencies: dict[str, str]
    months: dict[str, int]

    @property
    def known(self) -> bool:
        """Whether its grammar is known."""
        return self.language in GRAMMARS

    def month(self, number: int) -> str:
        """Its name as in a date: "mayo", "мая"."""
        return str(self.locale.months["format"]["wide"][number])

    def form(self, value: Decimal | int, forms: str) -> str:
        """Of "złoty|złote|złotych|złotego" or "euro|euros" the one that goes with a number."""
        choices = forms.split("|")
        category = self.locale.plural_form(value)
        if len(choices) <= 2:
            return choices[0 if category == "one" else -1]
        return choices[_PLURALS.index(category)]

    def unit(self, key: str, value: Decimal) -> str | None:
        """The words of a unit with {0} where the number goes, None if CLDR has none that can be spoken."""
        if key in self.grammar.units:
            return self.form(value, self.grammar.units[key])
        from babel.units import format_unit

        number = str(value).replace(".", self.decimal)
        decimals = number.partition(self.decimal)[2]
        shape = f"0.{'0' * len(decimals)}" if decimals else "0"
        written = format_unit(value, key, "long", format=shape, locale=self.locale).replace("\xa0", " ")
        words = written.replace(number, "{0}", 1).replace("’", "'")
        return words if "{0}" in words and not re.search(r"[-/.\d]", words.replace("{0}", "")) else None

    def currency(self, code: str, value: Decimal) -> str:
        """CLDR's name of a currency as it is counted."""
        from babel.numbers import get_currency_name

        return get_currency_name(code, count=value, locale=self.locale)


@functools.cache
def find_data(code: str) -> Data | None:
    """Of a language by its code, None if the rules do not know it."""
    language = _LOCALES.get(code, code).replace("_", "-").split("-")[0]
    if language not in GRAMMARS and language not in WITHOUT_GRAMMAR:
        return None
    from babel import Locale, UnknownLocaleError  # 0.02 s, and as much for a language's data

    try:
        locale = Locale.parse(_LOCALES.get(code, code).replace("-", "_"))
    except (UnknownLocaleError, ValueError):  # an accent that only espeak has
        locale = Locale.parse(language)
    symbols = locale.number_symbols["latn"]
    months = {name.lower(): number for number, name in locale.months["format"]["wide"].items()}
    return Data(
        language,
        locale,
        GRAMMARS.get(language, Grammar()),
        symbols["decimal"],
        symbols["group"],
        _units(language, locale),
        {**CURRENCIES, **LOCAL_CURRENCIES.get(language, {})},
        months,
    )


def _units(language: str, locale: Any) -> dict[str, str]:
    """Signs of units, with CLDR's own short forms where they are one word and no plain one: "Std.", "км/ч", not "horas"."""
    from babel.units import format_unit

    units = dict(UNITS)
    words = {
        word
        for key in ("duration-hour", "duration-minute", "duration-second", "mass-gram", "mass-tonne")
        for value in (1, 2, 3, 5, Decimal("0.5"))
        for word in format_unit(value, key, "long", locale=locale).replace("\xa0", " ").split()
    }
    for key in dict.fromkeys(UNITS.values()):
        short = format_unit("0", key, "short", locale=locale).replace("0", "", 1).strip().rstrip(".")
        if short and short not in words and not re.search(r"[-\s\d]", short):
            units.setdefault(short, key)
    return {sign: key for sign, key in units.items() if sign not in NO_UNITS.get(language, ())}
