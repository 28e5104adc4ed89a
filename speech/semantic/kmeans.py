"""k-means over more rows than fit into memory: k-means++ on a sample, one pass in mini-batches, then whole passes.

k-means++: Arthur and Vassilvitskii 2007; mini-batches: Sculley 2010, "Web-scale k-means clustering". A cluster that holds nothing is placed
anew on the rows that lie farthest from theirs, so every code of a tokenizer is a code that occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

START_ROWS = 32
"""Rows a cluster that k-means++ chooses among."""


@torch.no_grad()
def fit_kmeans(
    batches: Callable[[], Iterable[Tensor]], n_clusters: int, passes: int = 8, seed: int = 0
) -> tuple[Tensor, float]:
    """Cluster rows.

    Args:
        batches: called for every pass; yields the rows in pieces [R, C], float32, in an order as mixed as can be.
        n_clusters: clusters K.
        passes: whole passes after the first one, each of which moves every centre to the mean of its rows; fewer once none moves.
        seed: of the start.
    Returns:
        centres [K, C]; mean squared distance of a row from its centre, summed over C.
    Raises:
        ValueError: fewer rows than clusters.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = plus_plus(_first_rows(batches(), n_clusters * START_ROWS), n_clusters, generator)
    centres = _mini_batches(batches(), centres)
    error = float("inf")
    for _ in range(passes):
        before = error
        centres, error, moved = _whole_pass(batches(), centres)
        if not moved or before - error < 1e-5 * error:
            break
    return centres, distortion(batches(), centres)


def plus_plus(rows: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Centres [K, C]: rows drawn in proportion to their squared distance from those drawn before.

    Raises:
        ValueError: fewer rows than clusters.
    """
    if len(rows) < n_clusters:
        raise ValueError(f"{len(rows)} frames: expected at least {n_clusters}, one for every code")
    chosen = [int(torch.randint(len(rows), (1,), generator=generator))]
    left = (rows - rows[chosen[0]]).square().sum(1)
    while len(chosen) < n_clusters:
        # equal rows may leave no distance to draw by; any row will do then
        weights = left if float(left.sum()) > 0 else torch.ones_like(left)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        left = torch.minimum(left, (rows - rows[chosen[-1]]).square().sum(1))
    return rows[chosen].clone()


def nearest(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """rows [R, C], centres [K, C] -> place of the nearest centre [R], squared distance from it [R]."""
    scores = torch.addmm(centres.square().sum(1), rows, centres.T, alpha=-2)  # less |row|^2, the same for all
    least, place = scores.min(1)
    return place, (least + rows.square().sum(1)).clamp(min=0)


def distortion(batches: Iterable[Tensor], centres: Tensor) -> float:
    """Mean squared distance of a row from its centre."""
    total, number = 0.0, 0
    for rows in batches:
        total += float(nearest(rows, centres)[1].double().sum())
        number += len(rows)
    return total / max(number, 1)


def _first_rows(batches: Iterable[Tensor], number: int) -> Tensor:
    parts, rows = [], 0
    for batch in batches:
        parts.append(batch)
        rows += len(batch)
        if rows >= number:
            break
    if not parts:
        raise ValueError("no frames to make codes of")
    return torch.cat(parts)[:number]


def _mini_batches(batches: Iterable[Tensor], centres: Tensor) -> Tensor:
    """One pass in which every piece moves its centres at once, by the share it has of their rows so far."""
    centres, counts = centres.clone(), torch.zeros(len(centres))
    for rows in batches:
        place, distance = nearest(rows, centres)
        number = torch.bincount(place, minlength=len(centres)).float()
        total = torch.zeros_like(centres).index_add_(0, place, rows)
        counts += number
        rate = (number / counts.clamp(min=1))[:, None]
        mean = total / number.clamp(min=1)[:, None]
        centres = torch.where(number[:, None] > 0, centres + rate * (mean - centres), centres)
        dead = (counts == 0).nonzero()[:, 0][: len(rows)]
        if len(dead):
            far = _farthest(rows, distance, len(dead))
            centres[dead[: len(far)]] = far
    return centres


def _whole_pass(batches: Iterable[Tensor], centres: Tensor) -> tuple[Tensor, float, bool]:
    """Move every centre to the mean of its rows -> centres, the distortion before, whether any moved."""
    total, counts = torch.zeros_like(centres, dtype=torch.float64), torch.zeros(len(centres))
    error, far, far_distance = 0.0, centres[:0], torch.zeros(0)
    for rows in batches:
        place, distance = nearest(rows, centres)
        total.index_add_(0, place, rows.double())
        counts += torch.bincount(place, minlength=len(centres)).float()
        error += float(distance.double().sum())
        far, far_distance = torch.cat([far, rows]), torch.cat([far_distance, distance])
        keep = far_distance.topk(min(len(centres), len(far_distance))).indices
        far, far_distance = far[keep], far_distance[keep]
    mean = (total / counts.clamp(min=1)[:, None]).float()
    moved = torch.where(counts[:, None] > 0, mean, centres)
    dead = (counts == 0).nonzero()[:, 0]
    if len(dead):
        new = _farthest(far, far_distance, len(dead))
        moved[dead[: len(new)]] = new
    return moved, error / max(float(counts.sum()), 1), bool((moved != centres).any())


def _farthest(rows: Tensor, distance: Tensor, number: int) -> Tensor:
    """Up to `number` different rows that lie farthest from their centres and not on them."""
    order = distance.argsort(descending=True)
    rows = rows[order[distance[order] > 0]]
    return torch.unique(rows[: 4 * number], dim=0)[:number] if len(rows) else rows
