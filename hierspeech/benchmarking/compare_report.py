"""A comparison as markdown, JSON, CSV and one HTML page: figures side by side, what systems are and cost, paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.compare import OWN, Comparison
from hierspeech.evaluation.differences import Difference, differences_to_first
from hierspeech.evaluation.report import write_report
from hierspeech.evaluation.run import Evaluation
from hierspeech.evaluation.tables import (
    arrow,
    as_csv,
    columns_of,
    explanations,
    heading,
    markdown_table,
    summary_table,
    with_interval,
    write_text,
)

BUSY_CORES = 0.5  # of other work, above which times are not those of the system


def write_comparison(
    result: Comparison,
    out: Path,
    command: str = "",
    items_with_audio: int | None = None,
    audio_rate: int | None = None,
) -> str:
    """Writes report.html, table.md, figures.json and figures.csv into `out`; returns the markdown.

    Nothing is written but table.md and figures.json where no system said anything.
    """
    text = markdown(result, command)
    write_text(out / "table.md", text)
    write_text(out / "figures.json", json.dumps(as_values(result, command), indent=1, ensure_ascii=False, allow_nan=False) + "\n")  # fmt: skip
    if result.evaluations:
        write_text(out / "figures.csv", as_csv(result.evaluations))
        write_report(
            out / "report.html",
            result.evaluations,
            title=f"Comparison: {result.protocol.name}",
            facts={label: facts(result, label) for label in result.evaluations},
            items_with_audio=items_with_audio,
            audio_rate=audio_rate,
            introduction="\n\n".join([*header_lines(result, command), *failures(result)]),
        )
    return text


def markdown(result: Comparison, command: str = "") -> str:
    """Header, figures with intervals, facts, differences to the first system, and what is missing and why."""
    lines = [f"# Comparison: {result.protocol.name}", "", "\n\n".join(header_lines(result, command)), ""]
    if result.evaluations:
        lines += ["## Quality", "", "Means with 95 % intervals (bootstrap over utterances).", ""]
        lines += [_figures(result.evaluations), ""]
        described = {label: facts(result, label) for label in result.evaluations}
        names = list(dict.fromkeys(name for values in described.values() for name in values))
        rows = [["", *described]]
        rows += [[name, *(str(described[label].get(name, "")) for label in described)] for name in names]
        lines += ["## The systems", "", *markdown_table(rows), ""]
        lines += _differences(result.evaluations)
    if failed := failures(result):
        lines += ["## What to know", "", *(f"- {line}" for line in failed), ""]
    return "\n".join(lines)


def _figures(evaluations: Mapping[str, Evaluation]) -> str:
    """The table as hierspeech.evaluation has it; of one system a table of its own, so that both read the same way."""
    if len(evaluations) > 1:
        return summary_table(evaluations)
    rows = [["figure", *evaluations]]
    for column in columns_of(evaluations):
        cells = [with_interval(e.summary.get(column.name), column.decimals) for e in evaluations.values()]
        rows.append([heading(column), *cells])
    return "\n".join([*(markdown_table(rows) if len(rows) > 1 else []), *explanations(evaluations)])


def header_lines(result: Comparison, command: str) -> list[str]:
    """What was compared, how, on what."""
    header, machine = result.header, result.header["machine"]
    described = [
        machine.get("gpu"),
        machine["cpu"],
        f"{machine['cores']} cores",
        f"{machine['memory_gb']} GB",
        machine["system"],
        f"Python {machine['python']}",
        f"torch {machine['torch']}",
        f"threads of systems: {header['threads of systems']}",
    ]
    lines = [" ".join(result.protocol.about.split())]
    lines.append(
        f"{header['utterances']} utterances, seed {header['seed']}, {header['date']}, hierspeech {header['hierspeech']}; "
        + ", ".join(filter(None, described))
        + "."
    )
    if len(header["machines of outputs"]) > 1:
        lines.append(
            f"Outputs come from several machines, so their times are not comparable: {'; '.join(header['machines of outputs'])}."
        )
    return [*lines, command] if command else lines


def facts(result: Comparison, label: str) -> dict[str, str]:
    """What a system is and what it costs; what is not known is left out, or says why."""
    outcome, card = result.outcomes[label], result.outcomes[label].chosen.card
    values = outcome.facts
    asked = [row for row in outcome.spoken.values() if not row.id.startswith(OWN)]
    found = {
        "kind": card.kind,
        "voice": card.voice,
        "licence": card.licence,
        "weights": outcome.chosen.model or card.model or "-",
        "parameters": _count(values.get("parameters")),
        "utterances spoken": f"{sum(row.wav is not None for row in asked)} of {len(asked)}",
        "loading": _seconds(values.get("load_seconds")),
        "first call": _seconds(values.get("first_call_seconds")),
        "first audio of a stream": _milliseconds(values),
        "peak memory of its process": _megabytes(values.get("memory_mb")),
        "GPU memory": _megabytes(values.get("gpu_memory_mb")),
        "work of other processes meanwhile": _cores(values.get("other_cores")),
        "versions": ", ".join(f"{name} {version}" for name, version in values.get("versions", {}).items()),
    }
    if label in result.own_voice:
        evaluation = result.own_voice[label]
        for column in columns_of({label: evaluation}):
            estimate = evaluation.summary.get(column.name)
            found[f"own voice over texts: {column.title}{arrow(column)} ({column.unit})"] = with_interval(
                estimate, column.decimals
            )
    return {name: value for name, value in found.items() if value}


def failures(result: Comparison) -> list[str]:
    """Systems that were skipped, rows that were lost, times that were disturbed: with the reasons."""
    lines = []
    for label, outcome in result.outcomes.items():
        if outcome.skipped:
            lines.append(f"{label}: skipped: {outcome.skipped}")
            continue
        lost: dict[str, list[str]] = {}
        for row in outcome.spoken.values():
            if row.why:
                lost.setdefault(row.why, []).append(row.id)
        lines += [f"{label}: {', '.join(ids)} not spoken: {why}" for why, ids in lost.items()]
        busy = outcome.facts.get("other_cores") or 0.0
        if busy > BUSY_CORES:
            lines.append(
                f"{label}: other processes took {busy:.1f} cores while it spoke: its times are longer than they need be"
            )
        if "incomplete" in outcome.facts:
            lines.append(f"{label}: some of its times are not known: {outcome.facts['incomplete']}")
    return lines


def _differences(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Mean of a system minus that of the first one over the utterances that both have, with its interval."""
    found = differences_to_first(evaluations)
    rows = [["figure", *found]]
    for column in columns_of(evaluations):
        cells = [_difference(by_column.get(column.name), column.decimals) for by_column in found.values()]
        if column.better and any(cells):
            rows.append([heading(column), *(cell or "-" for cell in cells)])
    if len(rows) == 1:
        return []
    first = next(iter(evaluations))
    about = (
        f"Mean of the difference to {first}, utterance by utterance, with its 95 % interval; * where that leaves out 0. "
        "Rates are means over utterances here, so they may differ a little from those above."
    )
    return [f"## Differences to {first}", "", about, "", *markdown_table(rows), ""]


