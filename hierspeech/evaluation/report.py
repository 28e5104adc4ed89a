"""The report: one HTML file that needs nothing else, with players, spectrograms, pitch, sortable tables and the metrics' cards.

    write_report("report.html", {"ours": evaluation, "theirs": another})

The page's own parts are in report_page/; the figures travel in it as JSON.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierspeech.evaluation.differences import differences_to_first
from hierspeech.evaluation.items import file_digest
from hierspeech.evaluation.metrics.card import Column
from hierspeech.evaluation.pages import fill_page
from hierspeech.evaluation.pictures import picture, sound
from hierspeech.evaluation.run import Evaluation
from hierspeech.evaluation.tables import columns_of, explanations, write_text

PAGE = Path(__file__).with_name("report_page")
ROLES = ("wav", "reference", "target")


def write_report(
    path: str | os.PathLike,
    systems: Mapping[str, Evaluation],
    *,
    title: str = "Evaluation",
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    items_with_audio: int | None = None,
    audio_rate: int | None = None,
    introduction: str = "",
) -> None:
    """Writes the page.

    Args:
        systems: evaluations by the system's name; items of equal id stand side by side.
        facts: more on each system (parameters, latency, memory ...), a table of its own: {system: {fact: value}}.
        items_with_audio: how many items have sounds and pictures, the worst ones first; None: all.
        audio_rate: the highest of the sounds, in Hz; None keeps each file's own.
        introduction: plain text under the title.
    Raises:
        ValueError: no system at all.
    """
    if not systems:
        raise ValueError("the report has no system, expected at least one.")
    data = _data(systems, items_with_audio, audio_rate)
    data |= {"title": title, "introduction": introduction, "facts": facts or {}}
    write_text(path, fill_page(PAGE, title, data))


def _data(systems: Mapping[str, Evaluation], limit: int | None, audio_rate: int | None) -> dict[str, Any]:
    columns = columns_of(systems)
    order = list(dict.fromkeys(row["id"] for evaluation in systems.values() for row in evaluation.rows))
    chosen = set(order if limit is None else _worst(systems, order, columns)[:limit])
    media: dict[str, dict[str, Any]] = {}
    items = {name: {"id": name, "text": None, "systems": {}} for name in order}
    for system, evaluation in systems.items():
        for row in evaluation.rows:
            item = items[row["id"]]
            entry = {key: row[key] for key in ("text", "speaker", "values", "failed")}
            entry["heard"] = _heard(row)
            item["text"] = item["text"] or row["text"]
            for role in ROLES:
                if row["id"] in chosen and row[role]:
                    entry[role] = _medium(row[role], media, audio_rate)
            item["systems"][system] = entry
    cards = {n: card.as_dict() for e in systems.values() for n, card in e.cards.items()}
    return {
        "systems": list(systems),
        "columns": [vars(column) | {"main": _is_main(column, cards)} for column in columns],
        "cards": cards,
        "summary": {n: {c: vars(value) for c, value in e.summary.items()} for n, e in systems.items()},
        "missing": {n: e.missing for n, e in systems.items()},
        "explanations": explanations(systems),
        "differences": {
            name: {c: vars(d) | {"clear": d.clear} for c, d in found.items()}
            for name, found in differences_to_first(systems).items()
        },
        "headers": {n: e.header for n, e in systems.items()},
        "items": list(items.values()),
        "media": media,
    }


def _is_main(column: Column, cards: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(card["columns"][0]["name"] == column.name for card in cards.values())


def _heard(row: Mapping[str, Any]) -> dict[str, str]:
    """What recognisers heard, by metric."""
    return {name: details["heard"] for name, details in row["details"].items() if "heard" in details}


def _medium(path: str, media: dict[str, dict[str, Any]], audio_rate: int | None) -> str | None:
    """The key of a file's sound and picture, made once however often it occurs; None where it is no sound."""
    key = file_digest(path)[:12]
    if key not in media:
        try:
            media[key] = {"sound": sound(path, audio_rate), **picture(path)}
        except ValueError:  # the row says what is wrong with it
            return None
    return key


def _worst(systems: Mapping[str, Evaluation], order: list[str], columns: list[Column]) -> list[str]:
    """Ids from the worst mean over systems in the first figure that has a direction; without one, as they are."""
    column = next((column for column in columns if column.better), None)
    if column is None:
        return order
    values: dict[str, list[float]] = {name: [] for name in order}
    for evaluation in systems.values():
        for row in evaluation.rows:
            if (value := row["values"].get(column.name)) is not None:
                values[row["id"]].append(value if column.better == "higher" else -value)
    return sorted(order, key=lambda name: sum(values[name]) / len(values[name]) if values[name] else math.inf)
