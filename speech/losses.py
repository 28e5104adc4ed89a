"""Losses that more than one model is trained with: pure functions, computed in float32."""

import torch
from torch import Tensor


def kl_divergence(
    z: Tensor, log_std: Tensor, prior_mean: Tensor, prior_log_std: Tensor, frame_mask: Tensor
) -> Tensor:
    """KL divergence of a posterior from a prior, estimated at one sample (VITS; hand-over section 5.5).

    Args:
        z: [B, C, N] posterior sample, moved through a volume-preserving flow into the prior's space.
        log_std: [B, C, N] of the posterior.
        prior_mean, prior_log_std: [B, C, N].
        frame_mask: [B, N] bool, True = valid.

    Returns:
        Scalar, in nats per valid frame (summed over the channels).
    """
    with torch.autocast(z.device.type, enabled=False):
        z, log_std = z.float(), log_std.float()
        prior_mean, prior_log_std = prior_mean.float(), prior_log_std.float()
        kl = prior_log_std - log_std - 0.5 + 0.5 * (z - prior_mean) ** 2 * torch.exp(-2 * prior_log_std)
        mask = frame_mask.unsqueeze(1)
        return (kl * mask).sum() / mask.sum()


def masked_l1(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the valid elements.

    Args:
        predicted, target: same shape.
        mask: broadcastable to it, True = valid.
    """
    mask = mask.expand_as(target)
    return ((predicted.float() - target.float()).abs() * mask).sum() / mask.sum().clamp(min=1)


def contrastive(a: Tensor, b: Tensor, temperature: float = 0.1) -> Tensor:
    """Two style vectors of one speaker [B, C] should be nearer to one another than to those of the batch's other speakers.

    Source: symmetric InfoNCE (van den Oord et al. 2018) on cosines.
    """
    a, b = torch.nn.functional.normalize(a.float(), dim=1), torch.nn.functional.normalize(b.float(), dim=1)
    scores = a @ b.T / temperature
    own = torch.arange(len(scores), device=scores.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
