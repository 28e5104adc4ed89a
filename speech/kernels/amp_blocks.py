"""Calls of the compiled AMP blocks and activation (amp_blocks.cpp) on torch tensors; the weights are packed here.

B batch, C channels, T samples, K taps, R rows of a convolution's output that the kernel makes at once.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.kernels.build import library
from speech.kernels.teams import run_by_threads

TILE_BYTES = (
    400_000  # of one buffer of a tile: three of them are in use, and the second-level cache holds about 1 MB
)


class _Activation(ctypes.Structure):
    _fields_ = [("turns", ctypes.c_void_p), ("inverse_beta", ctypes.c_void_p), ("rest", ctypes.c_void_p)]


class _ActivationCall(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("out", "x")),
        *((name, ctypes.c_int64) for name in ("batch", "channels", "length")),
        *((name, ctypes.c_void_p) for name in ("lengths", "turns", "inverse_beta", "filter", "weight")),
        ("kernel", ctypes.c_int64),
    ]


class _Round(ctypes.Structure):
    _fields_ = [
        ("first", _Activation),
        ("second", _Activation),
        ("weight1", ctypes.c_void_p),
        ("weight2", ctypes.c_void_p),
        ("bias1", ctypes.c_void_p),
        ("bias2", ctypes.c_void_p),
        ("dilation", ctypes.c_int32),
        ("bf16", ctypes.c_int32),
    ]


class _Block(ctypes.Structure):
    _fields_ = [
        ("rounds", ctypes.POINTER(_Round)),
        ("n_rounds", ctypes.c_int32),
        ("kernel", ctypes.c_int32),
    ]


def has_bf16() -> bool:
    """Whether the kernels are there and this processor multiplies bf16 (AVX512-BF16)."""
    kernels = library()
    return kernels is not None and bool(kernels.has_bf16())


def fits(blocks: nn.Module) -> bool:
    """Whether the kernel can run this `MultiKernelBlock` of AMP blocks: odd kernels, not too many rounds."""
    return all(
        len(block.convs1) <= library().max_rounds() and block.convs1[0].kernel_size[0] % 2 == 1
        for block in blocks.blocks
    )


def stays_fp32(number: int, last: int, longest: bool, silent: bool) -> bool:
    """Whether round `number` (of 0 to `last`) of a block, the one with the longest kernel or another, is left out of bf16.

    The first one sees the loud low band that the published SpeechSR takes away again; nothing takes away the noise of the last
    one, of which the longest kernel makes the most. Of a model that knows what it gets in `silence`, SpeechSR that is, all but the
    middle of the longest kernel stay fp32: the upper band that it makes is next to empty in some recordings, and any more noise
    is more than half a decibel there (docs/performance_kernels.md).
    """
    if silent:
        return not (longest and 0 < number < last)
    return number == 0 or (number == last and longest)


class PackedActivation:
    """One alias-free activation with its constants worked out; called on [B, C, T] with a mask or None."""

    def __init__(self, activation: nn.Module):
        self.taps = activation.taps.float().contiguous()
        self.turns, self.inverse_beta = _constants(activation)[1:]

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The activation of x [B, C, T], mask [B, 1, T] bool or None -> [B, C, T], zero where the mask is False."""
        return self._run(library().activation, x.new_empty(x.shape), x, mask)

    def into_one(self, x: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
        """The same and a convolution with weight [1, C, K], K odd and `most_taps` at most, to one channel [B, 1, T]."""
        weight = weight.detach().float().contiguous()
        out = x.new_empty(len(x), 1, x.shape[2])
        return self._run(library().activation_into_one, out, x, mask, weight)

    def _run(
        self, function: Any, out: Tensor, x: Tensor, mask: Tensor | None, weight: Tensor | None = None
    ) -> Tensor:
        x, lengths = x.contiguous(), _lengths(mask)
        constants = map(_pointer, (self.turns, self.inverse_beta, self.taps, weight))
        kernel = 0 if weight is None else weight.shape[-1]
        call = _ActivationCall(_pointer(out), _pointer(x), *x.shape, _pointer(lengths), *constants, kernel)
        run_by_threads(function, ctypes.byref(call), torch.get_num_threads())
        return out


class PackedAMPBlocks:
    """The mean of AMP blocks with packed weights, called as `MultiKernelBlock` is.

    Args:
        blocks: AMP blocks.
        bf16: multiply in bf16, where the processor can.
        silence: [C] that the blocks get all the time while nothing sounds, if that is known; bf16 then rounds what
            differs from it, so that quiet sounds keep their accuracy. Any other values give less accurate sound, no wrong one.
    """

    def __init__(self, blocks: Sequence[nn.Module], bf16: bool, silence: Tensor | None = None):
        self.bf16 = bf16 and has_bf16()
        self.taps = blocks[0].activations1[0].taps.float().contiguous()
        self._kept: list[object] = []  # what the pointers below point into
        longest = max(block.convs1[0].kernel_size[0] for block in blocks)
        self._blocks = (_Block * len(blocks))(*[self._block(block, silence, longest) for block in blocks])

    def __call__(self, x: Tensor, mask: Tensor | None = None, tile: int | None = None) -> Tensor:
        """x [B, C, T], mask [B, 1, T] bool or None -> [B, C, T], zero where the mask is False; tile in samples."""
        x = x.contiguous()
        if tile is None:
            tile = max(1024, TILE_BYTES // (4 * x.shape[1]))
        out, lengths = torch.empty_like(x), _lengths(mask)
        threads = torch.get_num_threads()
        kernels = library()
        kernels.blocks_begin.restype = ctypes.c_void_p
        sizes = ctypes.c_int64(x.shape[0]), ctypes.c_int32(x.shape[1]), ctypes.c_int64(x.shape[2])
        call = kernels.blocks_begin(
            _pointer(out),
            _pointer(x),
            *sizes,
            _pointer(lengths),
            self._blocks,
            ctypes.c_int32(len(self._blocks)),
            _pointer(self.taps),
            ctypes.c_int64(tile),
            ctypes.c_int32(threads),
        )
        if not call:
            raise MemoryError(f"no memory for tiles of {tile} samples in {threads} threads")
        call = ctypes.c_void_p(call)
        run_by_threads(kernels.blocks_run, call, threads)
        kernels.blocks_end(call)  # not in a `finally`: after an interrupt other threads may still be at work
        return out

    def _block(self, block: nn.Module, silence: Tensor | None, longest: int) -> _Block:
        rounds = zip(block.activations1, block.convs1, block.activations2, block.convs2, strict=True)
        kernel, last = block.convs1[0].kernel_size[0], len(block.convs1) - 1
        packed, knows_silence = [], silence is not None
        for i, (activation1, conv1, activation2, conv2) in enumerate(rounds):
            bf16 = self.bf16 and not stays_fp32(i, last, kernel == longest, knows_silence)
            rest1, after = _rest(activation1, conv1, silence)
            rest2, after = _rest(activation2, conv2, after)
            silence = None if silence is None else silence + after
            packed.append(
                _Round(
                    self._activation(activation1, rest1),
                    self._activation(activation2, rest2),
                    self._keep(pack_weight(conv1.weight, bf16)),
                    self._keep(pack_weight(conv2.weight, bf16)),
                    self._keep(_bias(conv1, rest1 if bf16 else None)),
                    self._keep(_bias(conv2, rest2 if bf16 else None)),
                    conv1.dilation[0],
                    bf16,
                )
            )
        self._kept.append(rounds := (_Round * len(packed))(*packed))
        return _Block(rounds, len(packed), kernel)

    def _activation(self, activation: nn.Module, rest: Tensor) -> _Activation:
        return _Activation(*map(self._keep, (*_constants(activation)[1:], rest)))

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()


def pack_weight(weight: Tensor, bf16: bool) -> Tensor:
    """[C, C, K] -> [groups, C, K, R] fp32, or [groups, C / 2, K, R, 2] bf16; channels filled up with zeros to R."""
    rows = library().out_rows()
    weight = weight.detach().float()
    short = -weight.shape[0] % rows
    weight = F.pad(weight, (0, 0, 0, short, 0, short))
    channels, _, kernel = weight.shape
    if not bf16:
        return weight.view(channels // rows, rows, channels, kernel).permute(0, 2, 3, 1).contiguous()
    weight = round_taps(weight).view(channels // rows, rows, channels // 2, 2, kernel)
    return weight.permute(0, 2, 4, 1, 3).contiguous()


def round_taps(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """fp32 [C, C, K] -> 16 bits such that the taps' errors add up to no more than the last one's.

    What one tap loses the next one makes good: loud low tones see the sum of the taps, and then nearly the exact one.
    """
    rounded, missing = [], 0.0
    for tap in weight.unbind(-1):
        rounded.append((tap + missing).to(dtype))
        missing = tap + missing - rounded[-1].float()
    return torch.stack(rounded, -1)


def _rest(activation: nn.Module, conv: nn.Module, x: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """x [C] for ever -> what the activation makes of it, rounded to bf16, and what the convolution makes of that; None = unknown."""
    if x is None:
        return torch.zeros(conv.in_channels), None
    alpha, _, inverse_beta = _constants(activation)
    activated = x + (alpha * x).sin().square() * inverse_beta
    after = conv.weight.detach().float().sum(-1) @ activated + conv.bias.detach().float()
    return activated.to(torch.bfloat16).float().contiguous(), after


def _bias(conv: nn.Module, rest: Tensor | None) -> Tensor:
    """The bias [rows] with what the convolution makes of `rest` [C], rows filled up with zeros."""
    bias = conv.bias.detach().float()
    if rest is not None:
        bias = bias + conv.weight.detach().float().sum(-1) @ rest
    return F.pad(bias, (0, -len(bias) % library().out_rows())).contiguous()


def _constants(activation: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Of the snake x + sin^2(alpha x) / beta [C]: alpha, alpha / pi, 1 / beta."""
    snake = activation.act
    alpha, beta = snake.alpha.detach().float().exp(), snake.beta.detach().float().exp()
    turns = (alpha.double() / math.pi).float()
    return alpha.contiguous(), turns.contiguous(), (1 / (beta + 1e-9)).contiguous()


def _lengths(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:, 0].sum(dim=-1, dtype=torch.int64).contiguous()


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
