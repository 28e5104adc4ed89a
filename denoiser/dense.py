"""The convolutions around the conformers of MP-SENet: dense encoder, magnitude decoder, phase decoder (hand-over section 7).

Spectrograms are [B, C, N, F] here: N frames, F frequency bins; the conformers work at half the bins, K = (F - 1) // 2.
"""

import torch
from torch import Tensor, nn


class ConvNormAct(nn.Module):
    """A convolution, instance norm (per utterance and channel), PReLU."""

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv
        self.norm = nn.InstanceNorm2d(conv.out_channels, affine=True)
        self.activation = nn.PReLU(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, F] -> [B, C', N, F']."""
        return self.activation(self.norm(self.conv(x)))


class DenseBlock(nn.Module):
    """Convolutions of growing reach in time, each of which sees what all before it have made."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.stages = nn.ModuleList()
        for i in range(depth):
            reach = (2**i, 1)  # dilation, and the padding that goes with it
            conv = nn.Conv2d(channels * (i + 1), channels, 3, dilation=reach, padding=reach)
            self.stages.append(ConvNormAct(conv))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, F] -> [B, C, N, F]."""
        seen = x
        for stage in self.stages:
            x = stage(seen)
            if stage is not self.stages[-1]:
                seen = torch.cat([x, seen], dim=1)
        return x


class DenseEncoder(nn.Module):
    """Magnitude and phase -> features at half the frequency bins."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.input = ConvNormAct(nn.Conv2d(2, channels, 1))
        self.dense = DenseBlock(channels, depth)
        self.down = ConvNormAct(nn.Conv2d(channels, channels, (1, 3), stride=(1, 2)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, N, F] -> [B, C, N, K]."""
        return self.down(self.dense(self.input(x)))


class MagnitudeDecoder(nn.Module):
    """Features -> the factor by which each compressed magnitude is multiplied, 0 to `beta`."""

    def __init__(self, channels: int, depth: int, n_bins: int, beta: float):
        super().__init__()
        self.beta = beta
        self.dense = DenseBlock(channels, depth)
        self.up = _up(channels)
        self.squeeze = ConvNormAct(nn.Conv2d(channels, 1, 1))
        self.out = nn.Conv2d(1, 1, 1)
        self.slope = nn.Parameter(torch.ones(n_bins, 1))  # of the sigmoid, per frequency bin

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, K] -> [B, F, N]."""
        x = self.out(self.squeeze(self.up(self.dense(x))))[:, 0].transpose(1, 2)  # [B, F, N]
        return self.beta * torch.sigmoid(self.slope * x)


class PhaseDecoder(nn.Module):
    """Features -> phase, as the angle of two predicted parts."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.dense = DenseBlock(channels, depth)
        self.up = ConvNormAct(_up(channels))
        self.real = nn.Conv2d(channels, 1, 1)
        self.imaginary = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, K] -> phase [B, F, N] in radians, -pi to pi."""
        x = self.up(self.dense(x))
        phase = torch.atan2(self.imaginary(x).float(), self.real(x).float())
        return phase[:, 0].transpose(1, 2)


def _up(channels: int) -> nn.ConvTranspose2d:
    """K -> F frequency bins."""
    return nn.ConvTranspose2d(channels, channels, (1, 3), stride=(1, 2))
