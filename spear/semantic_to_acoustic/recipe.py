"""Recipe of SemanticToAcoustic: cross-entropy of every codebook's next code, given the tokens and a prompt of the voice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.layouts import Codes
from spear.semantic_to_acoustic.data import Batch, DataConfig, Pieces, collate
from spear.semantic_to_acoustic.model import SemanticToAcoustic, SemanticToAcousticConfig
from spear.semantic_to_acoustic.preview import add_speech
from speech.masks import lengths_to_mask
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig
from speech.turns import move

IGNORED = -100


@dataclass
class RecipeConfig:
    q0_weight: float = 1.0  # of the coarsest codebook's loss, relative to the others'
    # shares of the rows that go without, so that guidance and missing values work
    drop_style: float = 0.1
    drop_tokens: float = 0.05
    drop_conditions: float = 0.1
    label_smoothing: float = 0.0
    preview_codec: str | None = None  # folder or name of the codec: previews are then heard


class Recipe:
    """One turn for the one module; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: SemanticToAcousticConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "s2a"

    def __init__(
        self,
        model: SemanticToAcousticConfig,
        data: DataConfig,
        recipe: RecipeConfig,
        losses,
        train: TrainConfig,
    ):
        self.recipe = recipe
        shape = (model.tokens, model.codec, model.n_codebooks, model.max_frames, model.conditioning)
        self.pieces = Pieces(data, train, *shape)
        model.tokens = (
            self.pieces.tokens
        )  # names the codebook, so that tokens of another fit are refused later
        self.config = model
        self.modules: dict[str, nn.Module] = {"s2a": SemanticToAcoustic(model)}
        self.mel = MelSpectrogram(model.conditioning.audio)

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.pieces.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_frames.sum()) / self.config.codec.rate_hz

    def turns(self, batch: Batch, step: int):
        recipe, rows = self.recipe, len(batch.tokens)
        keep = {
            "keep_style": torch.rand(rows, device=batch.tokens.device) >= recipe.drop_style,
            "keep_tokens": torch.rand(rows, device=batch.tokens.device) >= recipe.drop_tokens,
        }
        logits, targets = self._predict(batch, drop_rows(batch.rows, recipe.drop_conditions), **keep)
        # all codebooks in one call: the gradient of one cut out of the logits would be as large as that of all
        losses = F.cross_entropy(
            logits.float().flatten(0, 2),
            targets.transpose(1, 2).flatten(),
            ignore_index=IGNORED,
            label_smoothing=recipe.label_smoothing,
            reduction="none",
        ).unflatten(0, (-1, self.config.n_codebooks))
        number = (targets != IGNORED).sum((0, 2))
        levels = losses.sum(0) / number.clamp(min=1)  # [Q]
        weights = torch.ones_like(levels)
        weights[0] = recipe.q0_weight
        yield "s2a", {"codes": (levels * weights).sum() / weights.sum()}

    def _predict(self, batch: Batch, rows: dict[str, Tensor], **keep: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, L, Q, K] and their targets [B, Q, L], IGNORED where there is no code."""
        codes = batch.layout(self.config.codec.codebook_size)
        style, mask = style_input(self.mel, batch, self.config.conditioning.style is not None)
        logits = self.modules["s2a"](batch.tokens, batch.token_mask, codes, style, mask, rows, **keep)
        return logits, delayed_targets(codes)

    def validate(self) -> dict[str, float]:
        """Loss a code, and the share of codes of the first, of half and of all codebooks guessed right, over the dev utterances."""
        right = torch.zeros(self.config.n_codebooks)
        number, loss = torch.zeros(self.config.n_codebooks), 0.0
        for batch in dev_batches(self.pieces, next(self.modules["s2a"].parameters()).device):
            logits, targets = self._predict(batch, batch.rows)
            guesses = logits.argmax(-1).transpose(1, 2)  # [B, Q, L]
            valid = targets != IGNORED
            right += ((guesses == targets) & valid).sum((0, 2)).cpu()
            number += valid.sum((0, 2)).cpu()
            flat = logits.transpose(1, 2).flatten(0, 2).float()
            loss += float(F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED, reduction="sum"))
        if not number.sum():
            return {}
        half = (self.config.n_codebooks + 1) // 2
        return {
            "loss": loss / float(number.sum()),
            "accuracy_first": float(right[0] / number[0]),
            "accuracy_half": float(right[:half].sum() / number[:half].sum()),
            "accuracy": float(right.sum() / number.sum()),
        }

    def preview(self, writer, step: int) -> None:
        """Two dev utterances spoken again from their tokens in the voice of another recording, where a codec is named."""
        model = getattr(self.modules["s2a"], "module", self.modules["s2a"])
        add_speech(writer, step, model, self.pieces, self.mel, self.recipe.preview_codec)


def delayed_targets(codes: Codes) -> Tensor:
    """[B, Q, L]: the code that each step makes, IGNORED before the first and behind the last."""
    tokens = codes.delayed()
    return tokens.masked_fill(tokens >= codes.codebook_size, IGNORED)


def drop_rows(rows: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Rows of the named conditions, each value made missing (0) with that probability."""
    return {n: r.masked_fill(torch.rand(r.shape, device=r.device) < share, 0) for n, r in rows.items()}


def style_input(mel: MelSpectrogram, batch: Batch, is_sound: bool) -> tuple[Tensor, Tensor | None]:
    """A batch's prompts as the models take them: (log-mel, mask), or (vectors, None)."""
    if not is_sound:
        return batch.prompt, None
    prompt = mel.to(batch.prompt.device)(batch.prompt)
    return prompt, lengths_to_mask(batch.n_prompt // mel.config.hop_length, prompt.shape[-1])


def dev_batches(pieces: Pieces, device: torch.device, size: int = 16) -> Iterator[Batch]:
    """The dev utterances, always the same pieces, up to 128."""
    rng = np.random.default_rng(0)
    chosen = pieces.dev[:: max(1, len(pieces.dev) // 128)]
    for first in range(0, len(chosen), size):
        yield move(
            collate([pieces.example(i, rng, plain=True) for i in chosen[first : first + size]]), device
        )
