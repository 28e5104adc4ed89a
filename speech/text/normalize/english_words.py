"""English abbreviations, initials, acronyms, Roman numerals, web addresses and signs in words."""

from __future__ import annotations

import re

from speech.text.normalize.english_numbers import cardinal, ordinal, roman
from speech.text.normalize.english_tables import (
    ACRONYMS,
    GREEK,
    LEADS,
    SENTENCE_STARTS,
    SIGNS,
    SLASHED,
    TAILS,
    TITLES,
)

_TLD = (
    "com|org|net|edu|gov|mil|int|info|io|ai|app|dev|me|tv|uk|de|fr|eu|us|ca|au|jp|cn|kr|in|ch|nl|se|no|es|it"
)
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_URL = re.compile(
    rf"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"”]+[^\s<>\"”.,;:!?)\]}}'’]|\b[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:{_TLD})\b(?:/[^\s<>\"”]*[^\s<>\"”.,;:!?)\]}}'’])?",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"^(?:https?|ftp)://", re.IGNORECASE)
_WEB_SIGNS = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals", "&": "and",
              "#": "hash", "%": "percent", ":": "colon", "~": "tilde", "@": "at", "+": "plus"}  # fmt: skip
_WEB_WORDS = {
    "io": "I O",
    "ai": "A- I",
    "uk": "U K",
    "us": "U S",
    "eu": "E U",
    "tv": "T V",
    "edu": "E D U",
    "www": "w w w",
}

_SLASHED = re.compile(rf"(?<![\w/])(?:(?:{'|'.join(s for s in SLASHED if s != 'w/')})(?!\w)|w/(?=[a-z]|\s))")
_STREET = re.compile(
    r"(\b[A-Z][a-z]+ )(St|Dr)\.(?=,|;|$| [a-z]|\s*$)|(\d+ (?:[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,2})(St|Dr)\."
)
_TITLE = re.compile(rf"\b({'|'.join(TITLES)})\.(?= ?[A-Z])")
_MISTER = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof)\b\.?", re.IGNORECASE)
_TAIL = re.compile(rf"\b({'|'.join(TAILS)})\.(?=(,)?(\s+\w+)?)")
_LEAD = re.compile(rf"(?<![\w.])({'|'.join(re.escape(lead) for lead in LEADS)})\.,?(?=\s+\S)", re.IGNORECASE)
_BARE_LEAD = re.compile(r"\bvs\b")
_DOTTED = re.compile(r"\b((?:[A-Za-z]\.){2,}|Ph\.D\.|[A-Za-z](?:\.[A-Za-z])+\b(?!\.))(?=(\s+\w+)?)")
_INITIAL = re.compile(
    r"((?:^|[\"'(“]|\b[A-Z][\w'-]*[,]? |\b(?:by|of|and|to|with|from) |[A-Z]-? ))([A-Z])\. ?(?=([A-Z][\w'-]*\.?))"
)
_ACRONYM = re.compile(rf"\b({'|'.join(ACRONYMS)})\b")
_CAPITALS = re.compile(r"[A-Z]{2,}")

