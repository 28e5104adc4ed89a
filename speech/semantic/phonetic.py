"""Phonetic encoder: our own compact semantic encoder, a few million weights on a log-mel spectrogram.

It is trained to name the phone of every 20 ms frame under strong speaker perturbation and hands over the narrow layer before
that classifier: what is said and how, and as little as possible of who says it. Stands where MMS-300M stands in
HierSpeech++ (section 2.3 of the hand-over) when a voice must be small and fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.modules.convnext import ConvNeXtBlock
from speech.perturbation import PerturbationConfig, perturb_mel
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig, MelSpectrogram, short_windows


@dataclass
class PhoneticEncoderConfig:
    """Sizes of the phonetic encoder; the first layer halves the 100 Hz of `audio` to 50 Hz."""

    audio: AudioConfig = field(default_factory=short_windows)
    gain: float = 16.0  # on the wave: puts the mel's floor (0.001) below weak consonants
    dim: int = 64  # numbers a frame handed over
    width: int = 256
    layers: int = 8
    expansion: float = 2.0
    kernel_size: int = 7
    n_phones: int = 40  # classes of the training labels, silence first
    version: int = (
        1  # features of differently trained encoders do not fit together; part of the semantic spec
    )


class PhoneticEncoder(nn.Module, Pretrained):
    """wav -> phonetic features [B, dim, N] at 50 Hz, layer-normalised."""

    Config = PhoneticEncoderConfig
    growable_parts = {"layers": "blocks"}  # training may start from an encoder with fewer

    def __init__(self, config: PhoneticEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.audio)
        self.stem = nn.Conv1d(config.audio.n_mels, config.width, 6, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, config.expansion, config.kernel_size) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.bottleneck = nn.Linear(config.width, config.dim)
        self.classifier = nn.Linear(config.dim, config.n_phones)

    @property
    def spec(self) -> SemanticSpec:
        """What a model trained on these features must agree with."""
        return SemanticSpec(name="phonetic", layer=self.config.version, dim=self.config.dim, rate_hz=50)

    def forward(
        self,
        wav: Tensor,
        lengths: Tensor | None = None,
        perturbation: PerturbationConfig | None = None,
        classify: bool | str = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Features of a batch of recordings.

        Args:
            wav: [B, T] at 16 kHz.
            lengths: valid samples [B]; None = all.
            perturbation: change speaker and channel of each utterance at random first (training).
            classify: return phone logits [B, N, n_phones] instead of the features; "both" returns features and logits.
        Returns: semantic [B, dim, N] with N = T // 320, 0 past each end
        """
        # silence after the end, so that an utterance looks the same alone as in a padded batch
        mel = self.mel(F.pad(wav * self.config.gain, (0, 320)))[..., : wav.shape[-1] // 160]
        if perturbation is not None:
            mel = perturb_mel(mel, perturbation)
        semantic = self.encode_mel(mel, None if lengths is None else lengths // 160)[
            ..., : wav.shape[-1] // 320
        ]
        if classify == "both":
            return semantic, self.classify(semantic)
        return self.classify(semantic) if classify else semantic

    def encode_mel(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Log-mel [B, M, 2N] with valid lengths [B] in mel frames -> semantic [B, dim, N].

        The mean of each bin over the utterance is taken off first: it says more about speaker and channel than about words.
        """
        frames = mel.shape[-1]
        if lengths is None:
            mask = mel.new_ones(1, 1, frames)
        else:
            mask = (torch.arange(frames, device=mel.device) < lengths[:, None])[:, None].to(mel.dtype)
        mel = (mel - (mel * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)) * mask
        x = self.stem(F.pad(mel, (0, 2)))[..., : frames // 2]  # [B, C, N]
        half = mask[..., : frames // 2 * 2 : 2]
        x = x * half
        for block in self.blocks:
            x = block(x, half)
        x = self.bottleneck(self.norm(x.transpose(1, 2)))
        return F.layer_norm(x, x.shape[-1:]).transpose(1, 2) * half

    def classify(self, semantic: Tensor) -> Tensor:
        """semantic [B, dim, N] -> phone logits [B, N, n_phones] (training and diagnosis)."""
        return self.classifier(semantic.transpose(1, 2))
