"""Recipe of TextToSemantic: the next semantic token, or the masked ones, from text; with every auxiliary loss that the model has parts for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from spear.sampling import Sampling, cosine_schedule
from spear.text_to_semantic.data import Batch, DataConfig, Mixture, open_packs
from spear.text_to_semantic.losses import accuracy, align_regularization, cross_entropy, duration_loss
from spear.text_to_semantic.model import Output, TextToSemantic, TextToSemanticConfig
from spear.text_to_semantic.parts import append_eos
from spear.text_to_semantic.session import runs_of
from speech.masks import lengths_to_mask
from speech.semantic.quantizer import SemanticQuantizer
from speech.training import TrainConfig
from speech.turns import move

DEV_UTTERANCES = 128


@dataclass
class RecipeConfig:
    """Options of the training step."""

    condition_dropout: float = 0.1  # of the items are learnt without their text, which guidance needs
    rate_dropout: float = 0.3  # of the items without their speaking rate, so that none need be given
    input_dropout: float = (
        0.1  # of an autoregressive decoder's inputs are hidden, so that it listens to the text
    )
    prompt_share: float = 0.3  # of a masked model's items keep a beginning, as a prompt would be
    align_regularization: bool = False  # a loss "align" between items without their text
    codebook: str | None = None  # folder of the tokenizer whose codebook a model with `codebook_dim` takes


class Recipe:
    """One turn for the one module; validation on the packs' `dev` splits."""

    @dataclass
    class Config:
        model: TextToSemanticConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "t2s"

    def __init__(
        self,
        model: TextToSemanticConfig,
        data: DataConfig,
        recipe: RecipeConfig,
        losses,
        train: TrainConfig,
    ):
        self.recipe = recipe
        sets = open_packs(data, model)
        model = replace(model, tokens=sets[0].found)  # now with the digest of the codebook
        self.pairs = Mixture(sets, model, train)
        self.dev = Mixture(open_packs(data, model, ("dev",)), model, train)
        self.modules: dict[str, nn.Module] = {"t2s": build_model(model, recipe.codebook)}
        self.config = model

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.pairs.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_tokens.sum()) / self.config.tokens.rate_hz

    def turns(self, batch: Batch, step: int):
        yield "t2s", self._losses(batch)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        recipe, device = self.recipe, batch.tokens.device
        rows = len(batch.tokens)
        keep = torch.rand(rows, device=device) >= recipe.condition_dropout
        rate = batch.rate.masked_fill(torch.rand(rows, device=device) < recipe.rate_dropout, torch.nan)
        valid = lengths_to_mask(batch.n_tokens, batch.tokens.shape[1])
        if self.config.kind == "masked":
            hidden = masked_places(batch.n_tokens, valid, recipe.prompt_share)
        else:
            hidden = (
                (torch.rand(valid.shape, device=device) < recipe.input_dropout)
                if recipe.input_dropout
                else None
            )
        return self._of(batch, rate, keep, hidden)

    def _of(
        self, batch: Batch, rate: Tensor | None, keep: Tensor | None, hidden: Tensor | None
    ) -> dict[str, Tensor]:
        out, target, mask, runs = self._predict(batch, rate, keep, hidden)
        losses = {"semantic": cross_entropy(out.logits, target, mask)}
        text_mask = lengths_to_mask(batch.n_text, batch.text.shape[1])
        if self.config.positions == "durations":
            losses["durations"] = duration_loss(out.encoded.log_durations, batch.durations, text_mask)
        if out.early_logits is not None:
            losses["early_exit"] = cross_entropy(out.early_logits, target, mask)
        if out.text_logits is not None:
            # the state of one token predicts the next, the last one the end
            following = append_eos(batch.text[:, 1:], batch.n_text - 1, out.text_logits.shape[-1] - 1)
            losses["text"] = cross_entropy(out.text_logits[:, :-1], following, text_mask)
        if runs is not None:
            losses["runs"] = cross_entropy(out.run_logits, (runs - 1).clamp(min=0), runs > 0)
        if self.recipe.align_regularization:
            apart = torch.zeros_like(mask[:, 0]) if keep is None else ~keep
            losses["align"] = align_regularization(
                out.encoded.context, out.encoded.mask, out.hidden, mask, apart
            )
        return losses

    def _predict(
        self, batch: Batch, rate: Tensor | None, keep: Tensor | None, hidden: Tensor | None
    ) -> tuple[Output, Tensor, Tensor, Tensor | None]:
        """Output, the targets [B, N'], where they count, and the repeats [B, N'] of a model that learns them."""
        tokens, n_tokens, runs = batch.tokens, batch.n_tokens, None
        if self.config.deduplicate:
            tokens, runs, n_tokens = runs_of(tokens, n_tokens, self.config.max_run)
            hidden = None if hidden is None else hidden[:, : tokens.shape[1]]
        given = {"languages": batch.languages, "rate": rate, "keep_source": keep, "hidden_inputs": hidden}
        if self.config.positions == "durations":
            given["durations"] = batch.durations
        out = self.modules["t2s"](batch.text, batch.n_text, tokens, n_tokens, runs=runs, **given)
        if self.config.kind == "masked":
            return out, tokens, hidden, None
        target = append_eos(tokens, n_tokens, self.config.tokens.n_tokens)
        mask = lengths_to_mask(n_tokens + 1, target.shape[1])
        return out, target, mask, None if runs is None else nn.functional.pad(runs, (0, 1))

    def validate(self) -> dict[str, float]:
        """Losses on dev utterances; how often the right token is the likeliest or among ten, and so without the text."""
        if not len(self.dev):
            return {}
        device = next(self.modules["t2s"].parameters()).device
        sums: dict[str, float] = {}
        total = 0
        for batch in self.dev.all(DEV_UTTERANCES):
            batch = move(batch, device)
            valid = lengths_to_mask(batch.n_tokens, batch.tokens.shape[1])
            hidden = masked_places(batch.n_tokens, valid, 0.0) if self.config.kind == "masked" else None
            count = len(batch.tokens)
            figures = self._of(batch, batch.rate, None, hidden)
            out, target, mask, _ = self._predict(batch, batch.rate, None, hidden)
            figures["accuracy"] = accuracy(out.logits, target, mask)
            figures["accuracy_of_10"] = accuracy(out.logits, target, mask, 10)
            none = torch.zeros(count, dtype=torch.bool, device=device)
            blind = self._predict(batch, batch.rate, none, hidden)[0]
            figures["accuracy_without_text"] = accuracy(blind.logits, target, mask)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * count
            total += count
        return {name: value / total for name, value in sums.items()}

    def preview(self, writer, step: int) -> None:
        """A dev utterance's tokens, recorded and generated, as text and as a picture (time to the right, the vocabulary down)."""
        if not len(self.dev):
            return
        model = getattr(self.modules["t2s"], "module", self.modules["t2s"])
        batch = move(next(iter(self.dev.all(1))), next(model.parameters()).device)
        given = {"languages": batch.languages} if self.config.languages else {}
        limit = min(self.config.max_semantic, 2 * int(batch.n_tokens[0]) + 10)
        out = model.generate(
            batch.text,
            batch.n_text,
            sampling=Sampling(0.7),
            seed=0,
            max_tokens=limit,
            rate=batch.rate,
            **given,
        )
        rows = {"recorded": batch.tokens[0], "generated": out.rows()[0]}
        for name, tokens in rows.items():
            writer.add_text(name, " ".join(map(str, tokens.tolist())), step)
            picture = torch.zeros(self.config.tokens.n_tokens, max(len(tokens), 1))
            picture[tokens.cpu(), torch.arange(len(tokens))] = 1
            writer.add_image(name, picture, step, dataformats="HW")


