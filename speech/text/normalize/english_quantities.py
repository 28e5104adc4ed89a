"""English money, measures, fractions, ranges, telephone numbers and plain numbers in words."""

from __future__ import annotations

import re

from speech.text.normalize.english_numbers import (
    NUMBER,
    cardinal,
    number,
    ordinal,
    pairs,
    plural,
    spell_digits,
)
from speech.text.normalize.english_tables import (
    BEFORE_NUMBERS,
    CURRENCIES,
    CURRENCY_CODES,
    DOLLARS,
    FRACTIONS,
    MAGNITUDES,
    UNITS,
)

_N = rf"(?:{NUMBER})"
_FROM = r"(?<![\w.,])"
_CASH = "".join(map(re.escape, CURRENCIES))
_SCALE = rf"(?:\s?(thousand|million|billion|trillion|hundred)\b|\s?({'|'.join(MAGNITUDES)})\b)?"
_UNITS = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))

_TELEPHONE = re.compile(
    r"(?<![\w.-])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4})(?![\w-])"
)
_LOCAL_TELEPHONE = re.compile(
    r"(?i)((?:call|dial|phone|tel|telephone|fax|number)(?: is|:|\.)? )(\d{3}-\d{4})\b"
)
_SOCIAL = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_VERSION = re.compile(r"(?<![\w.])v?\d+(?:\.\d+){2,}(?![\w]|\.\d)")
_MONEY = re.compile(
    rf"(-)?((?<![A-Za-z])(?:{'|'.join(DOLLARS)})(?=\$))?([{_CASH}])\s?({_N})(?:\s?-\s?[{_CASH}]?({_N}))?{_SCALE}([ -](?:bill|note|coin)\b|-a-)?"
)
_MONEY_AFTER = re.compile(rf"{_FROM}({_N}){_SCALE}\s?([{_CASH}¢])(?![\w\d])")
_CODE_BEFORE = re.compile(rf"\b({'|'.join(CURRENCY_CODES)})\s?({_N}){_SCALE}")
_CODE_AFTER = re.compile(rf"{_FROM}({_N}){_SCALE}\s?({'|'.join(CURRENCY_CODES)})\b")
_HEIGHT = re.compile(r"(?<![\w'])(\d{1,2})'\s?(\d{1,2})(?:\"|''|(?=\W|$))")
_ANGLE = re.compile(rf"(\d+)°\s?(\d+)'(?:\s?({_N})(?:\"|''))?(?:\s?([NSEW])\b)?")
_COMPASS = {"N": " north", "S": " south", "E": " east", "W": " west"}
_UNIT_TWICE = re.compile(rf"(?<=\d)\s?({_UNITS})(?=-(?:{_N})\s?\1(?![\w²³/']))")
_MEASURE = re.compile(
    rf"(?<![\w.,])(-)?({_N})(?:\s?(-|to|x|×)\s?(-)?({_N}))?(\s?|-)({_UNITS})(?![\w²³/'])(\.(?=\s+[a-z]))?"
)
_FEET_AND_INCHES = re.compile(
    r"(?<![\w.,])(\d{1,2})\s?ft\.?,?\s?(\d{1,2})\s?(?:in\b|ins\b)(\.(?=\s+[a-z]|,))?"
)
_INCHES = re.compile(rf"(\b(?:an?|the)\s+)?{_FROM}({_N})\s?(?:in\.(?=\s+[a-z])|\"(?=\s))")
_MIXED = re.compile(r"(?<![\w./])(?:(\d+)(?: |-| and ))?(\d{1,3})[/⁄](\d{1,3})(?![\w/]|\.\d)(-)?")
_COUNTERS = {
    **BEFORE_NUMBERS,
    **{short.capitalize(): word for short, word in BEFORE_NUMBERS.items() if len(short) > 2},
}
_NUMBERED = re.compile(rf"(?:\b({'|'.join(_COUNTERS)})\.\s?|(№|#)\s?)(?=\d)")
_ROOM = re.compile(
    r"(?i)\b(room|suite|flight|boeing|highway|route|interstate|apartment|channel|bus|box) #?(\d{3,4})\b"
)
_HOUSE = re.compile(
    r"\b(\d{3,4})(?= (?:[A-Z][a-z]+ ){1,3}(?:Street|Avenue|Road|Lane|Drive|Boulevard|Square|Place|Court|Highway)\b)"
)
_CALIBER = re.compile(r"(?i)(?<!\d)\.(\d\d)(?=[ -](?:cal|special|magnum|pistol|rifle|revolver|winchester))")
_SERIAL = re.compile(r"(?<=[A-Za-z])-?(\d{4,})\b")
_POWER = re.compile(r"(?<=[\w)])([⁺⁻]?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_SCIENTIFIC = re.compile(rf"{_FROM}({_N})[eE]([+-]?)(\d+)\b")
_CARET = re.compile(r"(?<=[\w)])\^(?:([23])(?![\w.]|,\d)|(-?)(?=\d))")
_HEXADECIMAL = re.compile(r"\b0x([0-9A-Fa-f]+)\b")
_TIMES_TEN = re.compile(r"(?<=\d)\s?[x×]\s?(?=10[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹^])|(?<=\d)\s?\*\s?(?=\d)")
_SPACED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3}){2,}(?![\d])|(?<![\d.,])[1-9]\d{0,2} 000(?!\d| \d)")
_ABOUT = re.compile(r"~\s?(?=\d)")
_DIMENSIONS = re.compile(r"(?<=\d)\s?[x×]\s?(?=\d)")
_TIMES = re.compile(r"(?<=\d)x\b")
_ORDINAL = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_RANGE = re.compile(rf"(?<![\w.-])({_N})\s?-\s?({_N})(?![\w-]|\.\d)")
_THOUSANDS = re.compile(rf"{_FROM}({_N})[kK]\b")
_BILLIONS = re.compile(rf"({_FROM}{_N})\s?(mn|bn|tn)\b")
_MIXED_WORD = re.compile(r"(?<=[A-Za-z])-?(?=\d)|(?<=\d)-?(?=[A-Za-z])")
_NUMBER = re.compile(rf"(?<![\w)])-(?={_N})|{_N}")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "01234567890123456789")


