"""Pictures for TensorBoard, drawn with tensors alone: matrices, alignments and curves over time."""

import torch
from torch import Tensor

TRUTH, PREDICTION = (0.2, 0.8, 0.3), (1.0, 0.3, 0.2)  # green and red


def levels(x: Tensor) -> Tensor:
    """A matrix [H, W] -> the same between 0 and 1, the lowest and the highest hundredth cut off."""
    x = x.detach().float()
    # quantile refuses more than 16 million values
    values = x.flatten()[:: max(1, x.numel() // 100_000)]
    low, high = values.quantile(torch.tensor([0.01, 0.99], device=x.device))
    return ((x - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)


def alignment(ends: Tensor, n_frames: int) -> Tensor:
    """Which token each frame belongs to: ends [S] of the tokens in frames -> [S, N], 1 on the path, first token on top."""
    frame = torch.arange(n_frames, device=ends.device) + 0.5
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return ((frame >= starts[:, None]) & (frame < ends[:, None])).float()


def curves(truth: Tensor, prediction: Tensor, low: float, high: float, height: int = 96) -> Tensor:
    """Two curves [T] over each other, values from `low` (bottom) to `high` (top) -> RGB [3, height, T].

    The first is green, the second red, yellow where they meet; values below `low` are not drawn.
    """
    picture = truth.new_zeros(3, height, len(truth), dtype=torch.float32)
    rows = torch.arange(height, device=truth.device)[:, None]
    for line, colour in ((truth, TRUTH), (prediction, PREDICTION)):
        line = line.detach().float()
        place = ((high - line) / (high - low) * (height - 1)).round().clamp(0, height - 1)
        drawn = ((rows - place).abs() <= 1) & (line >= low)
        for channel, value in enumerate(colour):
            picture[channel] = torch.where(drawn, torch.clamp_min(picture[channel], value), picture[channel])
    return picture
