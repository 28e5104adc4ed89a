"""Melody of whole phrases for `AlignedTTV`: how high each sound lies, told from all that is said before and after it.

The frame-wise contour knows half a second around it and learns recordings by heart; a small recurrent network over sounds, with much
dropout, foretells more of the melody of unseen readers (docs/lite.md, experiment 47). The contour is moved towards the heights
that it tells, and keeps its own quick movements. One value a sound, as in FastPitch (Lancucki 2021).

Shapes: B batch, S tokens, N frames at 50 Hz, 4N f0 frames, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

F0_PER_FRAME = 4
PAUSE_FRAMES = 5.0  # a boundary that lasts so long is heard as a pause
SMOOTHING = 61  # f0 frames (0.3 s) that a move is spread over: the contour keeps its quick movements


class Melody(nn.Module):
    """Tokens and their durations -> mean of the contour over each token, in deviations of the speaker."""

    def __init__(self, n_units: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.unit_embedding = nn.Embedding(n_units, width)
        self.stress_embedding = nn.Embedding(3, width)
        self.place = nn.Linear(2, width)
        sizes = [width] + [2 * width] * (layers - 1)
        self.forwards = nn.ModuleList(nn.GRU(size, width, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.GRU(size, width, batch_first=True) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, factors: Tensor, sounds: Tensor, durations: Tensor, text_mask: Tensor) -> Tensor:
        """factors [B, S, 2] (unit, stress), sounds [B, S] (True where no boundary), durations [B, S] in frames, text_mask
        [B, S] -> [B, S]; each row as it would be alone."""
        pause = ~sounds & (durations >= PAUSE_FRAMES)
        place = torch.stack([torch.log1p(durations), pause.to(durations.dtype)], -1)
        x = self.unit_embedding(factors[..., 0]) + self.stress_embedding(factors[..., 1]) + self.place(place)
        there = torch.arange(x.shape[1], device=x.device)[None]
        last = text_mask.sum(1, keepdim=True) - 1
        mirror = torch.where(there <= last, last - there, there)[..., None]  # padding stays behind
        for ahead, back in zip(self.forwards, self.backwards, strict=True):
            x = self.dropout(x)
            mirrored = x.gather(1, mirror.expand(-1, -1, x.shape[-1]))
            returned = back(mirrored)[0]
            returned = returned.gather(1, mirror.expand(-1, -1, returned.shape[-1]))
            x = torch.cat([ahead(x)[0], returned], -1)
        return self.head(self.dropout(x))[..., 0].float()


def token_of_f0_frame(ends: Tensor, n: int) -> Tensor:
    """ends [B, S] in frames -> the token that each of n f0 frames lies in [B, n], the last one behind the end."""
    centres = (torch.arange(n, device=ends.device) + 0.5) / F0_PER_FRAME
    index = torch.searchsorted(ends.contiguous(), centres.expand(len(ends), -1).contiguous(), right=True)
    return index.clamp(max=ends.shape[1] - 1)


def token_means(values: Tensor, weights: Tensor, index: Tensor, n_tokens: int) -> tuple[Tensor, Tensor]:
    """values, weights [B, n], index [B, n] -> weighted mean of each token, 0 where it has no weight, and its weight, [B, S] each."""
    empty = values.new_zeros(len(values), n_tokens)
    weight = empty.scatter_add(1, index, weights)
    return empty.scatter_add(1, index, values * weights) / weight.clamp(min=1e-6), weight


def follow(contour: Tensor, melody: Tensor, ends: Tensor, sounds: Tensor, frame_mask: Tensor) -> Tensor:
    """The contour [B, 4N], moved so that the mean over each sound comes near that of melody [B, S], in moves as slow as a syllable.

    Args:
        ends: [B, S] in frames.
        sounds: [B, S], True where the token is no boundary; boundaries take what is next to them.
        frame_mask: [B, N].
    """
    index = token_of_f0_frame(ends, contour.shape[1])
    there = frame_mask.repeat_interleave(F0_PER_FRAME, 1).to(contour.dtype)
    means, _ = token_means(contour, there, index, ends.shape[1])
    voice = sounds.to(contour.dtype).gather(1, index) * there
    moved = (melody - means).gather(1, index) * voice
    both = F.avg_pool1d(torch.stack([moved, voice], 1), SMOOTHING, 1, SMOOTHING // 2)
    return contour + both[:, 0] / both[:, 1].clamp(min=1e-3)
