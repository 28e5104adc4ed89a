"""The one training loop of all models, on Hugging Face Accelerate (design.md section 2.3).

A recipe says what is learnt; the loop does the rest. A recipe module exports one class `Recipe`:

    class Recipe:
        @dataclass
        class Config:             # three sections of the YAML, each a dataclass beside what it configures
            model: TTVConfig
            data: DataConfig = field(default_factory=DataConfig)
            recipe: RecipeConfig = field(default_factory=RecipeConfig)   # without `name`

        published = "generator"          # the module that `save_pretrained` publishes

        def __init__(self, model_config, data_config, recipe_config, losses, train_config): ...
            self.modules = {"generator": ..., "discriminator": ...}      # name -> nn.Module

        def batches(self, start_step): ...      # yields batches for steps start_step, start_step + 1, ...
        def turns(self, batch, step): ...       # yields (module name, {loss name: scalar tensor})
        def validate(self): ...                 # {name: float}; {} where there is nothing to measure
        def preview(self, writer, step): ...    # audio, pictures to the TensorBoard SummaryWriter

YAML sections: `recipe: {name: ttv, ...}`, `model:`, `data:`, `losses: {module: {loss: weight}}`, `train:`
(TrainConfig). Recipe modules: speech/semantic/phonetic_recipe.py, speech/speaker/recipe.py, ttv/aligned_recipe.py, ttv/recipe.py,
hierspeech/synthesizer/recipe.py, speechsr/recipe.py, speechsr/istft_recipe.py, denoiser/recipe.py; their names are listed in train.py.

What a recipe must keep to:
- Modules are called as `self.modules["generator"](...)`, looked up at each call (the loop replaces them by their
  distributed wrappers, and for `validate` and `preview` the published one by its EMA), and through `forward`, where
  gradients flow. `validate` and `preview` run in eval mode without gradients, in the main process only.
- Batches are a function of the step number and of nothing else; with several processes, each takes its own share
  (`speech.data.step_batches` does both). Tensors in tuples, lists, dicts and dataclasses are moved to the device.
- `turns` runs under autocast; what must be float32 asks for `.float()`. The random state is seeded by (seed, step,
  process) before each step, so that dropout and noise repeat after a resume.
- The names yielded for a module equal those configured for it, at every step; a loss of weight 0 is only logged. A
  module of `modules` without an entry in `losses` is never stepped, but saved. A turn may be left out (warm-up).
- Optional: `audio_seconds(batch)` gives the seconds of audio in a batch, for the throughput figures.

`train.accumulate: k` makes an update of k batches, for sizes that memory does not hold at once. A turn's gradients are then
averaged over the k batches and applied after the last, so that the generator's losses see the discriminator as it was
before the update, and not after it as with k = 1; a recipe notices nothing else of it.
"""

import contextlib
import copy
import sys
import time
import warnings
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speech.checkpoint import config_differences, read_config
from speech.config import build
from speech.freezing import freeze, set_training, trained_parameters
from speech.interruption import StopSignals
from speech.optimization import OptimizerConfig, make_optimizer, update_average
from speech.precision import TOO_SLOW, has_bf16
from speech.run_folder import load_training_state, remove_unfinished, save_step, step_folders
from speech.starting import load_init, load_modules
from speech.turns import State, seed_everything, take_step


