"""Speaker encoder: a small network that tells speakers apart, as a loss for synthesis ("speaker consistency", YourTTS section 2.3).

A mel loss counts every bin alike and settles for an average voice where it is unsure; this network has learnt which
differences make another speaker of the same words. It judges training alone: evaluation has judges of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.modules.convnext import ConvNeXtBlock
from speech.spectrogram import AudioConfig, MelSpectrogram, short_windows

LOUDNESS_POWER = 0.3  # loudness grows about so with power (Stevens)


@dataclass
class SpeakerEncoderConfig:
    """Sizes of the speaker encoder; the first layer halves the 100 Hz of `audio` to 50 Hz."""

    audio: AudioConfig = field(default_factory=short_windows)
    gain: float = 16.0  # on the wave: puts the mel's floor (0.001) below what is faint in speech
    width: int = 160
    layers: int = 4
    dim: int = 128  # of the embedding
    dropout: float = 0.1
    classes: int = 0  # speakers that it learns to name; set by the recipe


class SpeakerEncoder(nn.Module, Pretrained):
    """wav -> embedding of the voice, and the feature maps on the way."""

    Config = SpeakerEncoderConfig

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.audio)
        self.stem = nn.Conv1d(2 * config.audio.n_mels, config.width, 6, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, 2.0, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.attention = nn.Linear(config.width, config.width)
        self.out = nn.Linear(2 * config.width, config.dim)
        self.classes = nn.Parameter(torch.randn(config.classes, config.dim))

    def forward(self, wav: Tensor, classify: bool = False) -> tuple[Tensor, list[Tensor]]:
        """wav [B, T] at 16 kHz -> embedding [B, dim] of length 1, and the blocks' outputs [B, width, T // 320].

        With `classify` the cosines [B, classes] between embedding and speakers come instead of the embedding.
        """
        log_mel = self.mel(wav * self.config.gain)  # [B, M, 2N]
        # what is faint in the one, what is loud in the other
        x = self.stem(torch.cat([log_mel / 3, (LOUDNESS_POWER * log_mel).exp() - 1], 1))
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        x = self.norm(x.transpose(1, 2)).float()  # [B, N, C]
        weights = self.attention(x).float().softmax(1)
        mean = (weights * x).sum(1)
        deviation = ((weights * x.square()).sum(1) - mean.square()).clamp(min=1e-5).sqrt()
        embedding = F.normalize(self.out(torch.cat([mean, deviation], 1)).float(), dim=1)
        return (embedding @ F.normalize(self.classes.float(), dim=1).T if classify else embedding), features


def speaker_losses(encoder: SpeakerEncoder, wav: Tensor, wav_hat: Tensor) -> tuple[Tensor, Tensor]:
    """How unlike two voices sound that say the same.

    Args:
        encoder: frozen.
        wav, wav_hat: recorded and generated [B, T] at 16 kHz.
    Returns: 1 - cosine of the embeddings, and the mean absolute difference of the feature maps over their deviation; scalars
    """
    with torch.no_grad():
        embedding, features = encoder(wav)
    embedding_hat, features_hat = encoder(wav_hat)
    distance = (1 - (embedding * embedding_hat).sum(1)).mean()
    matching = sum(
        F.l1_loss(made.float(), real.float()) / real.float().std()
        for real, made in zip(features, features_hat, strict=True)
    ) / len(features)
    return distance, matching
