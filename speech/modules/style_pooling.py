"""A light style encoder: ConvNeXt blocks over a log-mel prompt, pooled by attentive mean and deviation.

Stands where the official style encoder (`style.py`) stands, for models that learn from few speakers: pooled second-order
statistics say more about a voice than a mean does, and need fewer weights (Okabe et al. 2018, "Attentive statistics pooling").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.modules.convnext import ConvNeXtBlock

SPECTRUM_SCALE = 3.0  # log-mels are divided by this on the way into a layer


@dataclass
class StylePoolingConfig:
    """Sizes of the pooled style encoder."""

    n_mels: int = 80
    width: int = 160
    layers: int = 3
    out: int = 160
    dropout: float = 0.1
    spectrum: bool = False  # also add what is linear in the prompt's long-term spectrum to the vector


class StylePooling(nn.Module):
    """Log-mel prompt -> style vector."""

    def __init__(self, config: StylePoolingConfig) -> None:
        super().__init__()
        self.stem = nn.Conv1d(config.n_mels, config.width, 5, padding=2)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, expansion=2.0, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.attention = nn.Linear(config.width, config.width)
        self.out = nn.Linear(2 * config.width, config.out)
        self.spectrum = None
        if config.spectrum:
            self.spectrum = nn.Linear(2 * config.n_mels, config.out, bias=False)
            nn.init.zeros_(self.spectrum.weight)

    def forward(self, mel: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """mel [B, M, N], frame_mask [B, N] (True = valid) -> style [B, out] of about unit size per number."""
        mask = None if frame_mask is None else frame_mask[:, None].to(mel.dtype)
        x = self.stem(mel if mask is None else mel * mask)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x.transpose(1, 2)).float()  # [B, N, C]
        scores = self.attention(x).float()
        if frame_mask is not None:
            scores = scores.masked_fill(~frame_mask[..., None], -torch.inf)
        weights = scores.softmax(1)
        mean = (weights * x).sum(1)
        deviation = ((weights * x.square()).sum(1) - mean.square()).clamp(min=1e-5).sqrt()
        style = self.out(torch.cat([mean, deviation], 1))
        if self.spectrum is not None:
            style = style + self.spectrum(long_term_spectrum(mel, frame_mask).to(x.dtype) / SPECTRUM_SCALE)
        return style


def long_term_spectrum(mel: Tensor, frame_mask: Tensor | None = None) -> Tensor:
    """Log-mel [B, M, N] with valid frames [B, N] -> means of it and of its power, both as natural logarithms [B, 2M]."""
    mel = mel.float()
    if frame_mask is None:
        frame_mask = torch.ones_like(mel[:, 0], dtype=torch.bool)
    valid = frame_mask[:, None]  # [B, 1, N]
    count = valid.sum(-1).clamp(min=1)
    mean = (mel * valid).sum(-1) / count
    power = torch.where(valid, mel, -torch.inf).logsumexp(-1) - count.log()
    return torch.cat([mean, power], 1)
