"""Tables of the English normaliser: months, currencies, units, abbreviations, signs."""

from __future__ import annotations

MONTHS = {
    "jan": "January", "feb": "February", "mar": "March", "apr": "April", "may": "May", "jun": "June", "jul": "July",
    "aug": "August", "sep": "September", "sept": "September", "oct": "October", "nov": "November", "dec": "December",
}  # fmt: skip
MONTH_NAMES = list(dict.fromkeys(MONTHS.values()))
WEEKDAYS = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "thur": "Thursday",
    "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip

# sign -> (one, many, one hundredth, hundredths)
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₺": ("lira", "lira", "kurush", "kurush"),
    "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₫": ("dong", "dong", "xu", "xu"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₿": ("bitcoin", "bitcoins", "cent", "cents"),
}
# letters before a dollar sign, and codes before or after an amount
DOLLARS = {"US": "US", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian", "NZ": "New Zealand",
           "HK": "Hong Kong", "S": "Singapore"}  # fmt: skip
CURRENCY_CODES = {"USD": ("$", "US"), "EUR": ("€", ""), "GBP": ("£", "British"), "JPY": ("¥", "Japanese"),
                  "INR": ("₹", "Indian"), "CAD": ("$", "Canadian"), "AUD": ("$", "Australian"),
                  "NZD": ("$", "New Zealand"), "KRW": ("₩", "Korean"), "CNY": ("¥", "Chinese")}  # fmt: skip
MAGNITUDES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "bn": "billion",
              "b": "billion", "B": "billion", "tn": "trillion", "T": "trillion"}  # fmt: skip

_PREFIXES = {
    "k": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
    "m": "milli",
    "µ": "micro",
    "μ": "micro",
    "n": "nano",
}


def _with_prefixes(symbol: str, one: str, many: str, prefixes: str) -> dict[str, tuple[str, str]]:
    return {prefix + symbol: (_PREFIXES[prefix] + one, _PREFIXES[prefix] + many) for prefix in prefixes}


