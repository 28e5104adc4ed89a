"""Long text into pieces of a length that models speak well: at paragraphs and sentences, then clauses, then words.

No character is lost except white space at the cuts, and no piece is cut inside a pronunciation override.
"""

from __future__ import annotations

import re

_PARAGRAPH = re.compile(r"\s*\n\s*\n\s*")
_CLOSERS = "\"'”’»)]}"
_SENTENCE_END = re.compile(
    rf"[.!?…]+[{re.escape(_CLOSERS)}]*(?=\s)|[。！？｡।॥۔؟][{re.escape(_CLOSERS)}」』]*"
)
_OVERRIDE = re.compile(r"\[[^\[\]]*\]\(/[^/()]*/\)")
# Words, in lower case, whose full stop does not end a sentence: always, and when a number follows
_ABBREVIATIONS = frozenset(
    "mr mrs ms messrs dr drs prof rev hon gen lt col capt sgt maj cpl pvt adm cmdr gov sen rep pres supt det insp mt ft "
    "st msgr vs v cf viz approx ca e.g i.e al".split()
)
_BEFORE_NUMBERS = frozenset(
    "no nos p pp vol vols ch chap fig figs eq sec art ed eds apt ext ver tel jan feb mar apr jun jul aug sep sept oct "
    "nov dec".split()
)
_WORD_BEFORE = re.compile(r"([\w.]+)\.$")
# Where a sentence that is too long may be cut, the best place first
_CLAUSES = (
    re.compile(r"[;:—](?=\s)|\s[–—-](?=\s)|[;；：]"),
    re.compile(r",[\"'”’»]*(?=\s)|[，、،]"),
    re.compile(
        r"\s(?=(?:and|but|or|nor|so|yet|because|which|that|when|while|if|who|where|although|though)\s)"
    ),
    re.compile(r"\s"),
)


def split_text(text: str, max_chars: int = 400) -> list[str]:
    """Pieces of at most `max_chars` characters, each of whole sentences where possible.

    Sentences of a paragraph are joined up to the limit; paragraphs are not. A sentence longer than the limit is cut at
    clause borders into parts of similar length, at white space if it has none, and inside a word only if the word alone
    is longer than the limit.

    Args:
        text: any text; an empty or blank one gives no pieces.
        max_chars: the limit in characters, at least 1.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars is {max_chars}, expected at least 1")
    pieces: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        current = ""
        for sentence in split_sentences(paragraph):
            for part in _split_long(sentence, max_chars):
                if current and len(current) + 1 + len(part) <= max_chars:
                    current = f"{current} {part}"
                else:
                    pieces += [current] if current else []
                    current = part
        pieces += [current] if current else []
    return pieces


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, white space around them removed.

    A full stop after a title, an abbreviation or an initial, or before a word in lower case, does not end a sentence;
    closing quotes and brackets belong to the sentence before them.
    """
    sentences, start = [], 0
    protected = [match.span() for match in _OVERRIDE.finditer(text)]
    for match in _SENTENCE_END.finditer(text):
        inside = any(first < match.end() < last for first, last in protected)
        if inside or not _ends_sentence(text[start : match.end()], match[0], text[match.end() :]):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(sentence: str, mark: str, rest: str) -> bool:
    following = rest.lstrip()[:1]
    if mark[0] not in ".…":
        # "Stop!" he said.
        return not following.islower() or mark[0] not in "!?"
    if following.islower():
        return False
    if mark != ".":
        return True
    word = _WORD_BEFORE.search(sentence)
    if not word:
        return True
    name = word[1]
    if len(name) == 1 and name.isalpha() and name != "I":  # an initial
        return False
    return name.lower() not in _ABBREVIATIONS and not (
        following.isdigit() and name.lower() in _BEFORE_NUMBERS
    )


def _split_long(sentence: str, max_chars: int) -> list[str]:
    """A sentence as parts within the limit, cut as near to its middle as the best kind of border allows."""
    if len(sentence) <= max_chars:
        return [sentence]
    protected = [match.span() for match in _OVERRIDE.finditer(sentence)]
    for border in _CLAUSES:
        cuts = [match.end() for match in border.finditer(sentence)]
        cuts = [c for c in cuts if not any(first < c < last for first, last in protected)]
        # a cut that leaves a crumb at either end is worse than one at a weaker border
        cuts = [c for c in cuts if min(c, len(sentence) - c) >= max(1, max_chars // 5)]
        if cuts:
            return _split_at(sentence, min(cuts, key=lambda c: abs(2 * c - len(sentence))), max_chars)
    spaces = [m.start() for m in re.finditer(r"\s", sentence)]
    spaces = [s for s in spaces if not any(first < s < last for first, last in protected)]
    if spaces:
        return _split_at(sentence, min(spaces, key=lambda s: abs(2 * s - len(sentence))), max_chars)
    if protected:  # a single override, however long, is left whole
        return _around_override(sentence, protected[0], max_chars)
    return [sentence[at : at + max_chars] for at in range(0, len(sentence), max_chars)]


def _split_at(sentence: str, cut: int, max_chars: int) -> list[str]:
    halves = (sentence[:cut].strip(), sentence[cut:].strip())
    return [part for half in halves if half for part in _split_long(half, max_chars)]


def _around_override(sentence: str, span: tuple[int, int], max_chars: int) -> list[str]:
    before, override, after = sentence[: span[0]], sentence[span[0] : span[1]], sentence[span[1] :]
    parts = _split_long(before, max_chars) if before else []
    return [*parts, override, *(_split_long(after, max_chars) if after else [])]
