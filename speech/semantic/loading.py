"""Loading a part of a transformers checkpoint, strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def load_strictly(
    model_class: Any,
    config_class: Any,
    source: str | Path,
    adapt: Callable[[Any], None],
    is_surplus: Callable[[str], bool],
) -> Any:
    """A transformers model in float32 from a folder or hub id, after `adapt` has changed its config.

    transformers itself only warns about tensors that are missing (they stay random), misshapen or left over; here that is
    an error, except for left-over keys that `is_surplus` expects (layers and heads that are not wanted).

    Raises:
        ValueError: weights or config cannot be read, or do not fit.
    """
    import torch
    from transformers import logging

    if isinstance(source, Path) and not source.is_dir():
        raise ValueError(f"there is no folder {source} to load a semantic encoder from")
    if (
        Path(source).is_dir() and not (Path(source) / "config.json").is_file()
    ):  # transformers would take the defaults
        raise ValueError(f"no config.json could be read from {source}")
    before = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # expected left-overs are no news
    logging.disable_progress_bar()
    try:
        # looked at before it is read: fields of another family may not pass this one's checks
        kind = config_class.get_config_dict(source)[0].get("model_type", config_class.model_type)
        if kind != config_class.model_type:
            raise ValueError(f"{source} holds a {kind} model, expected {config_class.model_type}")
        config = config_class.from_pretrained(source)
        adapt(config)
        model, info = model_class.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise ValueError(
            f"no {config_class.model_type} weights could be read from {source}: {error}"
        ) from error
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
    wrong = {
        kind: sorted(map(str, info.get(kind) or []))
        for kind in ("missing_keys", "mismatched_keys", "error_msgs")
    }
    wrong["unexpected_keys"] = sorted(key for key in info["unexpected_keys"] if not is_surplus(key))
    # a mask vector for training that older checkpoints lack
    wrong["missing_keys"] = [key for key in wrong["missing_keys"] if not key.endswith("masked_spec_embed")]
    problems = [f"{kind.replace('_', ' ')} {', '.join(keys[:5])}" for kind, keys in wrong.items() if keys]
    if problems:
        raise ValueError(
            f"the weights in {source} do not fit a {config_class.model_type} model: {'; '.join(problems)}"
        )
    return model
