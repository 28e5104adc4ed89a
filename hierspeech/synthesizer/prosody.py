"""Prosody decoder: latent -> the lowest mel bins, an auxiliary target in training (paper "prosody distillation"; spec 4.7)."""

from dataclasses import dataclass

from torch import Tensor, nn

from speech.modules.attention import TransformerEncoder


@dataclass
class ProsodyConfig:
    """Sizes of a `ProsodyDecoder`; `n_mels` counts the predicted bins from the lowest up."""

    n_mels: int = 20
    hidden: int = 192
    filter_channels: int = 768
    heads: int = 2
    n_layers: int = 2
    kernel_size: int = 5
    dropout: float = 0.1
    window: int = 4


class ProsodyDecoder(nn.Module):
    """A transformer encoder on latent frames with a projection to mel bins."""

    def __init__(self, config: ProsodyConfig, latent: int, style_channels: int):
        super().__init__()
        self.conv_pre = nn.Conv1d(latent, config.hidden, 3, padding=1)
        self.cond = nn.Conv1d(style_channels, config.hidden, 1)
        self.encoder = TransformerEncoder(
            config.hidden,
            config.filter_channels,
            config.heads,
            config.n_layers,
            config.kernel_size,
            config.dropout,
            config.window,
        )
        self.proj = nn.Conv1d(config.hidden, config.n_mels, 1, bias=False)

    def forward(self, z: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """z [B, latent, N], mask [B, 1, N] bool, style [B, style_channels] -> mel [B, n_mels, N], zero in padding."""
        x = self.conv_pre(z * mask) + self.cond(style[..., None])
        return self.proj(self.encoder(x, mask)) * mask
