"""Speaker perturbation of log-mel spectrograms: the same words as another vocal tract and channel would give them.

HierSpeech++ perturbs the waveform in the manner of NANSY before it takes semantic features (section 9.1 of the hand-over).
On a mel spectrogram a change of vocal-tract length is a stretch of the frequency axis and an equaliser an offset per bin,
which costs next to nothing, so it is done on the fly for every batch, on the training device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class PerturbationConfig:
    """Ranges of the random changes."""

    stretch: float = 1.18  # the mel axis is stretched by a factor log-uniform in 1/stretch..stretch
    level: float = 1.0  # natural-log units of power, uniform
    tilt: float = 0.8  # largest offset (natural log) at the two ends of a random straight line over the bins
    equaliser: float = 0.5  # standard deviation (natural log) of a smooth random curve over the bins
    noise: float = 0.3  # probability of added noise
    masks: int = 0  # SpecAugment: masks in time and in frequency each
    mask_frames: int = 12
    mask_bins: int = 10


def perturb_mel(mel: Tensor, config: PerturbationConfig, strength: float = 1.0) -> Tensor:
    """Perturb each utterance of a batch in its own way.

    Args:
        mel: natural-log mel power [B, M, N].
        strength: 0 leaves speaker and channel unchanged, 1 uses the whole ranges.
    Returns: [B, M, N]
    """
    batch, bins, frames = mel.shape
    device = mel.device
    ratio = torch.exp((torch.rand(batch, 1, device=device) * 2 - 1) * math.log(config.stretch) * strength)
    position = (torch.arange(bins, device=device) * ratio).clamp(max=bins - 1)  # [B, M]
    low = position.long().clamp(max=bins - 2)
    share = (position - low)[..., None]
    index = low[..., None].expand(-1, -1, frames)
    mel = mel.gather(1, index) * (1 - share) + mel.gather(1, index + 1) * share

    line = torch.linspace(-1, 1, bins, device=device)
    knots = torch.randn(batch, 1, 6, device=device) * config.equaliser
    curve = F.interpolate(knots, size=bins, mode="linear", align_corners=True)[:, 0]
    offset = curve + _uniform(batch, config.tilt, device) * line + _uniform(batch, config.level, device)
    mel = mel + strength * offset[..., None]

    noisy = torch.rand(batch, 1, 1, device=device) < config.noise * strength
    if noisy.any():
        level = (
            mel.exp().mean((1, 2), keepdim=True).log() - 2.3 - 3.5 * torch.rand(batch, 1, 1, device=device)
        )
        grain = -torch.log(
            torch.rand_like(mel).clamp(min=1e-6)
        )  # power of noise is exponentially distributed
        mel = torch.where(noisy, torch.logaddexp(mel, level + grain.log()), mel)
    return _mask(mel, config)


def _uniform(batch: int, largest: float, device: torch.device) -> Tensor:
    return (torch.rand(batch, 1, device=device) * 2 - 1) * largest


def _mask(mel: Tensor, config: PerturbationConfig) -> Tensor:
    batch, bins, frames = mel.shape
    keep = torch.ones_like(mel, dtype=torch.bool)
    for _ in range(config.masks):
        for axis, size, widest in ((2, frames, config.mask_frames), (1, bins, config.mask_bins)):
            width = torch.rand(batch, 1, 1, device=mel.device) * widest
            start = torch.rand(batch, 1, 1, device=mel.device) * (size - width)
            place = torch.arange(size, device=mel.device).view((1, 1, -1) if axis == 2 else (1, -1, 1))
            keep &= (place < start) | (place >= start + width)
    return torch.where(keep, mel, mel.mean((1, 2), keepdim=True)) if config.masks else mel