_PARTS = "chapter|part|book|act|scene|volume|section|phase|title|article|appendix|type|class|level|war|figure|table|mark|bowl|canto|stage|grade|lesson|unit|verse|round|apollo|plate"
_NUMERAL = r"[IVXLCDM]+"
_NUMBERED_PART = re.compile(rf"\b((?i:{_PARTS})s?) ({_NUMERAL})\b(?!')")
_RULERS = (
    "Adrian Albert Alexander Alfonso Antiochus Baldwin Benedict Boniface Carl Catherine Charles Christian Clement Conrad Darius David "
    "Edward Elizabeth Eugene Ferdinand Francis Frederick George Gregory Gustav Haakon Harald Henry Innocent Isabella Ivan James John Julius "
    "Leo Leopold Louis Ludwig Malcolm Margaret Mary Maximilian Napoleon Nicholas Otto Paul Peter Philip Pius Ptolemy Ramses Rameses Richard "
    "Robert Rudolf Sixtus Stephen Umberto Urban Victor Wilhelm William Xerxes"
).replace(" ", "|")
_RULER = re.compile(rf"\b({_RULERS}) ({_NUMERAL})\b")
_TITLE_BEFORE = re.compile(
    r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Prince|Duke) (?:[A-Z]\w+ )?$"
)
_NAME_AFTER = re.compile(r"\. ?([A-Z][\w'-]*)")
_LONE_I_AFTER = re.compile(r"\s*(?:[.,;:!?)]|$|of |was crowned|reigned|died|the )|'s")
_SEQUEL = re.compile(
    r"\b(II|III|VIII?|XIII?|XIV|XVI{1,3}|XIX)\b|(?<=[A-Z])([a-z]+ )(IV|VI|IX|XI|XV|XX[IVX]*)\b"
)

_SMILEY = re.compile(r"(?:(?<=\s)|^)[:;=]['’]?-?[()DPp|](?=$|[\s.,!?])")
_EMPHASIS = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,2})(?=\S)(.+?)(?<=\S)\1(?![\w*_])")
_ASIDE = re.compile(r"(?:\s*[()\[\]{}|•·†‡])+\s*")
_MARKS = ",.!?;:…—"
_INNER_DOT = re.compile(r"(?<=[a-z0-9])\.(?=[a-z])")
_SHARP = re.compile(r"\b([A-G])#(?!\w)")
_SIGN = re.compile("|".join(map(re.escape, SIGNS)))
_GREEK = re.compile(rf"(?<![Ͱ-Ͽἀ-῿])[{''.join(GREEK)}{''.join(GREEK).upper()}](?![Ͱ-Ͽἀ-῿])")


def drop_smileys(text: str) -> str:
    """Smileys of punctuation, which nobody speaks; emoji have names in espeak."""
    return _SMILEY.sub("", text)


def speak_addresses(text: str) -> str:
    """E-mail and web addresses; "https://" itself is not spoken."""
    text = _EMAIL.sub(lambda m: _web(m[0]), text)
    return _URL.sub(lambda m: _web(_SCHEME.sub("", m[0])), text)


def speak_abbreviations(text: str) -> str:
    """Abbreviations with a full stop, titles, initials, dotted and capital acronyms."""
    if _is_shouted(text):
        text = _shout_to_sentence(text)
    text = _SLASHED.sub(lambda m: SLASHED[m[0]], text)
    text = _STREET.sub(_street, text)
    text = _TITLE.sub(lambda m: TITLES[m[1]], text)
    text = _MISTER.sub(lambda m: TITLES[m[1].capitalize()], text)
    text = _LEAD.sub(_lead, text)
    text = _BARE_LEAD.sub("versus", text)
    text = _TAIL.sub(_tail, text)
    text = _DOTTED.sub(_dotted, text)
    for _ in range(4):  # matches overlap: the second of "J. R. R." begins inside the first
        text = _INITIAL.sub(_initial, text)
    return _ACRONYM.sub(lambda m: ACRONYMS[m[1]], text)


def speak_roman_numerals(text: str) -> str:
    """Roman numerals where they are surely numbers: "Chapter IV", "Henry VIII", "Rocky II"."""
    text = _NUMBERED_PART.sub(_part, text)
    text = _RULER.sub(_ruler, text)
    return _SEQUEL.sub(lambda m: f"{m[2] or ''}{cardinal(roman(m[1] or m[3]) or 0)}", text)


def speak_signs(text: str) -> str:
    """Every sign that has an English name, brackets as pauses, emphasis marks of Markdown taken off."""
    text = _EMPHASIS.sub(r"\2", text)
    text = _GREEK.sub(lambda m: f" {GREEK[m[0].lower()]} ", text)
    text = _INNER_DOT.sub(" dot ", text)
    text = _SHARP.sub(r"\1 sharp", text)  # the keys and the programming languages
    text = _SIGN.sub(lambda m: SIGNS[m[0]], text)
    return _ASIDE.sub(_aside, text)


