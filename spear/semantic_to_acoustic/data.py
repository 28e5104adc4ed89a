"""Training pieces of both models: stretches of a pack's semantic tokens and codes, the same speaker's voice as a prompt beside or in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import gcd

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spear.codec.codec import CodecSpec
from spear.layouts import Codes
from spear.semantic_to_acoustic.conditioning import ConditioningConfig, NamedCondition
from spear.semantic_to_acoustic.inputs import frames_of
from speech.data import step_batches
from speech.masks import lengths_to_mask
from speech.packs import Pack, SpeakerIndex
from speech.semantic.quantizer import TokenSpec
from speech.token_arrays import (
    PREDICTED,
    require_acoustic_tokens,
    require_predicted_tokens,
    require_semantic_tokens,
)
from speech.training import TrainConfig

SAMPLE_RATE = 16000


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py, with semantic and acoustic tokens
    max_seconds: float = 6.0  # of a piece, what is put in front of it included
    min_seconds: float = 1.0  # of a piece that is cut short on purpose
    truncate_share: float = 0.2  # of the pieces: cut to a random length, so that short ones are known too
    join_share: float = (
        0.3  # of the pieces: another recording of the speaker in front, as an acoustic prompt will be
    )
    prompt_seconds: float = 3.0  # of the prompt whose mel gives the style, and of the recording in front
    # share of the pieces whose tokens are those of text-to-vec's features of the same words (`predicted_tokens`), as text to semantic says them
    predicted_rate: float = 0.0
    style_array: str | None = None  # of a pack: style vectors [rows, C] made elsewhere
    # words in an utterance's `source` -> how often it is drawn, relative to its length
    source_weights: dict[str, float] = field(default_factory=dict)
    # how much more often than its share a rare speaker is drawn: 1 not at all, 0 as often as all others
    speaker_balance: float = 1.0


@dataclass
class Batch:
    """N tokens, M frames, Q codebooks, P samples of prompt; 0 where padded."""

    tokens: Tensor  # [B, N]
    n_tokens: Tensor  # [B]
    codes: Tensor  # [B, Q, M]
    n_frames: Tensor  # [B]
    n_known: Tensor  # [B] frames of the recording in front, 0 where there is none
    prompt: Tensor  # [B, P], or style vectors [B, C]
    n_prompt: Tensor  # [B] samples
    rows: dict[str, Tensor]  # of the named conditions, [B] each

    @property
    def token_mask(self) -> Tensor:
        """[B, N]."""
        return lengths_to_mask(self.n_tokens, self.tokens.shape[1])

    def layout(self, codebook_size: int) -> Codes:
        """The codes with their lengths."""
        return Codes(self.codes, self.n_frames, codebook_size)


class Pieces:
    """Pieces of the utterances of a pack for a model with these specs.

    Raises:
        ValueError: no tokens in the pack, those of another tokenizer or codec, or nothing to train on.
    """

    def __init__(
        self,
        data: DataConfig,
        train: TrainConfig,
        tokens: TokenSpec,
        codec: CodecSpec,
        n_codebooks: int,
        max_frames: int,
        conditioning: ConditioningConfig,
    ) -> None:
        self.data, self.train, self.conditioning = data, train, conditioning
        self.codec, self.n_codebooks = codec, n_codebooks
        self.pack = Pack(data.pack)
        self.tokens = require_semantic_tokens(self.pack, tokens)
        require_acoustic_tokens(self.pack, codec, n_codebooks)
        if data.predicted_rate:
            require_predicted_tokens(self.pack, self.tokens)
        if (conditioning.style is None) != (data.style_array is not None):
            raise ValueError(
                f"data.style_array: {data.style_array!r}, and model.conditioning.style: {conditioning.style}; expected one of the two"
            )
        self.grid = tokens.rate_hz // gcd(tokens.rate_hz, codec.rate_hz)  # tokens after which a frame begins
        if data.max_seconds * codec.rate_hz > max_frames:
            raise ValueError(
                f"data.max_seconds: {data.max_seconds:g}, model.max_frames holds {max_frames / codec.rate_hz:g} s"
            )
        if data.join_share and data.prompt_seconds >= data.max_seconds:
            raise ValueError(
                f"data.prompt_seconds: expected less than max_seconds ({data.max_seconds:g}), got {data.prompt_seconds:g}"
            )
        usable = [i for i in range(len(self.pack)) if self.pack.length("semantic_tokens", i) > self.grid]
        split = [u["split"] for u in self.pack.utterances]
        self.indices = [i for i in usable if split[i] == "train"]
        self.dev = [i for i in usable if split[i] == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no utterance to train on")
        self.speakers = SpeakerIndex(self.pack)

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Endless batches of train pieces."""
        train = self.train
        return step_batches(
            lambda place, rng: self.example(self.indices[place], rng),
            collate,
            len(self.indices),
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
            self._weights(),
        )

    def _weights(self) -> np.ndarray:
        seconds = np.array([self._weight(i) for i in self.indices])
        codes = self.speakers.codes[self.indices]
        share = np.bincount(codes, seconds)[codes]
        return seconds * share ** (self.data.speaker_balance - 1)

    def _weight(self, index: int) -> float:
        source = self.pack.utterances[index].get("source", "")
        factor = next((w for name, w in self.data.source_weights.items() if name in source), 1.0)
        seconds = self.pack.length("semantic_tokens", index) / self.tokens.rate_hz
        return factor * min(seconds, 3 * self.data.max_seconds)

    def example(self, index: int, rng: np.random.Generator, plain: bool = False) -> dict[str, np.ndarray]:
        """A piece of utterance `index`; `plain` = whole up to `max_seconds`, with nothing in front."""
        seconds = self.data.max_seconds
        if not plain and rng.random() < self.data.truncate_share:
            seconds = rng.uniform(min(self.data.min_seconds, seconds), seconds)
        shown, known = np.zeros(0, np.int64), np.zeros((self.n_codebooks, 0), np.int64)
        if not plain and rng.random() < self.data.join_share:
            shown, known = self._other(index, rng)
            # within `max_seconds` in all: a batch is padded to its longest
            seconds = min(seconds, self.data.max_seconds - known.shape[1] / self.codec.rate_hz)
        tokens, codes = self.stretch(index, seconds, rng)
        tokens, codes = np.concatenate([shown, tokens]), np.concatenate([known, codes], 1)
        return {
            "tokens": tokens,
            "codes": codes,
            "n_known": np.array(known.shape[1]),
            "prompt": self._prompt(index, rng),
        } | {f"row:{name}": np.array(row) for name, row in self._rows(index).items()}

    def stretch(self, index: int, seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random stretch of up to `seconds` -> tokens [N], codes [Q, M], M as many frames as the tokens last or one fewer."""
        total = self.pack.length("semantic_tokens", index)
        wanted = max(int(seconds * self.tokens.rate_hz) // self.grid * self.grid, self.grid)
        start = int(rng.integers(0, max(total - wanted, 0) // self.grid + 1)) * self.grid
        stop = min(start + wanted, total)
        first, last = (int(frames_of(n, self.tokens, self.codec)) for n in (start, stop))
        name = "semantic_tokens"
        if rng.random() < self.data.predicted_rate and self.pack.length(PREDICTED, index) == total:
            name = PREDICTED
        tokens = self.pack.read(name, index, start, stop).astype(np.int64)
        codes = self.pack.read("acoustic_tokens", index, first, last)[:, : self.n_codebooks]
        return tokens, np.ascontiguousarray(codes.T).astype(np.int64)

    def _other(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        members = self.speakers.recordings(index)
        others = members[members != index]
        chosen = int(rng.choice(others)) if len(others) else index
        if self.pack.length("semantic_tokens", chosen) <= self.grid:
            chosen = index
        tokens, codes = self.stretch(chosen, rng.uniform(0.3, 1) * self.data.prompt_seconds, rng)
        # so many tokens as there are whole frames for, and the other way round: what follows begins with both
        whole = codes.shape[1] * self.tokens.rate_hz // self.codec.rate_hz // self.grid * self.grid
        tokens = tokens[:whole]
        return tokens, codes[:, : int(frames_of(len(tokens), self.tokens, self.codec))]

    def _prompt(self, index: int, rng: np.random.Generator) -> np.ndarray:
        if self.data.style_array is not None:
            vectors = self.pack.read(self.data.style_array, index).astype(np.float32)
            return vectors.mean(0)
        return self.speakers.prompt(index, int(self.data.prompt_seconds * SAMPLE_RATE), rng)

    def _rows(self, index: int) -> dict[str, int]:
        utterance = self.pack.utterances[index]
        return {name: _row(c, utterance.get(name)) for name, c in self.conditioning.named.items()}


def _row(condition: NamedCondition, value: str | float | None) -> int:
    """Row of what an utterance's record says; a name that the model does not have is missing to it."""
    return 0 if condition.names and value not in condition.names else condition.row(value)


def collate(examples: list[dict[str, np.ndarray]]) -> Batch:
    """Pad examples to the longest of each kind."""

    def pad(name: str) -> Tensor:
        rows = [torch.from_numpy(e[name]) for e in examples]
        longest = max(row.shape[-1] for row in rows)
        return torch.stack([F.pad(row, (0, longest - row.shape[-1])) for row in rows])

    def count(name: str) -> Tensor:
        return torch.tensor([e[name].shape[-1] for e in examples])

    named = [key for key in examples[0] if key.startswith("row:")]
    rows = {key[4:]: torch.tensor([int(e[key]) for e in examples]) for key in named}
    n_known = torch.tensor([int(e["n_known"]) for e in examples])
    return Batch(
        pad("tokens"), count("tokens"), pad("codes"), count("codes"), n_known, pad("prompt"), count("prompt"), rows
    )  # fmt: skip
