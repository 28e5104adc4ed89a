"""What CLDR and num2words do not say of ten languages: small words, genders, names of money as people say them.

A language that is not here is read with CLDR's names alone, and only where those need no grammar (see `Grammar`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

# CLDR's key of each unit -> gender other than the one that most units of the language have
_HOURS = ("duration-hour", "duration-minute", "duration-second", "mass-tonne", "energy-kilowatt-hour")
_HOUR = ("duration-hour", "mass-tonne")


@dataclass(frozen=True)
class Grammar:
    """The words that a language puts around its numbers.

    Args:
        minus, plus, equals, ampersand: how the signs are said; empty = espeak says them.
        between: what stands between the ends of a range ("3 bis 5"); empty = nothing, as espeak has it.
        decimal: the decimal comma, where espeak does not say it.
        cents: what joins the whole of an amount to its hundredths ("12 euros con 50").
        names_cents: whether the hundredths are followed by their name when a whole goes before.
        feminine: keys of units whose number words are feminine; for `sv` the neuter ones, the others being common.
        clock: words before a time with a dot ("kl. 14.30"), so that it is told from a decimal.
        clock_after: words after such a time ("14.30 Uhr").
        money: currency -> (forms of its name, gender, forms of its hundredth, gender); forms as `Data.form` takes them.
        units: CLDR's key -> a better pattern than CLDR's, forms divided by "|" with {0} for the number.
    """

    minus: str = ""
    plus: str = ""
    equals: str = ""
    ampersand: str = ""
    between: str = ""
    decimal: str = ""
    cents: str = ""
    names_cents: bool = False
    feminine: tuple[str, ...] = ()
    clock: str = ""
    clock_after: str = ""
    money: dict[str, tuple[str, str, str, str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def _same(names: dict[str, str], cents: dict[str, str], feminine: str = "") -> dict[str, tuple[str, ...]]:
    """Money by names and names of hundredths, with feminine ones listed."""
    return {
        code: (name, "f" if code in feminine.split() else "m", cents.get(code, ""), "m")
        for code, name in names.items()
    }


GRAMMARS: dict[str, Grammar] = {
    "de": Grammar(
        minus="minus",
        plus="plus",
        equals="gleich",
        ampersand="und",
        between="bis",
        feminine=_HOURS,
        clock_after="Uhr",
        money=_same(
            {"EUR": "Euro", "USD": "Dollar", "GBP": "Pfund", "CHF": "Franken", "JPY": "Yen", "PLN": "Zloty"},
            {"EUR": "Cent", "USD": "Cent", "GBP": "Pence", "CHF": "Rappen", "PLN": "Groschen"},
        ),
    ),
    "fr": Grammar(
        minus="moins",
        plus="plus",
        equals="égale",
        ampersand="et",
        between="à",
        feminine=("duration-hour", "duration-minute", "duration-second", "mass-tonne"),
        money=_same(
            {
                "EUR": "euro|euros",
                "USD": "dollar|dollars",
                "GBP": "livre|livres",
                "CHF": "franc|francs",
                "JPY": "yen|yens",
                "PLN": "zloty|zlotys",
            },
            {
                "EUR": "centime|centimes",
                "USD": "cent|cents",
                "GBP": "penny|pence",
                "CHF": "centime|centimes",
                "PLN": "grosz|groszy",
            },
            "GBP",
        ),
        units={"speed-kilometer-per-hour": "{0} kilomètre-heure|{0} kilomètres-heure"},
    ),
    "es": Grammar(
        minus="menos",
        plus="más",
        equals="igual a",
        ampersand="y",
        between="a",
        cents="con ",
        feminine=_HOUR,
        money=_same(
            {
                "EUR": "euro|euros",
                "USD": "dólar|dólares",
                "GBP": "libra|libras",
                "CHF": "franco|francos",
                "JPY": "yen|yenes",
                "PLN": "esloti|eslotis",
            },
            {
                "EUR": "céntimo|céntimos",
                "USD": "centavo|centavos",
                "GBP": "penique|peniques",
                "CHF": "céntimo|céntimos",
                "PLN": "grosz|groszy",
            },
            "GBP",
        ),
    ),
    "it": Grammar(
        minus="meno",
        plus="più",
        equals="uguale a",
        ampersand="e",
        cents="e ",
        feminine=_HOUR,
        clock="ore|alle|dalle|delle",
        money=_same(
            {
                "EUR": "euro",
                "USD": "dollaro|dollari",
                "GBP": "sterlina|sterline",
                "CHF": "franco|franchi",
                "JPY": "yen",
                "PLN": "zloty",
            },
            {
                "EUR": "centesimo|centesimi",
                "USD": "centesimo|centesimi",
                "GBP": "penny|pence",
                "CHF": "centesimo|centesimi",
            },
            "GBP",
        ),
        units={
            "mass-tonne": "{0} tonnellata|{0} tonnellate",
            "concentr-percent": "{0} per cento",
        },
    ),
    "pt": Grammar(
        minus="menos",
        plus="mais",
        equals="igual a",
        ampersand="e",
        between="a",
        cents="e ",
        names_cents=True,
        feminine=_HOUR,
        money=_same(
            {
                "EUR": "euro|euros",
                "USD": "dólar|dólares",
                "GBP": "libra|libras",
                "BRL": "real|reais",
                "CHF": "franco|francos",
                "JPY": "iene|ienes",
                "PLN": "zloty|zlotys",
            },
            {
                "EUR": "cêntimo|cêntimos",
                "USD": "cêntimo|cêntimos",
                "GBP": "péni|pence",
                "BRL": "centavo|centavos",
                "CHF": "cêntimo|cêntimos",
            },
            "GBP",
        ),
        units={"mass-tonne": "{0} tonelada|{0} toneladas"},
    ),
    "nl": Grammar(
        minus="min",
        plus="plus",
        equals="is",
        ampersand="en",
        between="tot",
        clock_after="uur",
        money=_same(
            {"EUR": "euro", "USD": "dollar", "GBP": "pond", "CHF": "frank", "JPY": "yen", "PLN": "zloty"},
            {"EUR": "cent", "USD": "cent", "GBP": "pence", "CHF": "rappen"},
        ),
        units={
            "duration-hour": "{0} uur",
            "mass-tonne": "{0} ton",
            "angle-degree": "{0} graad|{0} graden",
        },
    ),
    "pl": Grammar(
        minus="minus",
        plus="plus",
        equals="równa się",
        ampersand="i",
        names_cents=True,
        feminine=_HOURS,
        clock="o|po|przed|do|od|około|godz\\.|godzina|godzinie|godziny",
        money=_same(
            {
                "PLN": "złoty|złote|złotych|złotego",
                "EUR": "euro",
                "USD": "dolar|dolary|dolarów|dolara",
                "GBP": "funt|funty|funtów|funta",
                "CHF": "frank|franki|franków|franka",
                "JPY": "jen|jeny|jenów|jena",
            },
            {
                "PLN": "grosz|grosze|groszy|grosza",
                "EUR": "cent|centy|centów|centa",
                "USD": "cent|centy|centów|centa",
                "GBP": "pens|pensy|pensów|pensa",
            },
        ),
    ),
    "ru": Grammar(
        minus="минус",
        plus="плюс",
        equals="равно",
        ampersand="и",
        names_cents=True,
        feminine=("duration-minute", "duration-second", "mass-tonne"),
        money={
            "RUB": ("рубль|рубля|рублей|рубля", "m", "копейка|копейки|копеек|копейки", "f"),
            "EUR": ("евро", "m", "цент|цента|центов|цента", "m"),
            "USD": ("доллар|доллара|долларов|доллара", "m", "цент|цента|центов|цента", "m"),
            "GBP": ("фунт|фунта|фунтов|фунта", "m", "пенс|пенса|пенсов|пенса", "m"),
            "CHF": ("франк|франка|франков|франка", "m", "сантим|сантима|сантимов|сантима", "m"),
            "JPY": ("иена|иены|иен|иены", "f", "", "m"),
            "PLN": ("злотый|злотых|злотых|злотого", "m", "грош|гроша|грошей|гроша", "m"),
        },
        units={"mass-kilogram": "{0} килограмм|{0} килограмма|{0} килограммов|{0} килограмма"},
    ),
    "sv": Grammar(
        minus="minus",
        plus="plus",
        equals="är lika med",
        ampersand="och",
        between="till",
        decimal="komma",
        cents="och ",
        names_cents=True,
        feminine=("mass-gram", "mass-kilogram", "mass-milligram", "mass-tonne"),
        clock="kl\\.|kl|klockan",
        money={
            "SEK": ("krona|kronor", "m", "öre", "f"),
            **_same(
                {
                    "EUR": "euro",
                    "USD": "dollar",
                    "GBP": "pund",
                    "CHF": "franc",
                    "JPY": "yen",
                    "PLN": "zloty",
                },
                {"EUR": "cent", "USD": "cent", "GBP": "pence", "CHF": "rappen"},
                "GBP",
            ),
        },
    ),
    "tr": Grammar(
        minus="eksi",
        plus="artı",
        equals="eşittir",
        ampersand="ve",
        names_cents=True,
        clock="saat",
        money=_same(
            {
                "TRY": "lira",
                "EUR": "avro",
                "USD": "dolar",
                "GBP": "sterlin",
                "CHF": "frank",
                "JPY": "yen",
                "PLN": "zloti",
            },
            {"TRY": "kuruş", "EUR": "sent", "USD": "sent", "GBP": "peni"},
        ),
        units={
            "speed-kilometer-per-hour": "saatte {0} kilometre",
            "speed-meter-per-second": "saniyede {0} metre",
            "temperature-celsius": "{0} derece",
        },
    ),
}
"""First part of a language code -> its grammar."""
