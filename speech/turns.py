"""One update of a training run: a recipe's turns on a batch, or on several, weighed, differentiated and applied.

`speech/training.py` says what a recipe is and runs the loop around this.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speech.optimization import learning_rate, update


@dataclass
class State:
    """What a run consists of besides its recipe; `training.pt` stores it."""

    step: int
    optimizers: dict[str, torch.optim.Optimizer]
    ema: nn.Module | None
    skipped: dict[str, int]  # updates of a module left out in a row because its gradient was not finite
    autocast: bool = False  # whether turns multiply in bf16
    seen: dict[str, bool] = field(default_factory=dict)  # whether a module's latest turn had a gradient


def weigh(name: str, losses: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The weighted sum of a turn's losses; names yielded must equal names configured."""
    if losses.keys() != weights.keys():
        raise ValueError(
            f"module {name!r}: the recipe yields the losses {sorted(losses)}, "
            f"the configuration weighs {sorted(weights)}"
        )
    # a weight of 0 logs the loss without letting it, or a NaN in it, into the gradients
    return sum(weights[key] * value for key, value in losses.items() if weights[key] != 0)


def take_step(
    recipe, batches, state: State, config, losses, accelerator
) -> tuple[dict[str, Tensor | float], float]:
    """One update of each module, from one batch or the mean of several; returns `module/loss` values and seconds of audio."""
    if config.accumulate == 1:
        batch = _next(batches, state, config, accelerator)
        seed_everything(config.seed, state.step, accelerator.process_index)
        logs = {}
        for name, values in _turns(recipe, batch, state, config, losses, accelerator, 1.0):
            logs |= values | _apply(recipe, name, state, config)
        return logs, audio_seconds(recipe, batch)
    sums: dict[str, Tensor | float] = {}
    gradients: dict[str, list[Tensor | None]] = {}  # of the modules that had a turn so far
    seconds, share = 0.0, 1 / config.accumulate
    for place in range(config.accumulate):
        batch = _next(batches, state, config, accelerator)
        seed_everything(config.seed, state.step * config.accumulate + place, accelerator.process_index)
        seconds += audio_seconds(recipe, batch)
        for name, values in _turns(recipe, batch, state, config, losses, accelerator, share):
            for key, value in values.items():
                sums[key] = sums.get(key, 0.0) + share * value
            gradients[name] = _collect(recipe.modules[name], gradients.get(name))
            _clear(recipe)
    for name, collected in gradients.items():
        for parameter, gradient in zip(recipe.modules[name].parameters(), collected, strict=True):
            parameter.grad = gradient
        sums |= _apply(recipe, name, state, config)
    return sums, seconds


def _next(batches, state: State, config, accelerator) -> Any:
    """The next batch, on the training device."""
    try:
        return move(next(batches), accelerator.device)
    except StopIteration:
        raise ValueError(f"the recipe's batches ended at step {state.step} of {config.max_steps}") from None


def _turns(
    recipe, batch, state: State, config, losses, accelerator, share: float
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The recipe's turns on a batch, weighed and differentiated `share` times; yields (module name, values to log)."""
    turns = recipe.turns(batch, state.step)
    autocast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=state.autocast)
    while True:
        with autocast:
            turn = next(turns, None)
            if turn is None:
                return
            name, values = turn
            if name not in losses:
                raise ValueError(
                    f"the recipe yields losses for {name!r}, the configuration weighs {sorted(losses)}"
                )
            total = weigh(name, values, losses[name])
        logs = {f"{name}/{key}": value.detach() for key, value in values.items()}
        state.seen[name] = isinstance(total, Tensor) and total.requires_grad
        if state.seen[name]:  # otherwise a turn of zeros during a warm-up
            accelerator.backward(total * share if share != 1 else total)
            logs[f"{name}/total"] = total.detach()
        yield name, logs


def _apply(recipe, name: str, state: State, config) -> dict[str, Tensor | float]:
    """Clip and step module `name`, unless its turn had no gradient, then clear all gradients; returns what to log."""
    if not state.seen[name]:
        return {}
    settings = config.optimizer_of(name)
    lr = learning_rate(settings, state.step, config.max_steps)
    norm, finite = update(state.optimizers[name], lr, settings.grad_clip)
    state.skipped[name] = 0 if finite else state.skipped[name] + 1
    if state.skipped[name] >= 20:
        raise ValueError(
            f"no finite gradient for {name!r} 20 times running at step {state.step}: expected finite losses"
        )
    _clear(recipe)  # of all modules: the generator's turn leaves gradients on the discriminator
    return {f"grad_norm/{name}": norm, f"lr/{name}": lr}


def _collect(module: nn.Module, earlier: list[Tensor | None] | None) -> list[Tensor | None]:
    """The gradients of `module` added to the earlier ones."""
    now = [parameter.grad for parameter in module.parameters()]
    if earlier is None:
        return now
    return [a if b is None else b if a is None else a + b for a, b in zip(earlier, now, strict=True)]


def _clear(recipe) -> None:
    for module in recipe.modules.values():
        module.zero_grad(set_to_none=True)


def seed_everything(*numbers: int) -> None:
    """Seed torch, NumPy and Python from `numbers`.

    Seeding by (seed, step, process) makes every random draw of a step a function of the step: an interrupted
    run repeats it.
    """
    value = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value % 2**32)


def move(value: Any, device: torch.device) -> Any:
    """Move the tensors in nested tuples, lists, dicts and dataclasses to `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: move(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(move(item, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(move(item, device) for item in value)
    if is_dataclass(value):
        return replace(value, **{f.name: move(getattr(value, f.name), device) for f in fields(value)})
    return value


def audio_seconds(recipe, batch) -> float:
    measure = getattr(recipe, "audio_seconds", None)
    return float(measure(batch)) if measure is not None else 0.0
