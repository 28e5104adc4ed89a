"""Articulation: how a recording moves its spectrum, given to what is spoken from its features (ours, not the paper's).

A compact semantic encoder is wrong about some sounds and blurs others; the wave made of its features then lacks them. In voice conversion
the recording is at hand, and what its spectrum has more or less than that wave, band by band and frame by frame, can go onto the
generator's spectrum as an equalizer's gains do. The target's voice must stay, so three things are taken off first: the mean over the
recording (the channel, the colour of the voice), another length of the vocal tract (the frequency axis of the recording is stretched
until its spectrum moves most like the wave's), and the mean difference of each phone (how this speaker colours it). There is nothing to train.

Shapes: B batch, N frames at 100 Hz, M mel bins, K bands, P phones, W stretches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class ArticulationConfig:
    """How much of a recording's articulation its conversion keeps, and how it is measured."""

    kept: float = 0.5  # share of the difference, 0 to 1, unless a call says otherwise
    bands: int = (
        20  # at most, of neighbouring mel bins: too coarse for harmonics; a divisor of the equalizer's
    )
    stretches: int = 13  # of the frequency axis that are tried, an odd number: with none in the middle ...
    widest: float = 1.2  # ... from 1 / widest to widest
    prior_frames: float = (
        10.0  # at 100 Hz: of a phone heard for that many half of the mean difference is taken off
    )
    rise: float = 1.5  # ln of power, the most that a band gains ...
    fall: float = 3.0  # ... and loses

    def __post_init__(self):
        if not 0 <= self.kept <= 1:
            raise ValueError(f"articulation.kept {self.kept:g}: expected 0 to 1")
        if self.bands < 1 or self.stretches % 2 != 1 or self.widest < 1 or self.prior_frames <= 0:
            raise ValueError(
                "articulation: expected bands and widest of 1 or more, an odd number of stretches and prior_frames "
                f"above 0, got {self}"
            )
        if self.rise < 0 or self.fall < 0:
            raise ValueError(f"articulation: expected rise and fall of 0 or more, got {self}")


class Articulation(nn.Module):
    """Compares log-mel spectrograms of a recording and of the wave spoken from its features."""

    def __init__(self, config: ArticulationConfig, bands: int, n_mels: int) -> None:
        super().__init__()
        self.config = config
        half = config.stretches // 2
        ratios = ((torch.arange(config.stretches) - half) / max(half, 1) * math.log(config.widest)).exp()
        stretched = torch.stack([_stretch(n_mels, float(ratio)) for ratio in ratios])  # [W, M, M]
        average = torch.eye(bands).repeat_interleave(n_mels // bands, 1)
        average = average / average.sum(1, keepdim=True)
        self.register_buffer("plain", average, persistent=False)  # [K, M]
        self.register_buffer("stretched", average @ stretched, persistent=False)  # [W, K, M]

    def forward(self, recording: Tensor, spoken: Tensor, phones: Tensor, kept: float) -> Tensor:
        """What each band of `spoken` gets.

        Args:
            recording, spoken: log-mel power [B, M, N].
            phones: share of each phone in each frame [B, P, N], silence first.
            kept: share of the difference.
        Returns: [B, K, N], ln of power
        """
        sound = 1 - phones[:, :1]
        weight = sound / sound.sum(-1, keepdim=True).clamp(min=1.0)
        moves = _centred(torch.einsum("km,bmn->bkn", self.plain, spoken), weight)
        wanted = torch.einsum("wkm,bmn->bwkn", self.stretched, recording)
        wanted = _centred(wanted, weight[:, None])
        alike = (wanted * moves[:, None] * sound[:, None]).sum((2, 3))
        alike = alike / (wanted.square() * sound[:, None]).sum((2, 3)).clamp(min=1e-6).sqrt()
        best = alike.argmax(1)
        missing = wanted[torch.arange(len(best), device=best.device), best] - moves
        colour = torch.einsum("bpn,bkn->bpk", phones, missing)
        colour = colour / (phones.sum(-1)[..., None] + self.config.prior_frames)
        missing = missing - torch.einsum("bpn,bpk->bkn", phones, colour)
        return (kept * missing).clamp(-self.config.fall, self.config.rise)


def _centred(x: Tensor, weight: Tensor) -> Tensor:
    return x - (x * weight).sum(-1, keepdim=True)


def _stretch(bins: int, ratio: float) -> Tensor:
    """The matrix [M, M] by which bin m takes what lies at m times `ratio`."""
    place = (torch.arange(bins) * ratio).clamp(max=bins - 1)
    low = place.long().clamp(max=bins - 2)
    share = place - low
    matrix = torch.zeros(bins, bins)
    rows = torch.arange(bins)
    matrix[rows, low] = 1 - share
    matrix[rows, low + 1] = share
    return matrix
