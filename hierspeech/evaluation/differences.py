"""Two systems on the same items: the difference item by item, which tells more than two intervals side by side.

Sentences differ in difficulty far more than systems do; in the difference of the two figures of one sentence that cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hierspeech.evaluation.estimates import bootstrap_mean
from hierspeech.evaluation.run import Evaluation


@dataclass(frozen=True)
class Difference:
    """Mean over n items of (this system's figure - the other's), and its 95 % interval (None below two items)."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def clear(self) -> bool:
        """The interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def differences(system: Evaluation, other: Evaluation, seed: int = 0) -> dict[str, Difference]:
    """By column, over the items (by id) for which both have the figure; of the items' own figures, not pooled ones."""
    ours, theirs = ({row["id"]: row["values"] for row in e.rows} for e in (system, other))
    columns = [name for name in system.summary if name in other.summary]
    found = {}
    for column in columns:
        pairs = [
            (ours[name][column], theirs[name][column])
            for name in ours
            if column in ours[name] and column in theirs.get(name, {})
        ]
        if not pairs:
            continue  # an equal error rate belongs to no item
        values = np.array([own - others for own, others in pairs])
        low, high = bootstrap_mean(values, seed=seed)
        found[column] = Difference(float(values.mean()), low, high, len(values))
    return found


def differences_to_first(systems: Mapping[str, Evaluation]) -> dict[str, dict[str, Difference]]:
    """Of every system but the first to the first, by system and column."""
    names = list(systems)
    return {name: differences(systems[name], systems[names[0]]) for name in names[1:]}
