"""Monotonic alignment search (Glow-TTS section 3, as in VITS) and the expansion of tokens to frames.

An alignment is kept as durations [B, S]: a monotonic path without skips is fully described by them.
"""

import torch
from torch import Tensor


@torch.no_grad()
def align(log_likelihood: Tensor, text_mask: Tensor, frame_mask: Tensor) -> Tensor:
    """Finds the monotonic path of the highest summed log-likelihood, every token taking at least one frame.

    The search loops over frames only (two small operations each, on the tensor's own device), so it needs no
    compiler; ties prefer to stay on the later token, as the reference does.

    Args:
        log_likelihood: [B, S, N], of frame n under token s; values where either is padding are ignored.
        text_mask: [B, S] bool, True = valid.
        frame_mask: [B, N] bool, True = valid.

    Returns:
        Durations [B, S] int64 in frames; each row sums to its number of valid frames, 0 where padded.

    Raises:
        ValueError: an item has fewer frames than tokens.
    """
    text_lengths, frame_lengths = text_mask.sum(1), frame_mask.sum(1)
    if (text_lengths > frame_lengths).any():
        raise ValueError(
            f"every token needs one frame or more, got {frame_lengths.tolist()} frames for {text_lengths.tolist()} tokens"
        )
    batch, n_tokens, n_frames = log_likelihood.shape
    frames = log_likelihood.detach().float().permute(2, 0, 1).contiguous()  # [N, B, S]

    # best[n, b, s + 1]: score of the best path that is on token s at frame n; column 0 stands for "before token 0".
    best = frames.new_full((n_frames + 1, batch, n_tokens + 1), -torch.inf)
    best[0, :, 0] = 0.0
    for n in range(n_frames):
        torch.maximum(best[n, :, 1:], best[n, :, :-1], out=best[n + 1, :, 1:])
        best[n + 1, :, 1:] += frames[n]

    came_from_left = best[:-1, :, 1:] < best[:-1, :, :-1]
    came_from_left &= frame_mask.T.unsqueeze(2)  # the index waits on the last token through the padding
    index = (text_lengths - 1).unsqueeze(1)  # [B, 1]
    token_of_frame = torch.empty(n_frames, batch, dtype=torch.long, device=frames.device)
    for n in reversed(range(n_frames)):
        token_of_frame[n] = index[:, 0]
        index = index - came_from_left[n].gather(1, index).long()
    durations = torch.zeros(batch, n_tokens, dtype=torch.long, device=frames.device)
    return durations.scatter_add_(1, token_of_frame.T, frame_mask.long())


def expand(x: Tensor, durations: Tensor, n_frames: int | None = None) -> Tensor:
    """Repeats every token of `x` [B, C, S] for its duration.

    Args:
        x: [B, C, S] per-token values.
        durations: [B, S] whole frames, any dtype, 0 where padded.
        n_frames: length N of the result; None = the longest item.

    Returns:
        [B, C, N], zero after an item's last frame.
    """
    ends = durations.long().cumsum(1)
    if n_frames is None:
        n_frames = int(ends[:, -1].max())
    frame = torch.arange(n_frames, device=x.device).expand(len(x), -1).contiguous()
    token = torch.searchsorted(ends, frame, right=True).clamp_max(x.shape[2] - 1)
    expanded = x.gather(2, token.unsqueeze(1).expand(-1, x.shape[1], -1))
    return expanded * (frame < ends[:, -1:]).unsqueeze(1)
