"""Articulation: how a recording moves its spectrum, given to what is spoken from its features (ours, not the paper's).

A compact semantic encoder is wrong about some sounds and blurs others; the wave made of its features then lacks them. In voice conversion
the recording is at hand, and what its spectrum has more or less than that wave, band by band and frame by frame, can go onto the
generator's spectrum as an equalizer's gains do. The target's voice must stay, so three things are taken off first: the mean over the
recording (the channel, the colour of the voice), another length of the vocal tract (the frequency axis of the recording is stretched
until its spectrum moves most like the wave's), and the mean difference of each phone (how this speaker colours it). The latter
two say how far the voices are apart, and so how much may stay. There is nothing to train.

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

    kept: float = (
        0.5  # share of the difference, 0 to 1, between voices that differ, unless a call says otherwise
    )
    # how far two voices are apart, ln of power: of one that speaks like itself all is kept; in between, a share in between
    same: float = 0.7
    other: float = 1.2
    bands: int = (
        20  # at most, of neighbouring mel bins: too coarse for harmonics; a divisor of the equalizer's
    )
    stretches: int = 13  # of the frequency axis that are tried, an odd number: with none in the middle ...
    widest: float = 1.2  # ... from 1 / widest to widest
    prior_frames: float = (
        2.0  # at 100 Hz: of a phone heard for that many half of the mean difference is taken off
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
        if not 0 <= self.same < self.other:
            raise ValueError(
                f"articulation: expected same of 0 or more and other above it, got {self.same:g} and {self.other:g}"
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

    def forward(self, recording: Tensor, spoken: Tensor, phones: Tensor, kept: float | None = None) -> Tensor:
        """What each band of `spoken` gets.

        Args:
            recording, spoken: log-mel power [B, M, N].
            phones: share of each phone in each frame [B, P, N], silence first.
            kept: share of the difference; None is the model's own, by how much the voices differ, and the less they do, the
                less of the phones' means is taken off.
        Returns: [B, K, N], ln of power
        """
        sound = 1 - phones[:, :1]
        weight = sound / sound.sum(-1, keepdim=True).clamp(min=1.0)
        heard = torch.einsum("km,bmn->bkn", self.plain, spoken)
        moves = _centred(heard, weight)
        wanted = torch.einsum("wkm,bmn->bwkn", self.stretched, recording)
        wanted = _centred(wanted, weight[:, None])
        likeness = (wanted * moves[:, None] * sound[:, None]).sum((2, 3))
        likeness = likeness / (wanted.square() * sound[:, None]).sum((2, 3)).clamp(min=1e-6).sqrt()
        best = likeness.argmax(1)
        missing = wanted[torch.arange(len(best), device=best.device), best] - moves
        alike: float | Tensor = 0.0
        if kept is None:
            alike = self._alike(recording, heard, phones, weight)
            kept = self.config.kept + (1 - self.config.kept) * alike
        missing = missing - (1 - alike) * self._colour(missing, phones)
        return (kept * missing).clamp(-self.config.fall, self.config.rise)

    def _colour(self, difference: Tensor, phones: Tensor) -> Tensor:
        """The mean of each phone of a difference [B, K, N], in each frame."""
        sums = torch.einsum("bpn,bkn->bpk", phones, difference)
        return torch.einsum(
            "bpn,bpk->bkn", phones, sums / (phones.sum(-1)[..., None] + self.config.prior_frames)
        )

    def _alike(self, recording: Tensor, heard: Tensor, phones: Tensor, weight: Tensor) -> Tensor:
        """1 where the voices are one, 0 where they differ, on the whole and phone by phone [B, 1, 1]; 0 of silence, too."""
        config = self.config
        difference = torch.einsum("km,bmn->bkn", self.plain, recording) - heard
        mean = (difference * weight).sum(-1, keepdim=True)
        voices = mean - mean.mean(1, keepdim=True) + self._colour(difference - mean, phones)
        apart = (voices.square().mean(1, keepdim=True) * weight).sum(-1, keepdim=True).sqrt()
        alike = ((config.other - apart) / (config.other - config.same)).clamp(0.0, 1.0)
        return alike * weight.sum(-1, keepdim=True)


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