def speak_telephones(text: str) -> str:
    """Telephone and social-security numbers digit by digit, with a pause between groups."""
    text = _TELEPHONE.sub(lambda m: _groups(m[0]), text)
    text = _LOCAL_TELEPHONE.sub(lambda m: m[1] + _groups(m[2]), text)
    return _SOCIAL.sub(lambda m: _groups(m[0]), text)


def speak_money(text: str) -> str:
    """Amounts with a currency sign or code: "$1.5m", "£3.20", "20 €", "USD 100"."""
    text = _MONEY.sub(_money, text)
    text = _MONEY_AFTER.sub(lambda m: _amount(m[1], m[2] or m[3], m[4], ""), text)
    text = _CODE_BEFORE.sub(lambda m: _amount(m[2], m[3] or m[4], *CURRENCY_CODES[m[1]]), text)
    return _CODE_AFTER.sub(lambda m: _amount(m[1], m[2] or m[3], *CURRENCY_CODES[m[4]]), text)


def speak_measures(text: str) -> str:
    """Counted pages and numbers with units: "No. 5", "5 km", "5-10%", "5°C-9°C", "6'2\"", "20°C", "40°26'N"."""
    text = _NUMBERED.sub(lambda m: f"{_COUNTERS.get(m[1], 'number')} ", text)
    text = _ANGLE.sub(_angle, text)
    text = _FEET_AND_INCHES.sub(_height, _HEIGHT.sub(_height, text))
    text = _INCHES.sub(_inches, text)
    return _MEASURE.sub(_measure, _UNIT_TWICE.sub("", text))


def speak_numbers(text: str) -> str:
    """Everything numeric that is left: fractions, ordinals, ranges, powers, numbers inside names, plain numbers."""
    text = _HEXADECIMAL.sub(_hexadecimal, _VERSION.sub(_version, text))
    text = _ROOM.sub(lambda m: f"{m[1]} {pairs(m[2])}", text)
    text = _HOUSE.sub(lambda m: pairs(m[1]), text)
    text = _CALIBER.sub(lambda m: cardinal(int(m[1])), text)
    text = _SERIAL.sub(lambda m: f" {pairs(m[1]) if len(m[1]) == 4 else spell_digits(m[1])}", text)
    for sign, fraction in FRACTIONS.items():
        text = re.sub(rf"(?<=\d)\s?{sign}", f" {fraction}", text).replace(sign, fraction)
    text = _MIXED.sub(_fraction, text)
    text = _ABOUT.sub("about ", _SPACED.sub(lambda m: m[0].replace(" ", ""), text))
    text = _CARET.sub(_caret, _TIMES_TEN.sub(" times ", text))
    text = _SCIENTIFIC.sub(_scientific, text)
    text = _POWER.sub(_power, text).translate(_SUPERSCRIPTS)
    text = _ORDINAL.sub(lambda m: ordinal(int(m[1].replace(",", ""))), text)
    text = _RANGE.sub(lambda m: f"{number(m[1])} to {number(m[2])}", text)
    text = _TIMES.sub(" times", _DIMENSIONS.sub(" by ", text))
    text = _BILLIONS.sub(lambda m: f"{m[1]} {MAGNITUDES[m[2]]}", text)
    text = _THOUSANDS.sub(lambda m: f"{m[1]} thousand" if len(m[1]) > 1 else f"{m[1]} K", text)
    text = re.sub(r"\bA(?=-?\d)", "A- ", text)  # "A4": the letter, not the article
    text = _MIXED_WORD.sub(" ", text)
    return _NUMBER.sub(lambda m: "minus " if m[0] == "-" else _plain(m), text)


def _plain(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()]
    words = number(match[0])
    return f" {words}" if before.isalnum() else words


def _groups(digits: str) -> str:
    groups = [spell_digits(group) for group in re.findall(r"\d+", digits)]
    return ("plus " if digits.startswith("+") else "") + ", ".join(groups)


