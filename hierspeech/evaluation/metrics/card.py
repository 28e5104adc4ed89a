"""What a metric is: a card that says what its figures mean, what it needs, and how it is made.

    METRICS["stoi"] = Metric(card, needs=("target",), make=make_stoi)

`make(model, device)` loads what the metric stands on and returns an object with `measure(item) -> dict`: the card's columns
as floats, and under other names what else is worth keeping (what a recogniser heard, scores that a corpus-level figure is
made of). It may also have `begin(items)`, called once with all items. Whatever cannot be loaded or applied raises
`NotMeasured`, never becomes a number.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

Row = dict[str, Any]  # what `measure` returned for an item
Summary = Callable[
    [np.ndarray], dict[str, np.ndarray]
]  # how often each of n items counts, [B, n] -> figures [B]


class NotMeasured(Exception):
    """Why a metric has no figure, for an item or at all: part of a sentence for the user."""


@dataclass(frozen=True)
class Column:
    """One figure of a metric: its name in tables (unique among all metrics), unit, direction and how to print it.

    `spread` is False where percentiles over the items say nothing: yes or no of each item.
    """

    name: str
    title: str
    unit: str
    better: str | None  # "higher", "lower", or None: neither is better in itself
    decimals: int = 2
    spread: bool = True


@dataclass(frozen=True)
class MetricCard:
    """What a reader of figures must know about them.

    Attributes:
        name: as in `--metrics`.
        meaning, scale: one or two sentences; range and landmarks.
        source: paper or definition. model: weights that judge, None for a formula. licence: of package and weights.
        install: the line that brings what is missing.
        columns: the figures.
        version: changes when the same input would give other figures, so that kept rows are measured again.
    """

    name: str
    meaning: str
    scale: str
    source: str
    model: str | None
    licence: str
    install: str
    columns: tuple[Column, ...]
    version: int = 1

    @property
    def better(self) -> str | None:
        """The direction of the first, main column."""
        return self.columns[0].better

    def as_dict(self) -> dict[str, Any]:
        """Plain values, `better` among them."""
        return asdict(self) | {"better": self.better}


class Measure(Protocol):
    """What `make` returns."""

    def measure(self, item: Any) -> Row:
        """The card's columns of one item; `NotMeasured` where it cannot be applied."""


def mean_of_items(card: MetricCard, rows: list[Row]) -> Summary:
    """The plain mean over the items that have the figure: how most metrics are summarised."""
    values = np.array([[_number(row.get(column.name)) for column in card.columns] for row in rows])
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)

    def summarise(counts: np.ndarray) -> dict[str, np.ndarray]:
        weight = counts @ known
        means = np.divide(counts @ values, weight, out=np.full(weight.shape, np.nan), where=weight > 0)
        return {column.name: mean for column, mean in zip(card.columns, means.T, strict=True)}

    return summarise


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


@dataclass(frozen=True)
class Metric:
    """A card, what an item must have ("text", "reference", "target", "seconds"), and how to make it.

    Attributes:
        make: (model, device) -> Measure; model is a folder or hub id, None for the card's.
        summarise: (card, rows) -> a function of how often each item counts; the plain mean if nothing else is said.
        packages: modules that must be there; their versions belong to the figures.
        downloads: True where the first use fetches weights: such a metric is measured only where it is asked for.
        whole_list: True where an item's figures depend on the other items' references.
    """

    card: MetricCard
    needs: tuple[str, ...]
    make: Callable[[str | None, str], Measure]
    summarise: Callable[[MetricCard, list[Row]], Summary] = mean_of_items
    packages: tuple[str, ...] = ()
    downloads: bool = False
    whole_list: bool = False


def require(module: str, install: str) -> Any:
    """Imports a module by name; NotMeasured with the install line where it is absent or broken."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotMeasured(f"needs {module.split('.')[0]} ({error}): {install}") from error
    except Exception as error:  # a package that fails at import for its own reasons must not end the run
        raise NotMeasured(f"{module} cannot be imported ({type(error).__name__}: {error})") from error
