"""Weights stored in 8 bits: half of float16's size on disk, floating-point numbers again once they are loaded.

Each row of a matrix (an output channel of a layer) is divided by its own scale, so that its largest value becomes 127. What a
model computes is no faster and takes no less memory; the file is smaller.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".int8_scale"  # behind the name of a stored matrix: its scales [rows, 1, ...]
MIN_VALUES = 4096  # smaller tensors stay float16


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors -> large matrices as int8 with float32 scales, everything else as float16."""
    packed = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif tensor.ndim < 2 or tensor.numel() < MIN_VALUES:
            packed[name] = tensor.half()
        else:
            rows = tuple(range(1, tensor.ndim))
            scale = (tensor.float().abs().amax(rows, keepdim=True) / 127).clamp(min=1e-12)
            packed[name] = (tensor.float() / scale).round().to(torch.int8)
            packed[name + SCALE] = scale
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` gave -> float32 matrices; tensors without scales come back as they are."""
    return {
        name: tensor.float() * tensors[name + SCALE] if name + SCALE in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }
