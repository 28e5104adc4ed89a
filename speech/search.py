"""Random search of hyper-parameters (Bergstra & Bengio 2012): what a trial's values are, what came of it, the table.

A search is a YAML beside a training configuration:

    metric: semantic          # of the validation, as `train.py` prints it
    best: lowest              # or highest
    repeats: 1                # trainings of a trial, with train.seed, train.seed + 1, ...
    space:
      train.lr: {log: [3.0e-4, 3.0e-3]}            # evenly over its logarithm
      model.dropout: {even: [0.0, 0.2]}
      train.warmup_steps: {whole: [50, 500]}       # whole numbers, both ends included
      model.layers: {choice: [4, 6, 8]}

The values of trial k are a function of the seed, k and the parameter's name: more trials, or one parameter more, leave the others as they were.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("log", "even", "whole", "choice")


@dataclass
class Search:
    """See this file's docstring."""

    metric: str
    space: dict[str, dict[str, list[Any]]]
    best: str = "lowest"
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.best not in ("lowest", "highest"):
            raise ValueError(f"best: expected lowest or highest, got {self.best!r}")
        if self.repeats < 1:
            raise ValueError(f"repeats: expected 1 or more, got {self.repeats}")
        if not self.space:
            raise ValueError("space: expected one parameter or more")
        for name, said in self.space.items():
            _check(name, said)

    def draw(self, trial: int, seed: int = 0) -> dict[str, Any]:
        """The values of a trial, by parameter."""
        return {name: _draw(said, _source(seed, trial, name)) for name, said in self.space.items()}


@dataclass
class Result:
    """A trial that was trained, or that could not be."""

    trial: int
    values: dict[str, Any]
    figures: list[float | None] = field(default_factory=list)  # the metric of each repeat; None = it failed
    minutes: float = 0.0
    problem: str = ""  # why it failed

    @property
    def mean(self) -> float:
        """Of the metric over the repeats; NaN where one of them failed or diverged."""
        if not self.figures or any(figure is None for figure in self.figures):
            return math.nan
        return sum(self.figures) / len(self.figures)

    @property
    def spread(self) -> float:
        """Largest minus smallest figure of the repeats."""
        return max(self.figures) - min(self.figures) if not math.isnan(self.mean) else math.nan


def ranked(results: Iterable[Result], best: str) -> list[Result]:
    """The best first; what failed or diverged last."""
    sign = 1 if best == "lowest" else -1
    return sorted(
        results, key=lambda r: (not math.isfinite(r.mean), sign * r.mean if math.isfinite(r.mean) else 0)
    )


def table(search: Search, results: Iterable[Result]) -> str:
    """Markdown: a trial a line, the best first."""
    names, repeated = list(search.space), search.repeats > 1
    head = ["trial", search.metric, *(["spread"] if repeated else []), *names, "minutes"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for result in ranked(results, search.best):
        figure = f"{result.mean:.4g}" if math.isfinite(result.mean) else (result.problem or "not a number")
        cells = [str(result.trial), figure, *([f"{result.spread:.2g}"] if repeated else [])]
        cells += [_shown(result.values[name]) for name in names] + [f"{result.minutes:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


class Record:
    """What a search has done so far, in FOLDER/search.json (read again when it goes on) and FOLDER/search.md (for people).

    Args:
        folder: of the search, made if missing.
        plan: everything that decides what its trials are, as plain values; another plan in the same folder is refused.
    Raises:
        ValueError: the folder holds another search, or a file that cannot be read.
    """

    def __init__(self, folder: Path, search: Search, plan: dict[str, Any]) -> None:
        self.folder, self.search = folder, search
        self.plan = json.loads(json.dumps(plan))
        self.results: dict[int, Result] = {}
        path = folder / "search.json"
        if not path.is_file():
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            found, results = stored["plan"], [Result(**values) for values in stored["results"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"cannot read {path}: {error!r}") from error
        if differing := sorted(
            k for k in found.keys() | self.plan.keys() if found.get(k) != self.plan.get(k)
        ):
            raise ValueError(
                f"{folder} holds a search with another {', '.join(differing)}; expected the same, or another --out"
            )
        self.results = {result.trial: result for result in results}

    def add(self, result: Result) -> None:
        """Keep a result; both files appear whole or not at all."""
        self.results[result.trial] = result
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {"plan": self.plan, "results": [asdict(r) for _, r in sorted(self.results.items())]}
        for name, text in (
            ("search.json", json.dumps(values, indent=1) + "\n"),
            ("search.md", table(self.search, self.results.values())),
        ):
            temporary = self.folder / f"{name}.tmp"
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.folder / name)


def last_figure(run_folder: Path, metric: str) -> float | None:
    """The metric at the last validation of a run, from its TensorBoard files; None where there was no validation.

    Raises:
        ValueError: it validated, but without such a figure.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_folder), size_guidance={"scalars": 0})  # all of them
    events.Reload()
    tags = events.Tags()["scalars"]
    known = sorted(tag.removeprefix("validation/") for tag in tags if tag.startswith("validation/"))
    if not known:
        return None
    if metric not in known:
        raise ValueError(f"metric {metric!r}: the validation gives {', '.join(known)}")
    return float(events.Scalars(f"validation/{metric}")[-1].value)


def _check(name: str, said: Any) -> None:
    if not isinstance(said, dict) or len(said) != 1 or next(iter(said)) not in KINDS:
        raise ValueError(f"space.{name}: expected one of {', '.join(KINDS)} with its values, got {said!r}")
    ((kind, values),) = said.items()
    if not isinstance(values, list) or not values:
        raise ValueError(f"space.{name}.{kind}: expected a list, got {values!r}")
    if kind == "choice":
        return
    if len(values) != 2 or not all(type(v) in (int, float) for v in values) or not values[0] < values[1]:
        raise ValueError(f"space.{name}.{kind}: expected [lowest, highest], got {values!r}")
    if kind == "log" and values[0] <= 0:
        raise ValueError(f"space.{name}.log: expected numbers above 0, got {values!r}")
    if kind == "whole" and not all(type(v) is int for v in values):
        raise ValueError(f"space.{name}.whole: expected whole numbers, got {values!r}")


def _source(seed: int, trial: int, name: str) -> np.random.Generator:
    named = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, trial, named])


def _draw(said: dict[str, list[Any]], source: np.random.Generator) -> Any:
    ((kind, values),) = said.items()
    if kind == "choice":
        return values[int(source.integers(len(values)))]
    low, high = values
    if kind == "whole":
        return int(source.integers(low, high + 1))
    if kind == "log":
        found = math.exp(source.uniform(math.log(low), math.log(high)))
    else:
        found = source.uniform(low, high)
    return float(f"{found:.4g}")  # what is written in the table is what was trained


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
