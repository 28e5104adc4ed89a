"""Recipe of the low-resource stages: what goes in, what comes out and what stays frozen differ, the network is one TextToSemantic.

`spear.low_resource` says in which order the stages run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from spear.low_resource.deletion import delete
from spear.low_resource.frozen import freeze_for
from spear.low_resource.labels import PseudoPairs, PseudoStore, Selection
from spear.low_resource.speech_only import SpeechOnly, subset
from spear.low_resource.store import stretch_to_text
from spear.text_to_semantic.data import Batch, DataConfig, Mixture, PairSet, open_packs
from spear.text_to_semantic.losses import accuracy, cross_entropy
from spear.text_to_semantic.model import SEMANTIC, TEXT, Output, TextToSemantic, TextToSemanticConfig
from spear.text_to_semantic.parts import append_eos
from speech.masks import lengths_to_mask
from speech.training import TrainConfig
from speech.turns import move

STAGES = ("pretrain", "backtranslate", "finetune", "final")
DEV_UTTERANCES = 96


@dataclass
class PseudoConfig:
    """Pseudo-labels to train on, in the stages finetune and final."""

    folder: str
    weight: float = 1.0  # how often, relative to the length; the real pairs have 1
    select: Selection = field(default_factory=Selection)


@dataclass
class LowResourceData(DataConfig):
    # of the pack's pairs so many minutes are used, drawn by `subset_seed`; None = all, 0 = none (pseudo-labels alone)
    parallel_minutes: float | None = None
    subset_seed: int = 0
    real_weight: float = 1.0
    pseudo: PseudoConfig | None = None


@dataclass
class RecipeConfig:
    """Options of the training step."""

    stage: str  # pretrain, backtranslate, finetune or final
    deletion: float = 0.6  # share of the tokens, of the stage pretrain
    deletion_kind: str = "remove"  # or "mask"
    deletion_target: str = "full"  # or "deleted", what is missing only
    freezing: str | None = (
        None  # none, paper, lucidrains or backtranslate; None = what the paper does in this stage
    )
    lower_layers: int = 2  # of the encoder: trained by "paper", frozen by "lucidrains"
    condition_dropout: float = 0.0  # of the items are learnt without their source
    input_dropout: float = 0.1  # of the decoder's inputs are hidden

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage: expected one of {', '.join(STAGES)}, got {self.stage!r}")
        if self.freezing is None:
            self.freezing = {"backtranslate": "backtranslate", "finetune": "paper"}.get(self.stage, "none")


class Recipe:
    """One turn for the one module; the loss is named "text" in the stage backtranslate, "semantic" in the others."""

    @dataclass
    class Config:
        model: TextToSemanticConfig
        data: LowResourceData
        recipe: RecipeConfig

    published = "t2s"

    def __init__(
        self,
        model: TextToSemanticConfig,
        data: LowResourceData,
        recipe: RecipeConfig,
        losses,
        train: TrainConfig,
    ):
        if model.kind != "autoregressive" or model.deduplicate or model.positions == "durations":
            raise ValueError(
                "the low-resource stages train an autoregressive model of tokens with their repeats, whose positions are none or rate"
            )
        self.recipe, self.data = recipe, data
        sets = self._sets(data, model, ("train",))
        model = replace(model, tokens=sets[0].found)
        self.pairs = Mixture(sets, model, train)
        plain = replace(data, parallel_minutes=None, pseudo=None)
        self.dev = Mixture(self._sets(plain, model, ("dev",)), model, train)
        module = TextToSemantic(model)
        freeze_for(module, recipe.freezing, recipe.lower_layers)
        self.modules: dict[str, nn.Module] = {"t2s": module}
        self.config = model

    def _sets(
        self, data: LowResourceData, model: TextToSemanticConfig, splits: Sequence[str]
    ) -> list[PairSet]:
        if self.recipe.stage == "pretrain":
            folders = {data.pack: 1.0} | data.more_packs
            return [SpeechOnly(folder, model, data, splits, weight) for folder, weight in folders.items()]
        sets: list[PairSet] = []
        if data.parallel_minutes is None or data.parallel_minutes > 0:
            real = open_packs(data, model, splits)
            sets = [subset(pairs, data.parallel_minutes, data.subset_seed) for pairs in real]
            for pairs in sets:
                pairs.weights = pairs.weights * data.real_weight
        if data.pseudo is not None:
            if self.recipe.stage == "backtranslate":
                raise ValueError("data.pseudo: back-translation learns from real pairs, expected none")
            store = PseudoStore(data.pseudo.folder)
            sets.append(PseudoPairs(store, model, data.pseudo.select, data.pseudo.weight))
        if not sets:
            raise ValueError("data: expected parallel_minutes above 0, or pseudo-labels")
        return sets

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.pairs.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_tokens.sum()) / self.config.tokens.rate_hz

    def turns(self, batch: Batch, step: int):
        out, target, mask = self._predict(batch, training=True)
        name = "text" if self.recipe.stage == "backtranslate" else "semantic"
        losses = {name: cross_entropy(out.logits, target, mask)}
        if out.early_logits is not None:
            losses["early_exit"] = cross_entropy(out.early_logits, target, mask)
        yield "t2s", losses

    def _predict(
        self, batch: Batch, training: bool, generator: torch.Generator | None = None
    ) -> tuple[Output, Tensor, Tensor]:
        """Output of the stage's direction, its targets [B, N + 1] and where they count."""
        recipe, device = self.recipe, batch.tokens.device
        tables = self._model().tables
        given: dict = {"languages": batch.languages}
        if recipe.stage == "pretrain":
            broken = delete(
                batch.tokens, batch.n_tokens, recipe.deletion, recipe.deletion_kind, recipe.deletion_target,
                tables[SEMANTIC].mask, generator,
            )  # fmt: skip
            source, n_source, kinds = broken.source, broken.n_source, (SEMANTIC, SEMANTIC)
            target, n_target = broken.target, broken.n_target
            kept = recipe.deletion_kind == "mask" or recipe.deletion_target == "deleted"
            given["stretch"] = 1.0 if kept or recipe.deletion == 1 else 1 / (1 - recipe.deletion)
        elif recipe.stage == "backtranslate":
            source, n_source, kinds = batch.tokens, batch.n_tokens, (SEMANTIC, TEXT)
            target, n_target = batch.text, batch.n_text
            given["stretch"] = stretch_to_text(self.config)
        else:
            source, n_source, kinds = batch.text, batch.n_text, (TEXT, SEMANTIC)
            target, n_target, given["rate"] = batch.tokens, batch.n_tokens, batch.rate
        if training:
            given["keep_source"] = torch.rand(len(source), device=device) >= recipe.condition_dropout
            given["hidden_inputs"] = torch.rand(target.shape, device=device) < recipe.input_dropout
        out = self.modules["t2s"](source, n_source, target, n_target, *kinds, **given)
        target = append_eos(target, n_target, tables[kinds[1]].eos)
        return out, target, lengths_to_mask(n_target + 1, target.shape[1])

    def _model(self) -> TextToSemantic:
        model = self.modules["t2s"]
        return getattr(model, "module", model)  # without a distributed wrapper

    def validate(self) -> dict[str, float]:
        """Loss and accuracy on dev utterances, the decoder being told the truth so far."""
        if not len(self.dev):
            return {}
        device = next(self.modules["t2s"].parameters()).device
        sums = np.zeros(3)
        generator = torch.Generator(device).manual_seed(0)  # the same tokens are deleted each time
        for batch in self.dev.all(DEV_UTTERANCES):
            out, target, mask = self._predict(move(batch, device), training=False, generator=generator)
            count = float(mask.sum())
            sums += count * np.array(
                [1, float(cross_entropy(out.logits, target, mask)), float(accuracy(out.logits, target, mask))]
            )
        return {"loss": sums[1] / sums[0], "accuracy": sums[2] / sums[0]}

    def preview(self, writer, step: int) -> None:
        """What back-translation reads in a dev utterance; the other stages have nothing to show."""
        if self.recipe.stage != "backtranslate" or not len(self.dev):
            return
        from spear.text_tokens import text_tokenizer

        batch, model = next(iter(self.dev.all(1))), self._model()
        batch = move(batch, next(model.parameters()).device)
        out = model.generate(
            batch.tokens, batch.n_tokens, source_kind=SEMANTIC, target_kind=TEXT, beams=4,
            max_tokens=min(2 * int(batch.n_text[0]) + 10, self.config.max_text), stretch=stretch_to_text(self.config),
        )  # fmt: skip
        reader = text_tokenizer(self.config.tokenizer)
        for name, ids in (("text", batch.text[0]), ("read", out.rows()[0])):
            writer.add_text(name, reader.decode(ids.tolist()), step)