def _version(match: re.Match[str]) -> str:
    parts = match[0].lstrip("v").split(".")
    prefix = "version " if match[0].startswith("v") else ""
    return prefix + (" dot " if len(parts) == 4 else " point ").join(map(number, parts))


def _counted(amount: str, forms: tuple[str, ...]) -> str:
    return f"{number(amount)} {forms[0] if amount == '1' else forms[1]}"


def _money(match: re.Match[str]) -> str:
    scale = match[6] or match[7]
    nation = DOLLARS.get(match[2] or "", "")
    tail = match[8] or ""
    if match[5]:
        words = f"{number(match[4])} to {_amount(match[5], scale, match[3], nation)}"
    else:
        words = _amount(match[4], scale, match[3], nation, singular=tail[1:] in ("bill", "note", "coin"))
    return f"{'minus ' if match[1] else ''}{words}{tail.replace('-', ' ')}"


def _amount(amount: str, scale: str | None, sign: str, nation: str, singular: bool = False) -> str:
    """Words of an amount of money, e.g. ("13.87", None, "$", "") or ("5", "bn", "€", "")."""
    if sign == "¢":
        return _counted(amount, ("cent", "cents"))
    one, many, hundredth, hundredths = CURRENCIES[sign]
    nation = f"{nation} " if nation else ""
    if scale:
        return f"{number(amount)} {MAGNITUDES.get(scale, scale)} {nation}{one if singular else many}"
    whole, point, decimals = amount.replace(",", "").partition(".")
    if point and len(decimals) == 2:
        small = f"{cardinal(int(decimals))} {hundredth if decimals == '01' else hundredths}"
        if not int(whole or 0):
            return small if int(decimals) else f"zero {nation}{many}"
        large = f"{cardinal(int(whole))} {nation}{one if whole == '1' else many}"
        return f"{large} and {small}" if int(decimals) else large
    return f"{number(amount)} {nation}{one if singular or amount == '1' else many}"


def _angle(match: re.Match[str]) -> str:
    words = f"{_counted(match[1], UNITS['°'])} {_counted(match[2], ('minute', 'minutes'))}"
    if match[3]:
        words += f" {_counted(match[3], ('second', 'seconds'))}"
    return words + _COMPASS.get(match[4] or "", "")


def _height(match: re.Match[str]) -> str:
    return f"{_counted(match[1], UNITS['ft'])} {_counted(match[2], ('inch', 'inches'))}"


def _inches(match: re.Match[str]) -> str:
    if match[1]:  # "a 3.5-inch disk"
        return f"{match[1]}{number(match[2])} inch"
    return _counted(match[2], ("inch", "inches"))


def _measure(match: re.Match[str]) -> str:
    minus, first, link, last_minus, last, space, symbol, _ = match.groups()
    following = match.string[match.end() : match.end() + 1]
    if symbol in ("h", "m", "l", "g", "V", "N", "J", "W", "pt", "min", "sec") and space == "-":
        return match[0]  # "F-16-V", "3-m"
    if symbol == "s" and space != " ":
        return match[0]  # "the 80s"
    one, many = UNITS[symbol]
    words = ("minus " if minus else "") + number(first)
    if link:
        words += (" by " if link in "x×" else " to ") + ("minus " if last_minus else "") + number(last)
    attributive = space == "-" or (following == "-" and symbol not in "%°")
    return f"{words} {one if attributive or (first == '1' and not link) else many}"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match[1], int(match[2]), int(match[3])
    if not whole and match[0] in ("9/11", "24/7", "50/50"):
        return f"{cardinal(top)} {cardinal(bottom)}"
    if not bottom or bottom == 1 or (not whole and top >= bottom and bottom not in (2, 3, 4, 8)):
        return f"{number(match[1]) + ' ' if whole else ''}{cardinal(top)} over {cardinal(bottom)}"
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    if top != 1:
        name = "halves" if bottom == 2 else plural(name)
    count = "a" if whole and top == 1 and bottom in (2, 4) else cardinal(top)
    words = f"{number(whole)} and {count} {name}" if whole else f"{count} {name}"
    return words + (" " if match[4] else "")


def _scientific(match: re.Match[str]) -> str:
    return f"{number(match[1])} times ten to the power of {'minus ' if match[2] == '-' else ''}{number(match[3])}"


def _caret(match: re.Match[str]) -> str:
    if match[1]:
        return " squared" if match[1] == "2" else " cubed"
    return f" to the power of {'minus ' if match[2] else ''}"


def _hexadecimal(match: re.Match[str]) -> str:
    signs = (
        spell_digits(sign) if sign.isdigit() else "A-" if sign in "aA" else sign.upper() for sign in match[1]
    )
    return f"zero X {' '.join(signs)}"


def _power(match: re.Match[str]) -> str:
    digits = match[2].translate(_SUPERSCRIPTS)
    if not match[1] and digits in ("2", "3"):
        return " squared" if digits == "2" else " cubed"
    return f" to the power of {'minus ' if match[1] == '⁻' else ''}{number(digits)}"
