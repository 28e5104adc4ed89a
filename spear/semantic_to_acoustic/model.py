"""SemanticToAcoustic: codes of a codec from semantic tokens, one step a frame, its codebooks delayed against each other.

The delay pattern is MusicGen's (Copet et al. 2023) as WhisperSpeech has it (spec section 3.1): at a step, codebook i is i frames behind, so that one
step makes one code of every codebook, and each has seen the coarser ones of its frame. The encoder looks both ways over the tokens; in cross-attention
a token's position is that of its first frame of codes, so token and frame share a rotary phase. Beside attention, or instead of it, a step is handed
what was encoded of its own frame: the alignment is known, and little data need not learn it. The tokens say how long the
speech is; there is no end to predict. Shapes: batch B, tokens N, frames M, codebooks Q, codes K, steps L = M + Q - 1, width W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spear.codec.codec import CodecSpec
from spear.layouts import Codes
from spear.sampling import Generators, Sampling, guide
from spear.semantic_to_acoustic.conditioning import Conditioning, ConditioningConfig, Values
from spear.semantic_to_acoustic.drawing import Seed, sample_rows, sources
from spear.semantic_to_acoustic.inputs import Joined, Prompt, join
from spear.semantic_to_acoustic.spoken import Spoken
from spear.text_to_semantic.mup import MupConfig, init_mup, mup_lr_scales
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.one_token import OneToken
from speech.modules.transformer import Transformer, TransformerConfig
from speech.semantic.quantizer import TokenSpec

Guided = Literal["style", "tokens", "both"]


@dataclass
class SemanticToAcousticConfig:
    """Sizes; `tokens` and `codec` say what the model reads and makes."""

    tokens: TokenSpec = field(default_factory=TokenSpec)
    codec: CodecSpec = field(default_factory=CodecSpec)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    n_codebooks: int = 8  # the first of the codec's
    width: int = 256
    heads: int = 4
    kv_heads: int | None = None
    encoder_layers: int = 2
    layers: int = 6
    ff_mult: float = 2.0
    code_dim: int = 64  # of a code's vector where it goes in
    dropout: float = 0.1
    cross_attention: bool = True
    aligned_input: bool = True  # a step is given what was encoded of its frame
    max_frames: int = 1500  # prompt included
    mup: MupConfig | None = None  # its embeddings_std and output_mult are of text to semantic only

    def __post_init__(self):
        if not 1 <= self.n_codebooks <= self.codec.n_codebooks:
            raise ValueError(f"n_codebooks: expected 1 to {self.codec.n_codebooks}, got {self.n_codebooks}")
        if not (self.cross_attention or self.aligned_input):
            raise ValueError("cross_attention and aligned_input are off: one must carry the tokens")

    def transformer(self, layers: int, causal: bool) -> TransformerConfig:
        """The encoder's or the decoder's."""
        return TransformerConfig(
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            layers=layers,
            ff_mult=self.ff_mult,
            dropout=self.dropout,
            causal=causal,
            cross_width=self.width if causal and self.cross_attention else None,
        )


class SemanticToAcoustic(nn.Module, Pretrained, Spoken):
    """tokens [B, N] and a voice -> codes [B, Q, M]."""

    Config = SemanticToAcousticConfig

    def __init__(self, config: SemanticToAcousticConfig) -> None:
        super().__init__()
        self.config = config
        width, levels, size = config.width, config.n_codebooks, config.codec.codebook_size
        # the last row stands for tokens that are left out
        self.token_embedding = nn.Embedding(config.tokens.n_tokens + 1, width)
        self.encoder = Transformer(config.transformer(config.encoder_layers, causal=False))
        self.conditioning = Conditioning(config.conditioning, width)
        # K codes, start and end of every codebook
        self.code_embedding = nn.Embedding(levels * (size + 2), config.code_dim)
        self.code_in = nn.Linear(levels * config.code_dim, width)
        self.decoder = Transformer(config.transformer(config.layers, causal=True))
        # not tied to the embedding: with it the first codes took five times the steps to learn
        self.head = nn.Linear(width, levels * size)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(self.code_embedding.weight, std=1.0)
        nn.init.normal_(self.head.weight, std=0.02)
        if config.mup is not None:
            init_mup(self, config.mup)
            nn.init.zeros_(self.head.weight)

    def lr_scales(self) -> dict[str, float]:
        """Factors of the learning rate by parameter, which `speech.optimization` asks for."""
        return {} if self.config.mup is None else mup_lr_scales(self, self.config.mup)

    def forward(
        self,
        tokens: Tensor,
        token_mask: Tensor,
        codes: Codes,
        style: Tensor | None = None,
        style_mask: Tensor | None = None,
        rows: dict[str, Tensor] | None = None,
        keep_style: Tensor | None = None,
        keep_tokens: Tensor | None = None,
    ) -> Tensor:
        """Logits of every step, each having seen the steps before it.

        Args:
            tokens: [B, N]; token_mask: [B, N].
            codes: frames [B, Q, M].
            style: vectors [B, C] or prompts [B, n_mels, F] with style_mask [B, F]; None = missing.
            rows: of the named conditions, as `Conditioning.rows` gives them.
            keep_style, keep_tokens: bool [B]; False leaves them out, for guidance.
        Returns:
            [B, L, Q, K]; step s of codebook i is frame s - i (`Codes.delayed`).
        """
        vectors = self.conditioning.vectors(style, len(tokens), style_mask)
        context = self.encode(tokens, token_mask, vectors, rows, keep_style, keep_tokens)
        steps = self.embed(codes.delayed(lead=1)[..., :-1])  # [B, L, W]
        n_steps = steps.shape[1]
        h = self.decoder(
            self.align(context, token_mask, steps),
            positions=torch.arange(n_steps, device=steps.device),
            **self.cross(context, token_mask),
        )
        return self.logits(h)

    def encode(
        self,
        tokens: Tensor,
        token_mask: Tensor,
        style: Tensor,
        rows: dict[str, Tensor] | None = None,
        keep_style: Tensor | None = None,
        keep_tokens: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, N], style [B, C] (NaN = missing) -> what the decoder looks at, [B, N, W]."""
        if keep_tokens is not None:
            tokens = torch.where(keep_tokens[:, None], tokens, self.config.tokens.n_tokens)
        if keep_style is not None:
            style = torch.where(keep_style[:, None], style, torch.nan)
        voice = self.conditioning(style, rows).to(self.token_embedding.weight.dtype)  # [B, W]
        x = self.encoder(self.token_embedding(tokens) + voice[:, None], mask=token_mask)
        return x + voice[:, None]

    def embed(self, tokens: Tensor) -> Tensor:
        """Delayed codes [B, Q, L] with start and end ids -> [B, L, W]."""
        size = self.config.codec.codebook_size + 2
        places = tokens + torch.arange(tokens.shape[1], device=tokens.device)[:, None] * size
        vectors = self.code_embedding(places)  # [B, Q, L, D]
        return self.code_in(vectors.transpose(1, 2).flatten(2))

    def step_table(self) -> tuple[Tensor, Tensor]:
        """`embed` of one step as a sum of rows: a table [Q * (K + 2), W] (without the bias), and where each codebook begins in it [Q]."""
        config = self.config
        codes = self.code_embedding.weight.unflatten(0, (config.n_codebooks, -1))  # [Q, K + 2, D]
        into = self.code_in.weight.unflatten(1, (config.n_codebooks, -1))  # [W, Q, D]
        places = torch.arange(config.n_codebooks, device=codes.device) * codes.shape[1]
        return torch.einsum("qkd,wqd->qkw", codes, into).flatten(0, 1), places

    def align(self, context: Tensor, token_mask: Tensor, steps: Tensor, first: int = 0) -> Tensor:
        """context [B, N, W], embedded steps `first` .. [B, L, W] -> the same, with what was encoded of each step's frame."""
        if not self.config.aligned_input:
            return steps
        config = self.config
        frames = torch.arange(first, first + steps.shape[1], device=steps.device)
        places = frames * config.tokens.rate_hz // config.codec.rate_hz
        places = torch.minimum(
            places, token_mask.sum(1, keepdim=True) - 1
        )  # [B, L]; the last steps are behind the end
        return steps + context.gather(1, places[..., None].expand(-1, -1, context.shape[2]))

    def cross(self, context: Tensor, token_mask: Tensor) -> dict[str, Tensor]:
        """The decoder's arguments for cross-attention: key positions in frames, so that they turn as their frames do."""
        if not self.config.cross_attention:
            return {}
        ratio = self.config.codec.rate_hz / self.config.tokens.rate_hz
        positions = torch.arange(context.shape[1], device=context.device) * ratio
        return {"context": context, "context_mask": token_mask, "context_positions": positions}

    def logits(self, h: Tensor) -> Tensor:
        """[B, L, W] -> [B, L, Q, K]."""
        return self.head(h).unflatten(-1, (self.config.n_codebooks, -1))

    @torch.inference_mode()
    def generate(
        self,
        tokens: Tensor,
        n_tokens: Tensor | None = None,
        style: Tensor | None = None,
        prompt: Prompt | None = None,
        sampling: Sampling | None = None,
        *,
        style_mask: Tensor | None = None,
        conditions: Values | None = None,
        guided: Guided = "both",
        steps: object = None,
        callback: Callable[[Tensor], None] | None = None,
        seed: Seed = None,
        generator: Generators = None,
    ) -> Tensor:
        """Make codes of as many frames as the tokens last; a row of a batch is what it is alone.

        Args:
            tokens: [B, N]; n_tokens: [B], None = all N.
            style: vectors [B, C], log-mel prompts [B, n_mels, F] with style_mask [B, F], or None; one row serves all.
            prompt: (tokens, codes) of a few seconds that the codes go on from; may differ in length with a third, the rows' token counts.
            sampling: temperature 0 takes the likeliest; guidance 1 is plain.
            conditions: values by name; left out, None or NaN = missing.
            guided: what guidance goes away from: speech without this style, without these tokens, or without both.
            steps: of the masked model; not looked at.
            callback: called with the new codes [B, Q, m] that are finished, as soon as there are more of them; may raise to stop.
            seed: a number (row b: seed + b) or one a row; or a `generator` for all rows, or one each.
        Returns:
            codes [B, Q, M], 0 behind each row's `n_frames`.
        Raises:
            ValueError: what `join` and `Conditioning` refuse.
        """
        config, sampling = self.config, sampling or Sampling()
        limits = (config.tokens, config.codec, config.n_codebooks, config.max_frames)
        joined = join(tokens, n_tokens, prompt, *limits)
        batch = len(tokens)
        generator = sources(batch, seed, generator)
        vectors = self.conditioning.vectors(style, batch, style_mask)
        rows = self.conditioning.rows(conditions, batch)
        is_guided = sampling.guidance != 1
        context, mask = self._context(joined, vectors, rows, guided if is_guided else None)

        known = Codes(joined.codes, joined.n_frames, config.codec.codebook_size)
        steps_in = known.delayed(lead=1)  # [B, Q, 1 + L], column s + 1 is made at step s
        is_open = delayed_open(joined, steps_in)
        starts, levels = joined.n_known.tolist(), config.n_codebooks
        first = min(starts)
        n_steps = steps_in.shape[-1] - 1

        def twice(x: Tensor) -> Tensor:
            return torch.cat([x, x]) if is_guided else x

        cache = self.decoder.make_cache(len(context), n_steps)
        shown, quick = max(starts), None
        for step in range(first, n_steps):
            if quick is None:  # the prompt at once; from then on every row makes one step at a time
                x = self.embed(twice(steps_in[..., : first + 1]))
                cache.reach = first + 1
                x = self.align(context, mask, x)
                h = self.decoder(x, cache=cache, **self.cross(context, mask))[:, -1]
                quick = OneToken(self.decoder, cache, first + 1)
                table, places = self.step_table()
                # what is added to the codes of every step, [B, L, W]
                added = self.align(context, mask, self.code_in.bias.expand(len(context), n_steps, -1))
                # for one row the product with the large matrix is twice as quick so
                head = self.head.weight.t().contiguous()
                logits = self.logits(h[:, None])[:, 0].float()  # [B, Q, K]
            else:
                codes = twice(steps_in[..., step]) + places
                h = quick(F.embedding_bag(codes, table, mode="sum") + added[:, step])
                logits = torch.addmm(self.head.bias, h, head).unflatten(1, (levels, -1)).float()
            if is_guided:
                logits = guide(*logits.chunk(2), sampling.guidance)
            drawn = sample_rows(logits, sampling, generator, [levels * (step >= n) for n in starts])  # [B, Q]
            steps_in[..., step + 1] = torch.where(is_open[..., step + 1], drawn, steps_in[..., step + 1])
            done = step - levels + 2
            if callback is not None and done > shown:
                shown = done
                callback(joined.cut(undelayed(steps_in, done), done - max(starts)))
        return joined.cut(undelayed(steps_in, n_steps - levels + 1))

    def _context(
        self, joined: Joined, vectors: Tensor, rows: dict[str, Tensor], guided: Guided | None
    ) -> tuple[Tensor, Tensor]:
        """What the decoder looks at and its mask; with guidance the rows once more without what is `guided`."""
        mask = lengths_to_mask(joined.n_tokens, joined.tokens.shape[1])
        if guided is None:
            return self.encode(joined.tokens, mask, vectors, rows), mask
        if guided not in ("style", "tokens", "both"):
            raise ValueError(f"guided: expected style, tokens or both, got {guided!r}")
        keep = torch.arange(2 * len(mask), device=mask.device) < len(mask)
        context = self.encode(
            joined.tokens.repeat(2, 1),
            mask.repeat(2, 1),
            vectors.repeat(2, 1),
            {name: row.repeat(2) for name, row in rows.items()},
            keep_style=None if guided == "tokens" else keep,
            keep_tokens=None if guided == "style" else keep,
        )
        return context, mask.repeat(2, 1)


def delayed_open(joined: Joined, delayed: Tensor) -> Tensor:
    """Which places of `delayed` [B, Q, 1 + L] are to be made: frames behind a row's prompt and before its end."""
    levels = torch.arange(delayed.shape[1], device=delayed.device)[:, None]
    frames = torch.arange(delayed.shape[2], device=delayed.device) - 1 - levels  # [Q, 1 + L]
    return (frames >= joined.n_known[:, None, None]) & (frames < joined.n_frames[:, None, None])


def undelayed(delayed: Tensor, n_frames: int) -> Tensor:
    """The first `n_frames` of [B, Q, 1 + L], whatever ids stand there."""
    rows = [delayed[:, q, q + 1 : q + 1 + n_frames] for q in range(delayed.shape[1])]
    return torch.stack(rows, 1)
