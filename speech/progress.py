"""What a training run shows: TensorBoard scalars and one line in the terminal."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Progress:
    """Averages the losses between two log points and writes them; silent except in the main process.

    TensorBoard names: `module/loss`, `module/total`, `grad_norm/module`, `lr/module`,
    `throughput/steps_per_second`, `throughput/audio_seconds_per_second`, `validation/name`.
    """

    def __init__(self, run_folder: Path, step: int, config: Any, accelerator: Any):
        self.config, self.accelerator, self.main = config, accelerator, accelerator.is_main_process
        self.writer = None
        if self.main and config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # points beyond the resumed step belong to a run that was killed before it saved them
            self.writer = SummaryWriter(str(run_folder), purge_step=step + 1 if step else None)
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._seconds, self._steps, self._since, self._open_line = 0.0, 0, time.monotonic(), False

    def add(self, step: int, logs: dict[str, Tensor | float], audio_seconds: float) -> None:
        """Count one step; write the averages every `log_every` steps."""
        for name, value in logs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._seconds += audio_seconds
        self._steps += 1
        if step % self.config.log_every == 0 or step == self.config.max_steps:
            self._write(step)

    def report(self, step: int, figures: dict[str, float]) -> None:
        """Write the figures of a validation."""
        if not (self.main and figures):
            return
        self.say(
            f"step {step} validation " + " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        )
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(f"validation/{name}", value, step)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self.main:
            print(("\n" if self._open_line else "") + text, flush=True)
            self._open_line = False

    def close(self) -> None:
        """Flush TensorBoard and end the line."""
        if self._open_line:
            print(flush=True)
            self._open_line = False
        if self.writer is not None:
            self.writer.close()

    def _write(self, step: int) -> None:
        elapsed = max(time.monotonic() - self._since, 1e-9)
        means = {
            name: float(total.item() if isinstance(total, torch.Tensor) else total) / self._counts[name]
            for name, total in self._sums.items()
        }
        if self.accelerator.num_processes > 1:  # each has seen its own share of the batches
            mean = self.accelerator.reduce(
                torch.tensor(list(means.values())).to(self.accelerator.device), "mean"
            )
            means = dict(zip(means, mean.tolist(), strict=True))
        rate, audio_rate = self._steps / elapsed, self._seconds / elapsed
        self._sums, self._counts, self._seconds, self._steps = {}, {}, 0.0, 0
        if not self.main:
            self._since = time.monotonic()
            return
        if self.writer is not None:
            for name, value in means.items():
                self.writer.add_scalar(name, value, step)
            self.writer.add_scalar("throughput/steps_per_second", rate, step)
            if audio_rate:
                self.writer.add_scalar("throughput/audio_seconds_per_second", audio_rate, step)
            self.writer.flush()
        left = (self.config.max_steps - step) / rate
        shown = {
            k: v
            for k, v in means.items()
            if not k.startswith(("lr/", "grad_norm/")) and not k.endswith("/total")
        }
        line = f"step {step}/{self.config.max_steps} {rate:.2f} steps/s"
        line += f" {audio_rate:.0f} s/s" if audio_rate else ""
        line += f" left {int(left // 3600)}:{int(left % 3600 // 60):02d}:{int(left % 60):02d}  "
        line += " ".join(f"{name} {value:.3f}" for name, value in shown.items())
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="", flush=True)
            self._open_line = True
        else:
            print(line, flush=True)
        self._since = time.monotonic()
