"""Evaluations as a table for the terminal, as JSON and as CSV: what was not measured is empty or null, never 0."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from hierspeech.evaluation.differences import differences_to_first
from hierspeech.evaluation.estimates import Estimate
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard
from hierspeech.evaluation.run import Evaluation

Systems = Mapping[str, Evaluation]
ITEM_FIELDS = ("id", "wav", "text", "reference", "target", "language", "speaker")


def columns_of(systems: Systems) -> list[Column]:
    """Columns that any of the systems has a figure for, in the order of the cards."""
    cards: dict[str, MetricCard] = {}
    for evaluation in systems.values():
        cards |= evaluation.cards
    return [
        column
        for card in cards.values()
        for column in card.columns
        if any(column.name in evaluation.summary for evaluation in systems.values())
    ]


def format_number(value: float | None, decimals: int) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.{decimals}f}"


def arrow(column: Column) -> str:
    """Which way is better."""
    return {"higher": "↑", "lower": "↓", None: ""}[column.better]


def heading(column: Column) -> str:
    """Title, direction and unit."""
    return f"{column.title}{arrow(column)} ({column.unit})"


def with_interval(estimate: Estimate | None, decimals: int) -> str:
    """Mean and its 95 % interval, "not measured" where there is none."""
    if estimate is None:
        return "not measured"
    mean = format_number(estimate.mean, decimals)
    if estimate.low is None:
        return mean
    low, high = (format_number(value, decimals) for value in (estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def summary_table(systems: Systems) -> str:
    """Markdown: one system with percentiles, several side by side; then what is missing and why."""
    lines = []
    columns = columns_of(systems)
    if len(systems) == 1:
        (evaluation,) = systems.values()
        rows = [["figure", "mean [95 %]", "p5", "p95", "items"]]
        for column in columns:
            value = evaluation.summary[column.name]
            percentiles = [format_number(p, column.decimals) for p in (value.p5, value.p95)]
            rows.append([heading(column), with_interval(value, column.decimals), *percentiles, str(value.n)])
    else:
        rows = [["figure", *systems]]
        for column in columns:
            cells = [with_interval(e.summary.get(column.name), column.decimals) for e in systems.values()]
            rows.append([heading(column), *cells])
    if columns:
        lines += markdown_table(rows)
    return "\n".join([*lines, *explanations(systems)])


def explanations(systems: Systems) -> list[str]:
    """Why figures are missing, a sentence for each reason: "[system: ]a, b: not measured: why"."""
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    notes = []
    for name, evaluation in systems.items():
        prefix = "" if len(systems) == 1 else f"{name}: "
        for metric, why in evaluation.missing.items():
            by_reason[prefix, why].append(metric)
        notes += [f"{prefix}{metric}: {why}" for metric, why in evaluation.notes.items()]
    return [f"{p}{', '.join(names)} not measured: {why}" for (p, why), names in by_reason.items()] + notes


def markdown_table(rows: list[list[str]]) -> list[str]:
    """Lines of equal width; the first row is the head."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def cards_table(metrics: Mapping[str, Metric]) -> str:
    """Every metric's card as a row of markdown: the table of docs/evaluation.md."""
    rows = [["metric", "figures", "what it means", "scale", "needs", "source", "model", "licence", "install"]]
    for name, metric in metrics.items():
        card = metric.card
        figures = ", ".join(f"`{c.name}`{arrow(c)} ({c.unit})" for c in card.columns)
        needs = ", ".join(metric.needs) or "wav"
        label = f"`{name}`" + (" (fetches weights)" if metric.downloads else "")
        texts = [card.meaning, card.scale, needs, card.source, card.model or "none", card.licence]
        rows.append([label, figures, *texts, card.install])
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def as_json(systems: Systems) -> str:
    """{"systems": {name: header, summary, missing, notes, rows, cards}, "differences": {name: {figure: to the first}}}."""
    found = differences_to_first(systems)
    values = {
        "systems": {name: evaluation.as_dict() for name, evaluation in systems.items()},
        "differences": {n: {c: vars(value) for c, value in by_name.items()} for n, by_name in found.items()},
    }
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(systems: Systems) -> str:
    """A line per system and item, a column per figure."""
    names = [column.name for column in columns_of(systems)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", *ITEM_FIELDS, *names])
    for system, evaluation in systems.items():
        for row in evaluation.rows:
            values = [row["values"].get(name, "") for name in names]
            writer.writerow([system, *("" if row[f] is None else row[f] for f in ITEM_FIELDS), *values])
    return text.getvalue()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes under a temporary name and renames."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
