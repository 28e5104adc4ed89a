"""Reads a published checkpoint strictly and turns it into one of our models, or into the folder of one."""

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hierspeech.official.components import COMPONENTS, CONVERTIBLE, Component
from speech.checkpoint import load_folded
from speech.modules.snake import lowpass_taps
from speech.modules.weight_norm import building_without_weight_norm

CONTAINERS = ("model", "generator")  # keys under which training files hold the state dict
NAMED = 3  # how many offending tensors a message names


def convert(component: str, source: str | Path, folder: str | Path) -> None:
    """Convert the checkpoint file `source` into `folder`, which must not exist yet or be empty.

    Raises:
        ValueError: unknown component, unreadable file, tensors missing, left over or misshapen, or `folder` in use;
            nothing is left behind then.
    """
    if component not in CONVERTIBLE:
        raise ValueError(f"unknown component {component!r}, expected one of {', '.join(CONVERTIBLE)}")
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} exists already, expected a folder to create")
    model = load_official(component, source)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(temporary, card=_card(component, Path(source)))
        os.replace(temporary, folder)
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    state = _unwrap(source if isinstance(source, Mapping) else _read(Path(source)), name)
    _check(state, part.shapes(), f"{name} is no {component} checkpoint" if name != component else name)
    tensors = _translate(state, part, name)
    with building_without_weight_norm():
        model = part.model(part.config())
    load_folded(model, tensors, name)
    return model.eval()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # a damaged or hostile file can fail in any way; none of them is worth telling apart
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint that holds nothing but tensors ({type(error).__name__})"
        ) from error


def _unwrap(content: Any, name: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for container in CONTAINERS:
            if isinstance(content.get(container), Mapping):
                content = content[container]
                break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{name}: expected a dictionary of tensors, got {type(content).__name__}")
    for key, tensor in content.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name}: {key} is a {type(tensor).__name__}, expected a tensor")
    return dict(content)


def _check(state: dict[str, Tensor], shapes: dict[str, list[int]], prefix: str) -> None:
    """Compare names, shapes and finiteness with the published list."""
    problems = [
        *_list("missing", [key for key in shapes if key not in state]),
        *_list("left over", [str(key) for key in state if key not in shapes]),
    ]
    wrong = [key for key in shapes if key in state and list(state[key].shape) != shapes[key]]
    problems += _list(
        "misshapen", [f"{key} {list(state[key].shape)} instead of {shapes[key]}" for key in wrong]
    )
    problems += _list("not finite", [key for key in shapes if key in state and not _finite(state[key])])
    if problems:
        raise ValueError(f"{prefix}: {'; '.join(problems)}")


def _list(what: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return [f"{what}: {', '.join(keys[:NAMED])}{more}"]


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _translate(state: dict[str, Tensor], part: Component, name: str) -> dict[str, Tensor]:
    """Official state dict -> ours: weight norm folded, constant buffers verified and dropped, keys renamed."""
    tensors = {}
    for key, tensor in state.items():
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        if key.endswith((".filter", ".window")):
            _verify_constant(key, tensor, name)
            continue
        if key.endswith(".weight_v"):
            continue
        if key.endswith(".weight_g"):
            key = key.removesuffix("_g")
            direction = state[f"{key}_v"].float()
            tensor = direction * (tensor / torch.norm_except_dim(direction, 2, 0))
            if not _finite(tensor):
                raise ValueError(f"{name}: {key}_v has a row of zeros, so its weight norm is undefined")
        if key.endswith((".emb_rel_k", ".emb_rel_v")):
            tensor = tensor.squeeze(0)
        tensors[part.rename(key)] = tensor
    return tensors


def _verify_constant(key: str, tensor: Tensor, name: str) -> None:
    expected = lowpass_taps() if key.endswith(".filter") else torch.hann_window(tensor.numel())
    if not torch.allclose(tensor.flatten(), expected, rtol=0.0, atol=1e-5):
        raise ValueError(f"{name}: {key} differs from the constant that this model uses")


def _card(component: str, source: Path) -> str:
    digest = sha256(source.read_bytes()).hexdigest()
    return (
        f"# HierSpeech++ {component}, published weights\n\n"
        f"Converted by `hierspeech.official` from `{source.name}` (sha256 `{digest}`).\n\n"
        "The weights are the work of the authors of HierSpeech++ (https://github.com/sh-lee-prml/HierSpeechpp); "
        "their licence and their data apply. Weight norm is folded, nothing else was changed.\n"
    )
