"""Training pieces for the synthesizer: a target, its F0, more of its surroundings and a prompt by the same speaker.

Speakers are multiplied by playing recordings faster or slower (pitch and vocal tract change together); target, F0 and prompt
change alike, so each speed is a speaker of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from speech.audio import resample
from speech.data import step_batches
from speech.packs import Pack, SpeakerIndex
from speech.token_arrays import token_note
from speech.training import TrainConfig

HOP = 320
F0_HOP = 80


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py, with F0
    target: str = (
        "wav"  # array of the pack that the targets are taken from; "clean" is what `prepare.py clean` makes
    )
    target_share: float = 1.0  # of that array in the targets; the rest is the recording itself
    seconds: float = 0.8  # of the target
    context_seconds: float = 2.4  # around the target, from which semantic features are taken
    prompt_seconds: float = 3.0
    shortest_prompt: float | None = (
        None  # seconds: prompts are of random length from here on; None = all of one
    )
    speeds: list[float] = field(default_factory=lambda: [1.0])
    predicted_rate: float = (
        0.0  # share of examples that use text-to-vec's features (`predicted` in the pack) for their own
    )
    source_weights: dict[str, float] = field(default_factory=dict)
    table_rate: float = 0.0  # share of examples spoken with their recording's equalizer (`table` in the pack: `prepare.py tables`)

    def __post_init__(self):
        if not 0 <= self.table_rate <= 1:
            raise ValueError(f"data.table_rate {self.table_rate:g}: expected 0 to 1")


@dataclass
class Batch:
    """T target samples, N = T / 320 frames, W context samples, P prompt samples."""

    context: Tensor  # [B, W]
    n_context: Tensor  # [B] valid samples
    first_frame: Tensor  # [B] where the target starts in the context, in frames
    wav: Tensor  # [B, 1, T]
    f0: Tensor  # [B, 4N] Hz
    prompt: Tensor  # [B, P]
    n_prompt: Tensor  # [B]
    predicted: Tensor  # [B, C, N] features by text-to-vec, zeros where not used
    use_predicted: Tensor  # [B] bool
    table: Tensor  # [B, P * K] the equalizer's tables, zeros where not used; [B, 0] without `data.table_rate`


class Pieces:
    """Random training pieces of a pack."""

    def __init__(self, data: DataConfig, train: TrainConfig, semantic_dim: int) -> None:
        self.data, self.train = data, train
        self.pack = Pack(data.pack)
        if not self.pack.has(data.target):
            raise ValueError(
                f"data.target is {data.target!r}, {data.pack} has no such array; `prepare.py clean` makes 'clean'"
            )
        self.speakers = SpeakerIndex(self.pack)
        self.frames = int(data.seconds * 50)
        self.context_frames = max(int(data.context_seconds * 50), self.frames)
        self.semantic_dim = semantic_dim
        self.table_speeds = _speeds_of_tables(data) if data.table_rate else []
        fastest = max(data.speeds)
        enough = [
            self.pack.length("wav", i) >= (self.frames + 2) * HOP * fastest for i in range(len(self.pack))
        ]
        split = [u["split"] for u in self.pack.utterances]
        self.indices = [i for i, ok in enumerate(enough) if ok and split[i] == "train"]
        self.dev = [i for i, ok in enumerate(enough) if ok and split[i] == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no training utterance of at least {data.seconds} s")

    def batches(self, start_step: int) -> Iterator[Batch]:
        weights = np.array([self._weight(i) for i in self.indices])
        train = self.train
        return step_batches(
            lambda place, rng: self.example(self.indices[place], rng),
            collate,
            len(self.indices),
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
            weights,
        )

    def _weight(self, index: int) -> float:
        source = self.pack.utterances[index]["source"]
        factor = next((w for name, w in self.data.source_weights.items() if name in source), 1.0)
        return factor * self.pack.length("wav", index) / 16000

    def example(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        data = self.data
        speed = float(rng.choice(data.speeds))
        total = (
            int(self.pack.length("wav", index) / speed) // HOP - 1
        )  # frames of the recording at this speed
        context = min(self.context_frames, total)
        begin = int(rng.integers(0, total - context + 1))
        first = int(rng.integers(0, context - self.frames + 1))
        wav = self._play("wav", index, begin * HOP, context * HOP, speed)
        out = {
            "context": np.pad(wav, (0, self.context_frames * HOP - len(wav))),
            "n_context": np.int64(len(wav)),
            "first_frame": np.int64(first),
            "wav": self._target(index, wav, begin, first, speed)[None],
            "f0": self._sample_f0(index, (begin + first) * 4, self.frames * 4, speed),
        }
        samples = longest = int(data.prompt_seconds * 16000)
        if data.shortest_prompt is not None:
            samples = int(rng.uniform(data.shortest_prompt, data.prompt_seconds) * 16000)
        prompt = self.speakers.prompt(index, int(samples * speed), rng)
        prompt = prompt if speed == 1 else resample(prompt, round(16000 * speed), 16000)
        out["n_prompt"] = np.int64(min(len(prompt), samples))
        out["prompt"] = np.pad(prompt[:samples], (0, longest - min(len(prompt), samples)))
        use = bool(rng.random() < data.predicted_rate) and self.pack.length("predicted", index) > 0
        predicted = np.zeros((self.semantic_dim, self.frames), np.float32)
        if use:
            rows = self.pack.read("predicted", index)
            places = (
                ((np.arange(self.frames) + begin + first + 0.5) * speed).astype(int).clip(max=len(rows) - 1)
            )
            predicted = rows[places].astype(np.float32).T
        out |= {"predicted": predicted, "use_predicted": np.bool_(use)}
        return out | {"table": self._table(index, speed, rng)}

    def _table(self, index: int, speed: float, rng: np.random.Generator) -> np.ndarray:
        if not self.table_speeds:
            return np.zeros(0, np.float32)
        table = self.pack.read("table", index)[self.table_speeds.index(speed)].astype(np.float32)
        return table if rng.random() < self.data.table_rate else np.zeros_like(table)

    def _target(self, index: int, context: np.ndarray, begin: int, first: int, speed: float) -> np.ndarray:
        if self.data.target == "wav":
            return context[first * HOP : (first + self.frames) * HOP]
        # played with its surroundings, as the context is, so that both are resampled alike
        wav = self._play(self.data.target, index, begin * HOP, len(context), speed)
        wav = self.data.target_share * wav + (1 - self.data.target_share) * context
        return wav[first * HOP : (first + self.frames) * HOP]

    def _play(self, name: str, index: int, start: int, samples: int, speed: float) -> np.ndarray:
        if speed == 1:
            return self.pack.read(name, index, start, start + samples).astype(np.float32) / 32768
        wav = self.pack.read(name, index, int(start * speed), int((start + samples) * speed) + 2).astype(
            np.float32
        )
        wav = resample(wav / 32768, round(16000 * speed), 16000)
        return np.pad(wav[:samples], (0, max(samples - len(wav), 0)))

    def _sample_f0(self, index: int, start: int, count: int, speed: float) -> np.ndarray:
        f0 = self.pack.read("f0", index)
        places = ((np.arange(count) + start + 0.5) * speed).astype(int).clip(max=len(f0) - 1)
        return f0[places].astype(np.float32) * speed


def _speeds_of_tables(data: DataConfig) -> list[float]:
    """The speeds at which a pack's tables were measured; ValueError where some of `data.speeds` are missing."""
    note = token_note(data.pack, "table")
    if note is None:
        raise ValueError(
            f"data.table_rate is {data.table_rate:g}, {data.pack} has no tables; `prepare.py tables` makes them"
        )
    known = note["spec"]["speeds"]
    if not set(data.speeds) <= set(known):
        raise ValueError(f"data.speeds {data.speeds}: the tables of {data.pack} are of speeds {known}")
    return known


def collate(examples: list[dict[str, np.ndarray]]) -> Batch:
    """Stack examples, which all have the same lengths."""
    return Batch(**{name: torch.from_numpy(np.stack([e[name] for e in examples])) for name in examples[0]})