def build_model(config: TextToSemanticConfig, codebook: str | None) -> TextToSemantic:
    """The model; of one with `codebook_dim` the table is the codebook of the tokenizer in the folder `codebook`."""
    model = TextToSemantic(config)
    if (config.codebook_dim is not None) != (codebook is not None):
        raise ValueError(
            f"recipe.codebook {codebook!r} and model.codebook_dim {config.codebook_dim}: expected both or none"
        )
    if codebook is not None:
        quantizer = SemanticQuantizer.from_pretrained(codebook)
        if not config.tokens.accepts(quantizer.spec):
            raise ValueError(
                f"{codebook}: the tokenizer makes {quantizer.spec}, the model wants {config.tokens}"
            )
        every = torch.arange(config.tokens.n_tokens)[None]
        features = quantizer.features(every)[0].T  # each token's features, repeated for every frame of it
        model.tables["semantic"].set_codebook(features[:: len(features) // config.tokens.n_tokens])
    return model


def masked_places(n_tokens: Tensor, valid: Tensor, prompt_share: float) -> Tensor:
    """Which tokens a masked model has to fill in, bool [B, N]: a share drawn as the steps of generation come, at least one.

    In `prompt_share` of the rows a random beginning, up to half of it, is never hidden.
    """
    device, (rows, length) = valid.device, valid.shape
    known = torch.rand(rows, device=device) * n_tokens / 2 * (torch.rand(rows, device=device) < prompt_share)
    free = valid & (torch.arange(length, device=device) >= known.long()[:, None])
    n_free = free.sum(1)
    wanted = (n_free * cosine_schedule(torch.rand(rows, device=device))).ceil().clamp(min=1)
    order = torch.rand(rows, length, device=device).masked_fill(~free, torch.inf).argsort(1).argsort(1)
    return (order < wanted[:, None]) & free
