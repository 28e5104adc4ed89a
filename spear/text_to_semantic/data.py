"""Training pairs of text and semantic tokens, from packs; mixtures of several sets of pairs; batches.

A set of pairs has `__len__`, `seconds` (float [n], of speech), `weights` (float [n], how often each is drawn, relative to the others of all
sets) and `read(place, rng)`, an example. `spear.low_resource` has more such sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from spear.text_to_semantic.model import TextToSemanticConfig
from spear.text_tokens import PhonemeTokenizer, TextTokens, language_place, text_tokenizer
from speech.data import step_batches
from speech.packs import Pack, SpeakerIndex
from speech.semantic.quantizer import TokenSpec
from speech.text.phones import WORD
from speech.token_arrays import SEMANTIC, require_semantic_tokens
from speech.training import TrainConfig

ALIGNMENT_HZ = 100  # of a pack's token_ends


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py, with semantic tokens
    more_packs: dict[str, float] = field(
        default_factory=dict
    )  # further ones -> how often, relative to their length
    max_seconds: float = 12.0  # aligned utterances are cut to it at word borders, others left out
    min_seconds: float = 0.3
    join_share: float = (
        0.0  # of the examples: two recordings of a speaker in a row, as with a prompt in front
    )
    # words in an utterance's `source` -> how often it is drawn, relative to its length
    source_weights: dict[str, float] = field(default_factory=dict)


@dataclass
class Example:
    """One pair."""

    text: np.ndarray  # int64 [S]
    languages: np.ndarray  # int64 [S]
    tokens: np.ndarray  # int64 [N]
    durations: np.ndarray  # float32 [S] in semantic tokens, NaN where not aligned

    def __add__(self, other: Example) -> Example:
        return Example(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in FIELDS))


FIELDS = ("text", "languages", "tokens", "durations")


@dataclass
class Batch:
    """S text tokens, N semantic tokens; 0 where padded, languages the row's first, durations NaN."""

    text: Tensor  # [B, S]
    n_text: Tensor  # [B]
    languages: Tensor  # [B, S]
    tokens: Tensor  # [B, N]
    n_tokens: Tensor  # [B]
    durations: Tensor  # [B, S]
    rate: Tensor  # [B] text tokens a second of speech, pauses not counted


class PairSet(Protocol):
    """See this file's docstring."""

    seconds: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int: ...

    def read(self, place: int, rng: np.random.Generator) -> Example: ...


