"""Figures with their uncertainty: a bootstrap over the items says how far a mean would move with other sentences.

Percentile bootstrap, expanded for small samples (Hesterberg 2015, "What teachers should know about the bootstrap", 4.3): with
ten or twenty items the plain interval covers some 90 % where 95 % is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hierspeech.evaluation.metrics.card import MetricCard, Row, Summary

RESAMPLES = 2000
LEVEL = 0.95
BLOCK_COUNTS = 2_000_000  # of items drawn at once, which bounds memory


@dataclass(frozen=True)
class Estimate:
    """A figure over n items.

    Attributes:
        mean: the summary (the mean of items unless the card says otherwise).
        low, high: its 95 % interval; None below two items or where it cannot be resampled.
        p5, p95: percentiles of the items' own figures; None where single items have none (an equal error rate).
        n: items that it stands on.
    """

    mean: float
    low: float | None
    high: float | None
    p5: float | None
    p95: float | None
    n: int


def estimate(
    card: MetricCard,
    rows: list[Row],
    summary: Summary,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Estimates by column; a column that no item has, or whose summary is not finite, is left out.

    Args:
        rows: what the metric measured, one per item that has it.
        summary: counts [B, n] -> figures [B], of those rows.
    """
    if not rows:
        return {}
    n = len(rows)
    mean = {name: float(value[0]) for name, value in summary(np.ones((1, n))).items()}
    drawn: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in mean}
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_COUNTS // n)
    for start in range(0, resamples if n > 1 else 0, block):
        size = min(block, resamples - start)
        draws = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(draws.ravel(), minlength=n * size).reshape(size, n).astype(float)
        for name, values in summary(counts).items():
            drawn[name].append(values)
    estimates = {}
    for column in card.columns:
        if not math.isfinite(mean.get(column.name, math.nan)):
            continue
        own = np.array([_number(row.get(column.name)) for row in rows])
        own = own[np.isfinite(own)]
        low, high = _interval(np.concatenate(drawn[column.name]), len(own) or n, level)
        spread = len(own) > 0 and column.spread
        p5, p95 = np.percentile(own, [5, 95]).tolist() if spread else (None, None)
        estimates[column.name] = Estimate(mean[column.name], low, high, p5, p95, len(own) or n)
    return estimates


def bootstrap_mean(values: np.ndarray, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0):
    """(low, high) of the mean of values [n]: the same interval without a metric around it."""
    values = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return _interval(values[draws].mean(axis=1), len(values), level)


def _interval(draws: np.ndarray, n: int, level: float) -> tuple[float | None, float | None]:
    draws = draws[np.isfinite(draws)]
    if n < 2 or len(draws) < 100:
        return None, None
    tail = expanded_tail(n, level)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(n: int, level: float = LEVEL) -> float:
    """What to cut off at each end: (1 - level) / 2 for many items, less for few, as Student's t is wider than the normal."""
    normal = NormalDist()
    z = normal.inv_cdf((1 + level) / 2)
    df = n - 1
    # Student's quantile by its series in 1/df (Abramowitz and Stegun 26.7.5): three digits from five items on
    t = (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
    )
    return normal.cdf(-t * math.sqrt(n / df))


def _number(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
