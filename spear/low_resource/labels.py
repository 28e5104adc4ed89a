"""Pseudo-labels as data: a store's items, which of them to use, and training pairs made of them. `store.py` says what lies where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spear.text_to_semantic.data import Example
from spear.text_to_semantic.model import TextToSemanticConfig
from spear.text_tokens import language_place
from speech.config import build
from speech.semantic.quantizer import TokenSpec

FORMAT = 1


@dataclass
class Pseudo:
    """One item."""

    id: str
    language: str
    tokens: np.ndarray  # int64 [N]
    text: np.ndarray  # int64 [S]
    score: float  # mean log-probability of the text's tokens
    finished: bool  # the text ended by itself


@dataclass
class Selection:
    """Which items to train on; None = no such limit."""

    min_score: float | None = None
    keep_best: float | None = None  # this share of what is left, by score
    min_seconds: float = 0.0
    max_seconds: float | None = None
    min_rate: float | None = None  # text tokens a second: a model that skips or repeats is below or above
    max_rate: float | None = None
    unfinished: bool = False  # items whose text was cut off too

    def __post_init__(self) -> None:
        if self.keep_best is not None and not 0 < self.keep_best <= 1:
            raise ValueError(f"keep_best: expected a share above 0 to 1, got {self.keep_best}")


class PseudoStore:
    """Read-only view of a store's complete shards."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.spec = build(TokenSpec, self.manifest["tokens"])
        self.rate_hz = self.spec.rate_hz
        self._shards = [
            (np.load(self.folder / f"{name}.npz"), read_lines(self.folder / f"{name}.jsonl"))
            for name in self.manifest["shards"]
        ]
        self._parts = [{key: arrays[key] for key in arrays.files} for arrays, _ in self._shards]
        counts = [len(part["scores"]) for part in self._parts]
        self._first = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        joined = {
            name: np.concatenate([p[name] for p in self._parts] or [np.zeros(0)])
            for name in ("scores", "finished")
        }
        self.scores, self.finished = joined["scores"].astype(np.float32), joined["finished"].astype(bool)
        self.n_tokens = np.concatenate(
            [np.diff(p["token_starts"]) for p in self._parts] or [np.zeros(0, int)]
        )
        self.n_text = np.concatenate([np.diff(p["text_starts"]) for p in self._parts] or [np.zeros(0, int)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def read(self, place: int) -> Pseudo:
        """Item number `place`."""
        shard = int(np.searchsorted(self._first, place, "right")) - 1
        part, row = self._parts[shard], place - int(self._first[shard])
        line = self._shards[shard][1][row]
        tokens = part["tokens"][part["token_starts"][row] : part["token_starts"][row + 1]]
        text = part["text"][part["text_starts"][row] : part["text_starts"][row + 1]]
        return Pseudo(
            line["id"], line["language"], tokens.astype(np.int64), text.astype(np.int64), float(self.scores[place]),
            bool(self.finished[place]),
        )  # fmt: skip

    def select(self, wanted: Selection) -> np.ndarray:
        """Places of the items that pass, best score first where `keep_best` is set, else in order."""
        seconds = self.n_tokens / self.rate_hz
        rate = self.n_text / np.maximum(seconds, 1e-9)
        good = (self.n_text > 0) & (seconds >= wanted.min_seconds)
        if not wanted.unfinished:
            good &= self.finished
        for values, low, high in (
            (self.scores, wanted.min_score, None),
            (seconds, None, wanted.max_seconds),
            (rate, wanted.min_rate, wanted.max_rate),
        ):
            good &= np.ones(len(self), bool) if low is None else values >= low
            good &= np.ones(len(self), bool) if high is None else values <= high
        places = np.flatnonzero(good)
        if wanted.keep_best is None:
            return places
        best = np.argsort(-self.scores[places], kind="stable")
        return places[best[: int(np.ceil(wanted.keep_best * len(places)))]]


class PseudoPairs:
    """The selected items of a store as a set of training pairs (see `spear.text_to_semantic.data`).

    Raises:
        ValueError: tokens or text of another kind than the model's, or nothing selected.
    """

    def __init__(
        self, store: PseudoStore, model: TextToSemanticConfig, wanted: Selection, weight: float = 1.0
    ) -> None:
        if not model.tokens.accepts(store.spec):
            raise ValueError(f"{store.folder}: labels of tokens {store.spec}, the model wants {model.tokens}")
        if store.manifest["tokenizer"] != model.tokenizer:
            raise ValueError(
                f"{store.folder}: text in {store.manifest['tokenizer']:.40}, the model reads {model.tokenizer:.40}"
            )
        fits = (store.n_tokens <= model.max_semantic) & (store.n_text <= model.max_text)
        self.store, self.model = store, model
        self.places = np.array([p for p in store.select(wanted) if fits[p]], int)
        if not len(self.places):
            raise ValueError(f"{store.folder}: none of {len(store)} labels passes the selection {wanted}")
        self.seconds = store.n_tokens[self.places] / store.rate_hz
        self.weights = weight * self.seconds
        self.found = store.spec

    def __len__(self) -> int:
        return len(self.places)

    def read(self, place: int, rng: np.random.Generator) -> Example:
        """A pair without alignment."""
        item = self.store.read(int(self.places[place]))
        language = language_place(item.language, self.model.languages) if self.model.languages else 0
        n = len(item.text)
        return Example(item.text, np.full(n, language), item.tokens, np.full(n, np.nan, np.float32))


def read_manifest(folder: Path) -> dict:
    """The manifest of a store; ValueError where there is none, or of another format."""
    try:
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: not a store of pseudo-labels ({error})") from error
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{folder}: format {manifest.get('format')}, this version of the code reads format {FORMAT}"
        )
    return manifest


def read_lines(path: Path) -> list[dict]:
    """A jsonl file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
