"""Phones: the compact phoneme inventory of the `lite` voice, one token for one sound that has a duration.

The official table (`symbols.py`) spends separate ids on stress and length marks, which last no time. A model that learns
durations from forced alignment wants one token per sound, so IPA text is cut into *units* here (``ˈɔː`` is one token with
primary stress, ``tʃ`` one consonant). Every unit also names its ARPAbet phones, the alphabet of the aligner's acoustic model.
"""

from __future__ import annotations

import re
import unicodedata

from speech.text.tokenizer import Encoded

Units = list[tuple[str, int]]  # (unit, stress): 0 none, 1 primary, 2 secondary

# unit -> ARPAbet phones that an English acoustic model knows it by
VOWELS = {
    "iː": "IY", "i": "IY", "ɪ": "IH", "ᵻ": "IH", "eɪ": "EY", "ɛ": "EH", "æ": "AE", "ɑː": "AA", "ɔː": "AO", "ɔ": "AO",
    "oʊ": "OW", "ʊ": "UH", "uː": "UW", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɜː": "ER", "ɚ": "ER", "aɪ": "AY", "aʊ": "AW",
    "ɔɪ": "OY", "n̩": "AH N",
}  # fmt: skip
CONSONANTS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G", "tʃ": "CH", "dʒ": "JH", "f": "F", "v": "V", "θ": "TH",
    "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "m": "M", "n": "N", "ŋ": "NG", "l": "L", "ɹ": "R",
    "j": "Y", "w": "W", "ɾ": "T", "ʔ": "T",
}  # fmt: skip
ARPABET = {**VOWELS, **CONSONANTS}

# Sounds of other languages and accents, spoken with the nearest sounds of the inventory.
NEAREST = {
    "a": "ɑː", "aː": "ɑː", "ɑ": "ɑː", "ɒ": "ɔ", "e": "ɛ", "eː": "eɪ", "ɛː": "ɛ", "o": "ɔ", "oː": "oʊ", "u": "uː", "y": "iː",
    "yː": "uː", "ʏ": "ʊ", "ø": "ɜː", "øː": "ɜː", "œ": "ɜː", "œː": "ɜː", "ɨ": "ɪ", "ʉ": "uː", "ʉː": "uː", "ɯ": "ʊ", "ɤ": "ʌ",
    "ɘ": "ə", "ɵ": "ʊ", "ɜ": "ɜː", "ɝ": "ɜː", "əʊ": "oʊ", "ɪː": "iː", "ʊː": "uː", "æː": "æ", "ɐː": "ɑː", "əː": "ɜː", "ɒː": "ɔː",
    "ɹ̩": "ɚ", "l̩": "l", "m̩": "m", "r": "ɹ", "ʁ": "ɹ", "ʀ": "ɹ", "ɻ": "ɹ", "ɽ": "ɾ", "ɺ": "l", "ɫ": "l", "ʎ": "j", "ɭ": "l",
    "ɲ": "n", "ɳ": "n", "ɱ": "m", "x": "h", "χ": "h", "ħ": "h", "ɦ": "h", "ç": "ʃ", "ʝ": "j", "ɣ": "ɡ", "β": "v", "ʋ": "v",
    "ɸ": "f", "ʂ": "ʃ", "ʐ": "ʒ", "ɕ": "ʃ", "ʑ": "ʒ", "ʈ": "t", "ɖ": "d", "c": "k", "ɟ": "ɡ", "q": "k", "ɢ": "ɡ", "ʧ": "tʃ",
    "ʤ": "dʒ", "ts": "t s", "dz": "d z", "pf": "p f", "ɥ": "w", "ʍ": "w", "ɬ": "l", "ɮ": "l", "ɓ": "b", "ɗ": "d", "ɠ": "ɡ",
    "ʕ": "ʔ", "ʡ": "ʔ", "g": "ɡ", "ɪə": "ɪ ə", "ʊə": "ʊ ə", "eə": "ɛ ə", "ʔ": "ʔ",
}  # fmt: skip
STRESSES = {"ˈ": 1, "ˌ": 2}
_STRESS_MARKS = ("", *STRESSES)
# Marks that change a sound too little for this inventory: left out knowingly, so they are not reported as unknown.
SILENT_MARKS = set("ːˑʰʲʷˠˤ˞ʱʼʴ‿͡") | {chr(c) for c in range(0x300, 0x370)}

PAD, BEGIN, WORD = "_", "^", " "
PAUSES = {
    ",": ",",
    ";": ",",
    ":": ",",
    "—": ",",
    "…": ",",
    "-": ",",
    "–": ",",
    "(": ",",
    ")": ",",
    "«": ",",
    "»": ",",
}
ENDS = {".": ".", "!": "!", "?": "?", "¡": ",", "¿": ","}
QUOTES = "\"“”„‘’'"

_KNOWN = sorted({*ARPABET, *NEAREST}, key=len, reverse=True)
_UNIT = re.compile("|".join(map(re.escape, _KNOWN)))
_MARKS = re.escape("".join([*PAUSES, *ENDS]) + QUOTES)
_RUNS = re.compile(rf"[{_MARKS}\s]+|[^{_MARKS}\s]+")


