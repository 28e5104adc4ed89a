"""Training pieces of the compact codec: random stretches of a pack's recordings, at several speeds and levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from speech.audio import resample
from speech.data import step_batches
from speech.packs import Pack
from speech.training import TrainConfig

SAMPLE_RATE = 16000


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py; needs no text
    seconds: float = 1.0  # of a piece
    speeds: list[float] = field(default_factory=lambda: [1.0])  # pitch and vocal tract change with them
    gains_db: list[float] = field(default_factory=lambda: [0.0, 0.0])  # lowest and highest
    # words in an utterance's `source` -> how often it is drawn, relative to its length
    source_weights: dict[str, float] = field(default_factory=dict)


class Pieces:
    """Random pieces [1, T] of the utterances of a pack; those shorter are followed by silence."""

    def __init__(self, data: DataConfig, train: TrainConfig, hop: int) -> None:
        self.data, self.train, self.hop = data, train, hop
        self.samples = int(data.seconds * SAMPLE_RATE) // hop * hop
        if self.samples < 2 * hop:
            raise ValueError(
                f"data.seconds: expected {2 * hop / SAMPLE_RATE:g} or more, got {data.seconds:g}"
            )
        self.pack = Pack(data.pack)
        split = [u["split"] for u in self.pack.utterances]
        self.indices = [i for i, name in enumerate(split) if name == "train"]
        self.dev = [i for i, name in enumerate(split) if name == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no utterance to train on")

    def batches(self, start_step: int) -> Iterator[Tensor]:
        """Batches [B, 1, T]."""
        train = self.train
        return step_batches(
            lambda place, rng: self.example(self.indices[place], rng),
            torch.utils.data.default_collate,
            len(self.indices),
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
            np.array([self._weight(i) for i in self.indices]),
        )

    def _weight(self, index: int) -> float:
        source = self.pack.utterances[index].get("source", "")
        factor = next((w for name, w in self.data.source_weights.items() if name in source), 1.0)
        return factor * self.pack.length("wav", index) / SAMPLE_RATE

    def example(self, index: int, rng: np.random.Generator) -> Tensor:
        """A piece [1, T] of utterance `index`."""
        speed = float(rng.choice(self.data.speeds))
        wanted = int(self.samples * speed) + 2 if speed != 1 else self.samples
        start = int(rng.integers(0, max(self.pack.length("wav", index) - wanted, 0) + 1))
        wav = self.pack.read("wav", index, start, start + wanted).astype(np.float32) / 32768
        if speed != 1:
            wav = resample(wav, round(SAMPLE_RATE * speed), SAMPLE_RATE)
        wav = np.pad(wav[: self.samples], (0, max(self.samples - len(wav), 0)))
        gain = 10 ** (rng.uniform(*self.data.gains_db) / 20)
        return torch.from_numpy(np.clip(wav * gain, -1, 1).astype(np.float32))[None]
