"""How tokens are drawn from logits: temperature, top-k, top-p, guidance, and the order in which a masked model settles its tokens.

Draws are arg max of log-probability plus Gumbel noise, which asks nothing back from the device. Top-p after Holtzman et al. 2020,
guidance after Ho & Salimans 2022, schedule and confidence after MaskGIT (Chang et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# one for all rows, or one for each, so that a row draws the same whatever rows are beside it
Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass
class Sampling:
    """How one token is drawn.

    Args:
        temperature: 0 takes the likeliest token.
        top_k: only among the k likeliest.
        top_p: only among the likeliest that together have this probability.
        guidance: 1 = none; above, away from what the model would say without its condition.
    """

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature: expected 0 or more, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: expected 1 or more, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: expected above 0 to 1, got {self.top_p}")
        if not self.guidance >= 0:
            raise ValueError(f"guidance: expected 0 or more, got {self.guidance}")


def guide(conditioned: Tensor, unconditioned: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance of logits; 1 gives `conditioned`, 0 `unconditioned`."""
    return unconditioned + (conditioned - unconditioned) * guidance


def keep_likely(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [.., V] divided by the temperature, -inf outside top-k and top-p."""
    if sampling.temperature == 0:
        return logits.where(logits == logits.amax(-1, keepdim=True), -math.inf)
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        lowest = logits.topk(sampling.top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -math.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        share = ordered.softmax(-1)
        outside = share.cumsum(-1) - share >= sampling.top_p  # the token that passes the limit is still in
        logits = logits.masked_fill(outside.gather(-1, order.argsort(-1)), -math.inf)
    return logits


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """What `sample` draws from, [.., V]; at temperature 0 all on the first likeliest token."""
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    return keep_likely(logits.float(), sampling).softmax(-1)


def sample(logits: Tensor, sampling: Sampling, generator: Generators = None) -> Tensor:
    """Draw a token of each row: logits [B, V] (or [B, N, V]) -> [B] (or [B, N]); guidance is the caller's."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    return (keep_likely(logits.float(), sampling) + gumbel(logits, generator)).argmax(-1)


def draw(shares: Tensor, generator: Generators = None) -> Tensor:
    """Draw from probabilities [B, V] -> [B]; they need not sum to 1."""
    return (shares.float().log() + gumbel(shares, generator)).argmax(-1)


def gumbel(like: Tensor, generator: Generators = None) -> Tensor:
    """Gumbel noise in the shape [B, ..] of `like`, float32; a generator of another device is made use of there."""
    if isinstance(generator, Sequence):
        return torch.stack([gumbel(row, g) for row, g in zip(like, generator, strict=True)])
    device = like.device if generator is None else generator.device
    noise = torch.empty(like.shape, dtype=torch.float32, device=device).exponential_(generator=generator)
    return -noise.clamp_(min=1e-20).log_().to(like.device, non_blocking=True)


def uniform(rows: int, device: torch.device, generator: Generators = None) -> Tensor:
    """Numbers between 0 and 1, [rows]."""
    if isinstance(generator, Sequence):
        return torch.cat([uniform(1, device, g) for g in generator])
    where = device if generator is None else generator.device
    return torch.rand(rows, generator=generator, device=where).to(device)


def row_generators(seed: int | Sequence[int] | None, rows: int) -> list[torch.Generator] | None:
    """A generator for each row: seeds seed, seed + 1, ... or those given; None = torch's own for all.

    Raises:
        ValueError: as many seeds as rows were expected.
    """
    if seed is None:
        return None
    seeds = range(seed, seed + rows) if isinstance(seed, int) else seed
    if len(seeds) != rows:
        raise ValueError(f"expected one seed or {rows} of them, got {len(seeds)}")
    return [torch.Generator().manual_seed(int(s)) for s in seeds]


def cosine_schedule(progress: float | Tensor) -> float | Tensor:
    """Share of tokens still masked after `progress` (0 to 1) of the steps of a masked model."""
    if isinstance(progress, Tensor):
        return torch.cos(progress * math.pi / 2)
    return math.cos(progress * math.pi / 2)


def least_confident(confidence: Tensor, n_masked: Tensor) -> Tensor:
    """Which tokens are masked again: the `n_masked` [B] least confident of each row [B, N]; bool [B, N].

    Places that may not be masked again have the confidence +inf; they are never chosen.
    """
    rank = confidence.argsort(-1).argsort(-1)
    return (rank < n_masked[:, None]) & ~confidence.isposinf()