class PackPairs:
    """The utterances of a pack that have text and semantic tokens.

    Args:
        folder: of the pack. model: whose tokens and tokenizer they must be. splits: names, e.g. ("train",).
        weight: how often, relative to the length.

    Raises:
        ValueError: no semantic tokens in the pack, those of another tokenizer, or nothing usable.
    """

    def __init__(
        self,
        folder: str,
        model: TextToSemanticConfig,
        data: DataConfig,
        splits: Sequence[str] = ("train",),
        weight: float = 1.0,
    ) -> None:
        self.pack, self.model, self.data = Pack(folder), model, data
        self.found: TokenSpec = require_semantic_tokens(self.pack, model.tokens)
        self.tokenizer = text_tokenizer(model.tokenizer)
        self.aligned = (
            model.tokenizer == "phones" and self.pack.has("token_ids") and self.pack.has("token_ends")
        )
        counts = self.pack.lengths(SEMANTIC)
        self.long = 0  # utterances left out for their length
        self.indices: list[int] = []
        chosen = [split in splits for split in self.pack.utterances.column("split")]
        for index in np.flatnonzero(chosen).tolist():
            seconds = counts[index] / model.tokens.rate_hz
            if seconds < data.min_seconds or not self._has_text(index):
                continue
            if seconds > data.max_seconds and not self.aligned:
                self.long += 1
                continue
            self.indices.append(index)
        seconds = counts[self.indices] / model.tokens.rate_hz if self.indices else np.zeros(0)
        self.seconds = np.minimum(seconds, data.max_seconds)
        # of what is cut, each part counts
        self.weights = weight * np.minimum(seconds, 3 * data.max_seconds) * self._factors()
        self.speakers = SpeakerIndex(self.pack) if data.join_share else None
        self.place_of = {index: place for place, index in enumerate(self.indices)}
        if self.aligned:
            symbols = self.tokenizer.tokenizer.symbols
            self.breaks = np.array([unit in (WORD, ",", ".", "!", "?") for unit, _ in symbols])

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, place: int, rng: np.random.Generator) -> Example:
        """A pair, cut to `max_seconds`; sometimes with another of the speaker in front."""
        example = self._one(self.indices[place], rng)
        if self.speakers is None or rng.random() >= self.data.join_share:
            return example
        others = self.speakers.recordings(self.indices[place])
        others = [i for i in others.tolist() if i in self.place_of and i != self.indices[place]]
        room = self.data.max_seconds * self.model.tokens.rate_hz - len(example.tokens)
        others = [i for i in others if self.pack.length(SEMANTIC, i) <= room]
        return self._one(int(rng.choice(others)), rng) + example if others else example

    def _has_text(self, index: int) -> bool:
        if self.aligned:
            return self.pack.length("token_ids", index) > 0
        return bool(self.pack.utterances[index]["text"].strip())

    def _factors(self) -> np.ndarray:
        chosen = self.data.source_weights
        if not chosen:
            return np.ones(len(self.indices))
        names = self.pack.utterances.column("source")
        return np.array([next((w for n, w in chosen.items() if n in names[i]), 1.0) for i in self.indices])

    def _one(self, index: int, rng: np.random.Generator) -> Example:
        tokens = self.pack.read(SEMANTIC, index).astype(np.int64)
        if not self.aligned:
            text = self._encode(index)
            ids = np.array(text.ids, np.int64)
            return Example(
                ids, np.array(text.language_ids, np.int64), tokens, np.full(len(ids), np.nan, np.float32)
            )
        ids = self.pack.read("token_ids", index).astype(np.int64)
        ends = self.pack.read("token_ends", index) * (self.model.tokens.rate_hz / ALIGNMENT_HZ)
        first, last = self._cut(ids, ends, rng)
        start = ends[first - 1] if first else 0.0
        low, high = int(round(start)), min(int(round(ends[last - 1])), len(tokens))
        if last == len(ids):
            high = len(tokens)
        durations = np.diff(ends[first:last], prepend=start).clip(0)
        languages = self._languages(index, len(ids))[first:last]
        return Example(ids[first:last], languages, tokens[low:high], durations.astype(np.float32))

    def _cut(self, ids: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """Places of the first and behind the last token of a random stretch of whole words that is not too long."""
        longest = self.data.max_seconds * self.model.tokens.rate_hz
        if ends[-1] <= longest:
            return 0, len(ids)
        borders = np.concatenate([[0], np.flatnonzero(self.breaks[ids]) + 1])  # a piece starts after a break
        starts = np.concatenate([[0.0], ends])[borders]
        possible = borders[:-1][starts[:-1] <= ends[-1] - longest / 2]
        first = int(rng.choice(possible)) if len(possible) else 0
        begin = ends[first - 1] if first else 0.0
        fitting = borders[(borders > first) & (np.concatenate([[0.0], ends])[borders] - begin <= longest)]
        return (first, int(fitting[-1])) if len(fitting) else (first, int(borders[borders > first][0]))

    def _encode(self, index: int) -> TextTokens:
        utterance = self.pack.utterances[index]
        text, language = utterance["text"], utterance["language"]
        if not isinstance(self.tokenizer, PhonemeTokenizer):
            return self.tokenizer.encode(text, language, self.model.languages)
        if self.pack.has("phonemes") and "<" not in text:
            phonemes = self.pack.read("phonemes", index).tobytes().decode("utf-8")
            place = language_place(language, self.model.languages) if self.model.languages else 0
            ids = self.tokenizer.encode_phonemes(phonemes).ids
            return TextTokens(ids, [place] * len(ids))
        # corpora in capitals would be spelled out letter by letter
        return self.tokenizer.encode(text.lower() if text.isupper() else text, language, self.model.languages)

    def _languages(self, index: int, n_ids: int) -> np.ndarray:
        """Of the aligned ids, which are those of the text but for borders that are pauses."""
        if not self.model.languages:
            return np.zeros(n_ids, np.int64)
        utterance = self.pack.utterances[index]
        if "<" in utterance["text"]:
            found = self._encode(index).language_ids
            if len(found) == n_ids:
                return np.array(found, np.int64)
        return np.full(n_ids, language_place(utterance["language"], self.model.languages), np.int64)


def open_packs(
    data: DataConfig, model: TextToSemanticConfig, splits: Sequence[str] = ("train",)
) -> list[PackPairs]:
    """The pack and the further ones; what has nothing usable is an error for training."""
    folders = {data.pack: 1.0} | data.more_packs
    sets = [PackPairs(folder, model, data, splits, weight) for folder, weight in folders.items()]
    if splits == ("train",):
        for pairs in sets:
            if not len(pairs):
                raise ValueError(
                    f"{pairs.pack.folder}: no utterance with text and {data.min_seconds:g} to {data.max_seconds:g} s "
                    f"of semantic tokens to train on ({pairs.long} are longer)"
                )
    return sets


class Mixture:
    """Several sets of pairs as one, drawn by their weights; batches of like lengths with `train.batch_seconds`."""

    def __init__(self, sets: Sequence[PairSet], model: TextToSemanticConfig, train: TrainConfig) -> None:
        self.sets, self.model, self.train = list(sets), model, train
        self.first = np.concatenate([[0], np.cumsum([len(s) for s in self.sets])])
        self.seconds = np.concatenate([s.seconds for s in self.sets])
        self.weights = np.concatenate([s.weights for s in self.sets])
        tokenizer = text_tokenizer(model.tokenizer)
        self.spoken = np.array([tokenizer.spoken(i) for i in range(tokenizer.n_tokens)])

    def __len__(self) -> int:
        return int(self.first[-1])

    def example(self, place: int, rng: np.random.Generator) -> Example:
        """Item `place` of all sets in a row."""
        which = int(np.searchsorted(self.first, place, "right")) - 1
        example = self.sets[which].read(place - int(self.first[which]), rng)
        for name, limit in (("text", self.model.max_text), ("tokens", self.model.max_semantic)):
            if len(getattr(example, name)) > limit:
                raise ValueError(
                    f"an utterance has {len(getattr(example, name))} {name}, the model's window is {limit}: "
                    "expected a smaller data.max_seconds or a larger window"
                )
        return example

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Endless batches."""
        train = self.train
        return step_batches(
            self.example,
            self.collate,
            len(self),
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
            self.weights,
            self.seconds,
            train.batch_seconds,
        )

    def all(self, number: int, size: int = 16) -> Iterator[Batch]:
        """The first `number` items in batches, for validation."""
        rng = np.random.default_rng(0)
        number = min(number, len(self))
        for first in range(0, number, size):
            yield self.collate([self.example(i, rng) for i in range(first, min(first + size, number))])

    def collate(self, examples: list[Example]) -> Batch:
        """Pad to the longest of each kind."""
        n_text = torch.tensor([len(e.text) for e in examples])
        n_tokens = torch.tensor([len(e.tokens) for e in examples])
        languages = torch.stack([torch.full((int(n_text.max()),), int(e.languages[0])) for e in examples])
        for row, example in zip(languages, examples, strict=True):
            row[: len(example.languages)] = torch.from_numpy(example.languages)
        return Batch(
            pad([e.text for e in examples]),
            n_text,
            languages,
            pad([e.tokens for e in examples]),
            n_tokens,
            pad([e.durations for e in examples], torch.nan),
            torch.tensor([self.rate(e) for e in examples], dtype=torch.float32),
        )

    def rate(self, example: Example) -> float:
        """Spoken text tokens a second of speech; over all of the time where no alignment tells pauses from it."""
        spoken = self.spoken[example.text]
        time = np.nansum(example.durations[spoken])
        time = time if time > 0 else len(example.tokens)
        return float(spoken.sum() * self.model.tokens.rate_hz / max(time, 1))


def pad(rows: list[np.ndarray], value: float = 0) -> Tensor:
    """Rows of different lengths -> [B, longest]."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(row) for row in rows], batch_first=True, padding_value=value
    )
