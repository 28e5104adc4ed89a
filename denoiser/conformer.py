"""Conformer blocks along one axis of a spectrogram (Gulati et al. 2020), as MP-SENet uses them in turn on time and frequency.

Everything here works on [B, S, L, C]: B utterances with S sequences each, L steps of a sequence, C channels. Along time,
a sequence is a frequency bin; along frequency, it is a frame.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """Layer norm, two linear maps with SiLU between them."""

    def __init__(self, channels: int, expansion: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, channels * expansion)
        self.project = nn.Linear(channels * expansion, channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.drop(self.project(self.drop(F.silu(self.expand(self.norm(x))))))


class SelfAttention(nn.Module):
    """Layer norm and multi-head self-attention without positions.

    Args:
        crossed: attend over S instead of L. The published MP-SENet hands [batch, length, channels] to an attention that
            expects [length, batch, channels], and its weights have learnt with it (hand-over, Q1). There, utterances of a
            batch are mixed too; here they stay apart, which is the same for one utterance.
    """

    def __init__(self, channels: int, heads: int, dropout: float, crossed: bool):
        super().__init__()
        self.heads = heads
        self.crossed = crossed
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.drop = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, L, C] -> [B, S, L, C]."""
        if self.crossed:
            return self._attend(x.transpose(1, 2)).transpose(1, 2)
        return self._attend(x)

    def _attend(self, x: Tensor) -> Tensor:
        """Self-attention over the last but one axis of x [B, S, L, C]."""
        b, s, length, channels = x.shape
        qkv = self.qkv(self.norm(x)).view(b * s, length, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B * S, heads, L, C / heads]
        x = F.scaled_dot_product_attention(q, k, v)  # never holds the L x L scores of all sequences at once
        return self.drop(self.out(x.transpose(1, 2).reshape(b, s, length, channels)))


class ConvolutionModule(nn.Module):
    """Gated pointwise convolution, depthwise convolution along L with batch norm, pointwise convolution."""

    def __init__(self, channels: int, expansion: int, kernel_size: int, dropout: float):
        super().__init__()
        inner = channels * expansion
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Conv1d(channels, 2 * inner, 1)
        self.depthwise = nn.Conv1d(inner, inner, kernel_size, padding=kernel_size // 2, groups=inner)
        self.batch_norm = nn.BatchNorm1d(inner)
        self.project = nn.Conv1d(inner, channels, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, L, C] -> [B, S, L, C].

        Channels stay last in memory, so nothing is copied; on CPUs the depthwise convolution is ten times as fast so.
        """
        x = F.glu(_pointwise(self.expand, self.norm(x)), dim=-1)
        x = F.conv2d(
            x.permute(0, 3, 1, 2),  # [B, C, S, L]
            self.depthwise.weight.unsqueeze(2),
            self.depthwise.bias,
            padding=(0, self.depthwise.padding[0]),
            groups=self.depthwise.groups,
        ).permute(0, 2, 3, 1)
        x = self.batch_norm(x.flatten(0, 2)).view(x.shape)
        return self.drop(_pointwise(self.project, F.silu(x)))


class Conformer(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, layer norm."""

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_expansion: int,
        conv_expansion: int,
        conv_kernel: int,
        dropout: float,
        crossed_attention: bool,
    ):
        super().__init__()
        self.feed_forward1 = FeedForward(channels, ffn_expansion, dropout)
        self.attention = SelfAttention(channels, heads, dropout, crossed_attention)
        self.convolution = ConvolutionModule(channels, conv_expansion, conv_kernel, dropout)
        self.feed_forward2 = FeedForward(channels, ffn_expansion, dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, L, C] -> [B, S, L, C]."""
        x = x + 0.5 * self.feed_forward1(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        x = x + 0.5 * self.feed_forward2(x)
        return self.norm(x)


class TimeFrequencyBlock(nn.Module):
    """A conformer along time, then one along frequency, each with a residual around it."""

    def __init__(self, channels: int, **sizes):
        super().__init__()
        self.time = Conformer(channels, **sizes)
        self.frequency = Conformer(channels, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, F] -> [B, C, N, F]."""
        x = x.permute(0, 3, 2, 1)  # [B, F, N, C]
        x = self.time(x) + x
        x = x.transpose(1, 2)  # [B, N, F, C]
        x = self.frequency(x) + x
        return x.permute(0, 3, 1, 2)


def _pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of kernel size 1 on x [..., C] -> [..., C']."""
    return F.linear(x, conv.weight.squeeze(-1), conv.bias)
