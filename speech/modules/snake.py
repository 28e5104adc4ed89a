"""SnakeBeta and the alias-free activation around it (BigVGAN; section 3.7).

A pointwise non-linearity creates harmonics above the Nyquist frequency, which fold back as noise. `Activation1d` runs it
at twice the rate, between two low-pass filters with the same 12 taps.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 12


def lowpass_taps() -> Tensor:
    """The Kaiser-windowed sinc [TAPS]: cutoff 1/4 of the rate, transition half-width 0.3, unit sum."""
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * (4 * 0.3) + 7.95  # dB
    window = torch.kaiser_window(TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7), dtype=torch.float64)
    time = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    taps = window * torch.sinc(time / 2) / 2
    return (taps / taps.sum()).float()


def stretch_mask(mask: Tensor, factor: int) -> Tensor:
    """Mask [B, 1, N] -> [B, 1, factor * N], every entry repeated."""
    return mask.repeat_interleave(factor, dim=-1)


def hold_last(x: Tensor, mask: Tensor) -> Tensor:
    """Repeat the last valid value of each row over its padding: what replicate padding does to the row alone.

    Args:
        x: [B, C, T].
        mask: [B, 1, T] bool, True for the first positions of each row.
    """
    last = (mask.sum(dim=-1, keepdim=True) - 1).clamp(min=0)  # [B, 1, 1]
    return torch.where(mask, x, x.gather(2, last.expand(-1, x.shape[1], -1)))


def may_run_fast(module: nn.Module, x: Tensor) -> bool:
    """Whether nothing but the values of `module(x)` is wanted: no gradients, no graph for an exporter, no other dtype."""
    if module.training or torch.is_grad_enabled() or x.dtype != torch.float32:
        return False
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export())


class SnakeBeta(nn.Module):
    """x + sin(a x)^2 / b per channel, with a and b stored as logarithms (`alpha`, `beta`, both start at 0)."""

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        alpha = self.alpha.exp()[:, None]
        beta = self.beta.exp()[:, None]
        return x + torch.sin(x * alpha).square() / (beta + 1e-9)


class Activation1d(nn.Module):
    """Up-sample by 2, SnakeBeta, down-sample by 2, each with replicate padding at the ends of the signal."""

    def __init__(self, channels: int):
        super().__init__()
        self.act = SnakeBeta(channels)
        self.register_buffer("taps", lowpass_taps(), persistent=False)
        self.fast: Any = None  # a FastActivation, set by speech/fast.py

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the activation.

        Args:
            x: [B, C, T].
            mask: [B, 1, T] bool, True = valid, or None. With a mask every row is treated as if it ended where its
                mask ends, and the output is zero behind that.

        Returns:
            [B, C, T].
        """
        if self.fast is not None and may_run_fast(self, x):
            return self.fast(self, x, mask)
        return self.plain(x, mask)

    def into(self, conv: nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`conv` of the activation: [B, C, T], mask [B, 1, T] or None -> [B, C', T], undefined where the mask is False."""
        if self.fast is not None and may_run_fast(self, x):
            return self.fast.into(self, conv, x, mask)
        return conv(self(x, mask))

    def plain(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward` in layers that autograd and exporters know."""
        if mask is None:
            return self._down(self.act(self._up(x)))
        x = self.act(self._up(hold_last(x, mask)))  # [B, C, 2T]
        return self._down(hold_last(x, stretch_mask(mask, 2))) * mask

    def _up(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, -1)
        # Five replicated samples a side are enough for the filter; what they add to the length is cut off again.
        x = F.pad(x, (TAPS // 2 - 1, TAPS // 2 - 1), mode="replicate")
        return 2 * F.conv_transpose1d(x, taps, stride=2, groups=channels)[..., 15:-15]  # [B, C, 2T]

    def _down(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, -1)
        x = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(x, taps, stride=2, groups=channels)  # [B, C, T]
