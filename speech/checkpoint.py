"""Published models: a folder with `config.json`, `model.safetensors` and a model card.

Weight norm is a way to train, not a part of the model: the stored weights are always folded. Loading for
inference builds the model without weight norm; loading for training assigns through the parametrisation's
right inverse.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from speech import int8_storage
from speech.config import build
from speech.hub import MODEL_FILES, download, is_hub_id
from speech.modules.weight_norm import building_without_weight_norm

FORMAT = 1
Model = TypeVar("Model", bound="Pretrained")


class Pretrained:
    """Mixin for an `nn.Module` built from one config dataclass: `save_pretrained` and `from_pretrained`.

    A subclass names its dataclass in `Config`, takes it as its only constructor argument and keeps it in
    `self.config`.
    """

    Config: ClassVar[type]

    def save_pretrained(
        self, folder: str | Path, card: str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        """Write `config.json`, `model.safetensors` (weight norm folded) and, with a `card`, `README.md`.

        Args:
            folder: created if missing; each file is written under a temporary name and renamed.
            card: text of the model card.
            dtype: storage type of floating-point weights, e.g. `torch.float16`; None keeps theirs; `torch.int8` keeps
                matrices in 8 bits (`int8_storage.py`) and the rest in 16.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors, kept = {}, None if dtype is torch.int8 else dtype
        for name, tensor in folded_state_dict(self).items():
            tensor = tensor.detach().to("cpu", kept if tensor.is_floating_point() else None, copy=True)
            tensors[name] = tensor.contiguous()
        if dtype is torch.int8:
            tensors = int8_storage.pack(tensors)
        temporary = folder / "model.safetensors.tmp"
        save_file(tensors, temporary)
        os.replace(temporary, folder / "model.safetensors")
        values = {"model": type(self).__name__, "format": FORMAT, **asdict(self.config)}
        _write_text(folder / "config.json", json.dumps(values, indent=2) + "\n")
        if card is not None:
            _write_text(folder / "README.md", card)

    @classmethod
    def from_pretrained(
        cls: type[Model],
        name: str | Path,
        device: str | torch.device = "cpu",
        trainable: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> Model:
        """Load a model from a local folder, or from a Hugging Face hub id where no such folder exists.

        Args:
            name: folder that `save_pretrained` wrote, or a hub id `owner/name`.
            device: where the model is placed.
            trainable: False gives eval mode without weight norm; True gives train mode with weight norm.
            dtype: floating-point weights are cast to it, whatever type they are stored in.
        Raises:
            ValueError: missing or damaged files, another model's weights, or tensors missing, left over or
                misshapen.
        """
        folder = Path(name) if Path(name).is_dir() else _download(str(name))
        config = read_config(cls, folder)
        if trainable:
            model = cls(config)
        else:
            with building_without_weight_norm(), _SkipRandomFill():
                model = cls(config)
        tensors = load_tensors(folder)
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
        load_folded(model.to(dtype), tensors, str(folder))
        return model.train(trainable).to(device)


def folded_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of `model` as if weight norm had been folded; the model itself is left as it is."""
    state = dict(model.state_dict())
    for prefix, module in model.named_modules():
        if not is_parametrized(module):
            continue
        prefix = f"{prefix}." if prefix else ""
        for name in module.parametrizations:
            for key in [key for key in state if key.startswith(f"{prefix}parametrizations.{name}.")]:
                del state[key]
            with torch.no_grad():
                state[f"{prefix}{name}"] = getattr(module, name)
    return state


@torch.no_grad()
def load_folded(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy folded `tensors` into `model` strictly; weight norm takes them through its right inverse.

    Raises:
        ValueError: names missing, left over or of another shape, `source` being named in the message.
    """
    expected = {name: tensor.shape for name, tensor in folded_state_dict(model).items()}
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or extra:
        raise ValueError(
            f"{source} does not fit {type(model).__name__}: "
            f"{len(missing)} tensors missing {sorted(missing)[:3]}, "
            f"{len(extra)} left over {sorted(extra)[:3]}"
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(
                f"{source}: {name} has shape {list(tensors[name].shape)}, expected {list(shape)}"
            )
    rest = dict(tensors)
    for prefix, module in model.named_modules():
        if is_parametrized(module):
            for name in module.parametrizations:
                # assignment to a parametrised attribute runs right_inverse and fills the originals in place
                setattr(module, name, rest.pop(f"{prefix}.{name}" if prefix else name))
    model.load_state_dict(rest, strict=False)  # strictness was established above, by name and shape


def read_config(cls: type["Pretrained"], folder: str | Path) -> Any:
    """Read `config.json` of `folder` as `cls.Config`; another class or an unknown format is refused."""
    path = Path(folder) / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected an object with the key 'model', got {values!r:.80}")
    kind = values.pop("model", None)
    if kind != cls.__name__:
        raise ValueError(f"{folder} holds a {kind}, not a {cls.__name__}")
    if (version := values.pop("format", None)) != FORMAT:
        raise ValueError(f"{path}: format {version}, this version of the code reads format {FORMAT}")
    return build(cls.Config, values)


def config_differences(found: Any, expected: Any) -> list[str]:
    """The values in which two configs differ, as `style.hidden: 16, expected 32`; empty where they are equal."""
    ours, theirs = _flatten(asdict(found)), _flatten(asdict(expected))
    return [
        f"{key}: {ours.get(key)!r}, expected {theirs.get(key)!r}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def load_tensors(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of `folder/model.safetensors`, on the CPU, in their stored types; those in 8 bits as float32."""
    path = Path(folder) / "model.safetensors"
    try:
        return int8_storage.unpack(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


class _SkipRandomFill(TorchFunctionMode):
    """Skip the random fill of weights that are about to be overwritten; leaves the random state alone."""

    _SKIPPED = frozenset({Tensor.uniform_, Tensor.normal_, nn.init.kaiming_uniform_, nn.init.kaiming_normal_})

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in self._SKIPPED:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _download(name: str) -> Path:
    if not is_hub_id(name):
        raise ValueError(f"{name}: no such folder")
    return download(name, MODEL_FILES)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:  # JSON knows no tuples, so a list and a tuple of the same values are the same config
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