def _aside(match: re.Match[str]) -> str:
    """A pause for a bracket or bullet, unless the text begins or ends there or has a mark of its own."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if not before or not after:
        return ""
    if before[-1] in _MARKS or after[0] == "—":
        return " "
    return "" if after[0] in _MARKS else ", "


def spell(letters: str) -> str:
    """Letters one by one; "A-", because espeak takes a lone A for the article."""
    return " ".join("A-" if letter in "aA" else letter.upper() for letter in letters)


def _web(address: str) -> str:
    words = (
        _WEB_SIGNS.get(w) or _WEB_WORDS.get(w.lower()) or w for w in re.findall(r"[^\W_]+|[^\w\s]|_", address)
    )
    return " ".join(words)


def _is_shouted(text: str) -> bool:
    words = re.findall(r"[A-Za-z']{2,}", text)
    return len(words) >= 4 and all(word.isupper() for word in words)


def _shout_to_sentence(text: str) -> str:
    """Lower case for a text all in capitals, so that IT and US are not spelled; numerals and initials stay."""
    return re.sub(
        r"[A-Z][A-Z']+|\bA\b",
        lambda m: m[0] if roman(m[0]) else m[0].capitalize() if m[0] in _SHOUTED else m[0].lower(),
        text,
    )


_SHOUTED = {title.upper() for title in TITLES} | {name.upper() for name in _RULERS.split("|")}


def _ends_sentence(match: re.Match[str], following: str | None) -> bool:
    if following is None:
        return not match.string[match.end() :].strip(" \"'”)")
    return following.strip() in SENTENCE_STARTS


def _street(match: re.Match[str]) -> str:
    names = {"St": "Street", "Dr": "Drive"}
    end = "." if not match.string[match.end() :].strip() else ""
    return (match[1] + names[match[2]] if match[1] else match[3] + names[match[4]]) + end


def _lead(match: re.Match[str]) -> str:
    word = LEADS[match[1].lower()]
    if match[1] == "V" or (match[1] == "v" and not re.search(r"[A-Z]\w*\s*$", match.string[: match.start()])):
        return match[0]
    return f"{word}," if " " in word else word


def _tail(match: re.Match[str]) -> str:
    return TAILS[match[1]] + ("." if not match[2] and _ends_sentence(match, match[3]) else "")


def _dotted(match: re.Match[str]) -> str:
    letters = match[1].replace(".", "")
    stop = "." if match[1].endswith(".") and _ends_sentence(match, match[2]) else ""
    if letters == "PhD":
        words = "P H D"
    else:
        words = letters.upper() if letters.isupper() or len(letters) <= 2 else spell(letters)
    return words + stop


def _initial(match: re.Match[str]) -> str:
    if match[3] in SENTENCE_STARTS or (match[2] == "I" and match[1].strip().islower()):
        return match[0]
    return f"{match[1]}{spell(match[2])} "


def _part(match: re.Match[str]) -> str:
    value = roman(match[2])
    if not value or (match[2] == "I" and not match[1][0].isupper()):
        return match[0]
    return f"{match[1]} {cardinal(value)}"


def _ruler(match: re.Match[str]) -> str:
    value = roman(match[2])
    before, after = match.string[: match.start()], match.string[match.end() :]
    middle = len(match[2]) == 1 and _NAME_AFTER.match(after)  # "Robert I. Bouck"
    if not value or match[2] in ("L", "C", "D", "M") or (middle and middle[1] not in SENTENCE_STARTS):
        return match[0]
    if match[2] == "I" and not _TITLE_BEFORE.search(before) and not _LONE_I_AFTER.match(after):
        return match[0]
    return f"{match[1]} the {ordinal(value)}"
