"""Reads a published checkpoint: only through `weights_only=True`, and compared tensor by tensor with the published list."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CONTAINERS = ("model", "generator")  # keys under which training files hold the state dict
LFS_POINTER = b"version https://git-lfs.github.com/"
NAMED = 3  # how many offending tensors a message names


def read_checkpoint(path: str | Path) -> Any:
    """The content of a checkpoint file; its tensors are mapped from the disk, so they take memory only when read.

    Raises:
        ValueError: no such file, or one that is damaged or holds anything but tensors, numbers and containers of them.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if is_lfs_pointer(path):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights: fetch them with `git lfs pull`")
    try:
        # files of the old format (before torch 1.6) are no zip archives and cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (
        Exception
    ) as error:  # a damaged or hostile file can fail in any way; none of them is worth telling apart
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint that holds nothing but tensors ({type(error).__name__})"
        ) from error


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what a clone without Git LFS has in the place of a big one."""
    try:
        with open(path, "rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError as error:
        raise ValueError(f"{path}: the file cannot be read ({error.strerror})") from error


def unwrap(content: Any, name: str) -> dict[str, Tensor]:
    """The state dict in `content`: bare, or under `model` or `generator`; `name` is how messages call it."""
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


def check_tensors(state: dict[str, Tensor], shapes: dict[str, list[int]], prefix: str) -> None:
    """Compare names, shapes, kinds and finiteness with the published list; a ValueError that starts with `prefix` says what."""
    problems = [
        *_list("missing", [key for key in shapes if key not in state]),
        *_list("left over", [str(key) for key in state if key not in shapes]),
    ]
    wrong = [key for key in shapes if key in state and list(state[key].shape) != shapes[key]]
    problems += _list(
        "misshapen", [f"{key} {list(state[key].shape)} instead of {shapes[key]}" for key in wrong]
    )
    kinds = {key: _odd_kind(key, state[key]) for key in shapes if key in state}
    problems += _list("of another kind", [f"{key} is {kind}" for key, kind in kinds.items() if kind])
    problems += _list(
        "not finite", [key for key, kind in kinds.items() if not kind and not is_finite(state[key])]
    )
    if problems:
        raise ValueError(f"{prefix}: {'; '.join(problems)}")


def _odd_kind(key: str, tensor: Tensor) -> str:
    """What a tensor is if it cannot be a weight: neither a plain array of floats nor a counter; "" if it can."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout != torch.strided:
        return f"stored as {tensor.layout}".replace("torch.", "")
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device}"
    wanted = (
        tensor.dtype == torch.int64 if key.endswith("num_batches_tracked") else tensor.is_floating_point()
    )
    return "" if wanted else f"of type {tensor.dtype}".replace("torch.", "")


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has neither NaN nor infinity."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _list(what: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return [f"{what}: {', '.join(keys[:NAMED])}{more}"]
