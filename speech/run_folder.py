"""The folder of a training run: `runs/NAME/step_00001000/`, publishable as it is but for `training.pt`.

Each step folder holds `config.json`, `model.safetensors` and `README.md` of the published model (what
`from_pretrained` reads), `config.yaml` (the whole resolved configuration) and `training.pt` (every module
with its weight-norm parametrisation, optimizers, EMA, step). A folder is written under a temporary name and
renamed, so that a name `step_XXXXXXXX` always means a complete step.
"""

import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

_STEP_FOLDER = re.compile(r"step_(\d{8,})")


def step_folders(run_folder: str | Path) -> list[Path]:
    """The complete step folders of a run, oldest first."""
    run_folder = Path(run_folder)
    if not run_folder.is_dir():
        return []
    found = [
        (int(m[1]), p) for p in run_folder.iterdir() if (m := _STEP_FOLDER.fullmatch(p.name)) and p.is_dir()
    ]
    return [path for _, path in sorted(found) if (path / "training.pt").is_file()]


def remove_unfinished(run_folder: str | Path) -> None:
    """Delete what a killed process had not finished writing."""
    for path in Path(run_folder).glob("step_*.tmp"):
        shutil.rmtree(path)


def save_step(
    run_folder: str | Path,
    step: int,
    published: nn.Module,
    state: dict[str, Any],
    resolved: dict[str, Any],
    keep: int,
    keep_every: int = 0,
) -> Path:
    """Write the folder of `step`, then delete older ones beyond the newest `keep`.

    Args:
        published: the model to publish (its EMA where there is one); a `Pretrained`.
        state: what `training.pt` holds.
        resolved: the whole configuration, written as `config.yaml` and summed up in the model card.
        keep: number of newest step folders that stay; 0 keeps all.
        keep_every: steps that are a multiple of it are never deleted; 0 for none.
    """
    import yaml

    run_folder = Path(run_folder)
    final = run_folder / f"step_{step:08d}"
    temporary = run_folder / f"step_{step:08d}.tmp"
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    published.save_pretrained(temporary, card=model_card(published, step, resolved))
    torch.save(state, temporary / "training.pt")
    text = yaml.safe_dump(_plain(resolved), sort_keys=False, allow_unicode=True)
    (temporary / "config.yaml").write_text(text, encoding="utf-8")
    if final.exists():  # the same step again: a finished run that was asked to go on from an older folder
        shutil.rmtree(final)
    os.replace(temporary, final)
    if keep:
        for folder in step_folders(run_folder)[:-keep]:
            if not (keep_every and int(folder.name.removeprefix("step_")) % keep_every == 0):
                shutil.rmtree(folder)
    return final


def load_training_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """`training.pt` of a step folder; a damaged file is a `ValueError`, never a fresh start."""
    try:
        # processes that share CPUs are told "cpu:0", which torch cannot load to
        place = "cpu" if torch.device(device).type == "cpu" else device
        return torch.load(folder / "training.pt", map_location=place, weights_only=True)
    except (
        Exception
    ) as error:  # torch.load raises a dozen kinds for a damaged file; all mean the same to the user
        raise ValueError(f"cannot resume from {folder / 'training.pt'}: {error!r:.200}") from error


def model_card(published: nn.Module, step: int, resolved: dict[str, Any]) -> str:
    """The card of a model in training: what it is, from which recipe, data and step."""
    parameters = sum(p.numel() for p in published.parameters()) / 1e6
    recipe, train = resolved.get("recipe") or {}, resolved.get("train") or {}
    data = "\n".join(f"- {key}: {value}" for key, value in (resolved.get("data") or {}).items())
    return (
        f"# {type(published).__name__}\n\n"
        f"{parameters:.2f} million parameters, recipe `{recipe.get('name', '?')}`, "
        f"run `{train.get('run', '?')}`, step {step}.\n\n"
        f"Load it with `{type(published).__name__}.from_pretrained(FOLDER)`. "
        f"The whole configuration of the run is in `config.yaml`.\n\n## Data\n\n{data or '- none named'}\n"
    )


def resolved_config(name: str, sections: Any, losses: dict, train: Any) -> dict[str, Any]:
    """The whole configuration with all defaults filled in, as plain values."""
    values = asdict(sections)
    return {
        "recipe": {"name": name} | values["recipe"],
        "model": values["model"],
        "data": values["data"],
        "losses": losses,
        "train": asdict(train),
    }


def _plain(value: Any) -> Any:
    """Tuples to lists, paths to strings: what YAML's safe dumper can write."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
