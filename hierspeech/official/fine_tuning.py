"""Published training files -> a run folder from which `train.py` goes on: fine-tuning starts where training ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hierspeech.official.cards import start_card
from hierspeech.official.components import COMPONENTS, CONVERTIBLE
from hierspeech.official.published import file_digest, identify
from hierspeech.official.training_files import TrainingState, read_training_file
from speech.new_folder import check_free, new_folder
from speech.optimization import OptimizerConfig, make_optimizer

SEED = 1234  # of a discriminator that starts from nothing

# what trains -> its discriminator, both keys of COMPONENTS
STARTABLE = {
    "synthesizer": "discriminator-16k",
    "speechsr-24k": "discriminator-24k",
    "speechsr-48k": "discriminator-48k",
}


@dataclass(frozen=True)
class _Part:
    role: str
    component: str
    path: Path
    sha256: str
    state: TrainingState

    @property
    def summary(self) -> str:
        state, (fewest, most) = self.state, self.state.steps
        steps = f"{most}" if fewest == most else f"{fewest} to {most}"
        rate = "unknown" if state.learning_rate is None else f"{state.learning_rate:.4g}"
        fresh = f", {len(state.fresh)} parameters without moments" if state.fresh else ""
        return (
            f"{self.role}: {self.path.name}, {len(state.optimizer['state'])} parameters with the AdamW state of "
            f"{steps} updates{fresh}; epoch {state.iteration}, last learning rate {rate}"
        )


def start(
    component: str,
    run_folder: str | Path,
    generator: str | Path,
    discriminator: str | Path | None = None,
    unverified: bool = False,
    fresh_moments: bool = False,
    report: Callable[[str], None] = print,
) -> Path:
    """Write `run_folder/step_00000000`, which a recipe with the modules generator and discriminator resumes from.

    Args:
        component: a key of `STARTABLE`.
        run_folder: must not exist yet or be empty; `train.py ... train.runs_folder=PARENT train.run=NAME` finds it.
        generator, discriminator: training files {model, iteration, optimizer, learning_rate}; without a discriminator
            a new one starts from random weights.
        unverified: take a file that has the name of a published one and another content.
        fresh_moments: let parameters whose moments a file lacks start without.
    Returns: the step folder.
    Raises:
        ValueError: as `read_training_file`; or `run_folder` in use. Nothing is left behind then.
    """
    if component not in STARTABLE:
        raise ValueError(f"unknown component {component!r}, expected one of {', '.join(STARTABLE)}")
    check_free(run_folder)
    files = {"generator": (component, Path(generator))}
    if discriminator is not None:
        files["discriminator"] = (STARTABLE[component], Path(discriminator))
    parts = {}
    for role, (name, path) in files.items():
        known = name in CONVERTIBLE  # discriminators have no published digests
        state = read_training_file(name, path, fresh_moments)
        digest = identify(name, path, unverified).sha256 if known else file_digest(path)
        parts[role] = _Part(role, name, path, digest, state)
        report(parts[role].summary)
    if discriminator is None:
        report("discriminator: a new one with random weights")
    with new_folder(run_folder) as temporary:
        folder = temporary / "step_00000000"
        _write(folder, component, parts)
    return Path(run_folder) / folder.name


def _write(folder: Path, component: str, parts: dict[str, _Part]) -> None:
    modules = {role: part.state.module for role, part in parts.items()}
    optimizers = {role: part.state.optimizer for role, part in parts.items()}
    figures = "\n".join(f"- {part.summary}" for part in parts.values())
    if "discriminator" not in parts:
        modules["discriminator"] = _new_discriminator(STARTABLE[component])
        optimizers["discriminator"] = make_optimizer(modules["discriminator"], OptimizerConfig()).state_dict()
        figures += "\n- discriminator: new, random weights"
    origins = {role: part.path for role, part in parts.items()}
    digests = {role: part.sha256 for role, part in parts.items()}
    card = start_card(component, origins, digests, figures)
    modules["generator"].save_pretrained(folder, card=card)
    state: dict[str, Any] = {
        "format": 1,
        "step": 0,
        "modules": {role: module.state_dict() for role, module in modules.items()},
        "optimizers": optimizers,
        "ema": None,
    }
    torch.save(state, folder / "training.pt")


def _new_discriminator(component: str) -> torch.nn.Module:
    part = COMPONENTS[component]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return part.model(part.config())