# symbol -> (one, many); case counts: 5 MB is not 5 mb
UNITS = {
    "m": ("meter", "meters"), "cm": ("centimeter", "centimeters"), "dm": ("decimeter", "decimeters"),
    **_with_prefixes("m", "meter", "meters", "kmµμn"),
    "ft": ("foot", "feet"), "yd": ("yard", "yards"), "yds": ("yard", "yards"), "mi": ("mile", "miles"),
    "sq ft": ("square foot", "square feet"), "sq mi": ("square mile", "square miles"), "sq m": ("square meter", "square meters"),
    "m²": ("square meter", "square meters"), "km²": ("square kilometer", "square kilometers"), "ha": ("hectare", "hectares"),
    "cm²": ("square centimeter", "square centimeters"), "m³": ("cubic meter", "cubic meters"),
    "cm³": ("cubic centimeter", "cubic centimeters"), "km³": ("cubic kilometer", "cubic kilometers"),
    "cc": ("cubic centimeter", "cubic centimeters"),
    "g": ("gram", "grams"), **_with_prefixes("g", "gram", "grams", "kmµμn"), "kgs": ("kilogram", "kilograms"),
    "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"), "L": ("liter", "liters"), "ml": ("milliliter", "milliliters"), "mL": ("milliliter", "milliliters"),
    "cl": ("centiliter", "centiliters"), "dl": ("deciliter", "deciliters"), "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"), "gal": ("gallon", "gallons"), "pt": ("pint", "pints"),
    "s": ("second", "seconds"), "sec": ("second", "seconds"), "secs": ("second", "seconds"), "min": ("minute", "minutes"), "mins": ("minute", "minutes"),
    "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "yr": ("year", "years"), "yrs": ("year", "years"),
    **_with_prefixes("s", "second", "seconds", "mµμn"),
    "Hz": ("hertz", "hertz"), **_with_prefixes("Hz", "hertz", "hertz", "kMGT"),
    **_with_prefixes("B", "byte", "bytes", "kMGT"), "KB": ("kilobyte", "kilobytes"), "PB": ("petabyte", "petabytes"),
    "kbit": ("kilobit", "kilobits"), "Mbit": ("megabit", "megabits"), "Gbit": ("gigabit", "gigabits"),
    "kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "kB/s": ("kilobyte per second", "kilobytes per second"),
    "MB/s": ("megabyte per second", "megabytes per second"), "GB/s": ("gigabyte per second", "gigabytes per second"),
    "V": ("volt", "volts"), **_with_prefixes("V", "volt", "volts", "km"), **_with_prefixes("A", "ampere", "amperes", "m"),
    "mAh": ("milliampere hour", "milliampere hours"), "W": ("watt", "watts"), **_with_prefixes("W", "watt", "watts", "kMGm"),
    "Wh": ("watt hour", "watt hours"), "kWh": ("kilowatt hour", "kilowatt hours"), "MWh": ("megawatt hour", "megawatt hours"),
    "Ω": ("ohm", "ohms"), **_with_prefixes("Ω", "ohm", "ohms", "kM"), "J": ("joule", "joules"), "kJ": ("kilojoule", "kilojoules"),
    "N": ("newton", "newtons"), "kN": ("kilonewton", "kilonewtons"), "Pa": ("pascal", "pascals"), "hPa": ("hectopascal", "hectopascals"),
    "kPa": ("kilopascal", "kilopascals"), "MPa": ("megapascal", "megapascals"), "psi": ("P S I", "P S I"),
    "cal": ("calorie", "calories"), "kcal": ("kilocalorie", "kilocalories"), "hp": ("horsepower", "horsepower"),
    "mph": ("mile per hour", "miles per hour"), "kph": ("kilometer per hour", "kilometers per hour"),
    "km/h": ("kilometer per hour", "kilometers per hour"), "kmh": ("kilometer per hour", "kilometers per hour"),
    "m/s": ("meter per second", "meters per second"), "ft/s": ("foot per second", "feet per second"),
    "m/s²": ("meter per second squared", "meters per second squared"), "km/s": ("kilometer per second", "kilometers per second"),
    "mg/L": ("milligram per liter", "milligrams per liter"), "g/L": ("gram per liter", "grams per liter"),
    "mpg": ("mile per gallon", "miles per gallon"), "rpm": ("R P M", "R P M"), "bpm": ("beat per minute", "beats per minute"),
    "fps": ("frame per second", "frames per second"), "dpi": ("dot per inch", "dots per inch"), "px": ("pixel", "pixels"),
    "dB": ("decibel", "decibels"), "mol": ("mole", "moles"),
    "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"), "‰": ("per mille", "per mille"),
}  # fmt: skip

