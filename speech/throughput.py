"""How fast a recipe trains: the loop's own updates on its own batches, timed."""

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from speech.training import TrainConfig, begin, seed_everything
from speech.turns import take_step


@dataclass
class Throughput:
    """Figures of one recipe in one setting."""

    audio_seconds_per_second: float  # 0 where the recipe does not count its audio
    steps_per_second: float
    memory_mb: float  # highest: of the GPU's memory, or of the process on a CPU


def measure(
    make: Callable[[TrainConfig], Any],
    config: TrainConfig,
    losses: dict[str, dict[str, float]],
    variants: dict[str, dict[str, Any]],
    steps: int = 10,
    warm_up: int = 3,
    rounds: int = 2,
) -> dict[str, Throughput]:
    """Train a recipe for some steps in each variant, in turn and several times over, so that all see the same machine.

    Args:
        make: makes the recipe of a TrainConfig.
        variants: name -> values of the TrainConfig that differ.
        steps: timed in each round, after `warm_up` steps before the first.
    Returns: name -> the figures of its fastest round.
    """
    running, best = {}, {}
    with tempfile.TemporaryDirectory() as nowhere:  # nothing is resumed, nothing is saved
        for name, changes in variants.items():
            settings = replace(config, runs_folder=nowhere, tensorboard=False, ema=0.0, **changes)
            seed_everything(settings.seed)
            recipe = make(settings)
            accelerator, state, _ = begin(recipe, settings, losses)
            batches = recipe.batches(0)

            def take(count, recipe=recipe, state=state, settings=settings, batches=batches, at=accelerator):
                seconds = 0.0
                for _ in range(count):
                    seconds += take_step(recipe, batches, state, settings, losses, at)[1]
                    state.step += 1
                if at.device.type == "cuda":
                    torch.cuda.synchronize()
                return seconds

            take(warm_up)
            running[name] = take
        for _ in range(rounds):
            for name, take in running.items():
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                audio = take(steps)
                elapsed = time.perf_counter() - start
                figures = Throughput(audio / elapsed, steps / elapsed, _memory_mb())
                if name not in best or figures.steps_per_second > best[name].steps_per_second:
                    best[name] = figures
    return best


def _memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
