"""Recipe of TokTTS: cross-entropy of the next flattened code, given the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.codec.codec import load_codec
from spear.sampling import Sampling
from spear.toktts.data import Batch, Clips, DataConfig
from spear.toktts.model import TokTTS, TokTTSConfig
from speech.masks import lengths_to_mask
from speech.training import TrainConfig
from speech.turns import move

IGNORED = -100


@dataclass
class RecipeConfig:
    label_smoothing: float = 0.0
    preview_codec: str | None = (
        None  # folder or name of the codec: previews are then heard (None = data.codec)
    )


class Recipe:
    """One turn for the one module; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: TokTTSConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "toktts"

    def __init__(
        self, model: TokTTSConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        self.recipe, self.config = recipe, model
        self.clips = Clips(data, train, model)
        self.modules: dict[str, nn.Module] = {"toktts": TokTTS(model)}

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.clips.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return batch.seconds

    def turns(self, batch: Batch, step: int):
        logits, targets = self._predict(batch)
        flat = logits.float().flatten(0, 1)
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)
        yield "toktts", {"codes": loss}

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [B, L, K + 2] and the codes [B, L], IGNORED behind the end."""
        mask = lengths_to_mask(batch.n_text, batch.text_ids.shape[1])
        logits = self.modules["toktts"](batch.text_ids, mask, batch.tokens)
        inside = lengths_to_mask(batch.n_tokens, batch.tokens.shape[1])
        return logits, batch.tokens.masked_fill(~inside, IGNORED)

    def validate(self) -> dict[str, float]:
        """Loss and share of codes guessed right over the dev clips, up to 128."""
        device = next(self.modules["toktts"].parameters()).device
        chosen = self.clips.dev[:: max(1, len(self.clips.dev) // 128)]
        loss, right, number = 0.0, 0, 0
        for first in range(0, len(chosen), 16):
            examples = [self.clips.example(i) for i in chosen[first : first + 16]]
            logits, targets = self._predict(move(self.clips.collate(examples), device))
            valid = targets != IGNORED
            loss += float(F.cross_entropy(logits[valid].float(), targets[valid], reduction="sum"))
            right += int((logits.argmax(-1) == targets)[valid].sum())
            number += int(valid.sum())
        return {"loss": loss / number, "accuracy": right / number} if number else {}

    def preview(self, writer, step: int) -> None:
        """One training and one dev text spoken, beside the codec's round trip of the recording, where a codec is named."""
        model = getattr(self.modules["toktts"], "module", self.modules["toktts"])
        device = next(model.parameters()).device
        name = self.recipe.preview_codec or self.clips.data.codec
        codec = load_codec(name, device=device) if name is not None else None
        limit = int(self.clips.data.clip_seconds * self.config.codec.rate_hz)
        for kind, indices in (("train", self.clips.indices[:1]), ("dev", self.clips.dev[:1])):
            for index in indices:
                text, codes = self.clips.example(index)
                said = model.generate([text], Sampling(0.7), max_frames=limit, seed=0)
                writer.add_text(f"text/{kind}", text, step)
                recorded = torch.from_numpy(codes)[None].to(device)
                spoken = said.frames[..., : int(said.n_frames)]
                for label, frames in (("recorded", recorded), ("spoken", spoken)):
                    if codec is not None and frames.shape[-1]:
                        wav = codec.decode(frames)[0].cpu().float()
                        writer.add_audio(f"{label}/{kind}", wav, step, codec.spec.sample_rate)