def split_units(word: str) -> tuple[Units, list[str]]:
    """Cut one IPA word into units.

    Returns:
        `(units, unknown)`: `(unit, stress)` pairs with stress 0 none, 1 primary, 2 secondary; and the symbols for which the
        inventory has no sound, not even a near one.
    """
    units, _, unknown = _find_units(word)
    return units, unknown


def _find_units(word: str) -> tuple[Units, list[int], list[str]]:
    """`split_units`, and where in the word each unit begins, its stress mark left aside."""
    length = len(word)
    word = unicodedata.normalize("NFC", word)
    units: Units = []
    places: list[int] = []
    unknown: list[str] = []
    stress, at = 0, 0
    while at < len(word):
        if word[at] in STRESSES:
            stress, at = STRESSES[word[at]], at + 1
            continue
        match = _UNIT.match(word, at)
        if match is None:
            if word[at] not in SILENT_MARKS:
                unknown.append(word[at])
            at += 1
            continue
        found = match.group()
        for unit in [found] if found in ARPABET else NEAREST[found].split():
            vowel = unit in VOWELS
            units.append((unit, stress if vowel else 0))
            places.append(min(at, length - 1))  # composed letters may have made the word shorter
            if (
                vowel
            ):  # a stress mark stands before the syllable or the vowel; either way the vowel carries it
                stress = 0
        at = match.end()
    return units, places, unknown


def arpabet(units: Units) -> list[list[str]]:
    """The ARPAbet phones of each unit (most have one, a syllabic n has two)."""
    return [ARPABET[unit].split() for unit, _ in units]


class PhoneTokenizer:
    """IPA text <-> token ids for models that learn from forced alignment.

    A sentence becomes ``^``, the units of its words with one boundary token between words (a plain boundary, ``,`` for a
    pause, or ``. ! ?``), and an end token. Every token may last zero or more frames, also the boundaries.
    """

    name = "phones"

    def __init__(self) -> None:
        self.symbols: list[tuple[str, int]] = [(s, 0) for s in (PAD, BEGIN, WORD, ",", ".", "!", "?")]
        self.symbols += [(v, stress) for v in VOWELS for stress in (0, 1, 2)]
        self.symbols += [(c, 0) for c in CONSONANTS]
        self.ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.units = list(dict.fromkeys(unit for unit, _ in self.symbols))

    def __len__(self) -> int:
        return len(self.symbols)

    def factors(self) -> list[tuple[int, int]]:
        """For each token id: (unit index, stress index), so that rare stressed forms share an embedding."""
        index = {unit: i for i, unit in enumerate(self.units)}
        return [(index[unit], stress) for unit, stress in self.symbols]

    def encode(self, phonemes: str) -> Encoded:
        """Token ids of IPA text with punctuation; symbols without any sound are listed in `unknown`."""
        words, found, end, unknown = _find_words(phonemes)
        if not words:
            return Encoded([], unknown)
        ids, places, symbols = [self.ids[BEGIN, 0]], [found[0][0]], [WORD]
        for (boundary, units), starts in zip(words, found, strict=True):
            if boundary:
                ids.append(self.ids[boundary, 0])
                places.append(starts[0])
                symbols.append(boundary)
            ids += [self.ids[unit] for unit in units]
            places += starts
            symbols += [f"{_STRESS_MARKS[stress]}{unit}" for unit, stress in units]
        return Encoded([*ids, self.ids[end, 0]], unknown, [*places, places[-1]], [*symbols, end])


def split_words(phonemes: str) -> tuple[list[tuple[str, Units]], str, list[str]]:
    """Cut IPA text into words.

    Returns:
        `(words, end, unknown)`: for each word the boundary before it (`""` for the first, else a plain boundary, a pause
        or a sentence end) and its units; the mark that ends the text (`.`, `!` or `?`); symbols without any sound.
    """
    words, _, end, unknown = _find_words(phonemes)
    return words, end, unknown


def _find_words(phonemes: str) -> tuple[list[tuple[str, Units]], list[list[int]], str, list[str]]:
    """`split_words`, and where in the text the units of each word start."""
    words: list[tuple[str, Units]] = []
    starts: list[list[int]] = []
    unknown: list[str] = []
    boundary = ""
    for match in _RUNS.finditer(phonemes):
        run = match[0]
        if run[0].isspace() or run[0] in PAUSES or run[0] in ENDS or run[0] in QUOTES:
            boundary = _strongest(run, boundary)
            continue
        units, places, missing = _find_units(run)
        unknown += missing
        if units:
            words.append((boundary if words else "", units))
            starts.append([match.start() + place for place in places])
            boundary = ""
    return words, starts, boundary if boundary in (".", "!", "?") else ".", unknown


def _strongest(run: str, boundary: str) -> str:
    """The one boundary that a run of marks and spaces stands for: a sentence end before a pause before a plain one."""
    marks = [PAUSES.get(c) or ENDS[c] for c in run if c in PAUSES or c in ENDS]
    if boundary in (".", "!", "?"):
        return boundary
    return next((m for m in marks if m != ","), "," if marks or boundary == "," else WORD)
