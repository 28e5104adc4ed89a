"""Random draws for padded rows: each row draws for its own length only, so that a row of a batch is what it is alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spear.sampling import Generators, Sampling, gumbel, row_generators, sample

Seed = int | Sequence[int] | None


def sources(batch: int, seed: Seed, generator: Generators) -> Generators:
    """One source for each row of a batch where seeded, else `generator`.

    Raises:
        ValueError: both are given, or another number of seeds than rows.
    """
    if seed is not None and generator is not None:
        raise ValueError("seed and generator: expected one of the two, got both")
    return generator if seed is None else row_generators(seed, batch)


def sample_rows(logits: Tensor, sampling: Sampling, generator: Generators, lengths: Sequence[int]) -> Tensor:
    """logits [B, N, V] -> ids [B, N]; what is behind a row's length means nothing."""
    if sampling.temperature == 0 or min(lengths) == logits.shape[1]:
        return sample(logits, sampling, generator)
    out = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    for row, length in enumerate(lengths):
        out[row, :length] = sample(logits[row, :length], sampling, _of(generator, row))
    return out


def gumbel_rows(like: Tensor, generator: Generators, lengths: Sequence[int]) -> Tensor:
    """Gumbel noise in the shape [B, N] of `like`, 0 behind each row's length."""
    out = torch.zeros(like.shape, device=like.device)
    for row, length in enumerate(lengths):
        out[row, :length] = gumbel(like[row, :length], _of(generator, row))
    return out


def _of(generator: Generators, row: int) -> torch.Generator | None:
    return generator[row] if isinstance(generator, Sequence) else generator
