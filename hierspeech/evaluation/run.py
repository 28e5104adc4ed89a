"""Measuring: items and metrics' names -> rows, estimates, and why what is missing is missing.

    evaluation = evaluate(items, ["wer_sphinx", "dnsmos"], rows="report/rows.jsonl")
    evaluation.summary["wer_sphinx"].mean, evaluation.missing

One metric after the other, so that only one judge is in memory and one that fails takes nothing with it.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from hierspeech.evaluation.estimates import RESAMPLES, Estimate, estimate
from hierspeech.evaluation.items import Item, file_digest
from hierspeech.evaluation.kept_rows import KeptRows, key_of
from hierspeech.evaluation.metrics import METRICS, default_metrics
from hierspeech.evaluation.metrics.card import Metric, MetricCard, NotMeasured, Row, require

Progress = Callable[[str, int, int], None]  # (what, done, total)

ABSENT = {
    "text": "has a text",
    "reference": "has a reference recording",
    "target": "has a target recording",
    "seconds": "says how long it took to make",
}


@dataclass
class Evaluation:
    """What `evaluate` found.

    Attributes:
        rows: one dict per item: id, wav, text, reference, target, language, speaker, `values` (by column), `details` (by
            metric: what else was kept) and `failed` (why, by metric).
        summary: Estimate by column.
        missing: by metric or column, why it has no figure at all. notes: by metric, why some items have none.
        cards: of all metrics asked for, by name. header: versions, machine, models, counts.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Estimate]
    missing: dict[str, str]
    header: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)
    cards: dict[str, MetricCard] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is missing is null or in `missing`, never 0."""
        return {
            "header": self.header,
            "summary": {name: asdict(value) for name, value in self.summary.items()},
            "missing": self.missing,
            "notes": self.notes,
            "rows": self.rows,
            "cards": {name: card.as_dict() for name, card in self.cards.items()},
        }


def evaluate(
    items: Sequence[Item],
    names: Sequence[str] | None = None,
    *,
    rows: str | os.PathLike | None = None,
    models: Mapping[str, str] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    header: Mapping[str, Any] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    metrics: Mapping[str, Metric] = METRICS,
) -> Evaluation:
    """Measures all items.

    Args:
        names: of metrics; None takes those that need no download.
        rows: a file of what is measured already, to go on from and to write to; None keeps nothing.
        models: a folder or hub id for a metric's model, by the metric's name.
        device: where judges run, as torch names it.
        header: more of it, such as the system's name.
        seed, resamples: of the bootstrap.
    Raises:
        ValueError: no items, ids that are not unique, or a metric that is not in the registry.
    """
    names = default_metrics(metrics) if names is None else list(dict.fromkeys(names))
    models = dict(models or {})
    _check(items, [*names, *models], metrics)
    found = {item.id: {"values": {}, "details": {}, "failed": {}} for item in items}
    result = Evaluation([], {}, {}, {}, cards={name: metrics[name].card for name in names})
    begin = time.monotonic()
    with KeptRows(rows) as kept:
        for name in names:
            metric = metrics[name]
            measured = _measure(metric, items, models.get(name), device, kept, progress, found, result)
            if measured:
                summary = metric.summarise(metric.card, measured)
                result.summary.update(
                    estimate(metric.card, measured, summary, seed=seed, resamples=resamples)
                )
                _explain(metric, measured, result)
    result.rows = [_describe(item) | found[item.id] for item in items]
    result.header = {
        **describe_run(items, names, models, metrics),
        "device": device,
        "bootstrap": {"seed": seed, "resamples": resamples},
        "seconds": round(time.monotonic() - begin, 1),
        **(header or {}),
    }
    return result


def _check(items: Sequence[Item], names: list[str], metrics: Mapping[str, Metric]) -> None:
    if not items:
        raise ValueError("nothing to evaluate: the list of items is empty.")
    if unknown := [name for name in names if name not in metrics]:
        raise ValueError(f"metrics: expected some of {', '.join(metrics)}, got {unknown[0]!r}.")
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise ValueError(f"items: the id {twice[0]!r} is there twice, expected unique ids.")


def _measure(
    metric: Metric,
    items: Sequence[Item],
    model: str | None,
    device: str,
    kept: KeptRows,
    progress: Progress | None,
    found: dict[str, dict[str, Any]],
    result: Evaluation,
) -> list[Row]:
    """Rows of the items that the metric could be applied to; fills in `found`, `missing` and `notes`."""
    card, why = metric.card, Counter()
    fit = []
    for item in items:
        lacks = [need for need in metric.needs if getattr(item, need) is None]
        if lacks:
            found[item.id]["failed"][card.name] = f"no {lacks[0]}"
            why[f"none {ABSENT[lacks[0]]}"] += 1
        else:
            fit.append(item)
    whole = [(i.voice, file_digest(i.reference)) for i in fit if i.reference] if metric.whole_list else None
    basis = (card.as_dict(), model, package_versions(metric.packages), whole)
    keys = {item.id: key_of(item.digest(), *basis) for item in fit}
    measure, rows = None, []
    for number, item in enumerate(fit, 1):
        row = kept.get(keys[item.id])
        if row is None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the judges' packages talk a lot
                    if measure is None:
                        measure = _make(metric, model, device, fit)
                    row = plain(measure.measure(item))
            except _NoJudge as error:
                result.missing[card.name] = str(error)
                for other in fit:
                    found[other.id]["failed"].setdefault(card.name, str(error))
                return []
            except NotMeasured as error:
                reason = str(error)
            except Exception as error:  # one item, or one metric, must not end the run
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            else:
                kept.add(keys[item.id], card.name, item.id, row)
        if row is None:
            found[item.id]["failed"][card.name] = reason
            why[reason] += 1
        else:
            _place(card, row, found[item.id])
            rows.append(row)
        if progress is not None:
            progress(card.name, number, len(fit))
    del measure
    gc.collect()  # a judge of several GB goes before the next one comes
    if why:
        reason, most = why.most_common(1)[0]
        if not rows:
            result.missing[card.name] = reason.replace("none has", "no item has").replace(
                "none says", "no item says"
            )
        else:
            reason = reason.replace("none has", "without").replace("none says", "without a word on")
            more = f" and {len(why) - 1} other reasons" if len(why) > 1 else ""
            result.notes[card.name] = (
                f"{sum(why.values())} of {len(items)} items not measured: {reason}{more}"
            )
    return rows


class _NoJudge(Exception):
    """The metric itself could not be made: why."""


def _make(metric: Metric, model: str | None, device: str, items: Sequence[Item]) -> Any:
    try:
        for package in metric.packages:
            require(package, metric.card.install)
        measure = metric.make(model, device)
        if hasattr(measure, "begin"):
            measure.begin(items)
        return measure
    except NotMeasured as error:
        raise _NoJudge(str(error)) from error
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise _NoJudge(f"{type(error).__name__} while loading: {text}") from error


def _place(card: MetricCard, row: Row, found: dict[str, Any]) -> None:
    columns = {column.name for column in card.columns}
    found["values"].update({name: row[name] for name in columns if row.get(name) is not None})
    details = {name: value for name, value in row.items() if name not in columns}
    if details:
        found["details"][card.name] = details


def _explain(metric: Metric, rows: list[Row], result: Evaluation) -> None:
    """Says why a column of a metric that was measured has no figure."""
    for column in metric.card.columns:
        if column.name not in result.summary:
            reasons = (row.get("why", {}).get(column.name) for row in rows)
            result.missing[column.name] = next(filter(None, reasons), "no item has this figure")


def plain(value: Any) -> Any:
    """Python values of numpy's; figures that are not finite become None, which is what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _describe(item: Item) -> dict[str, Any]:
    entry = asdict(item)
    for role in ("wav", "reference", "target"):
        entry[role] = None if entry[role] is None else str(entry[role])
    return entry


def describe_run(
    items: Sequence[Item], names: Sequence[str], models: Mapping[str, str], metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """When, on what and with which versions: the header of figures."""
    packages = sorted({package for name in names for package in metrics[name].packages} | {"numpy", "torch"})
    return {
        "date": time.strftime("%Y-%m-%d"),
        "items": len(items),
        "voices": len({item.voice for item in items if item.voice}),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name, version in package_versions(packages).items() if version},
        "models": {name: model for name in names if (model := models.get(name) or metrics[name].card.model)},
    }


def package_versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Installed versions of modules; None where one is absent."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
