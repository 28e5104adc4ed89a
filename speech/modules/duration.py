"""Stochastic duration predictor: a flow over token durations (VITS section 2.2.2; HierSpeech++ text-to-vec).

Shapes: B batch, C channels, S tokens. Everything runs in float32: splines and log-determinants do not survive bf16.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.attention import ChannelLayerNorm
from speech.modules.spline import rational_quadratic_spline

LOG_2PI = math.log(2 * math.pi)
SMALLEST_DURATION = 1e-5  # frames; floor before the logarithm


class StochasticDurationPredictor(nn.Module):
    """Density over the durations of every token, given the text encoder's output and the style.

    The predictor learns from detached inputs: its loss does not reach the text or the style encoder.

    Args:
        channels: width C of the text encoder's output and inside.
        style_channels: width of the style vector.
        kernel_size, dropout: of the separable convolutions.
        n_flows: coupling layers in each of the two flows.
    """

    def __init__(
        self, channels: int, style_channels: int, kernel_size: int = 3, dropout: float = 0.5, n_flows: int = 4
    ):
        super().__init__()
        self.pre = nn.Conv1d(channels, channels, 1)
        self.style_proj = nn.Conv1d(style_channels, channels, 1)
        self.convs = SeparableConvs(channels, kernel_size, dropout=dropout)
        self.proj = nn.Conv1d(channels, channels, 1)
        self.duration_pre = nn.Conv1d(1, channels, 1)
        self.duration_convs = SeparableConvs(channels, kernel_size, dropout=dropout)
        self.duration_proj = nn.Conv1d(channels, channels, 1)
        self.flow = DurationFlow(channels, kernel_size, n_flows)
        self.posterior_flow = DurationFlow(channels, kernel_size, n_flows)

    def forward(
        self, x: Tensor, mask: Tensor, durations: Tensor, style: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Upper bound of the negative log-likelihood of known durations (variational dequantisation).

        Args:
            x: [B, C, S] output of the text encoder.
            mask: [B, 1, S], True = valid.
            durations: [B, S] in frames.
            style: [B, C_style].
            noise: [B, 2, S] standard normal; drawn here if None.

        Returns:
            [B], summed over the tokens of each item, in nats.
        """
        with torch.autocast(x.device.type, enabled=False):
            context, mask = self._context(x, mask, style)
            w = durations.unsqueeze(1).float()  # [B, 1, S]
            noise = (torch.randn(len(x), 2, x.shape[2], device=x.device) if noise is None else noise) * mask

            h = self.duration_proj(self.duration_convs(self.duration_pre(w), mask)) * mask
            z_q, log_det_q = self.posterior_flow(noise, mask, context + h)
            z_u, z_1 = z_q.chunk(2, dim=1)
            # u in (0, 1) is what rounding up hid: w - u is the continuous duration.
            z_0 = (w - z_u.sigmoid() * mask) * mask
            log_det_q = log_det_q + _sum((F.logsigmoid(z_u) + F.logsigmoid(-z_u)) * mask)
            log_q = _sum(-0.5 * (LOG_2PI + noise**2) * mask) - log_det_q

            log_z_0 = z_0.clamp_min(SMALLEST_DURATION).log() * mask
            z, log_det = self.flow(torch.cat([log_z_0, z_1], dim=1), mask, context)
            log_det = log_det - _sum(log_z_0)
            return _sum(0.5 * (LOG_2PI + z**2) * mask) - log_det + log_q

    def infer(self, x: Tensor, mask: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Samples log durations.

        Args:
            x: [B, C, S] output of the text encoder.
            mask: [B, 1, S], True = valid.
            style: [B, C_style].
            noise: [B, 2, S], normal; its scale is the spread of the durations, zeros give a steady reading.

        Returns:
            [B, S] natural log of the durations in frames, not yet rounded; 0 where padded.
        """
        with torch.autocast(x.device.type, enabled=False):
            context, mask = self._context(x, mask, style)
            # The published model leaves the first coupling out when sampling; its weights were trained regardless.
            z = self.flow.inverse(noise.float(), mask, context, skip_first_coupling=True)
        return z[:, 0]

    def _context(self, x: Tensor, mask: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        mask = mask.float()
        x = self.pre(x.detach().float()) + self.style_proj(style.detach().float().unsqueeze(2))
        return self.proj(self.convs(x, mask)) * mask, mask


class DurationFlow(nn.Module):
    """Normalising flow on two channels: an affine map, then spline couplings with the channels swapped between."""

    def __init__(self, channels: int, kernel_size: int, n_flows: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2, 1))
        self.log_scale = nn.Parameter(torch.zeros(2, 1))
        self.couplings = nn.ModuleList(SplineCoupling(channels, kernel_size) for _ in range(n_flows))

    def forward(self, x: Tensor, mask: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, 2, S], mask [B, 1, S], context [B, C, S] -> latent [B, 2, S] and its log-determinant [B]."""
        x = (self.mean + self.log_scale.exp() * x) * mask
        log_det = _sum(self.log_scale * mask)
        for coupling in self.couplings:
            x, log_derivative = coupling(x, mask, context)
            log_det = log_det + _sum(log_derivative)
            x = x.flip(1)
        return x, log_det

    def inverse(self, z: Tensor, mask: Tensor, context: Tensor, skip_first_coupling: bool = False) -> Tensor:
        """Undoes `forward`: latent [B, 2, S] -> [B, 2, S]; optionally without the coupling next to the data."""
        for number, coupling in reversed(list(enumerate(self.couplings))):
            z = z.flip(1)
            if number or not skip_first_coupling:
                z, _ = coupling(z, mask, context, inverse=True)
        return (z - self.mean) * (-self.log_scale).exp() * mask


class SplineCoupling(nn.Module):
    """Channel 0 and the context choose the spline that bends channel 1."""

    def __init__(
        self, channels: int, kernel_size: int, n_layers: int = 3, n_bins: int = 10, bound: float = 5.0
    ):
        super().__init__()
        self.n_bins = n_bins
        self.bound = bound
        self.scale = channels**-0.5
        self.pre = nn.Conv1d(1, channels, 1)
        self.convs = SeparableConvs(channels, kernel_size, n_layers)
        self.proj = nn.Conv1d(channels, 3 * n_bins - 1, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self, x: Tensor, mask: Tensor, context: Tensor, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """x [B, 2, S], mask [B, 1, S], context [B, C, S] -> [B, 2, S] and log-derivatives [B, S]."""
        kept, bent = x.chunk(2, dim=1)
        h = self.proj(self.convs(self.pre(kept) + context, mask)) * mask
        widths, heights, slopes = h.transpose(1, 2).split([self.n_bins, self.n_bins, self.n_bins - 1], dim=2)
        bent, log_derivative = rational_quadratic_spline(
            bent[:, 0], widths * self.scale, heights * self.scale, slopes, self.bound, inverse
        )
        return torch.cat([kept, bent.unsqueeze(1)], dim=1) * mask, log_derivative * mask[:, 0]


class SeparableConvs(nn.Module):
    """Residual stack of depthwise (dilation k^i) and pointwise convolutions, layer norms and GELUs."""

    def __init__(self, channels: int, kernel_size: int, n_layers: int = 3, dropout: float = 0.0):
        super().__init__()
        self.depthwise = nn.ModuleList()
        for layer in range(n_layers):
            dilation = kernel_size**layer
            padding = (kernel_size - 1) * dilation // 2
            self.depthwise.append(
                nn.Conv1d(
                    channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels
                )
            )
        self.pointwise = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(n_layers))
        self.norms_1 = nn.ModuleList(ChannelLayerNorm(channels) for _ in range(n_layers))
        self.norms_2 = nn.ModuleList(ChannelLayerNorm(channels) for _ in range(n_layers))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, S], mask [B, 1, S] -> [B, C, S], zero where padded."""
        for depthwise, pointwise, norm_1, norm_2 in zip(
            self.depthwise, self.pointwise, self.norms_1, self.norms_2, strict=True
        ):
            y = F.gelu(norm_1(depthwise(x * mask)))
            x = x + self.drop(F.gelu(norm_2(pointwise(y))))
        return x * mask


def _sum(x: Tensor) -> Tensor:
    """Sum over everything but the batch axis."""
    return x.flatten(1).sum(1)
