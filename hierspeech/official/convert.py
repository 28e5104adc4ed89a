"""Turns a published checkpoint into one of our models, or into the folder of one."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hierspeech.official.cards import part_card
from hierspeech.official.components import COMPONENTS, CONVERTIBLE, Component
from hierspeech.official.published import Source, identify
from hierspeech.official.reading import check_tensors, is_finite, read_checkpoint, unwrap
from speech.checkpoint import load_folded
from speech.modules.snake import lowpass_taps
from speech.modules.weight_norm import building_without_weight_norm
from speech.new_folder import check_free, new_folder


def convert(component: str, source: str | Path, folder: str | Path, unverified: bool = False) -> Source:
    """Convert the checkpoint file `source` into `folder`, which must not exist yet or be empty.

    Args:
        component: a key of `CONVERTIBLE`.
        unverified: take a file that has the name of a published one and another content.
    Returns: the file and what is known of it.
    Raises:
        ValueError: unknown component, unreadable file, tensors missing, left over or misshapen, or `folder` in use;
            nothing is left behind then.
    """
    if component not in CONVERTIBLE:
        raise ValueError(f"unknown component {component!r}, expected one of {', '.join(CONVERTIBLE)}")
    check_free(folder)
    found = identify(component, source, unverified)
    with new_folder(folder) as temporary:
        write_part(component, found, temporary)
    return found


def write_part(component: str, source: Source, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and `README.md` of a checkpoint into `folder`."""
    load_official(component, source.path).save_pretrained(folder, card=part_card(component, source))


def load_official(component: str, source: str | Path | Mapping[str, Tensor]) -> nn.Module:
    """Build the model of `component` with published weights.

    Args:
        component: a key of `COMPONENTS`.
        source: a checkpoint file, or its state dict in official names.

    Returns:
        The model on the CPU in float32 and eval mode, without weight norm.

    Raises:
        ValueError: as `convert`.
    """
    if component not in COMPONENTS:
        raise ValueError(f"unknown component {component!r}, expected one of {', '.join(COMPONENTS)}")
    part = COMPONENTS[component]
    name = component if isinstance(source, Mapping) else str(source)
    state = unwrap(source if isinstance(source, Mapping) else read_checkpoint(source), name)
    check_tensors(state, part.shapes(), f"{name} is no {component} checkpoint" if name != component else name)
    tensors = _translate(state, part, name)
    with building_without_weight_norm():
        model = part.model(part.config())
    load_folded(model, tensors, name)
    return model.eval()


def is_constant(key: str) -> bool:
    """Whether the tensor is a constant of the published code (filter taps, windows), which our models do not store."""
    return key.endswith((".filter", ".window"))


def verify_constant(key: str, tensor: Tensor, name: str) -> None:
    """Refuse a constant that differs from ours; `name` is how messages call the file."""
    expected = lowpass_taps() if key.endswith(".filter") else torch.hann_window(tensor.numel())
    if not torch.allclose(tensor.flatten(), expected, rtol=0.0, atol=1e-5):
        raise ValueError(f"{name}: {key} differs from the constant that this model uses")


def to_our_shape(key: str, tensor: Tensor) -> Tensor:
    """A tensor of the official `key` (a weight, or a moment of it) as our model holds it: a view."""
    return tensor.squeeze(0) if key.endswith((".emb_rel_k", ".emb_rel_v")) else tensor


def _translate(state: dict[str, Tensor], part: Component, name: str) -> dict[str, Tensor]:
    """Official state dict -> ours: weight norm folded, constant buffers verified and dropped, keys renamed."""
    tensors = {}
    for key, tensor in state.items():
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        if is_constant(key):
            verify_constant(key, tensor, name)
            continue
        if key.endswith(".weight_v"):
            continue
        if key.endswith(".weight_g"):
            key = key.removesuffix("_g")
            direction = state[f"{key}_v"].float()
            tensor = direction * (tensor / torch.norm_except_dim(direction, 2, 0))
            if not is_finite(tensor):
                raise ValueError(f"{name}: {key}_v has a row of zeros, so its weight norm is undefined")
        tensors[part.rename(key)] = to_our_shape(key, tensor)
    return tensors
