"""Semantic encoders: semantic features and pitch -> a distribution over latent frames (paper section 3.2; spec 4.2).

The model has two of them with separate weights. The *prior* hears perturbed speech and is the one used for synthesis;
the *posterior* hears clean speech and exists for training only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.modules.gaussian import DiagonalGaussian
from speech.modules.snake import stretch_mask
from speech.modules.wavenet import WaveNet

F0_PER_FRAME = 4  # F0 is sampled at 200 Hz, frames at 50 Hz


@dataclass
class SemanticEncoderConfig:
    """Sizes of a `SemanticEncoder`; each of its three WaveNets has `n_layers` layers."""

    hidden: int = 192
    kernel_size: int = 5
    n_layers: int = 8
    dropout: float = 0.0


class SemanticEncoder(nn.Module):
    """One WaveNet over semantic features, one over pitch, and one over their sum.

    Args:
        config: sizes.
        semantic_dim: channels of the semantic features.
        latent: channels of the distribution.
        style_channels: size of the style vector.
        official_padding: read padded F0 values next to the last frame, as the published code does.
    """

    def __init__(
        self,
        config: SemanticEncoderConfig,
        semantic_dim: int,
        latent: int,
        style_channels: int,
        official_padding: bool = False,
    ):
        super().__init__()
        self.official_padding = official_padding
        hidden = config.hidden
        sizes = (hidden, config.kernel_size, config.n_layers, style_channels, config.dropout)
        self.semantic_pre = nn.Conv1d(semantic_dim, hidden, 1)
        self.f0_pre = nn.Conv1d(1, hidden, 2 * F0_PER_FRAME + 1, stride=F0_PER_FRAME, padding=F0_PER_FRAME)
        self.semantic_net = WaveNet(*sizes)
        self.f0_net = WaveNet(*sizes)
        self.joint_net = WaveNet(*sizes)
        self.proj = nn.Conv1d(hidden, 2 * latent, 1)

    def forward(self, semantic: Tensor, log_f0: Tensor, mask: Tensor, style: Tensor) -> DiagonalGaussian:
        """Encode a batch.

        Args:
            semantic: [B, semantic_dim, N].
            log_f0: [B, 1, 4N], log(F0 in Hz + 1), 0 = unvoiced.
            mask: [B, 1, N] bool, True = valid.
            style: [B, style_channels].

        Returns:
            mean and log_std [B, latent, N], zero where the mask is False.
        """
        if log_f0.shape[-1] != F0_PER_FRAME * semantic.shape[-1]:
            raise ValueError(
                f"log_f0 has {log_f0.shape[-1]} values for {semantic.shape[-1]} frames, expected {F0_PER_FRAME} a frame"
            )
        style = style[..., None]  # [B, style_channels, 1]
        if not self.official_padding:
            log_f0 = torch.where(stretch_mask(mask.bool(), F0_PER_FRAME), log_f0, 0.0)
        x = self.semantic_net(self.semantic_pre(semantic) * mask, mask, style)
        x = x + self.f0_net(self.f0_pre(log_f0) * mask, mask, style)  # [B, hidden, N]
        return DiagonalGaussian.project(self.proj, self.joint_net(x, mask, style), mask)
