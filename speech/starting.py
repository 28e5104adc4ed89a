"""What `init=FOLDER` starts from: a model folder, or the part of a voice folder that holds the model to be trained."""

import json
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from speech.checkpoint import (
    Pretrained,
    config_differences,
    folded_state_dict,
    load_folded,
    load_tensors,
    read_config,
)

INIT = "init"  # `model: init` in a YAML: the model section is the one of the init folder


def find_published(model_class: type, folder: str | Path) -> Path:
    """The folder with a `model_class` in it: `folder` itself, or the one such part of it where it is a voice.

    Raises:
        ValueError: none or several, in one sentence that names what is there.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return folder
    parts = {path.parent: _model_name(path) for path in sorted(folder.glob("*/config.json"))}
    found = [part for part, name in parts.items() if name == model_class.__name__]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"init: {folder} holds several {model_class.__name__}, expected one of {', '.join(map(str, found))}"
        )
    held = ", ".join(f"{part.name} ({name})" for part, name in parts.items()) or "no model at all"
    raise ValueError(f"init: {folder} holds no {model_class.__name__}; found {held}")


def load_init(published: nn.Module, folder: str | Path) -> None:
    """Start `published` from the published weights in `folder`, a model or a voice; the configurations must be equal.

    Only parts that the class names in `addable_parts` (place in the configuration, with dots -> module) may be missing there,
    None or False: they keep the weights they were made with.
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
    if differences := config_differences(stored, config):
        raise ValueError(f"init: {folder} holds another model ({'; '.join(differences[:5])})")
    tensors = {k: v.float() for k, v in load_tensors(folder).items()}
    tensors |= {k: v for k, v in folded_state_dict(published).items() if k.startswith(tuple(prefixes))}
    load_folded(published, tensors, str(folder))


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
