"""Convolutions and linear layers on a CPU with their weights in oneDNN's own order, made once (`torch.ops.mkldnn`).

Plain layers order them anew in each call, and a second of speech is only 50 frames: at 272 frames that is half of the time of a
convolution of 512 channels. Pointwise and linear ones in fp32 go to MKL instead, which leaves half of AVX-512 unused on other makers'
processors. docs/performance_kernels.md has the figures. The plain layers are the twin: gradients, exports and other devices
take them, and processors and torch releases without these operations.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.kernels import gpu
from speech.kernels.packing import Packing
from speech.precision import has_bf16

LEAST_WEIGHTS = 16384  # at 300 frames; of smaller ones the longer call takes more than the product saves
NOTHING_BEHIND = ("none", [], "")  # no activation fused into the product
GELU_BEHIND = ("gelu", [], "tanh")


@functools.cache
def available() -> bool:
    """Whether this torch has the operations, which its own compiler uses for frozen models, and they do what they should.

    They are no part of torch's public interface, and were measured on x86 alone.
    """
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return False
    # without torch's random initial values, which would move what a seed stands for
    layers = (
        (nn.utils.skip_init(nn.Conv1d, 4, 8, 3, padding=1), torch.ones(1, 4, 5)),
        (nn.utils.skip_init(nn.Linear, 4, 8), torch.ones(2, 4)),
    )
    for layer, x in layers:
        for parameter in layer.requires_grad_(False).parameters():
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter) / 100)
        try:
            ours = PackedLayer()(layer, x)
        except (AttributeError, RuntimeError):
            return False
        if not torch.allclose(ours, layer(x), atol=1e-4):
            return False
    return True


def suits(layer: nn.Module) -> bool:
    """Whether `PackedLayer` runs `layer`: exactly nn.Linear or nn.Conv1d, large, without stride, groups or other padding than zeros."""
    if type(layer) not in (nn.Linear, nn.Conv1d) or layer.weight.numel() < LEAST_WEIGHTS:
        return False
    if isinstance(layer, nn.Linear):
        return True
    plain = layer.stride == (1,) and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and not isinstance(layer.padding, str)


def attach(layer: nn.Module, fast: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """Lets `layer` run by fast(layer, x) from now on, whenever its `fast` is set and nothing but values is wanted."""
    layer.fast = fast
    layer.forward = functools.partial(_forward, layer)


def gelu_of(layer: nn.Module, x: Tensor) -> Tensor:
    """gelu(layer(x)), in its tanh form; of a packed layer within its products."""
    if getattr(layer, "fast", None) is not None and (dtype := _dtype(layer, x)) is not None:
        return layer.fast(layer, x.to(dtype), GELU_BEHIND)
    return F.gelu(layer(x), approximate="tanh")


def _forward(layer: nn.Module, x: Tensor) -> Tensor:
    if layer.fast is not None and (dtype := _dtype(layer, x)) is not None:
        return layer.fast(layer, x.to(dtype))
    return type(layer).forward(layer, x)


def _dtype(layer: nn.Module, x: Tensor) -> torch.dtype | None:
    """In which type the plain layer would multiply; None where it has to."""
    if layer.training or torch.is_grad_enabled() or x.requires_grad:
        return None
    if x.device.type != "cpu" or x.device.type in gpu.DEVICES:
        return None
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return None
    if x.dim() < 2 if isinstance(layer, nn.Linear) else x.dim() != 3:
        return None
    dtype = x.dtype
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    elif dtype != layer.weight.dtype:
        return None
    wanted = dtype == torch.float32 or (dtype == torch.bfloat16 and has_bf16(x.device))
    return dtype if wanted and x.numel() else None


class PackedLayer(Packing):
    """Runs an `nn.Conv1d` [B, C, T] or `nn.Linear` [..., C]; called with it and its input, in whose type it multiplies."""

    def __call__(self, layer: nn.Module, x: Tensor, behind: tuple = NOTHING_BEHIND) -> Tensor:
        weight, bias = self._pack(layer, lambda: _packed(layer, x), x.dtype)
        if isinstance(layer, nn.Linear):
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *behind)
        padding, dilation = [0, *layer.padding], [1, *layer.dilation]
        y = torch.ops.mkldnn._convolution_pointwise(
            x.unsqueeze(2), weight, bias, padding, [1, 1], dilation, 1, *behind
        )
        return y.squeeze(2)


def _packed(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of `layer` for inputs such as x, to which nothing but the speed is bound."""
    weight = layer.weight.detach().to(x.dtype)
    bias = None if layer.bias is None else layer.bias.detach().to(x.dtype)
    if isinstance(layer, nn.Linear):
        return torch.ops.mkldnn._reorder_linear_weight(weight, x.numel() // x.shape[-1]), bias
    shape = [x.shape[0], x.shape[1], 1, x.shape[2]]
    padding, dilation = [0, *layer.padding], [1, *layer.dilation]
    weight = torch.ops.mkldnn._reorder_convolution_weight(
        weight.unsqueeze(2), padding, [1, 1], dilation, 1, shape
    )
    return weight, bias
