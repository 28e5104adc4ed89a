"""The metric discriminator: predicts from two magnitude spectrograms how good one is against the other.

MetricGAN's idea (Fu et al. 2019) with CMGAN's network (Cao et al. 2022), as MP-SENet takes it: the denoiser is taught by
what the discriminator has learnt about a measure that cannot be differentiated. Training only, never published.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass
class MetricDiscriminatorConfig:
    """Sizes of a `MetricDiscriminator`; the defaults are CMGAN's."""

    channels: int = 16  # of the first convolution; they double with each
    layers: int = 4
    dropout: float = 0.3

    def __post_init__(self):
        if min(self.channels, self.layers) < 1:
            raise ValueError(f"expected positive channels and layers, got {self}")


class MetricDiscriminator(nn.Module):
    """(reference, degraded) magnitudes -> predicted quality of the degraded one."""

    def __init__(self, config: MetricDiscriminatorConfig):
        super().__init__()
        blocks, width = [], 2
        for i in range(config.layers):
            wider = config.channels * 2**i
            conv = nn.Conv2d(width, wider, 4, stride=2, padding=1, bias=False)
            blocks += [spectral_norm(conv), nn.InstanceNorm2d(wider, affine=True), nn.PReLU(wider)]
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            spectral_norm(nn.Linear(width, max(width // 2, 1))),
            nn.Dropout(config.dropout),
            nn.PReLU(max(width // 2, 1)),
            spectral_norm(nn.Linear(max(width // 2, 1), 1)),
        )
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, reference: Tensor, degraded: Tensor) -> Tensor:
        """Compressed magnitudes [B, F, N] twice -> quality [B], 0 to 1."""
        x = self.blocks(torch.stack([reference, degraded], dim=1))  # [B, C, F / 2 ** layers, N / 2 ** layers]
        x = x.amax(dim=(2, 3))  # [B, C]: a fault counts wherever it is
        return torch.sigmoid(self.slope * self.head(x))[:, 0]
