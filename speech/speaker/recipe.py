"""Recipe of the speaker encoder: name the speaker of a short piece (softmax of cosines with a margin; Wang et al. 2018, CosFace).

Recordings played faster or slower are speakers of their own, as in the synthesizer's training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.audio import resample
from speech.data import step_batches
from speech.packs import Pack
from speech.speaker.encoder import SpeakerEncoder, SpeakerEncoderConfig
from speech.training import TrainConfig


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py
    seconds: float = 1.2  # length of the random pieces
    cleaned: str | None = None  # array of the pack that is mixed with the recording at a random share
    speeds: list[float] = field(default_factory=lambda: [1.0])


@dataclass
class RecipeConfig:
    margin: float = 0.2
    scale: float = 30.0  # of the cosines
    level_db: float = 6.0  # pieces are louder or quieter by up to this


class Recipe:
    """Validation: pieces of dev recordings, each of which should be nearest to another piece of its speaker."""

    @dataclass
    class Config:
        model: SpeakerEncoderConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "encoder"

    def __init__(
        self, model: SpeakerEncoderConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        self.data, self.recipe, self.train = data, recipe, train
        self.pack = Pack(data.pack)
        if data.cleaned is not None and not self.pack.has(data.cleaned):
            raise ValueError(f"data.cleaned is {data.cleaned!r}, {data.pack} has no such array")
        self.samples = int(data.seconds * 50) * 320
        longest = int(self.samples * max(data.speeds)) + 2
        split = self.pack.utterances.column("split")
        enough = [self.pack.length("wav", i) >= longest for i in range(len(self.pack))]
        self.indices = [i for i, ok in enumerate(enough) if ok and split[i] == "train"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no training utterance of at least {longest / 16000:.1f} s")
        codes, _ = self.pack.utterances.codes("speaker")
        speakers, self.speaker = np.unique(codes[self.indices], return_inverse=True)
        self.dev = [
            i
            for i in range(len(self.pack))
            if split[i] == "dev" and self.pack.length("wav", i) >= 2 * longest
        ]
        self.dev_speakers = codes[self.dev]
        model = replace(model, classes=len(speakers) * len(data.speeds))
        self.modules: dict[str, nn.Module] = {"encoder": SpeakerEncoder(model)}

    def batches(self, start_step: int) -> Iterator:
        # between every recording and every speaker alike
        weights = np.bincount(self.speaker)[self.speaker] ** -0.5
        return step_batches(
            self.example, torch.utils.data.default_collate, len(self.indices), self.train.batch_size, self.train.seed,
            start_step, self.train.num_workers, weights,
        )  # fmt: skip

    def example(self, place: int, rng: np.random.Generator) -> tuple[Tensor, int]:
        index, speed = self.indices[place], int(rng.integers(len(self.data.speeds)))
        wav = self._piece(index, self.data.speeds[speed], rng)
        wav = wav * 10 ** (rng.uniform(-1, 1) * self.recipe.level_db / 20)
        return torch.from_numpy(wav.astype(np.float32)), int(self.speaker[place]) * len(
            self.data.speeds
        ) + speed

    def _piece(self, index: int, speed: float, rng: np.random.Generator) -> np.ndarray:
        samples = int(self.samples * speed) + 2
        start = int(rng.integers(0, max(self.pack.length("wav", index) - samples, 0) + 1))
        wav = self.pack.read("wav", index, start, start + samples).astype(np.float32) / 32768
        if self.data.cleaned is not None:
            share = rng.uniform()
            cleaned = self.pack.read(self.data.cleaned, index, start, start + samples).astype(np.float32)
            wav = (1 - share) * wav + share * cleaned / 32768
        if speed != 1:
            wav = resample(wav, round(16000 * speed), 16000)
        return np.pad(wav[: self.samples], (0, max(0, self.samples - len(wav))))

    def audio_seconds(self, batch) -> float:
        return batch[0].numel() / 16000

    def turns(self, batch: tuple[Tensor, Tensor], step: int):
        wav, speaker = batch
        cosines, _ = self.modules["encoder"](wav, classify=True)
        margin = F.one_hot(speaker, cosines.shape[1]) * self.recipe.margin
        yield "encoder", {"speaker": F.cross_entropy((cosines - margin) * self.recipe.scale, speaker)}

    def validate(self) -> dict[str, float]:
        """Share of second halves of dev recordings that are nearest to the first half of one of the same speaker."""
        if len(set(self.dev_speakers)) < 2:
            return {}
        encoder, rng = self.modules["encoder"], np.random.default_rng(0)
        halves = []
        for half in (0, 1):
            wav = np.stack([self._half(index, half, rng) for index in self.dev])
            device = next(encoder.parameters()).device
            halves.append(encoder(torch.from_numpy(wav).to(device))[0].cpu().numpy())
        nearest = (halves[1] @ halves[0].T).argmax(1)
        return {"own_nearest": float((self.dev_speakers[nearest] == self.dev_speakers).mean())}

    def _half(self, index: int, half: int, rng: np.random.Generator) -> np.ndarray:
        middle = self.pack.length("wav", index) // 2
        start = half * middle + int(rng.integers(0, middle - self.samples + 1))
        return self.pack.read("wav", index, start, start + self.samples).astype(np.float32) / 32768

    def preview(self, writer, step: int) -> None:
        """The embeddings of the dev recordings' first halves, for TensorBoard's projector."""
        if not self.dev:
            return
        encoder, rng = self.modules["encoder"], np.random.default_rng(0)
        wav = torch.from_numpy(np.stack([self._half(index, 0, rng) for index in self.dev]))
        embedding, _ = encoder(wav.to(next(encoder.parameters()).device))
        names = [self.pack.utterances[index]["speaker"] for index in self.dev]
        writer.add_embedding(embedding.cpu(), names, global_step=step)
