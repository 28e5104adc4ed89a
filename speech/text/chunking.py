"""Long text into pieces of a length that models speak well: at paragraphs and sentences, then clauses, then words.

No character is lost except white space at the cuts, and no piece is cut inside a pronunciation override. Each piece knows
what kind of border follows it, so that whoever speaks it knows how long to pause.
"""

from __future__ import annotations

import re

# What may follow a piece, the weakest border first: white space, a comma or conjunction, a semicolon, colon or dash, the
# end of a sentence, of a paragraph, of a section (a line of asterisks, or several blank lines).
BORDERS = ("word", "comma", "colon", "sentence", "paragraph", "section")

# A line that only divides sections; not "...", which may be someone's silence
_DIVIDER = re.compile(r"[*#~_=•⁂—–-](?:\s*[*#~_=•⁂—–-]){2,}|[*#⁂]")
LONGEST_WRAPPED_LINE = 120  # characters; line ends of a text with longer lines are its paragraphs' ends
_CLOSERS = "\"'”’»)]}"
_SENTENCE_END = re.compile(
    rf"(?:\.(?:\s\.){{2,3}}|[.!?…]+)[{re.escape(_CLOSERS)}]*(?=\s|$)|[。！？｡।॥۔؟][{re.escape(_CLOSERS)}」』]*"
)
_OVERRIDE = re.compile(r"\[[^\[\]]*\]\(/[^/()]*/\)")
# Words, in lower case, whose full stop does not end a sentence: always, and when a number follows
_ABBREVIATIONS = frozenset(
    "mr mrs ms messrs dr drs prof rev hon gen lt col capt sgt maj cpl pvt adm cmdr gov sen rep pres supt det insp mt ft "
    "st msgr vs v cf viz approx ca e.g i.e al".split()
)
_BEFORE_NUMBERS = frozenset(
    "no nos p pp vol vols ch chap fig figs eq sec art ed eds apt ext ver tel jan feb mar apr jun jul aug sep sept oct "
    "nov dec kl godz nr str".split()
)
# German ordinals, whose full stop ends no sentence: "Montag, 3. Mai", "am 12. April", "im 19. Jahrhundert"
_GERMAN_DAY = re.compile(r"(?<!\d)\d{1,2}\.$")
_GERMAN_ORDINAL = re.compile(
    r"\b(?:(?P<day>[Aa]m|[Bb]is)|[Dd]e[mnr]|[Ii]m|[Vv]om|[Zz]u[mr]|[Bb]eim) \d{1,3}\.$"
)
_GERMAN_MONTHS = frozenset("Januar Jänner Februar März Mai Juni Juli Oktober Dezember".split())
_ENGLISH_TOO = frozenset("April August September November".split())
_WORD_BEFORE = re.compile(r"([\w.]+)\.$")
WORD_CHARS = 40  # of a sentence's end are looked at for its last word
_WORD = re.compile(r"\S+")
_LIST_NUMBER = re.compile(r"[(\[]?(?:\d{1,3}|[A-Za-z])[.)]+")  # "1." and the like number what follows
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
# Words that begin a sentence after initials more often than they are a name
_STARTERS = frozenset(
    "The A An This That These Those There Here He She It They We You I His Her Its Their Our Your My In On At By For "
    "From With To Of As But And Or So Yet If When While Where What Who Why How Then Now After Before Once No Not All "
    "Some".split()
)
# Where a sentence that is too long may be cut, the best place first, and what kind of border that is
_CLAUSES = (
    ("colon", re.compile(r"[;:—](?=\s)|\s[–—-](?=\s)|[;；：]")),
    ("comma", re.compile(r",[\"'”’»]*(?=\s)|[，、،]")),
    (
        "comma",
        re.compile(
            r"\s(?=(?:and|but|or|nor|so|yet|because|which|that|when|while|if|who|where|although|though)\s)"
        ),
    ),
    ("word", re.compile(r"\s")),
)


class Piece(str):
    """A piece of text that knows what follows it: `border` is one of `BORDERS`."""

    border: str

    def __new__(cls, text: str, border: str = "sentence") -> Piece:
        piece = super().__new__(cls, text)
        piece.border = border
        return piece


def stronger(border: str, other: str) -> str:
    """The stronger of two borders."""
    return max(border, other, key=BORDERS.index)


