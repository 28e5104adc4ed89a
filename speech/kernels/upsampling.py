"""Calls of the compiled transposed convolution (amp_blocks.cpp) on torch tensors; the weights are packed here.

oneDNN's is slower the fewer channels there are, down to a sixth of what its convolutions do.
"""

import ctypes
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.kernels.build import library
from speech.kernels.teams import run_by_threads

PIECE_BYTES = 300_000  # of a piece's input, which stays in the second-level cache


class _UpsamplingCall(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("out", "x")),
        *((name, ctypes.c_int64) for name in ("batch", "inputs", "outputs", "length")),
        *((name, ctypes.c_int64) for name in ("rate", "padding", "taps", "piece")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "rows")),
        ("stride", ctypes.c_int64),
    ]


def suits(layer: nn.Module) -> bool:
    """Whether the kernel can run `layer`: a transposed convolution that makes `stride` samples of each."""
    if type(layer) is not nn.ConvTranspose1d or layer.groups > 1 or layer.dilation != (1,):
        return False
    surplus = layer.kernel_size[0] - layer.stride[0]
    return surplus >= 0 and surplus == 2 * layer.padding[0] and layer.output_padding == (0,)


class PackedUpsampling:
    """A transposed convolution that `suits`, with packed weights; called on [B, C, T] fp32."""

    def __init__(self, layer: nn.ConvTranspose1d) -> None:
        weight = layer.weight.detach().float()  # [C, C', K]
        inputs, self.outputs, kernel = weight.shape
        self.rate, self.padding = layer.stride[0], layer.padding[0]
        self.taps = math.ceil(kernel / self.rate)
        rows = library().out_rows()
        short = -self.outputs % rows
        weight = F.pad(weight, (0, self.rate * self.taps, 0, short))
        phases = []
        for r in range(self.rate):
            last = self.taps - 1 - (r + self.padding) // self.rate  # the latest j
            index = [self.rate * (last - t) + r + self.padding for t in range(self.taps)]
            taps = weight[:, :, index].view(
                inputs, -1, rows, self.taps
            )  # what lies behind the kernel is zero
            phases.append(taps.permute(1, 0, 3, 2))
        self.weight = torch.stack(phases).contiguous()
        bias = weight.new_zeros(self.outputs) if layer.bias is None else layer.bias.detach().float()
        self.bias = F.pad(bias, (0, short)).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C', rate * T]."""
        x = x.contiguous()
        rows, inputs, length = x.shape
        out = x.new_empty(rows, self.outputs, self.rate * length)
        threads = torch.get_num_threads()
        block = library().block_samples()  # that the kernel makes at once
        fits = PIECE_BYTES // (4 * inputs) // block * block
        each = -(-rows * length // threads // block) * block  # none of the threads is without work
        piece = max(block, min(fits, each))
        stride = piece + 2 * self.taps + block
        scratch = x.new_empty(threads, inputs, stride)
        call = _UpsamplingCall(
            out.data_ptr(), x.data_ptr(), rows, inputs, self.outputs, length, self.rate, self.padding, self.taps,
            piece, self.weight.data_ptr(), self.bias.data_ptr(), scratch.data_ptr(), stride,
        )  # fmt: skip
        run_by_threads(library().upsampling, ctypes.byref(call), threads)
        return out
