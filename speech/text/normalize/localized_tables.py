"""What is written beside numbers: signs of money and of units, as the keys that CLDR has for them."""

from __future__ import annotations

WITHOUT_GRAMMAR = frozenset("az ca cs da fi hu id lt lv nb ro sk sl sr uk".split())
"""Languages that num2words knows too, whose units and money are read by CLDR's names where no slash or full stop is left."""

CURRENCIES = {
    "€": "EUR",
    "$": "USD",
    "US$": "USD",
    "£": "GBP",
    "¥": "JPY",
    "₽": "RUB",
    "zł": "PLN",
    "₺": "TRY",
    "R$": "BRL",
    "₴": "UAH",
    **{
        code: code
        for code in "EUR USD GBP CHF JPY PLN RUB SEK NOK DKK CZK HUF TRY BRL UAH RON CAD AUD CNY".split()
    },
}
"""What is written beside an amount -> ISO 4217. Signs of one language are in LOCAL_CURRENCIES."""

LOCAL_CURRENCIES = {
    "sv": {"kr": "SEK", "kronor": "SEK"},
    "da": {"kr": "DKK", "kr.": "DKK"},
    "nb": {"kr": "NOK", "kr.": "NOK"},
    "cs": {"Kč": "CZK"},
    "hu": {"Ft": "HUF"},
    "tr": {"TL": "TRY"},
    "ru": {"руб.": "RUB", "руб": "RUB", "р.": "RUB"},
    "uk": {"грн": "UAH"},
}

OWN_MONEY = {
    "da": {"DKK": "krone|kroner"},
    "nb": {"NOK": "krone|kroner"},
    "cs": {"CZK": "koruna|koruny|koruny|korun"},
    "hu": {"HUF": "forint"},
    "ro": {"RON": "leu|lei|lei|de lei"},
    "uk": {"UAH": "гривня|гривні|гривень|гривні"},
}
"""The money of a country as it is called there, in forms as `Data.form` takes them; CLDR has "norske kroner"."""

UNITS = {
    "%": "concentr-percent",
    "‰": "concentr-permille",
    "kg": "mass-kilogram",
    "g": "mass-gram",
    "mg": "mass-milligram",
    "t": "mass-tonne",
    "km": "length-kilometer",
    "m": "length-meter",
    "dm": "length-decimeter",
    "cm": "length-centimeter",
    "mm": "length-millimeter",
    "m²": "area-square-meter",
    "m2": "area-square-meter",
    "km²": "area-square-kilometer",
    "km2": "area-square-kilometer",
    "cm²": "area-square-centimeter",
    "m³": "volume-cubic-meter",
    "m3": "volume-cubic-meter",
    "cm³": "volume-cubic-centimeter",
    "l": "volume-liter",
    "dl": "volume-deciliter",
    "cl": "volume-centiliter",
    "ml": "volume-milliliter",
    "km/h": "speed-kilometer-per-hour",
    "m/s": "speed-meter-per-second",
    "°C": "temperature-celsius",
    "℃": "temperature-celsius",
    "°F": "temperature-fahrenheit",
    "°": "angle-degree",
    "h": "duration-hour",
    "min": "duration-minute",
    "s": "duration-second",
    "ms": "duration-millisecond",
    "W": "power-watt",
    "kW": "power-kilowatt",
    "MW": "power-megawatt",
    "kWh": "energy-kilowatt-hour",
    "kcal": "energy-kilocalorie",
    "V": "electric-volt",
    "Hz": "frequency-hertz",
    "kHz": "frequency-kilohertz",
    "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz",
    "kB": "digital-kilobyte",
    "MB": "digital-megabyte",
    "GB": "digital-gigabyte",
    "TB": "digital-terabyte",
}
"""What is written behind a number -> CLDR's key. CLDR's own short forms of a language ("Std.", "кг") come on top."""

NO_UNITS = {
    "ru": ("с", "г", "t", "s", "h"),  # "5 с половиной", "2024 г."
    "cs": ("s", "V"),  # prepositions: "2 s", "2 V"
    "sk": ("s", "V"),
    "sl": ("s", "V"),
    "pl": ("h.",),
    "uk": ("с", "г", "t", "s", "h", "год"),
    "sr": ("s",),
    "da": ("t", "t."),
    "nb": ("t",),
    "fi": ("t",),
    "hu": ("s", "p", "ó"),  # "s" is "and"
}
"""What looks like a unit and is a word of the language more often."""
