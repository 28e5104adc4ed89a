"""Recipe of the Whisper bottleneck: from the codes, the frozen decoder is to expect what it expects from Whisper's own states.

Cross-entropy on the transcript, KL divergence from the decoder on states without codes, commitment of the codes (weights 1 in WhisperSpeech).
Both of the first two are means over the tokens of the transcripts; padding counts in neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.tokens import token_use
from spear.whisper_tokens.data import IGNORED, Batch, DataConfig, Utterances, collate
from spear.whisper_tokens.frozen import FrozenWhisper
from spear.whisper_tokens.model import BottleneckOutput, WhisperBottleneck, WhisperBottleneckConfig
from spear.whisper_tokens.tokenizer import check_whisper
from speech.data import step_batches
from speech.packs import Pack
from speech.training import TrainConfig
from speech.turns import move


@dataclass
class RecipeConfig:
    """Where Whisper lies, if not where `model.whisper` says."""

    whisper: str | None = None  # folder or hub id


class Recipe:
    """One turn for the one module; Whisper is none of them. Validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: WhisperBottleneckConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "bottleneck"

    def __init__(
        self,
        model: WhisperBottleneckConfig,
        data: DataConfig,
        recipe: RecipeConfig,
        losses,
        train: TrainConfig,
    ) -> None:
        self.data, self.train = data, train
        self.whisper = FrozenWhisper.from_pretrained(recipe.whisper or model.whisper, model.semantic.name)
        check_whisper(self.whisper, model)
        self.modules: dict[str, nn.Module] = {"bottleneck": WhisperBottleneck(replace(model))}
        self.pack = Pack(data.pack)
        self.utterances = Utterances(self.pack, data, self.whisper)
        split = self.pack.utterances.column("split")
        self.indices = [i for i in self.utterances.usable if split[i] == "train"]
        self.dev = [i for i in self.utterances.usable if split[i] == "dev"]
        if not self.indices:
            raise ValueError(
                f"{data.pack}: no utterance of at most {self.whisper.extractor.n_samples / 16000:g} s and {data.max_text} "
                "text tokens to train on"
            )

    def example(self, place: int, rng: np.random.Generator) -> dict:
        return self.utterances.read(self.indices[place])

    def batches(self, start_step: int) -> Iterator[Batch]:
        return step_batches(
            self.example,
            collate,
            len(self.indices),
            self.train.batch_size,
            self.train.seed,
            start_step,
            self.train.num_workers,
        )

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_frames.sum()) / 50

    def turns(self, batch: Batch, step: int):
        _, _, losses, _ = self._forward(batch)
        yield "bottleneck", losses

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor], BottleneckOutput]:
        """What the decoder expects without and with codes, of targets only [K, vocabulary]; losses; the bottleneck's output."""
        self.whisper.to(batch.mel.device)
        asked = batch.targets != IGNORED  # [B, S]
        with torch.no_grad():
            states = self.whisper.encode_mel(batch.mel)
            teacher = self.whisper.logits(states, batch.ids)[asked].float()
        out = self.modules["bottleneck"](states, batch.n_frames)
        student = self.whisper.logits(out.semantic.to(states.dtype), batch.ids)[asked].float()
        losses = {
            "cross_entropy": F.cross_entropy(student, batch.targets[asked]),
            "kl": F.kl_div(
                student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True
            ),
            "commitment": out.commitment,
        }
        return teacher, student, losses, out

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses, share of text tokens expected right with codes and without, and how evenly codes are used."""
        device = next(self.modules["bottleneck"].parameters()).device
        bottleneck = getattr(self.modules["bottleneck"], "module", self.modules["bottleneck"])
        sums: dict[str, float] = {}
        right = right_before = number = 0
        streams = []
        groups = [self.dev[i : i + 8] for i in range(0, len(self.dev), 8)]
        for group in groups:
            batch = move(collate([self.utterances.read(i) for i in group]), device)
            teacher, student, losses, out = self._forward(batch)
            targets = batch.targets[batch.targets != IGNORED]
            right += int((student.argmax(-1) == targets).sum())
            right_before += int((teacher.argmax(-1) == targets).sum())
            number += len(targets)
            streams.append(out.tokens[out.tokens != bottleneck.padding_code])
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(groups)
        if not groups:
            return {}
        return sums | {
            "accuracy": right / number,
            "accuracy_without_codes": right_before / number,
            "entropy_share": token_use(streams, bottleneck.config.n_tokens).entropy_share,
        }

    @torch.no_grad()
    def preview(self, writer, step: int) -> None:
        """One dev utterance: its transcript, and what Whisper understands of its tokens."""
        if not self.dev:
            return
        device = next(self.modules["bottleneck"].parameters()).device
        batch = move(collate([self.utterances.read(self.dev[0])]), device)
        states = self.modules["bottleneck"](
            self.whisper.to(device).encode_mel(batch.mel), batch.n_frames
        ).semantic
        language = self.pack.utterances[self.dev[0]]["language"]
        heard = self.whisper.text(self.whisper.transcribe(states.float(), language, self.data.max_text)[0])
        meant = self.whisper.text(self.utterances.text_ids(self.dev[0]))
        writer.add_text("transcript", f"said: {meant}\n\nheard: {heard}", step)
