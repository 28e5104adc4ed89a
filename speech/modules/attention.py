"""Post-norm transformer encoder with relative positions, on [B, C, N] tensors (HierSpeech++ text encoder).

The attention is that of Shaw et al. 2018 as used by VITS: one learned key and one learned value vector per relative
offset in a window, shared by all heads. Masks are [B, 1, N] (True = valid), as everywhere in `speech.modules`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Finite instead of -inf: a row of padding stays a uniform distribution rather than NaN.
MASKED_SCORE = -1e4


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channel axis of `x` [B, C, N]."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N] -> [B, C, N]."""
        x = F.layer_norm(x.transpose(1, 2), self.weight.shape, self.weight, self.bias, self.eps)
        return x.transpose(1, 2)


class RelativeAttention(nn.Module):
    """Multi-head self-attention with relative positions inside a window.

    Args:
        channels: width C of the input and output; must be a multiple of `heads`.
        heads: number of heads, contiguous blocks of channels.
        window: largest relative offset (in positions) that has its own embedding; None = no positions at all.
        dropout: applied to the attention probabilities.
    """

    def __init__(self, channels: int, heads: int, window: int | None = 4, dropout: float = 0.0):
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must be a multiple of heads, got {channels} and {heads}")
        self.heads = heads
        self.window = window
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout(dropout)
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)
        if window is not None:
            head_dim = channels // heads
            self.emb_rel_k = nn.Parameter(torch.empty(2 * window + 1, head_dim))
            self.emb_rel_v = nn.Parameter(torch.empty(2 * window + 1, head_dim))
            nn.init.normal_(self.emb_rel_k, std=head_dim**-0.5)
            nn.init.normal_(self.emb_rel_v, std=head_dim**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attends from every position to every valid position.

        Args:
            x: [B, C, N].
            mask: [B, 1, N], True = valid; None = everything is valid.

        Returns:
            [B, C, N]; padded positions hold arbitrary finite values.
        """
        q = self._split(self.conv_q(x))  # [B, heads, N, head_dim]
        k = self._split(self.conv_k(x))
        v = self._split(self.conv_v(x))
        q = q / math.sqrt(q.shape[-1])
        scores = q @ k.transpose(-2, -1)  # [B, heads, N, N]
        if self.window is not None:
            scores = scores + _offsets_to_positions(q @ self.emb_rel_k.T)
        if mask is not None:
            mask = mask.bool()
            pairs = mask.unsqueeze(2) & mask.unsqueeze(3)  # [B, 1, N, N]
            scores = scores.masked_fill(~pairs, MASKED_SCORE)
        weights = self.drop(scores.softmax(dim=-1))
        out = weights @ v
        if self.window is not None:
            out = out + _positions_to_offsets(weights, self.window) @ self.emb_rel_v
        return self.conv_o(out.transpose(2, 3).flatten(1, 2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)


class TransformerEncoder(nn.Module):
    """Post-norm transformer: relative attention and a convolutional feed-forward layer per block.

    Args:
        hidden: width of the input and output.
        filter_channels: width inside the feed-forward layers.
        heads, layers: number of attention heads and of blocks.
        kernel_size: of both feed-forward convolutions.
        dropout: on attention probabilities and on every branch.
        window: of `RelativeAttention`.
    """

    def __init__(
        self,
        hidden: int,
        filter_channels: int,
        heads: int,
        layers: int,
        kernel_size: int,
        dropout: float = 0.0,
        window: int | None = 4,
    ):
        super().__init__()
        self.attention = nn.ModuleList(
            RelativeAttention(hidden, heads, window, dropout) for _ in range(layers)
        )
        self.attention_norm = nn.ModuleList(ChannelLayerNorm(hidden) for _ in range(layers))
        self.feed_forward = nn.ModuleList(
            FeedForward(hidden, filter_channels, kernel_size, dropout) for _ in range(layers)
        )
        self.feed_forward_norm = nn.ModuleList(ChannelLayerNorm(hidden) for _ in range(layers))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, hidden, N], mask [B, 1, N] (True = valid) -> [B, hidden, N], zero where padded."""
        x = x * mask
        for attention, norm_1, feed_forward, norm_2 in zip(
            self.attention, self.attention_norm, self.feed_forward, self.feed_forward_norm, strict=True
        ):
            x = norm_1(x + self.drop(attention(x, mask)))
            x = norm_2(x + self.drop(feed_forward(x, mask)))
        return x * mask


class FeedForward(nn.Module):
    """Two masked convolutions with a ReLU between; even kernels pad one more position on the right."""

    def __init__(self, channels: int, filter_channels: int, kernel_size: int, dropout: float = 0.0):
        super().__init__()
        self.padding = ((kernel_size - 1) // 2, kernel_size // 2)
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size)
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel_size)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, N], mask [B, 1, N] -> [B, C, N], zero where padded."""
        x = self.conv_1(F.pad(x * mask, self.padding))
        x = self.drop(F.relu(x))
        return self.conv_2(F.pad(x * mask, self.padding)) * mask


def _offsets_to_positions(by_offset: Tensor) -> Tensor:
    """[B, H, N, 2w+1] indexed by offset j - i + w -> [B, H, N, N] indexed by position j, 0 outside the window.

    Padding every row to N + 2w + 1 and reading the block back with a row length of N + 2w moves row i by i places.
    """
    *_, n, offsets = by_offset.shape
    window = offsets // 2
    flat = F.pad(by_offset, (0, n)).flatten(-2)[..., :-n]
    return flat.unflatten(-1, (n, n + 2 * window))[..., window : window + n]


def _positions_to_offsets(by_position: Tensor, window: int) -> Tensor:
    """[B, H, N, N] indexed by position -> [B, H, N, 2w+1] indexed by offset: undoes `_offsets_to_positions`."""
    n = by_position.shape[-1]
    flat = F.pad(F.pad(by_position, (window, window)).flatten(-2), (0, n))
    return flat.unflatten(-1, (n, n + 2 * window + 1))[..., : 2 * window + 1]
