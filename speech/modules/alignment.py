"""Monotonic alignment search (Glow-TTS section 3, as in VITS) and the expansion of tokens to frames.

An alignment is kept as durations [B, S]: a monotonic path without skips is fully described by them.
"""

import torch
from torch import Tensor


@torch.no_grad()
def align(log_likelihood: Tensor, text_mask: Tensor, frame_mask: Tensor) -> Tensor:
    """Finds the monotonic path of the highest summed log-likelihood, every token taking at least one frame.

    The search runs on the tensor's own device, which never waits for the processor: it loops over frames only, two small
    operations each way that take all tokens and items at once. Ties stay on the later token, and sums are made in the
    order of the published loop (section 5.5), so the path is the same to the last frame.

    Args:
        log_likelihood: [B, S, N], of frame n under token s; values where either is padding are ignored.
        text_mask: [B, S] bool, True = valid.
        frame_mask: [B, N] bool, True = valid.

    Returns:
        Durations [B, S] int64 in frames; each row sums to its number of valid frames, 0 where padded.

    Raises:
        ValueError: an item has fewer frames than tokens; looked for on the CPU only, since a GPU would have to be waited
            for (there, the last tokens get the frames). Training data leaves such utterances out.
    """
    text_lengths, frame_lengths = text_mask.sum(1), frame_mask.sum(1)
    if log_likelihood.device.type == "cpu" and (text_lengths > frame_lengths).any():
        raise ValueError(
            f"every token needs one frame or more, got {frame_lengths.tolist()} frames for {text_lengths.tolist()} tokens"
        )
    batch, n_tokens, n_frames = log_likelihood.shape
    device = log_likelihood.device
    # best[n, b, s + 1]: score of the best path that is on token s at frame n - 1, made in place of the log-likelihood;
    # column 0 stands for "before token 0".
    best = torch.empty(n_frames + 1, batch, n_tokens + 1, device=device)
    best[1:, :, 1:] = log_likelihood.detach().permute(2, 0, 1)
    best[:, :, 0] = -torch.inf
    best[0] = -torch.inf
    best[0, :, 0] = 0.0
    stay, move = best[:, :, 1:].unbind(0), best[:, :, :-1].unbind(0)
    higher = torch.empty(batch, n_tokens, device=device)
    for n in range(n_frames):
        torch.maximum(stay[n], move[n], out=higher)
        stay[n + 1].add_(higher)

    # Backwards from the last token, where the index waits through the padding. Flat places let one operation look up
    # all items; a comparison's bytes are 0 and 1, which are subtracted as they are.
    moves = best[:-1, :, 1:] < best[:-1, :, :-1]  # [N, B, S]
    last = (text_lengths - 1).expand(n_frames, -1).unsqueeze(2)  # [N, B, 1]
    moves.scatter_(2, last, moves.gather(2, last) & frame_mask.T.unsqueeze(2))
    moves = moves.view(torch.uint8).view(n_frames, batch * n_tokens).unbind(0)
    place = torch.empty(n_frames + 1, batch, dtype=torch.int64, device=device)
    first_place = torch.arange(batch, device=device) * n_tokens
    place[-1] = first_place + text_lengths - 1
    places = place.unbind(0)
    for n in range(n_frames - 1, -1, -1):
        torch.sub(places[n + 1], moves[n].take(places[n + 1]), out=places[n])
    durations = torch.zeros(batch, n_tokens, dtype=torch.int64, device=device)
    return durations.scatter_add_(1, (place[1:] - first_place).T, frame_mask.long())


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
