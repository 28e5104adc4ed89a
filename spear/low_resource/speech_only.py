"""Speech without text as training items, and small parts of sets of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spear.text_to_semantic.data import DataConfig, Example, PairSet
from spear.text_to_semantic.model import TextToSemanticConfig
from speech.packs import Pack
from speech.semantic.quantizer import TokenSpec
from speech.token_arrays import SEMANTIC, require_semantic_tokens


class SpeechOnly:
    """The semantic tokens of a pack's utterances, in random stretches of up to `max_seconds`; text is not looked at."""

    def __init__(
        self,
        folder: str,
        model: TextToSemanticConfig,
        data: DataConfig,
        splits: Sequence[str],
        weight: float = 1.0,
    ) -> None:
        self.pack, self.rate_hz = Pack(folder), model.tokens.rate_hz
        self.found: TokenSpec = require_semantic_tokens(self.pack, model.tokens)
        self.longest = int(data.max_seconds * self.rate_hz)
        counts = self.pack.lengths(SEMANTIC)
        chosen = np.array([split in splits for split in self.pack.utterances.column("split")], bool)
        self.indices = np.flatnonzero(chosen & (counts >= data.min_seconds * self.rate_hz))
        if not len(self.indices) and "train" in splits:
            raise ValueError(f"{folder}: no utterance of {data.min_seconds:g} s or more to train on")
        seconds = counts[self.indices] / self.rate_hz
        self.seconds = np.minimum(seconds, data.max_seconds)
        self.weights = weight * seconds

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, place: int, rng: np.random.Generator) -> Example:
        """Tokens, with a text of one token that nobody looks at."""
        index = int(self.indices[place])
        start = int(rng.integers(0, max(self.pack.length(SEMANTIC, index) - self.longest, 0) + 1))
        tokens = self.pack.read(SEMANTIC, index, start, start + self.longest).astype(np.int64)
        nothing = np.zeros(1, np.int64)
        return Example(nothing, nothing, tokens, np.full(1, np.nan, np.float32))


class Part:
    """Some items of a set of pairs."""

    def __init__(self, pairs: PairSet, places: np.ndarray) -> None:
        self.pairs, self.places = pairs, places
        self.seconds, self.weights = pairs.seconds[places], pairs.weights[places]
        self.found = pairs.found

    def __len__(self) -> int:
        return len(self.places)

    def read(self, place: int, rng: np.random.Generator) -> Example:
        return self.pairs.read(int(self.places[place]), rng)


def subset(pairs: PairSet, minutes: float | None, seed: int = 0) -> PairSet:
    """Items of about so many minutes in all, drawn at random and the same every time; None = all of them."""
    if minutes is None:
        return pairs
    order = np.random.default_rng(seed).permutation(len(pairs))
    fits = np.cumsum(pairs.seconds[order]) <= 60 * minutes
    places = np.sort(order[fits])
    if not len(places):
        raise ValueError(f"parallel_minutes {minutes:g}: not one of {len(pairs)} utterances fits into them")
    return Part(pairs, places)
