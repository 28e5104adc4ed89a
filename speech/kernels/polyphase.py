"""The alias-free activation and AMP blocks for inference in plain torch: what runs where no compiled kernel does.

Twin of amp_blocks.cpp with the same polyphase form (see there): each filter is six shifted multiply-adds per phase, nothing
is computed on stuffed zeros, and a mean of AMP blocks is worked off in tiles of time that stay in the processor's cache.
B batch, C channels, T samples.
"""

import functools

import torch
from torch import Tensor, nn

from speech.modules.snake import TAPS, Activation1d, hold_last, lowpass_taps

HALF = TAPS // 2  # taps of one phase
REACH = 5  # samples that the activation looks at on each side
EDGE = 3  # phases outside the signal that its lower filter reads
TILE_BYTES = 1 << 20  # of one [C, tile] on a CPU


@functools.cache
def tap_values() -> list[float]:
    """The taps as numbers: a GPU would have to be waited for where they lie on it, which a graph cannot be recorded with."""
    return lowpass_taps().tolist()


def polyphase_activation(activation: Activation1d, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """What `activation(x, mask)` gives, x [B, C, T] -> [B, C, T]; not differentiable (in-place operations)."""
    taps = tap_values()
    samples = x.shape[-1]
    if mask is not None:
        x = hold_last(x, mask)
    first, last = x[..., :1], x[..., -1:]
    wide = EDGE + HALF - 3  # replicated samples a side
    x = torch.cat([first.expand(*first.shape[:2], wide), x, last.expand(*last.shape[:2], wide)], dim=-1)
    alpha = activation.act.alpha.exp()[:, None]
    inverse_beta = 1 / (activation.act.beta.exp() + 1e-9)[:, None]
    phases = []
    for parity, shift in ((1, HALF - 1), (0, HALF)):  # even samples of the doubled signal have the odd taps
        phase = _filter(
            x, [2 * tap for tap in reversed(taps[parity::2])], shift - HALF + 1, samples + 2 * EDGE
        )
        phases.append(phase.addcmul_((phase * alpha).sin_().square_(), inverse_beta))
    even, odd = phases
    _replicate(even, odd, mask)
    y = _filter(even, taps[1::2], 1, samples)
    for j, tap in enumerate(taps[0::2]):
        y.add_(odd[..., j : j + samples], alpha=tap)
    return y if mask is None else y.mul_(mask)


def tiled_blocks(blocks: nn.Module, x: Tensor, mask: Tensor | None = None, tile: int | None = None) -> Tensor:
    """What the `MultiKernelBlock` `blocks` of AMP blocks gives, x [B, C, T] -> [B, C, T], in tiles of `tile` samples."""
    samples = x.shape[-1]
    if tile is None:
        tile = max(2048, TILE_BYTES // (4 * x.shape[1])) if x.device.type == "cpu" else samples
    if tile >= samples:
        return _mean(blocks, x, mask)
    halo, out = blocks_reach(blocks), torch.empty_like(x)
    for begin in range(0, samples, tile):
        low, high = max(0, begin - halo), min(samples, begin + tile + halo)
        part = _mean(blocks, x[..., low:high], None if mask is None else mask[..., low:high])
        out[..., begin : begin + tile] = part[..., begin - low : begin - low + tile]
    return out


def blocks_reach(blocks: nn.Module) -> int:
    """Samples on each side that one sample of the output of AMP blocks depends on."""
    return max(
        sum(conv.padding[0] + REACH for conv in (*block.convs1, *block.convs2)) for block in blocks.blocks
    )


def _mean(blocks: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    total = None
    for block in blocks.blocks:
        y = x
        rounds = zip(block.activations1, block.convs1, block.activations2, block.convs2, strict=True)
        for activation1, conv1, activation2, conv2 in rounds:
            z = conv1(polyphase_activation(activation1, y, mask))
            y = y + conv2(polyphase_activation(activation2, z, mask))
        total = y if total is None else total.add_(y)
    return total.div_(len(blocks.blocks))


def _filter(x: Tensor, taps: list[float], start: int, samples: int) -> Tensor:
    """sum_j taps[j] * x[..., start + j : start + j + samples]."""
    y = x[..., start : start + samples] * taps[0]
    for j, tap in enumerate(taps[1:], start + 1):
        y.add_(x[..., j : j + samples], alpha=tap)
    return y


def _replicate(even: Tensor, odd: Tensor, mask: Tensor | None) -> None:
    """Continues the doubled signal, whose phases [B, C, EDGE + T + EDGE] these are, over its ends; in place."""
    first = even[..., EDGE : EDGE + 1].clone()
    for phase in (even, odd):
        phase[..., :EDGE] = first
    if mask is None:
        even[..., -EDGE:] = odd[..., -EDGE:] = odd[..., -EDGE - 1 : -EDGE].clone()
        return
    lengths = mask.sum(dim=-1, keepdim=True)  # [B, 1, 1]
    last = odd.gather(2, (EDGE + lengths - 1).clamp(min=0).expand(-1, odd.shape[1], -1))
    behind = torch.arange(even.shape[-1], device=even.device) >= EDGE + lengths
    for phase in (even, odd):
        torch.where(behind, last, phase, out=phase)