def split_text(text: str, max_chars: int = 400) -> list[Piece]:
    """Pieces of at most `max_chars` characters, each of whole sentences where possible.

    Sentences of a paragraph are joined up to the limit; paragraphs are not. A sentence longer than the limit is cut at
    clause borders into parts of similar length, at white space if it has none, and inside a word only if the word alone
    is longer than the limit. Paragraphs end at blank lines, and at every line end of a text that is not wrapped.

    Args:
        text: any text; an empty or blank one gives no pieces.
        max_chars: the limit in characters, at least 1.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars is {max_chars}, expected at least 1")
    pieces: list[Piece] = []
    for paragraph, border in split_paragraphs(text):
        first, current = len(pieces), Piece("")
        for sentence in split_sentences(paragraph):
            for part in _split_long(sentence, max_chars):
                if current and len(current) + 1 + len(part) <= max_chars:
                    current = Piece(f"{current} {part}", part.border)
                else:
                    pieces += [current] if current else []
                    current = part
        pieces += [current] if current else []
        if len(pieces) > first:
            pieces[-1].border = border
    return pieces


def split_paragraphs(text: str) -> list[tuple[str, str]]:
    """The paragraphs of a text with the border that follows each: "paragraph", or "section" where a new one begins.

    Lines that only divide sections, such as `* * *`, are paragraphs too, so that nothing is lost; see `is_divider`.
    """
    lines = text.split("\n")
    wrapped = max(map(len, lines)) <= LONGEST_WRAPPED_LINE
    found: list[tuple[str, str]] = []
    current: list[str] = []
    blank = 0
    for line in [*lines, ""]:
        if line.strip() and wrapped:
            current.append(line)
        elif line.strip():
            found.append((line.strip(), "paragraph"))
        elif current:
            found.append(("\n".join(current).strip(), "paragraph"))
            current = []
        blank = 0 if line.strip() else blank + 1
        if blank == 2 and found:
            found[-1] = (found[-1][0], "section")
    dividers = [is_divider(paragraph) for paragraph, _ in found] + [False]
    return [
        (paragraph, "section" if dividers[place] or dividers[place + 1] else border)
        for place, (paragraph, border) in enumerate(found)
    ]


def is_divider(paragraph: str) -> bool:
    """Whether a paragraph says nothing but that a section ends: `* * *`, `---`, `#`."""
    return _DIVIDER.fullmatch(paragraph.strip()) is not None


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, white space around them removed.

    A full stop after a title, an abbreviation or an initial, or before a word in lower case, does not end a sentence;
    closing quotes and brackets belong to the sentence before them.
    """
    sentences, start = [], 0
    protected = [match.span() for match in _OVERRIDE.finditer(text)]
    for match in _SENTENCE_END.finditer(text):
        inside = any(first < match.end() < last for first, last in protected)
        following = _WORD.search(text, match.end())
        if inside or not _ends_sentence(
            text[start : match.end()], match[0], following[0] if following else ""
        ):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(sentence: str, mark: str, following: str) -> bool:
    """Whether `mark`, with which `sentence` ends, is its end, given the word that follows."""
    if mark[0] not in ".…":
        # "Stop!" he said.
        return not following[:1].islower() or mark[0] not in "!?"
    if following[:1].islower():
        return False
    if _LIST_NUMBER.fullmatch(sentence.strip()):
        return not following
    if mark != ".":
        return True
    if _is_german_ordinal(sentence[-WORD_CHARS:], following):
        return False
    word = _WORD_BEFORE.search(sentence[-WORD_CHARS:])
    if not word:
        return True
    name = word[1]
    if (
        _INITIALS.fullmatch(name) and name != "I"
    ):  # "J. R. R. Tolkien", "the U.S. Government", but "at 5 p.m. They"
        return following.rstrip(",'’") in _STARTERS
    return name.lower() not in _ABBREVIATIONS and not (
        following[:1].isdigit() and name.lower() in _BEFORE_NUMBERS
    )


def _is_german_ordinal(sentence: str, following: str) -> bool:
    """Whether the number and full stop at the end of a sentence are an ordinal before `following`."""
    if not _GERMAN_DAY.search(sentence) and not _GERMAN_ORDINAL.search(sentence):
        return False
    month = following.rstrip(".,;:!?…" + _CLOSERS)
    if month in _GERMAN_MONTHS:
        return True
    found = _GERMAN_ORDINAL.search(sentence)
    return found is not None and following[:1].isalpha() and (month in _ENGLISH_TOO or not found["day"])


def _split_long(sentence: str, max_chars: int, border: str = "sentence") -> list[Piece]:
    """A sentence as parts within the limit, cut as near to its middle as the best kind of border allows."""
    if len(sentence) <= max_chars:
        return [Piece(sentence, border)]
    protected = [match.span() for match in _OVERRIDE.finditer(sentence)]
    for kind, pattern in _CLAUSES:
        cuts = [match.end() for match in pattern.finditer(sentence)]
        cuts = [c for c in cuts if not any(first < c < last for first, last in protected)]
        # a cut that leaves a crumb at either end is worse than one at a weaker border
        cuts = [c for c in cuts if min(c, len(sentence) - c) >= max(1, max_chars // 5)]
        if cuts:
            cut = min(cuts, key=lambda c: abs(2 * c - len(sentence)))
            return _split_at(sentence, cut, max_chars, kind, border)
    spaces = [m.start() for m in re.finditer(r"\s", sentence)]
    spaces = [s for s in spaces if not any(first < s < last for first, last in protected)]
    if spaces:
        cut = min(spaces, key=lambda s: abs(2 * s - len(sentence)))
        return _split_at(sentence, cut, max_chars, "word", border)
    if protected:  # a single override, however long, is left whole
        parts = _around_override(sentence, protected[0], max_chars)
    else:
        parts = [Piece(sentence[at : at + max_chars], "word") for at in range(0, len(sentence), max_chars)]
    parts[-1].border = border
    return parts


def _split_at(sentence: str, cut: int, max_chars: int, kind: str, border: str) -> list[Piece]:
    """Both sides of a cut of the given kind, split on where they are too long; `border` follows the whole."""
    before, after = sentence[:cut].strip(), sentence[cut:].strip()
    parts = _split_long(before, max_chars, kind) if before else []
    parts += _split_long(after, max_chars, border) if after else []
    parts[-1].border = border
    return parts


def _around_override(sentence: str, span: tuple[int, int], max_chars: int) -> list[Piece]:
    before, override, after = sentence[: span[0]], sentence[span[0] : span[1]], sentence[span[1] :]
    parts = _split_long(before, max_chars, "word") if before else []
    return [*parts, Piece(override, "word"), *(_split_long(after, max_chars, "word") if after else [])]
