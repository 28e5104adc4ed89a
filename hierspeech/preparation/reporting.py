"""What a preparation shows: rate and time left while it runs, a table of counts at its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierspeech.preparation.packing import Summary

LINE_EVERY_SECONDS = 30.0  # where there is no terminal to rewrite a line on


class Progress:
    """One line a stage: how much is done, how fast, how long the rest takes. Silent where there is nothing to do."""

    def __init__(self, stage: str, tasks: int, seconds: float) -> None:
        self.stage, self.tasks, self.total = stage, tasks, seconds
        self.done = self.utterances = 0
        self.seconds, self.began, self.shown = 0.0, time.monotonic(), 0.0

    def __enter__(self) -> Progress:
        if self.tasks and sys.stderr.isatty():
            self._show(f"{self.stage}: 0 of {self.tasks} shards, {_hours(self.total)}")
        return self

    def add(self, seconds: float, utterances: int) -> None:
        """A shard is finished."""
        self.done += 1
        self.seconds += seconds
        self.utterances += utterances
        spent = max(time.monotonic() - self.began, 1e-9)
        left = (self.total - self.seconds) / max(self.seconds / spent, 1e-9)
        line = (
            f"{self.stage}: {self.done} of {self.tasks} shards, {_hours(self.seconds)} of {_hours(self.total)}, "
            f"{self.utterances / spent:.1f} utterances/s, {self.seconds / spent:.0f} x real time"
        )
        last = self.done == self.tasks
        self._show(line + (f", {_clock(spent)}" if last else f", {_clock(left)} left"), last)

    def _show(self, line: str, last: bool = False) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or time.monotonic() - self.shown > LINE_EVERY_SECONDS:
            self.shown = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def __exit__(self, kind, *_) -> None:
        if kind is not None and self.tasks and sys.stderr.isatty():
            print(file=sys.stderr)


def table(summary: Summary) -> str:
    """The counts, for the terminal."""
    splits = ", ".join(f"{name} {count}" for name, count in sorted(summary.splits.items()))
    rows = [
        ("utterances", f"{summary.utterances} ({splits})"),
        ("speech", f"{summary.hours:.2f} h of {summary.speakers} speaker{'s' * (summary.speakers != 1)}"),
        ("arrays", " ".join(summary.arrays)),
    ]
    rows += [(f"dropped, {reason}", str(count)) for reason, count in summary.dropped.most_common()]
    rows += [(f"kept without {reason}", str(count)) for reason, count in summary.incomplete.most_common()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, *(f"note: {note}" for note in summary.notes)])


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h"


def _clock(seconds: float) -> str:
    seconds = int(seconds)
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
