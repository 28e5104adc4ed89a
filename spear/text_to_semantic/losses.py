"""Losses of TextToSemantic: pure functions, in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean cross entropy of `logits` [B, N, V] for `targets` [B, N] where `mask` [B, N] is True; 0 where it nowhere is."""
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    mask = mask.flatten()
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def accuracy(logits: Tensor, targets: Tensor, mask: Tensor, among: int = 1) -> Tensor:
    """Share of targets [B, N] among the `among` likeliest, where `mask` is True."""
    hits = (logits.topk(min(among, logits.shape[-1]), -1).indices == targets[..., None]).any(-1)
    return (hits & mask).sum() / mask.sum().clamp(min=1)


def log_sum_exp_pool(x: Tensor, mask: Tensor, temperature: float = 0.1) -> Tensor:
    """States [B, N, W] pooled over the valid places [B, N]: log of the mean of exp(x / t), times t: [B, W]."""
    x = (x.float() / temperature).masked_fill(~mask[..., None], -torch.inf)
    return temperature * (x.logsumexp(1) - mask.sum(1, keepdim=True).float().log())


def align_regularization(
    context: Tensor, context_mask: Tensor, hidden: Tensor, hidden_mask: Tensor, rows: Tensor
) -> Tensor:
    """How differently encoder and decoder place the items of a batch relative to each other (Hsu et al., arXiv 2309.08773).

    States are pooled over time; the two matrices of cosines between items should agree off the diagonal.

    Args:
        context: [B, S, W], context_mask: [B, S]; hidden: [B, N, W], hidden_mask: [B, N].
        rows: bool [B], items whose decoder did not see the encoder; between the others there is nothing to learn.

    Returns: mean squared difference over the pairs, 0 with fewer than two such items. Of this process's batch only.
    """
    cosines = []
    for states, mask in ((context, context_mask), (hidden, hidden_mask)):
        pooled = F.normalize(log_sum_exp_pool(states, mask), dim=-1)
        cosines.append(pooled @ pooled.T)
    pairs = rows[:, None] & rows[None, :] & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    difference = (cosines[0] - cosines[1]).square()
    return (difference * pairs).sum() / pairs.sum().clamp(min=1)


def duration_loss(log_durations: Tensor, durations: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of log(1 + duration) [B, S] over the valid places whose duration is known (not NaN)."""
    known = mask & ~durations.isnan()
    error = (log_durations.float() - torch.log1p(durations.nan_to_num())).abs()
    return (error * known).sum() / known.sum().clamp(min=1)
