"""Masks over time: True marks a valid position."""

import torch
from torch import Tensor


def lengths_to_mask(lengths: Tensor, max_len: int | None = None) -> Tensor:
    """lengths [B] (counts) -> bool mask [B, N], True where the position is below the length; N = max_len or the longest."""
    if max_len is None:
        max_len = int(lengths.max())
    return torch.arange(max_len, device=lengths.device)[None, :] < lengths[:, None]
