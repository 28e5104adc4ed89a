"""TextToSemantic: an encoder-decoder from text tokens to semantic tokens, and between the two any way (SPEAR-TTS "reading").

SPEAR-TTS (Kharitonov et al. 2023, section 3), with the parts of lucidrains' and WhisperSpeech's models that the spec lists (sections
2.1-2.3). One network serves text -> semantic, semantic -> text (back-translation) and semantic -> semantic (pretraining): every modality
has a table of its own, the layers are shared. The decoder writes token after token, or fills in masked tokens in a few steps (`kind`).
Shapes: batch B, source tokens S, target tokens N, width W; sources and autoregressive targets end with an end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spear.bpe import embed
from spear.sampling import Sampling
from spear.text_to_semantic.generation import generate
from spear.text_to_semantic.mup import MupConfig, init_mup, mup_lr_scales
from spear.text_to_semantic.parts import (
    DurationPredictor,
    EarlyExit,
    RateTable,
    RunHead,
    TokenTable,
    append_eos,
)
from spear.text_to_semantic.request import Generated, Request
from spear.text_tokens import expand_languages, text_tokenizer
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.transformer import Transformer, TransformerConfig
from speech.semantic.quantizer import TokenSpec

TEXT, SEMANTIC = "text", "semantic"


@dataclass
class TextToSemanticConfig:
    """Sizes and options; `tokens` says which semantic tokens the model makes."""

    tokens: TokenSpec = field(default_factory=TokenSpec)
    kind: str = "autoregressive"  # or "masked"
    # of the text: one of spear.text_tokens.TEXT_TOKENIZERS, or the file of a BPE (spear/bpe.py), whose content takes the name's place
    tokenizer: str = "phones"
    languages: list[str] = field(default_factory=list)  # added to the text's tokens; [whisper] = Whisper's 99
    width: int = 256
    heads: int = 4
    kv_heads: int | None = None
    layers: int = 8  # of encoder and decoder together
    encoder_share: float = 0.25  # of them
    ff_mult: float = 4.0
    dropout: float = 0.1
    encoder_causal: bool = False  # which the encoder's text loss needs
    # where the text stands along the tokens, for rotary cross-attention: "none" says nothing, "rate" evenly at the speaking rate,
    # "durations" as a predictor of durations says, which aligned speech teaches
    positions: str = "none"
    rate_bins: int = 32  # of the speaking rate; 0 = no such condition
    max_rate: float = 20.0  # text tokens a second of speech
    typical_rate: float = 12.0
    deduplicate: bool = False  # tokens without repeats, and how often each is repeated
    max_run: int = 16  # longer runs are several
    max_text: int = 550
    max_semantic: int = 750  # semantic tokens, repeats included, prompt too
    early_exit_layer: int | None = None  # decoder layers before the exit for speculative decoding
    detach_early_exit: bool = False  # its loss leaves the layers alone
    codebook_dim: int | None = None  # the semantic table is the tokenizer's codebook, which is not trained
    mup: MupConfig | None = None

    def __post_init__(self) -> None:
        choices = {"kind": ("autoregressive", "masked"), "positions": ("none", "rate", "durations")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {list(known)}, got {getattr(self, name)!r}")
        self.tokenizer = embed(self.tokenizer)
        text_tokenizer(self.tokenizer)
        if self.layers < 2 or not 0 < self.encoder_share < 1:
            raise ValueError(
                f"expected two layers or more and an encoder_share between 0 and 1, got {self.layers} and {self.encoder_share}"
            )
        if self.kind == "masked" and self.deduplicate:
            raise ValueError("deduplicate: a masked model makes tokens with their repeats, expected false")
        if self.kind == "masked" and self.positions != "durations":
            raise ValueError(
                f"positions: a masked model needs durations, its length is their sum; got {self.positions}"
            )
        exits = self.early_exit_layer
        if exits is not None and (
            self.kind == "masked" or self.deduplicate or not 0 < exits < self.decoder_layers
        ):
            raise ValueError(
                f"early_exit_layer: expected 1 to {self.decoder_layers - 1} of an autoregressive model without deduplicate, got {exits}"
            )

    @property
    def encoder_layers(self) -> int:
        return min(max(int(self.layers * self.encoder_share), 1), self.layers - 1)

    @property
    def decoder_layers(self) -> int:
        return self.layers - self.encoder_layers

    def transformer(self, layers: int, causal: bool, crossing: bool) -> TransformerConfig:
        """The encoder's or the decoder's."""
        return TransformerConfig(
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads if crossing else None,
            layers=layers,
            ff_mult=self.ff_mult,
            dropout=self.dropout,
            causal=causal,
            cross_width=self.width if crossing else None,
            null_kv=crossing,
        )


@dataclass
class Encoded:
    """A source as the decoder sees it; S + 1 places, the end included."""

    context: Tensor  # [B, S + 1, W]
    mask: Tensor  # bool [B, S + 1]
    positions: Tensor | None  # [B, S + 1] along the target, in semantic tokens
    log_durations: Tensor | None  # [B, S] predicted log(1 + semantic tokens) of each text token


@dataclass
class Output:
    """What losses are made of."""

    logits: Tensor  # [B, N + 1, V + 1]; of a masked model [B, N, V]
    hidden: Tensor  # [B, N + 1, W]
    encoded: Encoded
    early_logits: Tensor | None  # of the early exit
    text_logits: Tensor | None  # [B, S + 1, V + 1], of the encoder's text model: place j predicts token j + 1
    run_logits: Tensor | None  # [B, N + 1, max_run], of how often each token is repeated


class TextToSemantic(nn.Module, Pretrained):
    """text tokens [B, S] -> semantic tokens [B, N], and the other ways."""

    Config = TextToSemanticConfig

    def __init__(self, config: TextToSemanticConfig) -> None:
        super().__init__()
        self.config, width, mup = config, config.width, config.mup
        # the table is shared both ways: without the small factor out, an untrained model is sure that every token is repeated
        sizes = {"in_scale": width**0.5, "out_scale": 0.3}
        if mup is not None:
            sizes = {
                "std": mup.embeddings_std,
                "out_scale": mup.output_mult * mup.base_width / width,
            }
        self.tables = nn.ModuleDict(
            {
                TEXT: TokenTable(text_tokenizer(config.tokenizer).n_tokens, width, **sizes),
                SEMANTIC: TokenTable(config.tokens.n_tokens, width, config.codebook_dim, **sizes),
            }
        )
        n_languages = len(expand_languages(config.languages))
        self.languages = nn.Embedding(n_languages, width) if n_languages else None
        self.rates = RateTable(config.rate_bins, config.max_rate, width) if config.rate_bins else None
        self.encoder = Transformer(
            config.transformer(config.encoder_layers, config.encoder_causal, crossing=False)
        )
        causal = config.kind == "autoregressive"
        self.decoder = Transformer(config.transformer(config.decoder_layers, causal, crossing=True))
        self.durations = DurationPredictor(width) if config.positions == "durations" else None
        self.runs = RunHead(config.max_run, width) if config.deduplicate else None
        self.early_exit = EarlyExit(width) if config.early_exit_layer is not None else None
        if self.languages is not None:
            nn.init.normal_(self.languages.weight, std=0.02)
        if mup is not None:
            init_mup(self, mup)
        self._compiled_step = None

    def lr_scales(self) -> dict[str, float]:
        """Factors of the learning rate by parameter, which `speech.optimization` asks for."""
        return {} if self.config.mup is None else mup_lr_scales(self, self.config.mup)

    def forward(
        self,
        source: Tensor,
        n_source: Tensor,
        target: Tensor,
        n_target: Tensor,
        source_kind: str = TEXT,
        target_kind: str = SEMANTIC,
        languages: Tensor | None = None,
        rate: Tensor | None = None,
        durations: Tensor | None = None,
        stretch: Tensor | float | None = None,
        keep_source: Tensor | None = None,
        hidden_inputs: Tensor | None = None,
        runs: Tensor | None = None,
    ) -> Output:
        """Training pass: the target's tokens from the source and the target's earlier (or unmasked) tokens.

        Args:
            source: [B, S], n_source: [B].
            target: [B, N], n_target: [B]; the end is added here.
            languages: rows [B, S] of the model's languages, or vectors [B, S, W] or [B, W].
            rate: text tokens a second of speech [B], NaN = not given.
            durations: semantic tokens that each text token lasts [B, S]; None, or NaN in places = as predicted.
            stretch: target tokens for each source token [B], of the other ways than text -> semantic.
            keep_source: bool [B], False hides the source (guidance is learnt so).
            hidden_inputs: bool [B, N], True hides a token of the target from the decoder: those a masked model learns to fill in;
                some of an autoregressive model's inputs, so that it listens to the source.
            runs: repeats [B, N] of each token of the target, of a model with `deduplicate`.
        """
        encoded = self.encode(source, n_source, source_kind, languages, rate, durations, stretch)
        mask = encoded.mask if keep_source is None else encoded.mask & keep_source[:, None]
        table, config = self.tables[target_kind], self.config
        inputs = target if hidden_inputs is None else target.masked_fill(hidden_inputs, table.mask)
        if config.kind == "masked":
            x = self.embed(inputs, target_kind, rate)
            valid = lengths_to_mask(n_target, target.shape[1])
            hidden = self.decoder(x, valid, encoded.context, mask, context_positions=encoded.positions)
            return Output(table.logits(hidden)[..., :-1], hidden, encoded, None, None, None)
        inputs = F.pad(inputs, (1, 0), value=table.start)
        before = None if runs is None or target_kind != SEMANTIC else F.pad(runs, (1, 0))
        x = self.embed(inputs, target_kind, rate, before)
        around, crossed = self.decoder.surroundings(
            x, None, encoded.context, mask, self._places(before), encoded.positions
        )
        inside = config.early_exit_layer or 0
        middle = self.decoder.run(x, around, crossed, 0, inside)
        hidden = self.decoder.norm(self.decoder.run(middle, around, crossed, inside))
        early = None
        if self.early_exit is not None and target_kind == SEMANTIC:
            early = table.logits(self.early_exit(middle.detach() if config.detach_early_exit else middle))
        run_logits = None
        if before is not None:
            run_logits = self.runs(hidden, table(append_eos(target, n_target, table.eos)))
        text = (
            self.tables[TEXT].logits(encoded.context)
            if config.encoder_causal and source_kind == TEXT
            else None
        )
        return Output(table.logits(hidden), hidden, encoded, early, text, run_logits)

    def encode(
        self,
        source: Tensor,
        n_source: Tensor,
        kind: str = TEXT,
        languages: Tensor | None = None,
        rate: Tensor | None = None,
        durations: Tensor | None = None,
        stretch: Tensor | float | None = None,
    ) -> Encoded:
        """What the decoder sees of a source; arguments as of `forward`."""
        table, config = self.tables[kind], self.config
        x = table(append_eos(source, n_source, table.eos))
        if kind == TEXT and self.languages is not None:
            if languages is None:
                raise ValueError(f"expected languages, the model speaks {', '.join(config.languages)}")
            x = x + self._language_vectors(languages, n_source, x)
        mask = lengths_to_mask(n_source + 1, x.shape[1])
        context = self.encoder(x, mask)
        log_durations = None
        if kind == TEXT and self.durations is not None:
            condition = None if self.rates is None else self.rates(_given(rate, x))
            log_durations = self.durations(context, condition)[:, :-1]
            predicted = torch.expm1(log_durations.float()).clamp(min=0)
            durations = (
                predicted if durations is None else torch.where(durations.isnan(), predicted, durations)
            )
        return Encoded(context, mask, self._positions(kind, mask, rate, durations, stretch), log_durations)

    def embed(self, ids: Tensor, kind: str, rate: Tensor | None = None, runs: Tensor | None = None) -> Tensor:
        """Decoder inputs of ids [B, N] (special ones too), each with the repeats before it: [B, N, W]."""
        x = self.tables[kind](ids)
        condition = self.condition(kind, rate, x)
        if condition is not None:
            x = x + condition[:, None]
        return x if runs is None or kind != SEMANTIC else x + self.runs.rows(runs)

    def condition(self, kind: str, rate: Tensor | None, like: Tensor) -> Tensor | None:
        """What is added to every decoder input of a row, [B, W]: of the speaking rate, NaN where none is given; None = nothing."""
        return self.rates(_given(rate, like)) if kind == SEMANTIC and self.rates is not None else None

    def step(
        self, ids: Tensor, kind: str, rate: Tensor | None, runs: Tensor | None, places: Tensor | None, cache
    ) -> tuple[Tensor, Tensor]:
        """The one-token step: the last token's ids [B], its repeats and place [B] where the model has them -> logits of the next
        [B, V + 1], hidden [B, W]."""
        x = self.embed(ids[:, None], kind, rate, None if runs is None else runs[:, None])
        hidden = self.decoder(x, positions=None if places is None else places[:, None], cache=cache)[:, 0]
        return self.tables[kind].logits(hidden), hidden

    def compiled_step(self):
        """`step` through torch.compile, made once; sizes must stay the same from call to call."""
        if self._compiled_step is None:
            self._compiled_step = torch.compile(self.step, fullgraph=True, dynamic=False)
        return self._compiled_step

    def generate(
        self,
        source: Tensor,
        n_source: Tensor | None = None,
        *,
        source_kind: str = TEXT,
        target_kind: str = SEMANTIC,
        languages: Tensor | None = None,
        rate: Tensor | float | None = None,
        stretch: Tensor | float | None = None,
        prompt: Tensor | None = None,
        n_prompt: Tensor | None = None,
        n_prompt_text: Tensor | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] | None = None,
        **options,
    ) -> Generated:
        """Semantic tokens of text tokens (or another way); everything but `source` may be left out.

        Args:
            source: [B, S], n_source: [B]; rows do not influence each other.
            languages, rate, stretch: as of `forward`; a rate may be one number.
            prompt: semantic tokens [B, P] that the target begins with (their words begin the text), n_prompt [B]; n_prompt_text [B] says
                how many text tokens their words are, and a model with durations then lays those along the prompt.
            sampling: how tokens are drawn; its guidance needs training with hidden sources.
            seed: of the first row, the others count on; or one for each. None = torch's own.
            options: fields of `Request`: max_tokens, beams, speculate, steps, n_tokens, callback, compiled, ...
        Returns:
            the target without the prompt and without the end.
        Raises:
            ValueError: by name, what is out of range, does not fit the model's window or goes not together.
        """
        request = Request(sampling=sampling or Sampling(), seed=seed, **options)
        if n_source is None:
            n_source = torch.full((len(source),), source.shape[1], device=source.device)
        if prompt is not None and n_prompt is None:
            n_prompt = torch.full((len(prompt),), prompt.shape[1], device=prompt.device)
        if isinstance(rate, (int, float)):
            rate = torch.full((len(source),), float(rate), device=source.device)
        given = {"languages": languages, "rate": rate, "stretch": stretch}
        request.n_prompt_text = n_prompt_text
        return generate(self, source, n_source, source_kind, target_kind, given, prompt, n_prompt, request)

    def durations_behind(
        self, source: Tensor, n_source: Tensor, given: dict, n_prompt: Tensor, n_text: Tensor
    ) -> Tensor:
        """Predicted durations [B, S], those of the first `n_text` [B] tokens scaled to the `n_prompt` [B] that they last."""
        if n_text.shape != n_source.shape or bool((n_text < 0).any()) or bool((n_text > n_source).any()):
            raise ValueError(f"n_prompt_text {n_text.tolist()}: the text has {n_source.tolist()} tokens")
        found = torch.expm1(self.encode(source, n_source, TEXT, **given).log_durations.float()).clamp(min=0)
        inside = torch.arange(source.shape[1], device=source.device) < n_text[:, None]
        scale = n_prompt / (found * inside).sum(1).clamp(min=1e-3)
        return torch.where(inside, found * scale[:, None], found)

    def _language_vectors(self, languages: Tensor, n_source: Tensor, x: Tensor) -> Tensor:
        if languages.is_floating_point():
            if languages.dim() == 2:
                return languages[:, None].to(x.dtype)
            return F.pad(languages, (0, 0, 0, x.shape[1] - languages.shape[1])).to(x.dtype)
        # the end speaks the first language, as padding does
        spoken = torch.arange(x.shape[1], device=x.device) < n_source[:, None]
        longer = F.pad(languages, (0, x.shape[1] - languages.shape[1]))
        return self.languages(torch.where(spoken, longer, languages[:, :1]))

    def _positions(
        self, kind: str, mask: Tensor, rate: Tensor | None, durations: Tensor | None, stretch
    ) -> Tensor | None:
        config, places = self.config, torch.arange(mask.shape[1], device=mask.device)
        if config.positions == "none":
            return None
        if kind == TEXT and config.positions == "durations":
            durations = F.pad(durations.float() * mask[:, 1:], (0, 1))
            return (
                durations.cumsum(1) - durations / 2
            )  # each token in the middle of its time, the end at the end
        if kind == TEXT and stretch is None:
            rate = _given(rate, mask)
            stretch = config.tokens.rate_hz / torch.where(rate.isnan(), config.typical_rate, rate)
        elif stretch is None:
            stretch = 1.0
        stretch = torch.as_tensor(stretch, dtype=torch.float32, device=mask.device).expand(len(mask))
        return places * stretch[:, None]

    @staticmethod
    def _places(before: Tensor | None) -> Tensor | None:
        """Of tokens without repeats: when each begins, counted in tokens with them."""
        return None if before is None else before.cumsum(1)


def _given(rate: Tensor | None, like: Tensor) -> Tensor:
    """Rates [B], NaN where there are none."""
    if rate is None:
        return torch.full((len(like),), torch.nan, device=like.device)
    return rate.to(like.device, torch.float32)
