"""What a run starts from: `init=FOLDER`, a model folder or the part of a voice folder that holds the model to be trained, and
`train.init_modules`, files of the modules beside it, such as discriminators, which no voice holds."""

import json
import os
import typing
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from speech.checkpoint import (
    Pretrained,
    config_differences,
    folded_state_dict,
    load_folded,
    load_tensors,
    read_config,
)
from speech.run_folder import load_training_state

INIT = "init"  # `model: init` in a YAML: the model section is the one of the init folder


def find_published(model_class: type | Iterable[type], folder: str | Path) -> Path:
    """The folder with a `model_class`, or one of several, in it: `folder` itself, or the one such part of it where it is a voice.

    Raises:
        ValueError: none or several, in one sentence that names what is there.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return folder
    names = [kind.__name__ for kind in ([model_class] if isinstance(model_class, type) else model_class)]
    parts = {path.parent: _model_name(path) for path in sorted(folder.glob("*/config.json"))}
    found = [part for part, name in parts.items() if name in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"init: {folder} holds several {' or '.join(names)}, expected one of {', '.join(map(str, found))}"
        )
    held = ", ".join(f"{part.name} ({name})" for part, name in parts.items()) or "no model at all"
    raise ValueError(f"init: {folder} holds no {' or '.join(names)}; found {held}")


def load_init(published: nn.Module, folder: str | Path) -> None:
    """Start `published` from the published weights in `folder`, a model or a voice; the configurations must be equal.

    Only parts that the class names in `addable_parts` (place in the configuration, with dots -> module) may be missing there,
    None or False: they keep the weights they were made with. Lists of blocks that it names in `growable_parts` (the same) may be
    shorter there: the blocks that are missing are made silent, so that the deeper model first does what the published one did.
    """
    folder = find_published(type(published), folder)
    stored, config = read_config(type(published), folder), published.config
    prefixes = []
    for place, part in getattr(published, "addable_parts", {}).items():
        *path, name = place.split(".")
        theirs, ours = (_inside(start, path) for start in (stored, config))
        if theirs is not None and ours is not None and not getattr(theirs, name) and getattr(ours, name):
            setattr(theirs, name, getattr(ours, name))
            prefixes.append(f"{part}.")
    for place, part in getattr(published, "growable_parts", {}).items():
        theirs, ours = getattr(stored, place), getattr(config, place)
        for number in range(theirs, ours):
            published.get_submodule(f"{part}.{number}").silence()
            prefixes.append(f"{part}.{number}.")
        setattr(stored, place, max(theirs, ours))
    if differences := config_differences(stored, config):
        raise ValueError(f"init: {folder} holds another model ({'; '.join(differences[:5])})")
    tensors = {k: v.float() for k, v in load_tensors(folder).items()}
    tensors |= {k: v for k, v in folded_state_dict(published).items() if k.startswith(tuple(prefixes))}
    load_folded(published, tensors, str(folder))


def save_module(step_folder: str | Path, name: str, path: str | Path) -> int:
    """Write one module of a training run as float16 safetensors, for `train.init_modules`; returns its number of weights.

    Args:
        step_folder: `runs/NAME/step_N`. name: the module's in the recipe, such as "discriminator".
    Raises:
        ValueError: no such step folder, or no such module in it.
    """
    if not (Path(step_folder) / "training.pt").is_file():
        raise ValueError(f"{step_folder}: no training.pt in it, expected a step folder of a run")
    modules = load_training_state(Path(step_folder))["modules"]
    if name not in modules:
        raise ValueError(f"{step_folder} holds the modules {', '.join(sorted(modules))}, expected {name!r}")
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in modules[name].items()
    }
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return sum(value.numel() for value in tensors.values())


def load_modules(modules: dict[str, nn.Module], files: dict[str, str]) -> None:
    """Start `modules` from `files`, by name: what `save_module` wrote.

    Raises:
        ValueError: a module that there is not, a file that cannot be read, or one of another module.
    """
    for name, path in files.items():
        if name not in modules:
            raise ValueError(f"train.init_modules: no module {name!r}; the recipe has {sorted(modules)}")
        try:
            tensors = {key: value.float() for key, value in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"train.init_modules: cannot read {path}: {error}") from error
        ours = modules[name].state_dict()
        wrong = [key for key in ours.keys() | tensors.keys() if _shape(ours, key) != _shape(tensors, key)]
        if wrong:
            raise ValueError(
                f"train.init_modules: {path} is of another {name} than this configuration's ({len(wrong)} tensors differ, "
                f"{min(wrong)} among them)"
            )
        modules[name].load_state_dict(tensors)


def _shape(tensors: dict[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None


def _inside(config: Any, path: list[str]) -> Any:
    """The section of a configuration, None where a part on the way is left out."""
    for name in path:
        config = None if config is None else getattr(config, name)
    return config


def init_section(sections: type, folder: str | Path | None) -> dict[str, Any]:
    """The model section of a recipe whose YAML says `model: init`, read from the init folder.

    Args:
        sections: the recipe's `Config`.
    """
    if folder is None:
        raise ValueError("model: init takes the model section from a trained model: expected init=FOLDER")
    config_class = typing.get_type_hints(sections)["model"]
    model_class = next(c for c in Pretrained.__subclasses__() if c.Config is config_class)
    return asdict(read_config(model_class, find_published(model_class, folder)))


def _model_name(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("model"))
    except (OSError, ValueError, AttributeError):
        return "unreadable"
