"""Recipe of the bridge: regress features and pitch contours from the tokens of the same speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.bridge.data import Batch, DataConfig, Pieces, collate
from spear.bridge.model import F0_FRAMES, Bridge, BridgeConfig, BridgePrediction
from speech.data import step_batches
from speech.losses import masked_l1
from speech.masks import lengths_to_mask
from speech.packs import Pack
from speech.spectrogram import MelSpectrogram
from speech.token_arrays import require_semantic_tokens
from speech.training import TrainConfig
from speech.turns import move


@dataclass
class RecipeConfig:
    """This recipe has no options."""


class Recipe:
    """One turn for the one module; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: BridgeConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "bridge"

    def __init__(
        self, model: BridgeConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ) -> None:
        self.data, self.train = data, train
        self.pack = Pack(data.pack)
        # a configuration names the kind of tokens; the model remembers whose they were
        tokens = require_semantic_tokens(self.pack, model.tokens)
        self.pack.require_semantic(tokens.semantic)
        model = replace(model, tokens=tokens)
        bridge = Bridge(model)
        self.modules: dict[str, nn.Module] = {"bridge": bridge}
        self.mel = MelSpectrogram(model.audio)
        self.pieces = Pieces(self.pack, data, bridge.frames, tokens.n_tokens, model.style is not None)
        split = self.pack.utterances.column("split")
        usable = [i for i in range(len(self.pack)) if self.pack.length("semantic_tokens", i)]
        self.indices = [i for i in usable if split[i] == "train"]
        self.dev = [i for i in usable if split[i] == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no utterance with tokens to train on")

    def example(self, place: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.pieces.read(self.indices[place], rng)

    def batches(self, start_step: int) -> Iterator[Batch]:
        weights = np.minimum(
            self.pack.lengths("semantic_tokens")[self.indices], 3 * self.pieces.longest
        ).astype(np.float64)
        return step_batches(
            self.example,
            collate,
            len(self.indices),
            self.train.batch_size,
            self.train.seed,
            start_step,
            self.train.num_workers,
            weights,
        )

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_frames.sum()) / 50

    def turns(self, batch: Batch, step: int):
        yield "bridge", self._losses(batch)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        out = self._predict(batch)
        frames = batch.semantic.shape[-1]  # the last token may stand for fewer frames than it could
        frame_mask = lengths_to_mask(batch.n_frames, frames)
        f0_mask = frame_mask.repeat_interleave(F0_FRAMES, 1)
        contour, voiced = (x[:, : frames * F0_FRAMES] for x in (out.contour, out.voiced))
        voiced = F.binary_cross_entropy_with_logits(voiced, batch.voiced, reduction="none")
        return {
            "semantic": masked_l1(out.semantic[..., :frames], batch.semantic, frame_mask[:, None]),
            "contour": masked_l1(contour, batch.contour, f0_mask & (batch.voiced > 0.5)),
            "voiced": (voiced * f0_mask).sum() / f0_mask.sum(),
        }

    def _predict(self, batch: Batch) -> BridgePrediction:
        token_mask = lengths_to_mask(batch.n_tokens, batch.tokens.shape[1])
        if not batch.prompt.shape[1]:
            return self.modules["bridge"](batch.tokens, token_mask)
        prompt = self.mel.to(batch.prompt.device)(batch.prompt)
        prompt_mask = lengths_to_mask(batch.n_prompt // 320, prompt.shape[-1])
        return self.modules["bridge"](batch.tokens, token_mask, None, prompt, prompt_mask)

    def validate(self) -> dict[str, float]:
        """Mean of every loss over pieces of the dev utterances."""
        sums: dict[str, float] = {}
        device = next(self.modules["bridge"].parameters()).device
        rng = np.random.default_rng(0)
        groups = [self.dev[i : i + 16] for i in range(0, len(self.dev), 16)]
        for group in groups:
            batch = move(collate([self.pieces.read(i, rng, noisy=False) for i in group]), device)
            for name, value in self._losses(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(groups)
        return sums

    def preview(self, writer, step: int) -> None:
        """One dev utterance as a picture: its features above, those made of its tokens below."""
        if not self.dev:
            return
        device = next(self.modules["bridge"].parameters()).device
        rng = np.random.default_rng(0)
        batch = move(collate([self.pieces.read(self.dev[0], rng, noisy=False)]), device)
        semantic = self._predict(batch).semantic[0, :, : batch.semantic.shape[-1]]
        features = torch.cat([batch.semantic[0], semantic])  # [2C, N]
        writer.add_image("semantic", (features / 6 + 0.5).clamp(0, 1), step, dataformats="HW")
