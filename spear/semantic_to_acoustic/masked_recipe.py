"""Recipe of MaskedSemanticToAcoustic: cross-entropy of codes that were masked, in one codebook of each clip at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.semantic_to_acoustic.data import Batch, DataConfig, Pieces
from spear.semantic_to_acoustic.masked import MaskedSemanticToAcoustic, MaskedSemanticToAcousticConfig
from spear.semantic_to_acoustic.preview import add_speech
from spear.semantic_to_acoustic.recipe import dev_batches, drop_rows, style_input
from speech.masks import lengths_to_mask
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig


@dataclass
class RecipeConfig:
    first_level_share: float = (
        0.3  # of the rows that train the first codebook, which makes most of the speech
    )
    prompt_share: float = 0.5  # of the rows whose first frames, up to a random one, are never masked
    self_condition_share: float = (
        0.5  # of the steps with a pass before the pass, where the model has self-conditioning
    )
    # shares of the rows that go without, so that guidance and missing values work
    drop_style: float = 0.1
    drop_tokens: float = 0.05
    drop_conditions: float = 0.1
    label_smoothing: float = 0.0
    preview_codec: str | None = None  # folder or name of the codec: previews are then heard


@dataclass
class Task:
    """What is masked in a batch and asked for."""

    codes: Tensor  # [B, Q, M] with mask ids
    asked: Tensor  # [B, M], masked codes of the level
    level: Tensor  # [B]
    targets: Tensor  # [B, M], the level's codes


class Recipe:
    """One turn for the one module; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: MaskedSemanticToAcousticConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "soundstorm"

    def __init__(
        self,
        model: MaskedSemanticToAcousticConfig,
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
        self.modules: dict[str, nn.Module] = {"soundstorm": MaskedSemanticToAcoustic(model)}
        self.mel = MelSpectrogram(model.conditioning.audio)

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.pieces.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_frames.sum()) / self.config.codec.rate_hz

    def turns(self, batch: Batch, step: int):
        recipe, rows, device = self.recipe, len(batch.tokens), batch.tokens.device
        levels = torch.randint(self.config.n_codebooks, (rows,), device=device)
        levels[torch.rand(rows, device=device) < recipe.first_level_share] = 0
        shares = torch.cos(torch.rand(rows, device=device) * math.pi / 2)
        n_known = (torch.rand(rows, device=device) * batch.n_frames).long()
        n_known[torch.rand(rows, device=device) >= recipe.prompt_share] = 0
        # a recording in front is there to be a prompt
        n_known = torch.where(batch.n_known > 0, batch.n_known, n_known)
        task = self._task(batch, levels, shares, n_known)
        keep = {
            "keep_style": torch.rand(rows, device=device) >= recipe.drop_style,
            "keep_tokens": torch.rand(rows, device=device) >= recipe.drop_tokens,
        }
        named = drop_rows(batch.rows, recipe.drop_conditions)
        previous = None
        if self.config.self_conditioning and float(torch.rand(())) < recipe.self_condition_share:
            with torch.no_grad():
                previous = self._ask(batch, task, named, **keep).hidden
        opinion = self._ask(batch, task, named, previous=previous, every=True, **keep)
        asked = task.asked
        loss = F.cross_entropy(
            opinion.logits[asked].float(), task.targets[asked], label_smoothing=recipe.label_smoothing
        )
        losses = {"codes": loss, "finer": self._finer(batch, task, opinion.every)}
        if self.config.critic:
            losses["critic"] = self._critic(batch, task, opinion.logits, named, **keep)
        yield "soundstorm", losses

    def _task(self, batch: Batch, level: Tensor, share: Tensor, n_known: Tensor) -> Task:
        """Mask a share [B] of the codes of level [B] behind the first n_known [B] frames, and all finer ones; one code at least."""
        rows, n_frames = len(batch.codes), batch.codes.shape[-1]
        frames = torch.arange(n_frames, device=level.device)
        behind = (frames >= n_known[:, None]) & (frames < batch.n_frames[:, None])  # [B, M]
        lot = torch.rand(rows, n_frames, device=level.device).masked_fill(~behind, torch.inf)
        asked = behind & ((lot < share[:, None]) | (lot == lot.amin(1, keepdim=True)))
        finer = torch.arange(batch.codes.shape[1], device=level.device) > level[:, None]  # [B, Q]
        own = F.one_hot(level, batch.codes.shape[1]).bool()
        hidden = (finer[..., None] & behind[:, None]) | (own[..., None] & asked[:, None])
        codes = batch.codes.masked_fill(hidden, self.config.codec.codebook_size)
        targets = batch.codes.gather(1, level[:, None, None].expand(-1, 1, n_frames))[:, 0]
        return Task(codes, asked, level, targets)

    def _finer(self, batch: Batch, task: Task, logits: Tensor) -> Tensor:
        """Cross-entropy of the codebooks finer than the one asked for, all of them masked: a hint for decoding, and many more targets."""
        hidden = task.codes == self.config.codec.codebook_size  # [B, Q, M]
        own = F.one_hot(task.level, hidden.shape[1]).bool()[..., None]
        finer = (hidden & ~own).transpose(1, 2)  # [B, M, Q]
        if not finer.any():
            return logits.sum() * 0.0
        return F.cross_entropy(logits[finer].float(), batch.codes.transpose(1, 2)[finer])

    def _ask(
        self,
        batch: Batch,
        task: Task,
        rows: dict[str, Tensor],
        codes=None,
        previous=None,
        every=False,
        **keep,
    ):
        style, mask = style_input(self.mel, batch, self.config.conditioning.style is not None)
        codes = task.codes if codes is None else codes
        frame_mask = lengths_to_mask(batch.n_frames, batch.codes.shape[-1])
        return self.modules["soundstorm"](
            batch.tokens,
            codes,
            frame_mask,
            task.level,
            style,
            mask,
            rows,
            previous=previous,
            every=every,
            **keep,
        )

    def _critic(self, batch: Batch, task: Task, logits: Tensor, rows: dict[str, Tensor], **keep) -> Tensor:
        """Cross-entropy of telling codes that the model made up, in place of the masked ones, from recorded ones."""
        drawn = torch.distributions.Categorical(logits=logits.detach().float()).sample()  # [B, M]
        own = F.one_hot(task.level, task.codes.shape[1]).bool()[..., None]  # [B, Q, 1]
        codes = torch.where(own & task.asked[:, None], drawn[:, None], task.codes)
        real = self._ask(batch, task, rows, codes=codes, **keep).real.float()
        valid = lengths_to_mask(batch.n_frames, real.shape[1])
        truth = (~task.asked | (drawn == task.targets)).float()
        return F.binary_cross_entropy_with_logits(real[valid], truth[valid])

    def validate(self) -> dict[str, float]:
        """Loss, and the share of masked codes guessed right, of the first codebook without any of its codes and with half, and of the last."""
        last = self.config.n_codebooks - 1
        cases = {"first": (0, 1.0), "first_half": (0, 0.5), "last": (last, 1.0)}
        sums = {name: torch.zeros(3) for name in cases}  # loss, right, number
        for batch in dev_batches(self.pieces, next(self.modules["soundstorm"].parameters()).device):
            for name, (level, share) in cases.items():
                levels = torch.full_like(batch.n_frames, level)
                zero = torch.zeros_like(levels)
                task = self._task(batch, levels, torch.full_like(levels, share, dtype=torch.float), zero)
                logits = self._ask(batch, task, batch.rows).logits[task.asked].float()
                truth = task.targets[task.asked]
                loss = F.cross_entropy(logits, truth, reduction="sum")
                right = (logits.argmax(-1) == truth).sum()
                sums[name] += torch.tensor([float(loss), float(right), len(truth)])
        figures = {}
        for name, (loss, right, number) in sums.items():
            if number:
                figures |= {f"loss_{name}": float(loss / number), f"accuracy_{name}": float(right / number)}
        return figures

    def preview(self, writer, step: int) -> None:
        """Two dev utterances spoken again from their tokens in the voice of another recording, where a codec is named."""
        model = getattr(self.modules["soundstorm"], "module", self.modules["soundstorm"])
        add_speech(writer, step, model, self.pieces, self.mel, self.recipe.preview_codec)
