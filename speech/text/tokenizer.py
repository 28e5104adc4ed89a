"""Phoneme strings to token ids: one tokenizer for each alphabet that models are trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from speech.text.symbols import PAD, SYMBOL_TO_ID, SYMBOLS


@dataclass
class Encoded:
    """Token ids of a phoneme string.

    Args:
        ids: token ids; empty if nothing in the string has a token.
        unknown: the symbols without a token, in order, repeats included; they are not in `ids`.
        places: for each id, the place in the string of the symbol that it stands for; a blank or boundary has the place
            of the symbol after it, at the end of the one before it.
        symbols: for each id, what it says: a sound with its stress, a mark or space where it is a pause, nothing for a
            blank.
    """

    ids: list[int]
    unknown: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)


class Tokenizer(Protocol):
    """What a model needs of a tokenizer; `len` is the number of different ids."""

    name: str

    def __len__(self) -> int: ...

    def encode(self, phonemes: str) -> Encoded: ...


class IPATokenizer:
    """The published models' tokenizer: one character is one token, with blanks interspersed.

    HierSpeech++ hand-over section 2.5: id 0 before, between and after all tokens, so n symbols give 2n + 1 ids. The CTC
    target of TTV is the sequence without blanks.
    """

    name = "ipa178"
    blank = SYMBOL_TO_ID[PAD]

    def __init__(self, more: Sequence[str] = ()) -> None:
        """more: symbols after those of the published table, one character each (a model's `config.symbols`)."""
        if wrong := [s for s in more if len(s) != 1 or s in SYMBOL_TO_ID or list(more).count(s) > 1]:
            raise ValueError(f"symbols: expected single characters that are new to {self.name}, got {wrong}")
        self.symbols = (*SYMBOLS, *more)
        self.ids = SYMBOL_TO_ID | {symbol: len(SYMBOLS) + place for place, symbol in enumerate(more)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, phonemes: str, blanks: bool = True) -> Encoded:
        """Ids of every character; `blanks=False` leaves the blanks out. The pad symbol `_` itself counts as unknown."""
        places = [place for place, symbol in enumerate(phonemes) if symbol in self.ids and symbol != PAD]
        unknown = [symbol for symbol in phonemes if symbol not in self.ids or symbol == PAD]
        ids = [self.ids[phonemes[place]] for place in places]
        symbols = [phonemes[place] for place in places]
        if blanks and ids:
            around = [place for place in places for _ in range(2)]  # each symbol with the blank before it
            said = [part for symbol in symbols for part in ("", symbol)]
            return Encoded(self.intersperse(ids), unknown, [*around, places[-1]], [*said, ""])
        return Encoded(ids, unknown, places, symbols)

    def intersperse(self, ids: list[int]) -> list[int]:
        """The ids with a blank before, between and after them."""
        interspersed = [self.blank] * (2 * len(ids) + 1)
        interspersed[1::2] = ids
        return interspersed

    def decode(self, ids: list[int]) -> str:
        """The phoneme string of ids, blanks left out."""
        return "".join(self.symbols[index] for index in ids if index != self.blank)


def _phones(more: Sequence[str] = ()) -> Tokenizer:
    from speech.text.phones import PhoneTokenizer  # here, because phones.py imports Encoded from this file

    if more:
        raise ValueError(f"symbols: the tokenizer phones has a fixed inventory, got {list(more)}")
    return PhoneTokenizer()


TOKENIZERS: dict[str, Callable[..., Tokenizer]] = {"ipa178": IPATokenizer, "phones": _phones}
"""Name in a model's config -> what builds its tokenizer."""


def get_tokenizer(name: str, more: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer of that name, with symbols of the model's own after its table; ValueError names the known ones."""
    if name not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {name!r}: known are {', '.join(TOKENIZERS)}")
    return TOKENIZERS[name](more)