@dataclass
class TrainConfig(OptimizerConfig):
    """How a run is trained; the optimizer fields are the defaults that `optimizers` overrides per module."""

    run: str = ""  # folder name under runs_folder; the configuration file's name where empty
    runs_folder: str = "runs"
    seed: int = 1234
    max_steps: int = 100_000
    max_minutes: float | None = None  # stop (saved) after so much wall time
    batch_size: int = 16  # per process
    # instead of it: seconds of audio in a batch, padding included, of items of like lengths (recipes of whole utterances)
    batch_seconds: float | None = None
    accumulate: int = 1  # batches per update
    compile: list[str] = field(default_factory=list)  # modules whose forward torch.compile makes faster
    num_workers: int = 2  # data loading processes; 0 loads in the loop's own
    precision: str = "bf16"  # fp32 on a CPU that has no bf16; or "fp32"; "no" (quoted: YAML reads a bare no as false) means fp32 too
    device: str = "auto"  # or "cpu"
    ema: float = 0.0  # decay of the published module's moving average; 0 = none
    # module name -> OptimizerConfig values that differ for it
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    log_every: int = 50
    save_every: int = 1000
    validate_every: int = 1000  # 0 = never; previews too
    keep_checkpoints: int = 2  # newest step folders kept; 0 = all
    keep_every: int = 0  # multiples of it are kept for good; 0 = none
    resume: str = "auto"  # newest step folder of the run, or "never": refuse to overwrite a run
    init: str | None = None  # folder to start from: of published weights, or a voice with such a part
    init_modules: dict[str, str] = field(default_factory=dict)  # other modules -> files to start them from
    freeze: list[str] = field(default_factory=list)  # parts of the published module that keep their weights
    tensorboard: bool = True
    find_unused_parameters: bool = False  # distributed: a step may leave parameters without gradient

    def __post_init__(self):
        super().__post_init__()
        choices_of = {
            "precision": ("bf16", "fp32", "no"),
            "device": ("auto", "cpu"),
            "resume": ("auto", "never"),
        }
        for name, choices in choices_of.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {list(choices)}, got {getattr(self, name)!r}")
        for name in ("max_steps", "batch_size", "accumulate", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.batch_seconds is not None and self.batch_seconds <= 0:
            raise ValueError(f"batch_seconds: expected a positive number, got {self.batch_seconds}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: expected a decay of 0 (none) to below 1, got {self.ema}")
        for name in self.optimizers:
            self.optimizer_of(name)

    def optimizer_of(self, name: str) -> OptimizerConfig:
        """The optimizer settings of module `name`."""
        default = OptimizerConfig(**{f.name: getattr(self, f.name) for f in fields(OptimizerConfig)})
        changes = self.optimizers.get(name, {})
        converted = build(OptimizerConfig, changes, f"train.optimizers.{name}")
        return replace(default, **{key: getattr(converted, key) for key in changes})


def fit(
    recipe: Any, config: TrainConfig, losses: dict[str, dict[str, float]], resolved: dict[str, Any]
) -> int:
    """Train `recipe` until `max_steps`, resuming the run's newest step folder; returns the step reached.

    Args:
        recipe: see this file's docstring.
        losses: `{module: {loss: weight}}`.
        resolved: the whole configuration as plain values, stored with each step.
    Raises:
        ValueError: losses that do not match the recipe, a run that cannot be resumed or initialised.
    """
    from speech.progress import Progress

    accelerator, state, plain = begin(recipe, config, losses)
    run_folder = Path(config.runs_folder) / config.run
    progress = Progress(run_folder, state.step, config, accelerator)
    saved = state.step
    deadline = time.monotonic() + 60 * config.max_minutes if config.max_minutes else float("inf")

    def save() -> None:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            published = state.ema or plain[recipe.published]
            keep = config.keep_checkpoints, config.keep_every
            path = save_step(run_folder, state.step, published, _pack(plain, state), resolved, *keep)
            progress.say(f"saved {path}")
        accelerator.wait_for_everyone()

    with StopSignals() as signals, contextlib.closing(progress):
        done = state.step >= config.max_steps
        batches = iter(()) if done else recipe.batches(state.step * config.accumulate)
        while not done:
            logs, seconds = take_step(recipe, batches, state, config, losses, accelerator)
            state.step += 1
            if state.ema is not None:
                decay = min(config.ema, state.step / (state.step + 10))  # young averages forget faster
                update_average(state.ema, plain[recipe.published], decay)
            progress.add(state.step, logs, seconds * accelerator.num_processes)
            stop = _any_process(accelerator, signals.stop or time.monotonic() > deadline)
            done = stop or state.step >= config.max_steps
            if config.validate_every and (state.step % config.validate_every == 0 or done and not stop):
                if accelerator.is_main_process:
                    seed_everything(config.seed)
                    _validate(recipe, state, progress)
                accelerator.wait_for_everyone()
            if done or state.step % config.save_every == 0:
                save()
                saved = state.step
    recipe.modules.update(plain)
    if saved < config.max_steps:
        progress.say(f"stopped at step {saved} of {config.max_steps}; the same command continues")
    return saved


def begin(recipe: Any, config: TrainConfig, losses: dict[str, dict[str, float]]) -> tuple[Any, State, dict]:
    """What a run needs before its first step: modules on the device, wrapped and compiled, and optimizers.

    Returns: the accelerator, the state (of the newest step folder where the run has one), and the plain modules by name,
        without distributed wrappers.
    Raises:
        ValueError: losses that do not match the recipe, a run that cannot be resumed or initialised.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    _check(recipe, losses, config)
    accelerator = Accelerator(
        mixed_precision="no",  # autocast is entered in speech/turns.py, around a whole turn
        # said outright where there is no GPU: launched processes would each train alone otherwise
        cpu=config.device == "cpu" or not _any_accelerator(),
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                find_unused_parameters=config.find_unused_parameters, broadcast_buffers=False
            )
        ],
    )
    run_folder = Path(config.runs_folder) / config.run
    if accelerator.is_main_process:
        remove_unfinished(run_folder)
    state = _start(recipe, config, losses, run_folder, accelerator)
    state.autocast = config.precision == "bf16" and has_bf16(accelerator.device)
    if config.precision == "bf16" and not state.autocast and accelerator.is_main_process:
        print(f"train.precision bf16: {TOO_SLOW}; training in fp32", file=sys.stderr)
    if accelerator.num_processes > 1:
        steps = accelerator.gather(torch.tensor([state.step], device=accelerator.device)).tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"{run_folder}: the processes find the steps {steps} there; expected one folder that all machines share"
            )
    plain = dict(recipe.modules)
    for name in config.compile:
        plain[name].compile()
    with (
        warnings.catch_warnings()
    ):  # torch 2.13 renames broadcast_buffers; older releases know this name only
        warnings.simplefilter("ignore", FutureWarning)
        recipe.modules.update({name: accelerator.prepare_model(plain[name]) for name in losses})
    for module in recipe.modules.values():
        set_training(module)
    return accelerator, state, plain


def _any_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()


def _check(recipe, losses, config: TrainConfig) -> None:
    if unknown := losses.keys() - recipe.modules.keys():
        raise ValueError(f"losses: no modules {sorted(unknown)}; the recipe has {sorted(recipe.modules)}")
    if unknown := config.optimizers.keys() - losses.keys():
        raise ValueError(
            f"train.optimizers: no losses for {sorted(unknown)}; losses are for {sorted(losses)}"
        )
    if unknown := set(config.compile) - recipe.modules.keys():
        raise ValueError(
            f"train.compile: no modules {sorted(unknown)}; the recipe has {sorted(recipe.modules)}"
        )
    if not config.run:
        raise ValueError("train.run: expected a name for the run, got an empty one")
    if not losses:
        raise ValueError(f"losses: nothing to learn; the recipe has the modules {sorted(recipe.modules)}")


def _start(recipe, config: TrainConfig, losses, run_folder: Path, accelerator) -> State:
    """Place the modules and make the optimizers; resume the newest step folder, or start fresh (or `init`)."""
    folders = step_folders(run_folder)
    if folders and config.resume == "never":
        raise ValueError(
            f"{run_folder} holds {folders[-1].name}: choose another train.run, or train.resume=auto"
        )
    published = recipe.modules[recipe.published]
    if config.init and not folders:
        load_init(published, config.init)
    if not folders:
        load_modules(recipe.modules, config.init_modules)
    freeze(published, config.freeze)
    for module in recipe.modules.values():
        module.to(accelerator.device)
    optimizers = {name: make_optimizer(recipe.modules[name], config.optimizer_of(name)) for name in losses}
    ema = copy.deepcopy(published).requires_grad_(False).eval() if config.ema else None
    state = State(0, optimizers, ema, dict.fromkeys(losses, 0))
    if folders:
        _unpack(recipe, state, folders[-1], accelerator.device)
        if accelerator.is_main_process:
            print(f"resuming {folders[-1]}", flush=True)
    return state


def _pack(modules: dict[str, nn.Module], state: State) -> dict[str, Any]:
    return {
        "format": 1,
        "step": state.step,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
        "ema": state.ema.state_dict() if state.ema is not None else None,
        "trained": {name: trained_parameters(modules[name]) for name in state.optimizers},
    }


def _unpack(recipe, state: State, folder: Path, device) -> None:
    """Restore the exact state of a step folder; what does not fit is refused by name."""
    published = recipe.modules[recipe.published]
    if differences := config_differences(read_config(type(published), folder), published.config):
        raise ValueError(
            f"{folder} was trained with another model section ({'; '.join(differences[:5])}); choose another train.run"
        )
    stored = load_training_state(folder, device)
    for kind, ours in (("modules", recipe.modules), ("optimizers", state.optimizers)):
        if stored[kind].keys() != ours.keys():
            raise ValueError(f"{folder} holds the {kind} {sorted(stored[kind])}, this run has {sorted(ours)}")
    for name, trained in stored.get("trained", {}).items():
        # an optimizer knows its parameters by their places only, and would take the moments of others for theirs
        if differing := set(trained) ^ set(trained_parameters(recipe.modules[name])):
            raise ValueError(
                f"{folder} was trained with other frozen parts of {name} ({len(differing)} parameters, "
                f"{min(differing)} among them); choose another train.run"
            )
    try:
        for name, module in recipe.modules.items():
            module.load_state_dict(stored["modules"][name])
        for name, optimizer in state.optimizers.items():
            # the stored groups carry the settings of their time; a resumed run obeys today's configuration
            groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
            optimizer.load_state_dict(stored["optimizers"][name])
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group.update(settings)
        if state.ema is not None:
            # a run that turns its moving average on starts it from the weights it has
            state.ema.load_state_dict(stored["ema"] or stored["modules"][recipe.published])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} does not fit this run: {' '.join(str(error).split()):.300}") from error
    state.step = stored["step"]


def _validate(recipe, state: State, progress) -> None:
    """Run the recipe's hooks in eval mode, the published module standing in by its moving average."""
    training = dict(recipe.modules)
    if state.ema is not None:
        recipe.modules[recipe.published] = state.ema
    for module in recipe.modules.values():
        module.eval()
    with torch.no_grad():
        figures = recipe.validate()
        progress.report(state.step, figures)
        if progress.writer is not None:
            recipe.preview(progress.writer, state.step)
    recipe.modules.update(training)
    for module in recipe.modules.values():
        set_training(module)


def _any_process(accelerator, flag: bool) -> bool:
    """Whether any process wants to stop: all must leave at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)
