"""Vector quantisation with a codebook of running means, alone and in residual levels: of semantic tokens and of the compact codec.

One level projects to a few dimensions, names the nearest code there and projects back (van den Oord et al. 2017; the narrow projection
and cosine distance after Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN"). Codes follow the running mean of
what they name; codes that name nothing are placed anew. Residual levels each name what the ones before left over (SoundStream, Zeghidour et
al. 2021). Shapes: batch B, channels C, frames N, levels Q.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional as F


class Quantized(NamedTuple):
    """What a quantiser makes of features: the straight-through approximation, its codes and the commitment loss."""

    x: Tensor  # [B, C, N], forward the codes' vectors, backward the input
    codes: Tensor  # long, [B, N], of residual levels [B, Q, N]
    commitment: Tensor  # scalar, mean squared distance of the input from its codes


class VectorQuantizer(nn.Module):
    """One codebook.

    Args:
        dim: channels C of the features.
        codebook_size: number of codes.
        codebook_dim: dimensions in which codes are compared; None = `dim`, without projections.
        cosine: codes and features are compared by direction.
        decay: of the running means.
        dead_below: a code whose running count falls below this is placed on a frame of the batch; 0 leaves it.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        cosine: bool = True,
        decay: float = 0.9,
        dead_below: float = 0.0,
    ) -> None:
        super().__init__()
        if codebook_size < 2 or not 0 <= decay < 1:
            raise ValueError(
                f"expected two codes or more and a decay of 0 to 1, got {codebook_size} and {decay:g}"
            )
        inner = codebook_dim or dim
        self.codebook_size, self.cosine, self.decay, self.dead_below = (
            codebook_size,
            cosine,
            decay,
            dead_below,
        )
        self.project_in = nn.Linear(dim, inner) if codebook_dim else None
        self.project_out = nn.Linear(inner, dim) if codebook_dim else None
        codebook = torch.randn(codebook_size, inner)
        self.register_buffer("codebook", F.normalize(codebook, dim=1) if cosine else codebook)
        self.register_buffer("counts", torch.zeros(codebook_size))  # running, of the frames a code names

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """x [B, C, N], mask [B, N] (True = valid) -> Quantized; in training the codebook follows."""
        h = self._inner(x)  # [B, N, D]
        rows = h.detach().flatten(0, 1) if mask is None else h.detach()[mask]
        if self.training and len(rows):
            self._follow(rows)
        codes = self._nearest(h.detach())
        named = self.codebook[codes]
        error = (h - named).square().mean(-1)  # [B, N]
        valid = torch.ones_like(error) if mask is None else mask.to(error.dtype)
        commitment = (error * valid).sum() / valid.sum().clamp(min=1)
        out = self._outer(h + (named - h).detach())
        return Quantized(out, codes, commitment)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """x [B, C, N] -> codes [B, N]."""
        return self._nearest(self._inner(x))

    def decode(self, codes: Tensor) -> Tensor:
        """codes [B, N] -> [B, C, N].

        Raises:
            ValueError: a code that the codebook does not have.
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise ValueError(
                f"codes: expected 0 to {self.codebook_size - 1}, got {int(codes.min())} to {int(codes.max())}"
            )
        return self._outer(self.codebook[codes])

    def _inner(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # distances of near codes need all digits
            h = x.transpose(1, 2).float()
            h = h if self.project_in is None else self.project_in(h)
            return F.normalize(h, dim=-1) if self.cosine else h

    def _outer(self, h: Tensor) -> Tensor:
        with torch.autocast(h.device.type, enabled=False):
            return (h if self.project_out is None else self.project_out(h)).transpose(1, 2)

    def _nearest(self, h: Tensor) -> Tensor:
        scores = 2 * h @ self.codebook.T - self.codebook.square().sum(1)
        return scores.argmax(-1)

    @torch.no_grad()
    def _follow(self, rows: Tensor) -> None:
        if not self.counts.any():  # the first batch: codes start on what there is to name
            self.codebook.copy_(_spread(rows, self.codebook_size))
            self.counts.fill_(max(self.dead_below, 1.0))
        hits = F.one_hot(self._nearest(rows), self.codebook_size).to(rows.dtype)  # [R, K]
        number, total = hits.sum(0), hits.T @ rows
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(number)
            torch.distributed.all_reduce(total)
        weight = self.decay * self.counts
        if self.cosine:
            mean = F.normalize(total, dim=1)
            moved = F.normalize(self.decay * self.codebook + (1 - self.decay) * mean, dim=1)
        else:
            new = (1 - self.decay) * number
            moved = (weight[:, None] * self.codebook + (1 - self.decay) * total) / (weight + new)[
                :, None
            ].clamp(min=1e-6)
        self.codebook.copy_(torch.where(number[:, None] > 0, moved, self.codebook))
        self.counts.copy_(weight + (1 - self.decay) * number)
        dead = self.counts < self.dead_below
        if dead.any():
            fresh = _spread(rows, int(dead.sum()))
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast(fresh, 0)
            self.codebook[dead] = fresh
            self.counts[dead] = self.dead_below * 2


def _spread(rows: Tensor, number: int) -> Tensor:
    """`number` random rows, each at most once where there are enough."""
    if len(rows) >= number:
        return rows[torch.randperm(len(rows), device=rows.device)[:number]]
    return rows[torch.randint(len(rows), (number,), device=rows.device)]


class ResidualVQ(nn.Module):
    """`n_codebooks` levels of `VectorQuantizer`, each of which names what the ones before left over.

    Args:
        n_codebooks: levels Q.
        others: as of `VectorQuantizer`.
    """

    def __init__(
        self,
        dim: int,
        n_codebooks: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        cosine: bool = True,
        decay: float = 0.9,
        dead_below: float = 0.0,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            VectorQuantizer(dim, codebook_size, codebook_dim, cosine, decay, dead_below)
            for _ in range(n_codebooks)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None, n_levels: Tensor | None = None) -> Quantized:
        """x [B, C, N], mask [B, N] -> Quantized with codes [B, Q, N].

        Args:
            n_levels: levels used by every row, long [B]; so a model learns to do with fewer (quantiser dropout).
        """
        total, left = torch.zeros_like(x, dtype=torch.float32), x.float()
        codes, commitments = [], []
        for place, level in enumerate(self.levels):
            used = None if n_levels is None else n_levels > place  # [B]
            valid = mask
            if used is not None:
                rows = used[:, None].expand(-1, x.shape[-1])
                valid = rows if mask is None else mask & rows
            part = level(left, valid)
            vector = part.x if used is None else part.x * used[:, None, None]
            total, left = total + vector, left - vector.detach()
            codes.append(part.codes)
            commitments.append(part.commitment)
        return Quantized(total, torch.stack(codes, 1), torch.stack(commitments).mean())

    @torch.no_grad()
    def encode(self, x: Tensor, n_codebooks: int | None = None) -> Tensor:
        """x [B, C, N] -> codes [B, Q, N] of the first `n_codebooks` levels (None = all)."""
        left, codes = x.float(), []
        for level in self.levels[: self._number(n_codebooks)]:
            codes.append(level.encode(left))
            left = left - level.decode(codes[-1])
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes [B, Q', N] of the first Q' levels -> [B, C, N]."""
        number = self._number(codes.shape[1])
        parts = [level.decode(row) for level, row in zip(self.levels[:number], codes.unbind(1), strict=True)]
        return torch.stack(parts).sum(0)

    def _number(self, n_codebooks: int | None) -> int:
        if n_codebooks is None:
            return len(self.levels)
        if not 1 <= n_codebooks <= len(self.levels):
            raise ValueError(f"n_codebooks: expected 1 to {len(self.levels)}, got {n_codebooks}")
        return n_codebooks
