"""MaskedSemanticToAcoustic: codes from semantic tokens in a few passes over all frames at once, after SoundStorm (Borsos et al. 2023).

A frame's input is the sum of its codes of all codebooks, those not yet made being a mask id, and its semantic token. The body looks both ways: in
each layer a depthwise convolution, modulated by the voice, then attention and a feed-forward. Codebook after codebook is made: the first in
some 16 passes, each of which keeps the codes it is surest of and masks the rest again (MaskGIT, Chang et al. 2022), the others in one pass each. A prompt
is frames that are never masked. Optionally a pass sees what the pass before it thought (self-conditioning), and the codes to keep are
those that a critic, a head on the same body, takes for recorded ones (spec section 3.3). Shapes as in `model.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spear.codec.codec import CodecSpec
from spear.sampling import Generators, Sampling, cosine_schedule, guide, least_confident
from spear.semantic_to_acoustic.conditioning import Conditioning, ConditioningConfig, Values
from spear.semantic_to_acoustic.drawing import Seed, gumbel_rows, sample_rows, sources
from spear.semantic_to_acoustic.inputs import Joined, Prompt, join
from spear.semantic_to_acoustic.model import Guided
from spear.semantic_to_acoustic.spoken import Spoken
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.transformer import Transformer, TransformerConfig
from speech.semantic.quantizer import TokenSpec

FIRST_PASSES = 16


@dataclass
class MaskedSemanticToAcousticConfig:
    """Sizes; `tokens` and `codec` say what the model reads and makes."""

    tokens: TokenSpec = field(default_factory=TokenSpec)
    codec: CodecSpec = field(default_factory=CodecSpec)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    n_codebooks: int = 8
    width: int = 256
    heads: int = 4
    layers: int = 6
    ff_mult: float = 2.0
    expansion: float = 1.5  # of the convolutional part's perceptron
    kernel_size: int = 7
    code_dim: int = 64  # of a code's vector where it goes in
    dropout: float = 0.1
    self_conditioning: bool = False
    critic: bool = False
    max_frames: int = 1500  # prompt included

    def __post_init__(self):
        if not 1 <= self.n_codebooks <= self.codec.n_codebooks:
            raise ValueError(f"n_codebooks: expected 1 to {self.codec.n_codebooks}, got {self.n_codebooks}")
        if not self.kernel_size % 2:
            raise ValueError(f"kernel_size: expected an odd number, got {self.kernel_size}")


@dataclass
class Opinion:
    """What one pass over all frames says."""

    logits: Tensor  # [B, M, K] of the codebook asked for
    hidden: Tensor  # [B, M, W], for the next pass (self-conditioning)
    real: Tensor | None  # [B, M], the critic's logits that a code of that codebook was recorded
    every: Tensor | None = None  # [B, M, Q, K], logits of all codebooks, for training


class MaskedSemanticToAcoustic(nn.Module, Pretrained, Spoken):
    """tokens [B, N] and a voice -> codes [B, Q, M]."""

    Config = MaskedSemanticToAcousticConfig

    def __init__(self, config: MaskedSemanticToAcousticConfig) -> None:
        super().__init__()
        self.config = config
        width, levels, size = config.width, config.n_codebooks, config.codec.codebook_size
        self.token_embedding = nn.Embedding(config.tokens.n_tokens + 1, width)  # the last row: left out
        self.conditioning = Conditioning(config.conditioning, width)
        self.code_embedding = nn.Embedding(
            levels * (size + 1), config.code_dim
        )  # the last row of each: masked
        self.code_in = nn.Linear(levels * config.code_dim, width)
        self.convs = nn.ModuleList(
            ConvNeXtBlock(width, config.expansion, config.kernel_size, width, dropout=config.dropout)
            for _ in range(config.layers)
        )
        self.body = Transformer(
            TransformerConfig(
                width=width,
                heads=config.heads,
                layers=config.layers,
                ff_mult=config.ff_mult,
                dropout=config.dropout,
            )
        )
        # a matrix of its own for every codebook, as only one of them is asked for in a pass
        self.head = nn.Parameter(torch.randn(levels, size, width) * 0.02)
        self.head_bias = nn.Parameter(torch.zeros(levels, size))
        self.recall = nn.Linear(width, width, bias=False) if config.self_conditioning else None
        self.critic = nn.Linear(width, levels) if config.critic else None
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(
            self.code_embedding.weight, std=1.0
        )  # small ones are long not heard beside the tokens
        if self.recall is not None:
            nn.init.zeros_(self.recall.weight)

    @property
    def mask_id(self) -> int:
        """Of a code that is not yet made."""
        return self.config.codec.codebook_size

    def forward(
        self,
        tokens: Tensor,
        codes: Tensor,
        frame_mask: Tensor,
        level: Tensor,
        style: Tensor | None = None,
        style_mask: Tensor | None = None,
        rows: dict[str, Tensor] | None = None,
        keep_style: Tensor | None = None,
        keep_tokens: Tensor | None = None,
        previous: Tensor | None = None,
        every: bool = False,
    ) -> Opinion:
        """One pass.

        Args:
            tokens: [B, N].
            codes: [B, Q, M], `mask_id` where a code is not yet made; frame_mask: [B, M].
            level: codebook whose codes are asked for, long [B].
            style, style_mask, rows, keep_style, keep_tokens: as of `SemanticToAcoustic.forward`.
            previous: `hidden` [B, M, W] of an earlier pass.
            every: give the logits of all codebooks too.
        """
        style = self.conditioning.vectors(style, len(tokens), style_mask)
        if keep_style is not None:
            style = torch.where(keep_style[:, None], style, torch.nan)
        if keep_tokens is not None:
            tokens = torch.where(keep_tokens[:, None], tokens, self.config.tokens.n_tokens)
        voice = self.conditioning(style, rows).to(self.token_embedding.weight.dtype)  # [B, W]
        x = self.embed(tokens, codes) + voice[:, None]
        if self.recall is not None and previous is not None:
            x = x + self.recall(previous.detach())
        mask = frame_mask[:, None].to(x.dtype)
        around, _ = self.body.surroundings(x, mask=frame_mask)
        for number, conv in enumerate(self.convs):
            x = conv(x.transpose(1, 2), mask, voice).transpose(1, 2)
            x = self.body.run(x, around, [], number, number + 1)
        hidden = self.body.norm(x)
        real = None
        if self.critic is not None:
            real = self.critic(hidden).gather(2, level[:, None, None].expand(-1, hidden.shape[1], 1))[..., 0]
        if not every:
            return Opinion(self._logits(hidden, level), hidden, real)
        logits = F.linear(hidden, self.head.flatten(0, 1), self.head_bias.flatten())
        logits = logits.unflatten(-1, self.head_bias.shape)  # [B, M, Q, K]
        place = level[:, None, None, None].expand(-1, logits.shape[1], 1, logits.shape[-1])
        return Opinion(logits.gather(2, place)[:, :, 0], hidden, real, logits)

    def embed(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """tokens [B, N], codes [B, Q, M] -> [B, M, W]: each frame's codes and the token that it belongs to."""
        config = self.config
        frames = torch.arange(codes.shape[2], device=codes.device)
        places = (frames * config.tokens.rate_hz // config.codec.rate_hz).clamp(max=tokens.shape[1] - 1)
        size = config.codec.codebook_size + 1
        rows = codes + torch.arange(codes.shape[1], device=codes.device)[:, None] * size
        vectors = self.code_embedding(rows).transpose(1, 2).flatten(2)  # [B, M, Q * D]
        return self.code_in(vectors) + self.token_embedding(tokens)[:, places]

    def _logits(self, hidden: Tensor, level: Tensor) -> Tensor:
        """[B, M, W], level [B] -> [B, M, K] of that codebook."""
        weight = self.head[level].transpose(1, 2).to(hidden.dtype)  # [B, W, K]
        return torch.baddbmm(self.head_bias[level][:, None].to(hidden.dtype), hidden, weight)

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
        steps: int | Sequence[int] | None = None,
        callback: Callable[[Tensor], None] | None = None,
        seed: Seed = None,
        generator: Generators = None,
    ) -> Tensor:
        """Make codes of as many frames as the tokens last; a row of a batch is what it is alone.

        Args:
            steps: passes over the first codebook (None = 16), the others taking one each; or passes of each codebook. A codebook of
                one pass takes the likeliest codes.
            callback: called once with all codes: no frame is finished before the last pass.
            others: as of `SemanticToAcoustic.generate`; the sampling's temperature also ranks codes by chance in early passes.
        Returns:
            codes [B, Q, M], 0 behind each row's `n_frames`.
        Raises:
            ValueError: what `join` and `Conditioning` refuse, or a wrong number of passes.
        """
        config, sampling = self.config, sampling or Sampling()
        passes = number_of_passes(steps, config.n_codebooks)
        limits = (config.tokens, config.codec, config.n_codebooks, config.max_frames)
        joined = join(tokens, n_tokens, prompt, *limits)
        generator = sources(len(tokens), seed, generator)
        vectors = self.conditioning.vectors(style, len(tokens), style_mask)
        rows = self.conditioning.rows(conditions, len(tokens))
        ask = self._asker(joined, vectors, rows, guided, sampling.guidance)

        frames = torch.arange(joined.codes.shape[-1], device=tokens.device)
        is_open = (frames >= joined.n_known[:, None]) & (frames < joined.n_frames[:, None])  # [B, M]
        codes = torch.where(is_open[:, None], self.mask_id, joined.codes)
        lengths = joined.n_frames.tolist()
        previous = None
        for level, number in enumerate(passes):
            chosen = replace(sampling, temperature=0.0) if number == 1 else sampling
            left = is_open
            for turn in range(number):
                opinion = ask(codes, level, previous)
                previous = opinion.hidden if self.recall is not None else None
                drawn = sample_rows(opinion.logits, chosen, generator, lengths)
                filled = torch.where(left, drawn, codes[:, level])
                codes[:, level] = filled
                if turn + 1 == number:
                    break
                sureness = opinion.logits.log_softmax(-1).gather(2, drawn[..., None])[..., 0]
                if self.critic is not None:
                    sureness = ask(codes, level, previous).real
                if chosen.temperature > 0:
                    chance = chosen.temperature * (1 - (turn + 1) / number)
                    sureness = sureness + chance * gumbel_rows(sureness, generator, lengths)
                masked = (is_open.sum(1) * cosine_schedule((turn + 1) / number)).floor()
                left = least_confident(sureness.masked_fill(~left, torch.inf), masked)
                codes[:, level] = filled.masked_fill(left, self.mask_id)
        codes = joined.cut(codes)
        if callback is not None:
            callback(codes)
        return codes

    def _asker(
        self, joined: Joined, vectors: Tensor, rows: dict[str, Tensor], guided: Guided, guidance: float
    ) -> Callable[[Tensor, int, Tensor | None], Opinion]:
        """(codes, codebook, previous hidden) -> opinion, guided where asked for."""
        if guided not in ("style", "tokens", "both"):
            raise ValueError(f"guided: expected style, tokens or both, got {guided!r}")
        batch, twice = len(joined.tokens), guidance != 1
        mask = lengths_to_mask(joined.n_frames, joined.codes.shape[-1])
        keep = torch.arange(2 * batch, device=mask.device) < batch

        def many(x: Tensor) -> Tensor:
            return x.repeat(2, *(1,) * (x.dim() - 1)) if twice else x

        def ask(codes: Tensor, level: int, previous: Tensor | None) -> Opinion:
            opinion = self(
                many(joined.tokens),
                many(codes),
                many(mask),
                torch.full((batch * (1 + twice),), level, device=mask.device),
                many(vectors),
                rows={name: many(row) for name, row in rows.items()},
                keep_style=keep if twice and guided != "tokens" else None,
                keep_tokens=keep if twice and guided != "style" else None,
                previous=previous,
            )
            logits = opinion.logits.float()
            logits = guide(*logits.chunk(2), guidance) if twice else logits
            real = None if opinion.real is None else opinion.real[:batch].float()
            return Opinion(logits, opinion.hidden, real)

        return ask


def number_of_passes(steps: int | Sequence[int] | None, n_codebooks: int) -> list[int]:
    """Passes of each codebook.

    Raises:
        ValueError: fewer than one, or another number of codebooks.
    """
    if steps is None or isinstance(steps, int):
        passes = [FIRST_PASSES if steps is None else steps] + [1] * (n_codebooks - 1)
    else:
        passes = list(steps)
    if len(passes) != n_codebooks or min(passes) < 1:
        raise ValueError(f"steps: expected 1 or more for each of {n_codebooks} codebooks, got {passes}")
    return passes
