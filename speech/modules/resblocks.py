"""Residual blocks of waveform networks: HiFi-GAN's and BigVGAN's AMP block (sections 3.6 and 3.8).

Both take an optional mask. With one, each row of a padded batch comes out as it would alone, because every convolution
then sees zeros behind the row's end, exactly as its own zero padding provides.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.snake import Activation1d, may_run_fast
from speech.modules.weight_norm import weight_norm

LEAKY_SLOPE = 0.1


def same_conv(channels: int, kernel_size: int, dilation: int = 1) -> nn.Conv1d:
    """A weight-normalised convolution that keeps channels and length."""
    padding = (kernel_size * dilation - dilation) // 2
    return weight_norm(nn.Conv1d(channels, channels, kernel_size, dilation=dilation, padding=padding))


class AMPBlock(nn.Module):
    """Anti-aliased multi-periodicity block: x + conv(act(conv_dilated(act(x)))), once per dilation.

    Args:
        channels: channels in and out.
        kernel_size: odd kernel of all convolutions.
        dilations: dilation of the first convolution of each round.
    """

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...] | list[int] = (1, 3, 5)):
        super().__init__()
        self.convs1 = nn.ModuleList(same_conv(channels, kernel_size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(same_conv(channels, kernel_size) for _ in dilations)
        self.activations1 = nn.ModuleList(Activation1d(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Activation1d(channels) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, C, T], mask [B, 1, T] bool or None -> [B, C, T], undefined where the mask is False."""
        rounds = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for activation1, conv1, activation2, conv2 in rounds:
            x = x + conv2(activation2(conv1(activation1(x, mask)), mask))
        return x


class HiFiGANBlock(nn.Module):
    """HiFi-GAN residual block: x + conv(lrelu(conv_dilated(lrelu(x)))), once per dilation; arguments of `AMPBlock`."""

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...] | list[int] = (1, 3, 5)):
        super().__init__()
        self.convs1 = nn.ModuleList(same_conv(channels, kernel_size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(same_conv(channels, kernel_size) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, C, T], mask [B, 1, T] or None -> [B, C, T], undefined where the mask is False."""
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            y = F.leaky_relu(x, LEAKY_SLOPE)
            y = F.leaky_relu(conv1(y if mask is None else y * mask), LEAKY_SLOPE)
            x = x + conv2(y if mask is None else y * mask)
        return x


class MultiKernelBlock(nn.Module):
    """The mean of several residual blocks that differ in kernel size (HiFi-GAN's multi-receptive-field fusion).

    Args:
        block: `AMPBlock` or `HiFiGANBlock`.
        channels: channels in and out.
        kernel_sizes: one block per entry.
        dilations: of every block.
    """

    def __init__(
        self,
        block: type[AMPBlock] | type[HiFiGANBlock],
        channels: int,
        kernel_sizes: tuple[int, ...] | list[int],
        dilations: tuple[int, ...] | list[int] = (1, 3, 5),
    ):
        super().__init__()
        self.blocks = nn.ModuleList(block(channels, kernel_size, dilations) for kernel_size in kernel_sizes)
        self.fast: Callable[..., Tensor] | None = None  # set by speech/fast.py

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, C, T], mask [B, 1, T] bool or None -> [B, C, T], undefined where the mask is False."""
        if self.fast is not None and may_run_fast(self, x):
            return self.fast(self, x, mask)
        return self.mean(x, mask)

    def mean(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward`, block by block."""
        total = self.blocks[0](x, mask)
        for block in self.blocks[1:]:
            total = total + block(x, mask)
        return total / len(self.blocks)
