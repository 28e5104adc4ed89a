"""Style encoder: log-mel of a prompt -> one vector of voice and prosody (Meta-StyleSpeech; section 3.11)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.modules.attention import RelativeAttention


@dataclass
class StyleEncoderConfig:
    """Sizes of a `StyleEncoder`; the defaults are those of the published models."""

    n_mels: int = 80
    hidden: int = 256
    out: int = 256
    kernel_size: int = 5
    n_temporal: int = 2
    heads: int = 2
    dropout: float = 0.1

    def __post_init__(self):
        if self.kernel_size % 2 == 0:
            raise ValueError(f"style.kernel_size must be odd, got {self.kernel_size}")
        if self.hidden % self.heads:
            raise ValueError(
                f"style.hidden must be a multiple of style.heads, got {self.hidden} and {self.heads}"
            )


class GatedConv(nn.Module):
    """x + dropout(a * sigmoid(b)), with a and b from one convolution."""

    def __init__(self, channels: int, kernel_size: int, dropout: float):
        super().__init__()
        self.conv = nn.Conv1d(channels, 2 * channels, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N] -> [B, C, N]."""
        return x + self.dropout(nn.functional.glu(self.conv(x), dim=1))


class StyleEncoder(nn.Module):
    """Per-frame layers, gated convolutions, self-attention, and the mean over time."""

    def __init__(self, config: StyleEncoderConfig):
        super().__init__()
        hidden = config.hidden
        self.spectral = nn.Sequential(
            nn.Conv1d(config.n_mels, hidden, 1),
            nn.Mish(),
            nn.Dropout(config.dropout),
            nn.Conv1d(hidden, hidden, 1),
            nn.Mish(),
            nn.Dropout(config.dropout),
        )
        self.temporal = nn.ModuleList(
            GatedConv(hidden, config.kernel_size, config.dropout) for _ in range(config.n_temporal)
        )
        self.attention = RelativeAttention(hidden, config.heads, window=None, dropout=config.dropout)
        # Equal queries and keys make attention start out as "frames that look alike".
        self.attention.conv_k.load_state_dict(self.attention.conv_q.state_dict())
        self.dropout = nn.Dropout(config.dropout)
        self.proj = nn.Conv1d(hidden, config.out, 1)

    def forward(
        self, mel: Tensor, frame_mask: Tensor | None = None, official_padding: bool = False
    ) -> Tensor:
        """Summarise a batch of prompts.

        Args:
            mel: [B, n_mels, N] log-mel.
            frame_mask: [B, N] bool, True = valid; None if every frame is valid.
            official_padding: reproduce the published code, in which padding leaks into the vector: nothing is masked
                between the gated convolutions, and the sum over time runs over padded frames too. By default a row
                of a padded batch gives the same vector as alone.

        Returns:
            style: [B, out].
        """
        if frame_mask is None:
            x = self._layers(self.spectral(mel), None, None)
            return self.proj(x).mean(dim=-1)
        mask = frame_mask[:, None]  # [B, 1, N]
        x = self._layers(self.spectral(mel) * mask, mask, None if official_padding else mask)
        x = self.proj(x)  # [B, out, N]
        if not official_padding:
            x = torch.where(mask, x, 0.0)
        return x.sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)

    def _layers(self, x: Tensor, mask: Tensor | None, mask_between: Tensor | None) -> Tensor:
        for i, block in enumerate(self.temporal):
            x = block(x)
            keep = mask if i == len(self.temporal) - 1 else mask_between
            x = x if keep is None else x * keep
        return x + self.dropout(self.attention(x, mask))