# Written with a full stop; before a name
TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Messrs": "Messieurs", "Dr": "Doctor", "Drs": "Doctors", "Prof": "Professor",
    "Rev": "Reverend", "Hon": "Honorable", "Gen": "General", "Lt": "Lieutenant", "Col": "Colonel", "Capt": "Captain",
    "Sgt": "Sergeant", "Maj": "Major", "Cpl": "Corporal", "Pvt": "Private", "Adm": "Admiral", "Cmdr": "Commander",
    "Gov": "Governor", "Sen": "Senator", "Rep": "Representative", "Pres": "President", "Supt": "Superintendent",
    "Det": "Detective", "Insp": "Inspector", "Mt": "Mount", "Ft": "Fort", "St": "Saint", "Msgr": "Monsignor",
}  # fmt: skip
# Written with a full stop that may end the sentence too
TAILS = {
    "Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation",
    "Co": "Company", "Bros": "Brothers", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway",
    "Pkwy": "Parkway", "Sq": "Square", "Dept": "Department", "Bldg": "Building", "Univ": "University", "Assn": "Association",
    "etc": "et cetera", "al": "al",
}  # fmt: skip
# Written with a full stop, before something: (pattern of what follows, word)
LEADS = {
    "vs": "versus", "v": "versus", "cf": "compare", "viz": "namely", "approx": "approximately", "ca": "circa", "tel": "telephone",
    "ext": "extension", "max": "maximum", "min": "minimum", "misc": "miscellaneous", "govt": "government", "est": "established",
    "e.g": "for example", "i.e": "that is",
}  # fmt: skip
BEFORE_NUMBERS = {
    "No": "number", "Nos": "numbers", "p": "page", "pp": "pages", "vol": "volume", "vols": "volumes", "ch": "chapter",
    "chap": "chapter", "fig": "figure", "figs": "figures", "eq": "equation", "sec": "section", "art": "article", "c": "circa",
    "ca": "circa", "ed": "edition", "apt": "apartment", "ext": "extension", "ver": "version", "l": "line", "ll": "lines",
}  # fmt: skip
SLASHED = {
    "w/o": "without",
    "w/": "with ",
    "b/c": "because",
    "c/o": "care of",
    "n/a": "N A-",
    "N/A": "N A-",
    "and/or": "and or",
    "he/she": "he or she",
    "she/he": "she or he",
    "s/he": "she or he",
    "him/her": "him or her",
    "his/her": "his or her",
    "his/hers": "his or hers",
    "He/she": "He or she",
    "His/her": "His or her",
}
# Capital words that espeak would read in another way than people do
ACRONYMS = {
    "ACLU": "A- C L U", "AKA": "A- K A-", "ETA": "E T A-", "IEEE": "I triple E", "JPEG": "jay peg", "JSON": "jason", "RAM": "ram",
    "ROM": "rom", "PIN": "pin", "ZIP": "zip", "LAN": "lan", "SIM": "sim", "LaTeX": "lah tech", "COVID": "covid",
}  # fmt: skip

SIGNS = {
    "<=": " less than or equal to ", ">=": " greater than or equal to ", "!=": " is not equal to ", "==": " equals ", "->": " to ",
    "=>": " implies ",
    "&": " and ", "+": " plus ", "=": " equals ", "±": " plus or minus ", "×": " times ", "÷": " divided by ", "<": " less than ",
    ">": " greater than ", "≤": " less than or equal to ", "≥": " greater than or equal to ", "≠": " is not equal to ",
    "≈": " approximately ", "≡": " is identical to ", "∞": " infinity ", "√": " square root of ", "∑": " sum ", "∏": " product ",
    "∫": " integral ", "∂": " partial ", "∈": " in ", "∆": " delta ", "→": " to ", "⇒": " implies ", "←": " from ", "↔": " to and from ",
    "©": " copyright ", "®": " registered ", "™": " trademark ", "℠": " service mark ", "§": " section ", "¶": " paragraph ",
    "№": " number ", "°": " degrees ", "%": " percent ", "‰": " per mille ", "#": " hash ", "@": " at ", "~": " tilde ",
    "^": " caret ", "\\": " backslash ", "/": " slash ", "*": " asterisk ", "_": " ", "¢": " cents ", "µ": " micro ", "℃": " degrees Celsius ", "℉": " degrees Fahrenheit ", "Ω": " ohm ", "♥": " heart ",
    "❤": " heart ", "★": " star ", "☆": " star ", "✓": " check ", "✔": " check ",
    **{sign: f" {words[1]} " for sign, words in CURRENCIES.items()},
}  # fmt: skip
GREEK = dict(zip(
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mew new xi omicron pi rho sigma sigma tau upsilon phi chi "
     "psi omega").split(),
    strict=True,
))  # fmt: skip
FRACTIONS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5", "⅙": "1/6",
    "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip

SENTENCE_STARTS = frozenset(
    "The A An He She It They We You I In On At But And Or So This That These Those There Then When While If As For From With "
    "However After Before Although His Her Its Their Our My Your What Who Why How Where Now No Yes Not".split()
)
"""Words that begin a sentence when they are capitalised after a full stop."""
