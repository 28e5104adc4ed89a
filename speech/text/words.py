"""Which phonemes each written word became: the words of the caller's text, with their places in the phoneme string.

A phoneme string is what espeak says of a whole stretch of text: numbers have become several words, "for a" has become one,
and nothing in it tells where they came from. So every written word is phonemised by itself too (the results are kept), and the
cheapest way to turn the row of these into the string in its context, found as an edit distance is, says which phoneme
belongs to which word. The phoneme string itself is not touched.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speech.text.chunking import is_divider, split_paragraphs, split_sentences
from speech.text.phonemize import PUNCTUATION

if TYPE_CHECKING:
    import numpy as np

    from speech.text.frontend import Phonemes

    Costs = tuple[np.ndarray, np.ndarray, np.ndarray]

_IDEOGRAPHS = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PARTERS = "—–…、。，；：！？「」『』"
# White space, dashes and East Asian marks part words; an ideograph is a word of its own
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_PARTERS}{_IDEOGRAPHS}]+")
# What surrounds a word and is no part of it; "%", "$", "°" are
_EDGES = "".join(
    sorted({*"\"'`.,;:!?()[]{}<>*_~|¡¿«»‹›“”„‟‘’‚、。，；：！？｡।॥۔؟،؛「」『』（）《》〈〉【】・-‐‑"})
)
_STRESS = "ˈˌ"
_VOWELS = frozenset("aeiouyäɐɑɒæəɚɘɛɜɝɞɨɪɔɵøœɶʉʊʌɤɯʏᵻö")
# Costs of the edit distance, in phonemes
_WRONG_VOWEL, _WRONG_CONSONANT, _WRONG_KIND, _NEVER = 0.6, 0.9, 1.6, 50.0
_SPACE, _MARK, _JOINED, _SURE = 0.3, 0.2, 0.6, 0.1
_MOST_CELLS = 4_000_000  # of the table of an edit distance: pieces of 2000 characters


@dataclass(frozen=True)
class Word:
    """A word as it is written: `text`, and where it begins in the text that was given."""

    text: str
    start: int


def label_words(text: str, phonemes: Phonemes) -> tuple[list[Word], list[int | None]]:
    """The words of `text`, and for every character of its phonemes the number of the word that it belongs to.

    Args:
        text: as it was given to `text_to_phonemes`.
        phonemes: what came of it.
    Returns:
        Words that are spoken, in order, and labels as long as `phonemes`: None for spaces, marks and sounds that were
        written without a word. Labels never go down.
    """
    words: list[Word] = []
    labels: list[int | None] = []  # of the characters that are no space
    for stretch in phonemes.stretches:
        spoken = "".join(stretch.phonemes.split())
        if stretch.given:
            written = text[stretch.start : stretch.stop]
            number = len(words) if written.strip() and spoken else None
            words += [Word(written.strip(), stretch.start)] if number is not None else []
            labels += [None if _is_mark(c) else number for c in spoken]
            continue
        found = _tokens(text, stretch.start, stretch.stop)
        alone = [_spoken_alone(token[0], stretch.language, stretch.normalizer) for token in found]
        kept = [(token, said) for token, said in zip(found, alone, strict=True) if _letters(said)]
        apart = [a.end() < b.start() for (a, _), (b, _) in zip(kept, kept[1:], strict=False)]
        own = _label(stretch.phonemes, [said for _, said in kept], apart)
        labels += [
            None if label is None else label + len(words)
            for label, c in zip(own, stretch.phonemes, strict=True)
            if c != " "
        ]
        words += [_trim(token) for token, _ in kept]
    rest = iter(labels)
    return words, [None if c == " " else next(rest, None) for c in phonemes]


def find_piece(text: str, piece: str, start: int) -> int | None:
    """Where in `text`, from `start` on, a piece of it begins that was cut out and whose white space may differ."""
    words = piece.split()
    at = text.find(words[0], start) if words else -1
    while at >= 0:
        end = at
        for word in words:
            while end < len(text) and text[end].isspace():
                end += 1
            if not text.startswith(word, end):
                break
            end += len(word)
        else:
            return at
        at = text.find(words[0], at + 1)
    return None


def map_piece(text: str, piece: str, start: int) -> list[int]:
    """The place in `text` of every character of a piece that begins at `start`; that of a space is its neighbour's."""
    places, at = [], start
    for character in piece:
        if not character.isspace():
            while at < len(text) and text[at] != character:
                at += 1
            at += 1
        places.append(at - 1 if not character.isspace() else at)
    return places


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end; what only divides sections is none."""
    found, reached = [], 0
    for paragraph, _ in split_paragraphs(text):
        for sentence in [] if is_divider(paragraph) else split_sentences(paragraph):
            start = find_piece(text, sentence, reached)
            if start is not None:
                reached = map_piece(text, sentence, start)[-1] + 1
                found.append((start, reached))
    return found


def _tokens(text: str, start: int, stop: int) -> list[re.Match[str]]:
    return list(_TOKEN.finditer(text, start, stop))


def _trim(token: re.Match[str]) -> Word:
    """A word without the marks around it, unless it is nothing else."""
    core = token[0].strip(_EDGES) or token[0]
    return Word(core, token.start() + token[0].index(core))


def _spoken_alone(word: str, language: str, normalizer: str | None) -> str:
    from speech.text.frontend import speak_word  # which imports nothing of this file when it is loaded

    return speak_word(word, language, normalizer)


def _is_mark(character: str) -> bool:
    return character in PUNCTUATION or character.isspace()


def is_letter(character: str) -> bool:
    """Whether a character of a phoneme string is a sound of its own: no stress, length or tone."""
    return unicodedata.category(character) in ("Ll", "Lu", "Lo")


def _letters(phonemes: str) -> bool:
    return any(map(is_letter, phonemes))


def _label(spoken: str, alone: list[str], apart: list[bool]) -> list[int | None]:
    """The word of each character of `spoken`, given what each word is by itself and which are written apart."""
    labels: list[int | None] = [None] * len(spoken)
    places = [place for place, c in enumerate(spoken) if is_letter(c) or _is_mark(c)]
    if not alone or not places:
        return labels
    context = [spoken[place] for place in places]
    items: list[
        tuple[str, int]
    ] = []  # (symbol, word); "|" stands between words, "/" between those written together
    for number, phonemes in enumerate(alone):
        items += [("|" if apart[number - 1] else "/", number)] if number else []
        items += [(c, number) for c in phonemes if is_letter(c) or _is_mark(c)]
    if len(items) * len(context) > _MOST_CELLS:  # no voice speaks pieces of that length: good enough
        found = [items[k * len(items) // len(context)][1] for k in range(len(context))]
    else:
        costs = _costs(items, context)
        found = _trace(_table(costs), costs, [word for _, word in items])
    for place, c, label in zip(places, context, found, strict=True):
        labels[place] = None if _is_mark(c) else label
    _give_modifiers(spoken, labels)
    _fill_empty(spoken, labels, len(alone))
    return labels


def _costs(items: list[tuple[str, int]], context: list[str]) -> Costs:
    """Of replacing item by context [I, J], of leaving out an item [I] and of a context that no item says [J]."""
    import numpy as np

    def kinds(symbols: list[str]) -> np.ndarray:  # 0 vowel, 1 consonant, 2 space, 3 mark
        return np.array(
            [2 if s in " |/" else 3 if _is_mark(s) else 0 if s in _VOWELS else 1 for s in symbols]
        )

    symbols = [symbol for symbol, _ in items]
    ours, theirs = kinds(symbols), kinds(context)
    by_kind = np.full((4, 4), _NEVER)
    by_kind[:2, :2] = [[_WRONG_VOWEL, _WRONG_KIND], [_WRONG_KIND, _WRONG_CONSONANT]]
    by_kind[2, 2] = by_kind[3, 3] = 0.0
    replace = by_kind[ours[:, None], theirs[None]]
    same = np.array(symbols)[:, None] == np.array(context)[None]
    replace[same & (ours[:, None] < 2)] = 0.0
    borders = np.array([symbol in "|/" for symbol in symbols])
    after_mark = (theirs == 2) & np.concatenate([[False], theirs[:-1] == 3])
    replace[np.ix_(borders, after_mark)] -= _SURE  # a mark ends a word more often than it stands within one
    once = np.array([1.0, 1.0, _SPACE, _MARK])
    leave_out = once[ours]
    leave_out[[symbol == "|" for symbol in symbols]] = _JOINED
    leave_out[[symbol == "/" for symbol in symbols]] = 0.0
    return replace, leave_out, once[theirs]


def _table(costs: Costs) -> np.ndarray:
    """Edit distance of every beginning of the items to every beginning of the context: [I + 1, J + 1]."""
    import numpy as np

    replace, leave_out, add = costs
    added = np.concatenate([[0.0], np.cumsum(add)])
    table = np.empty((len(leave_out) + 1, len(added)))
    table[0] = added
    for row, cost in enumerate(leave_out.tolist(), 1):
        best = table[row - 1] + cost
        np.minimum(best[1:], table[row - 1, :-1] + replace[row - 1], out=best[1:])
        # what is cheapest up to here, or up to any place before it with all between added
        best -= added
        table[row] = np.minimum.accumulate(best) + added
    return table


def _trace(table: np.ndarray, costs: Costs, words: list[int]) -> list[int]:
    """The word of each symbol of the context on the cheapest way through the table, given those of the items."""
    replace, leave_out, _ = costs
    row, column = table.shape[0] - 1, table.shape[1] - 1
    found = [0] * column
    while column:
        here = table[row, column] + 1e-6
        if row and table[row - 1, column - 1] + replace[row - 1, column - 1] <= here:
            row, column = row - 1, column - 1
            found[column] = words[row]
        elif row and table[row - 1, column] + leave_out[row - 1] <= here:
            row -= 1
        else:
            column -= 1
            found[column] = words[max(row - 1, 0)]
    return found


def _give_modifiers(spoken: str, labels: list[int | None]) -> None:
    """Stress marks go with the letter after them, length and the like with the one before."""
    following: int | None = None
    for place in range(len(spoken) - 1, -1, -1):
        if _is_mark(spoken[place]):
            following = None
        elif is_letter(spoken[place]):
            following = labels[place]
        elif spoken[place] in _STRESS:
            labels[place] = following
    before: int | None = None
    for place, character in enumerate(spoken):
        if _is_mark(character):
            before = None
        elif labels[place] is None:
            labels[place] = before
        else:
            before = labels[place]


def _fill_empty(spoken: str, labels: list[int | None], n_words: int) -> None:
    """A word that got nothing takes the last spoken word of a neighbour that has several."""
    for number in range(n_words):
        if number in labels:
            continue
        for neighbour, last in ((number - 1, True), (number + 1, False)):
            own = [place for place, label in enumerate(labels) if label == neighbour]
            cuts = [b for a, b in zip(own, own[1:], strict=False) if any(map(_is_mark, spoken[a:b]))]
            if cuts:
                taken = own[own.index(cuts[-1]) :] if last else own[: own.index(cuts[0])]
                for place in taken:
                    labels[place] = number
                break
