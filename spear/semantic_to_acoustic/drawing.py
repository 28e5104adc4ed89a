"""Random draws of a batch whose rows do not depend on one another: each row has its own source, so a batch says what single clips say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spear.sampling import Sampling, sample

Seed = int | Sequence[int] | None


class Draws:
    """Random sources of `batch` rows.

    Args:
        seed: a number, from which row b has seed + b; or one for each row; None = `generator`.
        generator: shared by the rows; None = torch's own.
    """

    def __init__(
        self, batch: int, device: torch.device, seed: Seed = None, generator: torch.Generator | None = None
    ) -> None:
        if seed is not None and generator is not None:
            raise ValueError("seed and generator: expected one of the two")
        if isinstance(seed, Sequence) and len(seed) != batch:
            raise ValueError(f"seed: expected {batch} numbers, got {len(seed)}")
        self.rows: list[torch.Generator | None] = [generator] * batch
        if seed is not None:
            seeds = [seed + row for row in range(batch)] if isinstance(seed, int) else seed
            self.rows = [torch.Generator(device).manual_seed(int(number)) for number in seeds]
        self.alike = seed is None

    def sample(self, logits: Tensor, sampling: Sampling, lengths: Sequence[int] | None = None) -> Tensor:
        """logits [B, R, V] -> ids [B, R]; with `lengths`, only so many of a row are drawn, and the rest are 0."""
        batch, number, size = logits.shape
        if self.alike and lengths is None:
            return sample(logits.reshape(-1, size), sampling, self.rows[0]).view(batch, number)
        out = logits.new_zeros((batch, number), dtype=torch.long)
        for row, source in enumerate(self.rows):
            length = number if lengths is None else lengths[row]
            out[row, :length] = sample(logits[row, :length], sampling, source)
        return out

    def gumbel(self, like: Tensor, lengths: Sequence[int]) -> Tensor:
        """Gumbel noise of the shape of `like` [B, R], 0 behind each row's length."""
        out = torch.zeros_like(like)
        for row, source in enumerate(self.rows):
            drawn = torch.rand(lengths[row], generator=source, device=like.device, dtype=like.dtype)
            out[row, : lengths[row]] = -(-drawn.clamp(1e-9, 1 - 1e-6).log()).log()
        return out


def guide(logits: Tensor, guidance: float) -> Tensor:
    """Logits of rows with their conditions and, behind them, without [2B, ...] -> guided ones [B, ...] (classifier-free guidance)."""
    given, free = logits.float().chunk(2)
    return free + guidance * (given - free)
