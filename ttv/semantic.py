"""Semantic features <-> latent: the posterior encoder (training only) and the decoder of the text-to-vec model."""

from dataclasses import dataclass

from torch import Tensor, nn

from speech.modules.gaussian import DiagonalGaussian
from speech.modules.wavenet import WaveNet


@dataclass
class PosteriorConfig:
    """Sizes of the posterior encoder's WaveNet."""

    layers: int = 16
    kernel_size: int = 5


@dataclass
class SemanticDecoderConfig:
    """Sizes of the semantic decoder's WaveNet."""

    hidden: int = 512
    layers: int = 8
    kernel_size: int = 5
    dropout: float = 0.1


class PosteriorEncoder(nn.Module):
    """Semantic features of a recording -> posterior of the latent."""

    def __init__(self, config: PosteriorConfig, semantic_dim: int, latent: int, style_channels: int):
        super().__init__()
        self.pre = nn.Conv1d(semantic_dim, latent, 1)
        self.wavenet = WaveNet(latent, config.kernel_size, config.layers, style_channels)
        self.proj = nn.Conv1d(latent, 2 * latent, 1)

    def forward(self, semantic: Tensor, mask: Tensor, style: Tensor) -> DiagonalGaussian:
        """semantic [B, C, N], mask [B, 1, N], style [B, C_style] -> posterior [B, latent, N], zero where padded."""
        x = self.wavenet(self.pre(semantic) * mask, mask, style.unsqueeze(2))
        mean, log_std = (self.proj(x) * mask).chunk(2, dim=1)
        return DiagonalGaussian(mean, log_std)


class SemanticDecoder(nn.Module):
    """Latent -> semantic features."""

    def __init__(self, config: SemanticDecoderConfig, latent: int, semantic_dim: int, style_channels: int):
        super().__init__()
        self.pre = nn.Conv1d(latent, config.hidden, 1)
        self.wavenet = WaveNet(
            config.hidden, config.kernel_size, config.layers, style_channels, config.dropout
        )
        self.proj = nn.Conv1d(config.hidden, semantic_dim, 1)

    def forward(self, z: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """z [B, latent, N], mask [B, 1, N], style [B, C_style] -> semantic [B, C, N], zero where padded."""
        x = self.wavenet(self.pre(z * mask) * mask, mask, style.unsqueeze(2))
        return self.proj(x) * mask
