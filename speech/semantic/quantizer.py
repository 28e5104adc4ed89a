"""Semantic tokens: features of any semantic encoder as one stream of codes, at 50 or 25 a second.

k-means as of SPEAR-TTS (Kharitonov et al. 2023, section 3.1: normalised features of every dimension, 512 clusters), or residual levels of
it, whose codes are written as one number. 25 a second: the mean of every two neighbours.

    quantizer.spec                                      TokenSpec; models store it and refuse another
    quantizer.tokens(semantic [B, C, N], n_frames)  ->  tokens long [B, N'],  N' = ceil(N * rate / 50)
    quantizer.features(tokens [B, N'])              ->  semantic [B, C, N' * 50 / rate]
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.vector_quantize import ResidualVQ
from speech.semantic.encoder import SemanticSpec
from speech.semantic.kmeans import fit_kmeans

RATES = (50, 25)
MAX_TOKENS = 32767
"""Packs keep tokens in 16 bits."""


@dataclass
class TokenSpec:
    """Which tokens a model was trained on; models with different specs do not fit together.

    Args:
        semantic: of the features that are named.
        n_tokens: tokens there are, 0 to n_tokens - 1.
        rate_hz: tokens a second.
        kind: "kmeans", "rvq" or "whisper-vq".
        codebook: digest of the codes: two fits on the same features give tokens that do not fit together. "" = any.
    """

    semantic: SemanticSpec = field(default_factory=lambda: SemanticSpec("phonetic", 1, 64, 50))
    n_tokens: int = 512
    rate_hz: int = 25
    kind: str = "kmeans"
    codebook: str = ""

    def accepts(self, other: TokenSpec) -> bool:
        """Whether tokens of `other` are those that this one asks for."""
        return other == (self if self.codebook else replace(self, codebook=other.codebook))


@dataclass
class SemanticQuantizerConfig:
    """Sizes of a semantic quantizer; `codebook_size ** levels` tokens."""

    semantic: SemanticSpec = field(default_factory=lambda: SemanticSpec("phonetic", 1, 64, 50))
    codebook_size: int = 512
    levels: int = 1
    rate_hz: int = 25
    normalize: bool = True  # every dimension to mean 0 and deviation 1 before distances are taken
    codebook: str = ""  # digest of the codes, set by `fit`

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES:
            raise ValueError(f"rate_hz {self.rate_hz}: expected {' or '.join(map(str, RATES))}")
        if self.levels < 1 or self.codebook_size < 2:
            raise ValueError(
                f"expected one level or more of two codes or more, got {self.levels} of {self.codebook_size}"
            )
        if self.codebook_size**self.levels > MAX_TOKENS:
            raise ValueError(
                f"{self.levels} levels of {self.codebook_size} codes: expected at most {MAX_TOKENS} tokens"
            )


class SemanticQuantizer(nn.Module, Pretrained):
    """semantic features <-> tokens."""

    Config = SemanticQuantizerConfig

    def __init__(self, config: SemanticQuantizerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.semantic.dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.codes = ResidualVQ(dim, config.levels, config.codebook_size, cosine=False)

    @property
    def spec(self) -> TokenSpec:
        """What a model trained on these tokens must agree with."""
        config = self.config
        kind = "kmeans" if config.levels == 1 else "rvq"
        n_tokens = config.codebook_size**config.levels
        return TokenSpec(config.semantic, n_tokens, config.rate_hz, kind, config.codebook)

    @property
    def frames(self) -> int:
        """Frames a token."""
        return self.config.semantic.rate_hz // self.config.rate_hz

    @torch.no_grad()
    def tokens(
        self, semantic: Tensor, n_frames: Tensor | None = None, spec: SemanticSpec | None = None
    ) -> Tensor:
        """Name features.

        Args:
            semantic: [B, C, N]. n_frames: valid frames of each row [B], None = all.
            spec: of the features, where the caller knows it.
        Returns:
            tokens [B, N'], long, 0 where padded; row b holds ceil(n_frames[b] / frames) of them.
        Raises:
            ValueError: features of another encoder.
        """
        check_semantic(semantic, self.config.semantic, spec)
        means, valid = pool_neighbours(semantic.float(), self.frames, n_frames)
        codes = self.codes.encode((means - self.mean[:, None]) / self.std[:, None])  # [B, Q, N']
        places = self.config.codebook_size ** torch.arange(self.config.levels, device=codes.device)
        return (codes * places[:, None]).sum(1) * valid

    @torch.no_grad()
    def features(self, tokens: Tensor) -> Tensor:
        """tokens [B, N'] -> the features they stand for [B, C, N' * frames].

        Raises:
            ValueError: a token there is not.
        """
        tokens = check_tokens(tokens, self.spec)
        places = self.config.codebook_size ** torch.arange(self.config.levels, device=tokens.device)
        codes = tokens[:, None] // places[:, None] % self.config.codebook_size  # [B, Q, N']
        vectors = self.codes.decode(codes) * self.std[:, None] + self.mean[:, None]
        return vectors.repeat_interleave(self.frames, 2)

    @torch.no_grad()
    def fit(
        self,
        utterances: Callable[[], Iterable[Tensor]],
        passes: int = 8,
        batch_frames: int = 65536,
        seed: int = 0,
    ) -> float:
        """Make the codes of features, in several passes over them.

        Args:
            utterances: called for every pass; yields semantic features [C, N], in an order as mixed as can be.
            passes: see `fit_kmeans`. batch_frames: rows that are looked at together.
        Returns:
            mean squared distance of a frame (at the tokens' rate, normalised) from its code, a dimension.
        Raises:
            ValueError: features of another width, or fewer of them than codes.
        """
        dim = self.config.semantic.dim

        def pooled() -> Iterable[Tensor]:
            rows, number = [], 0
            for semantic in utterances():
                check_semantic(semantic[None], self.config.semantic)
                rows.append(pool_neighbours(semantic[None].float(), self.frames)[0][0].T)
                number += len(rows[-1])
                if number >= batch_frames:
                    yield torch.cat(rows)
                    rows, number = [], 0
            if rows:
                yield torch.cat(rows)

        if self.config.normalize:
            self._measure(pooled())
        error = 0.0
        for place, level in enumerate(self.codes.levels):

            def left(place: int = place) -> Iterable[Tensor]:
                for rows in pooled():
                    x = ((rows - self.mean) / self.std).T[None]
                    for before in self.codes.levels[:place]:
                        x = x - before.decode(before.encode(x))
                    yield x[0].T

            centres, error = fit_kmeans(left, self.config.codebook_size, passes, seed + place)
            level.codebook.copy_(centres)
        self.config = replace(self.config, codebook=digest(self))
        return error / dim

    def _measure(self, batches: Iterable[Tensor]) -> None:
        number, total, squares = 0, 0.0, 0.0
        for rows in batches:
            rows = rows.double()
            number, total, squares = number + len(rows), total + rows.sum(0), squares + rows.square().sum(0)
        if not number:
            raise ValueError("no frames to make codes of")
        mean = total / number
        self.mean.copy_(mean)
        self.std.copy_((squares / number - mean.square()).clamp(min=1e-10).sqrt())


def pool_neighbours(semantic: Tensor, frames: int, n_frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """semantic [B, C, N] -> mean of every `frames` neighbours [B, C, N'], and which of them are valid, bool [B, N'].

    The last one is the mean of what is left, so that nothing is cut off and padding does not matter.
    """
    if n_frames is None:
        n_frames = torch.full((len(semantic),), semantic.shape[-1], device=semantic.device)
    valid = lengths_to_mask(n_frames.to(semantic.device), semantic.shape[-1])[:, None]
    gap = -semantic.shape[-1] % frames
    semantic = nn.functional.pad(semantic.masked_fill(~valid, 0), (0, gap))
    mask = nn.functional.pad(valid.to(semantic.dtype), (0, gap))
    number = mask.unflatten(-1, (-1, frames)).sum(-1)  # [B, 1, N']
    return semantic.unflatten(-1, (-1, frames)).sum(-1) / number.clamp(min=1), number[:, 0] > 0


def check_semantic(semantic: Tensor, expected: SemanticSpec, spec: SemanticSpec | None = None) -> None:
    """Refuse features that are not of the encoder `expected` names, as far as can be seen.

    Raises:
        ValueError: another spec, or another shape than [B, C, N] with its width.
    """
    if spec is not None and spec != expected:
        raise ValueError(f"features of {spec}: this tokenizer was made for {expected}")
    if semantic.dim() != 3 or semantic.shape[1] != expected.dim:
        raise ValueError(
            f"features {list(semantic.shape)}: expected [B, {expected.dim}, N] of the encoder {expected.name}"
        )


def check_tokens(tokens: Tensor, spec: TokenSpec) -> Tensor:
    """Refuse tokens that a tokenizer of this spec does not have; returns them.

    Raises:
        ValueError: another shape than [B, N'], or tokens out of range.
    """
    if tokens.dim() != 2 or tokens.is_floating_point():
        raise ValueError(f"expected whole-number tokens [B, N], got {tokens.dtype} {list(tokens.shape)}")
    wrong = tokens[(tokens < 0) | (tokens >= spec.n_tokens)]
    if len(wrong):
        raise ValueError(
            f"semantic token {int(wrong[0])}: expected 0 to {spec.n_tokens - 1} "
            f"of the {spec.n_tokens} {spec.kind} tokens of {spec.semantic.name}"
        )
    return tokens


def digest(model: nn.Module) -> str:
    """Eight hexadecimal digits of all numbers of a model."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:8]
