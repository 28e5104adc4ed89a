"""Detail encoder: what recorded speech says beyond its semantic features, for copies and conversion (ours, not the paper's).

A compact phonetic encoder that is wrong about a sound makes the synthesizer speak another one. This adds, through a narrow and
noisy channel, how the sound was made: a coarse spectrum without the recording's mean, in training of another vocal tract and
channel than the target (`speech/perturbation.py`), so that there is little to learn from it about the voice. Text-to-vec
knows nothing of it; the synthesizer learns from features with and without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.modules.convnext import ConvNeXtBlock
from speech.perturbation import PerturbationConfig, perturb_mel
from speech.spectrogram import AudioConfig, MelSpectrogram, short_windows


@dataclass
class DetailConfig:
    """Sizes of the detail encoder; the first layer halves the 100 Hz of `audio` to 50 Hz."""

    audio: AudioConfig = field(default_factory=short_windows)
    gain: float = 16.0  # on the wave: puts the mel's floor (0.001) below weak consonants
    bands: int = (
        20  # means of neighbouring mel bins: too coarse for harmonics, so that pitch comes from F0 alone
    )
    width: int = 64
    layers: int = 1
    channels: int = 12  # numbers a frame, each in -1..1
    noise: float = 0.3  # standard deviation of what training adds to them

    def __post_init__(self):
        if self.audio.n_mels % self.bands:
            raise ValueError(f"detail.bands must divide audio.n_mels {self.audio.n_mels}, got {self.bands}")


@dataclass
class DetailInputs:
    """What of a training batch the details are taken from; W samples of context around the target's frames."""

    context: Tensor  # [B, W]
    n_context: Tensor  # [B] valid samples
    first_frame: Tensor  # [B] where the target starts in the context
    used: Tensor  # [B] bool, False where the features are text-to-vec's
    perturbation: PerturbationConfig | None


class DetailEncoder(nn.Module):
    """wav -> what is added to its semantic features."""

    def __init__(self, config: DetailConfig, semantic_dim: int) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.audio)
        self.stem = nn.Conv1d(config.bands, config.width, 6, stride=2, padding=2)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.width, 2.0) for _ in range(config.layers))
        self.narrow = nn.Conv1d(config.width, config.channels, 1)
        self.out = nn.Conv1d(config.channels, semantic_dim, 1, bias=False)
        # little beside features of unit size, but enough to learn from: from nothing it takes thousands of steps
        nn.init.normal_(self.out.weight, std=0.5 / math.sqrt(config.channels))

    def pieces(self, inputs: DetailInputs, frames: int) -> Tensor:
        """What is added to the features [B, semantic_dim, N] of a batch of training pieces of `frames` frames."""
        detail = self(inputs.context, inputs.n_context, inputs.perturbation)
        places = inputs.first_frame[:, None] + torch.arange(frames, device=detail.device)
        detail = detail.gather(2, places[:, None].expand(-1, detail.shape[1], -1))
        return detail * inputs.used[:, None, None]

    def forward(
        self, wav: Tensor, lengths: Tensor | None = None, perturbation: PerturbationConfig | None = None
    ) -> Tensor:
        """wav [B, T] at 16 kHz with valid samples [B] (None = all) -> [B, semantic_dim, T // 320], 0 past each end."""
        frames = wav.shape[-1] // 320
        # silence after the end, so that a recording looks the same alone as in a padded batch
        mel = self.mel(F.pad(wav * self.config.gain, (0, 320)))[..., : 2 * frames]
        if perturbation is not None:
            mel = perturb_mel(mel, perturbation)
        valid = mel.shape[-1] if lengths is None else (lengths // 160)[:, None]
        mask = (torch.arange(mel.shape[-1], device=mel.device)[None] < valid)[:, None].to(mel.dtype)
        mel = mel.unflatten(1, (self.config.bands, -1)).mean(2)
        mel = (mel - (mel * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)) * mask
        mel, half = mel.to(self.stem.weight.dtype), mask[..., ::2].to(self.stem.weight.dtype)
        x = self.stem(mel)[..., :frames] * half
        for block in self.blocks:
            x = block(x, half)
        x = self.narrow(x).tanh()
        if self.training:
            x = x + self.config.noise * torch.randn_like(x)
        return self.out(x) * half
