"""Phoneme strings to token ids: one tokenizer for each alphabet that models are trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from speech.text.symbols import PAD, SYMBOL_TO_ID, SYMBOLS


@dataclass
class Encoded:
    """Token ids of a phoneme string.

    Args:
        ids: token ids; empty if nothing in the string has a token.
        unknown: the symbols without a token, in order, repeats included; they are not in `ids`.
    """

    ids: list[int]
    unknown: list[str] = field(default_factory=list)


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

    def __init__(self) -> None:
        self.symbols = SYMBOLS

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, phonemes: str, blanks: bool = True) -> Encoded:
        """Ids of every character; `blanks=False` leaves the blanks out. The pad symbol `_` itself counts as unknown."""
        known = [character in SYMBOL_TO_ID and character != PAD for character in phonemes]
        ids = [SYMBOL_TO_ID[character] for character, found in zip(phonemes, known, strict=True) if found]
        unknown = [character for character, found in zip(phonemes, known, strict=True) if not found]
        return Encoded(self.intersperse(ids) if blanks and ids else ids, unknown)

    def intersperse(self, ids: list[int]) -> list[int]:
        """The ids with a blank before, between and after them."""
        interspersed = [self.blank] * (2 * len(ids) + 1)
        interspersed[1::2] = ids
        return interspersed

    def decode(self, ids: list[int]) -> str:
        """The phoneme string of ids, blanks left out."""
        return "".join(self.symbols[index] for index in ids if index != self.blank)


def _phones() -> Tokenizer:
    from speech.text.phones import PhoneTokenizer  # here, because phones.py imports Encoded from this file

    return PhoneTokenizer()


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {"ipa178": IPATokenizer, "phones": _phones}
"""Name in a model's config -> what builds its tokenizer."""


def get_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of that name; ValueError names the known ones."""
    if name not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {name!r}: known are {', '.join(TOKENIZERS)}")
    return TOKENIZERS[name]()
