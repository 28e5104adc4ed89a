"""Downward expander: bands that lie far under a voice's long-term level are made quieter still (ours, not the paper's).

What a generator leaves between the sounds of a band, and what a table measured on a noisy reference adds to it, is noise rather
than speech. Speech has gaps: where the power of a band falls so many dB under its mean over the reference, it is taken down by
as much again. The level belongs to the reference, not to what is spoken, so that a stream and a call give the same samples.
There is nothing to train.

Shapes: B batch, N frames of the generator, K bands, F bins of its STFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.spectrogram import AudioConfig, LinearSpectrogram

NEPERS_PER_DB = math.log(10.0) / 10.0  # of power
POWER_FLOOR = 1e-9


@dataclass
class ExpanderConfig:
    """Where bands become quieter, and by how much."""

    below_db: float = 20.0  # under the long-term level of the band
    slope: float = 1.0  # dB down for each dB further under; 0 leaves all as it is
    most_db: float = 10.0  # dB down at most: with more, words are lost (docs/lite.md, 33)

    def __post_init__(self):
        if self.below_db < 0 or self.slope < 0 or self.most_db < 0:
            raise ValueError(f"expander: expected below_db, slope and most_db of 0 or more, got {self}")


class Expander(nn.Module):
    """Knows the bands of a generator's spectrum: `level` measures a recording, the call changes what is spoken."""

    def __init__(self, config: ExpanderConfig, bins: Tensor, sample_rate: int) -> None:
        """bins: weights of the bands in each bin [F, K], each row of sum 1."""
        super().__init__()
        self.config = config
        n_fft = 2 * (len(bins) - 1)
        audio = AudioConfig(sample_rate, n_fft, n_fft, n_fft // 4, f_max=sample_rate / 2)
        self.spectrogram = LinearSpectrogram(audio, power=2.0)
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("means", (bins / bins.sum(0, keepdim=True)).T.contiguous(), persistent=False)

    def level(self, wav: Tensor) -> Tensor:
        """Recordings [B, T] -> mean power of each band [B, K], of an STFT like the generator's."""
        return (self.means @ self.spectrogram(wav)).mean(-1)

    def forward(self, log_magnitude: Tensor, level: Tensor) -> Tensor:
        """Log magnitudes [B, F, N] and `level` [B, K], 0 where it is not known -> log magnitudes [B, F, N]."""
        config = self.config
        power = torch.einsum("kf,bfn->bkn", self.means, (2 * log_magnitude).clamp(max=20.0).exp())
        # the logarithm of an unknown level is -inf, which nothing is under
        threshold = level.clamp(min=0.0).log() - config.below_db * NEPERS_PER_DB
        under = threshold[..., None] - (power + POWER_FLOOR).log()
        down = (config.slope * under).clamp(0.0, config.most_db * NEPERS_PER_DB)
        return log_magnitude - torch.einsum("fk,bkn->bfn", self.bins, down) / 2
