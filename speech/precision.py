"""Whether a device multiplies bf16 itself (a CPU that does not takes a hundred times as long in it as in fp32), and doing so."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

TOO_SLOW = "this CPU has no bf16 of its own and would take a hundred times as long in it"


def has_bf16(device: torch.device | str) -> bool:
    """False on CPUs for which oneDNN has no bf16, those without AVX-512 among them; other devices are believed."""
    if torch.device(device).type != "cpu":
        return True
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # what torch.compile asks, too
    return torch.backends.mkldnn.is_available() and supported is not None and bool(supported())


def multiplying_in_bf16(wanted: bool, x: Tensor) -> AbstractContextManager:
    """Within it torch multiplies in bf16, if `wanted` and x is on a CPU; on other devices, and where gradients are wanted, nothing changes."""
    if not wanted or x.device.type != "cpu" or torch.is_grad_enabled():
        return nullcontext()
    return torch.autocast("cpu", torch.bfloat16)
