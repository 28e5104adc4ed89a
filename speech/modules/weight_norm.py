"""Weight normalisation as a training parametrisation that published weights never contain (section 3.1).

Layers are written `weight_norm(nn.Conv1d(...))`. While training this is torch's parametrisation g * v / ||v||, the norm
taken over every axis but the first. A model that is built only to run is built inside `building_without_weight_norm()`:
its layers then hold the plain, folded weight that `model.safetensors` stores.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

_enabled: ContextVar[bool] = ContextVar("weight_norm_enabled", default=True)


@contextmanager
def building_without_weight_norm() -> Iterator[None]:
    """Inside this block `weight_norm` returns its module unchanged, so models are built with plain weights."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


def weight_norm(module: nn.Module) -> nn.Module:
    """Weight-normalise `module.weight` over all axes but the first (for transposed convolutions: the input axis)."""
    return parametrizations.weight_norm(module) if _enabled.get() else module


def fold_weight_norm(model: nn.Module) -> nn.Module:
    """Replace every parametrised weight below `model` by its plain value, in place; returns the same model."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            # where gradients are off, torch would leave a plain tensor, which `model.to` leaves where it is
            with torch.inference_mode(False), torch.enable_grad():
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model