def _difference(value: Difference | None, decimals: int) -> str | None:
    if value is None or value.low is None:
        return None
    text = f"{value.mean:+.{decimals}f} [{value.low:+.{decimals}f}, {value.high:+.{decimals}f}]"
    return text + (" \\*" if value.clear else "")


def as_values(result: Comparison, command: str) -> dict[str, Any]:
    """Everything, as plain values for JSON."""
    systems = {}
    for label, outcome in result.outcomes.items():
        systems[label] = {
            "card": outcome.chosen.card.as_dict(),
            "made_of": outcome.chosen.made_of(),
            "facts": outcome.facts,
            "skipped": outcome.skipped,
            "spoken": [asdict(row) for row in outcome.spoken.values()],
        }
        for name, evaluations in (("evaluation", result.evaluations), ("own_voice", result.own_voice)):
            systems[label][name] = evaluations[label].as_dict() if label in evaluations else None
    return _finite({"command": command, "header": result.header, "systems": systems})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _count(value: Any) -> str:
    return "" if not isinstance(value, int) else f"{value / 1e6:.1f} M"


def _seconds(value: Any) -> str:
    return "" if value is None else f"{value:.2f} s"


def _megabytes(value: Any) -> str:
    return "" if value is None else f"{value:.0f} MB"


def _cores(value: Any) -> str:
    return "" if value is None else f"{value:.1f} cores"


def _milliseconds(values: Mapping[str, Any]) -> str:
    if values.get("streams") is False:
        return "no stream"
    value = values.get("first_audio_seconds")
    return "" if value is None else f"{1000 * value:.0f} ms"
