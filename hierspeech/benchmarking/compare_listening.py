"""`benchmark.py listen` and `listen-results`: blind pages from the outputs of a comparison, and what listeners answered."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hierspeech.pipelines.command_line import say

KINDS = ("mos", "ab", "abx")


def add_listen(commands: argparse._SubParsersAction) -> None:
    """Adds both commands."""
    listen = commands.add_parser(
        "listen",
        help="a blind listening page (opinion scores, or choices of two) from a comparison's outputs",
    )
    listen.add_argument("comparison", help="folder that compare wrote (--out)")
    listen.add_argument("page", help="HTML file to write; its key is written beside it")
    listen.add_argument(
        "--kind",
        choices=KINDS,
        default="mos",
        help="mos rates 1 to 5, ab asks which of two is more natural, abx which is nearer to the reference (default: %(default)s)",
    )
    listen.add_argument("--systems", help="some of the comparison's, by commas (default: all)")
    listen.add_argument("--items", type=int, help="utterances, the first so many (default: all)")
    listen.add_argument(
        "--trials", type=int, help="for each listener, drawn by the listener's id (default: all)"
    )
    listen.add_argument("--question", help="instead of the kind's own")
    listen.add_argument("--text", action="store_true", help="shows the text beside the sounds")
    listen.add_argument("--rate", type=int, help="of the sounds in Hz (default: their own)")
    listen.set_defaults(work=work_listen)
    results = commands.add_parser(
        "listen-results", help="what listeners answered: means, preferences, agreement"
    )
    results.add_argument("key", help="PAGE.key.json")
    results.add_argument("answers", nargs="+", help="CSV files that listeners saved")
    results.add_argument("--json", metavar="FILE", help="the figures too")
    results.set_defaults(work=work_results)


def work_listen(arguments: argparse.Namespace) -> None:
    """Writes a page as the arguments say."""
    for name in ("items", "trials", "rate"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name} {value}: expected a positive number.")
    page = Path(arguments.page)
    if not page.absolute().parent.is_dir():
        raise ValueError(f"{page}: no such folder {page.absolute().parent}.")
    systems = read_outputs(Path(arguments.comparison), arguments.systems)
    from hierspeech.evaluation.listening import write_listening

    common = [name for name in next(iter(systems.values())) if all(name in rows for rows in systems.values())]
    common = common[: arguments.items]
    first = next(iter(systems.values()))
    key = write_listening(
        page,
        {system: {name: rows[name]["wav"] for name in common} for system, rows in systems.items()},
        arguments.kind,
        references={name: first[name]["reference"] for name in common if first[name]["reference"]},
        texts={name: first[name]["text"] for name in common} if arguments.text else None,
        question=arguments.question,
        trials=arguments.trials,
        audio_rate=arguments.rate,
    )
    say(
        f"{page}: {len(systems)} systems, {len(common)} items. {key} says which sound is whose: keep it from listeners."
    )


def read_outputs(folder: Path, names: str | None) -> dict[str, dict[str, Any]]:
    """Rows of a comparison's figures.json by system and utterance.

    Raises:
        ValueError: no comparison lies there, or it has no such system.
    """
    try:
        values = json.loads((folder / "figures.json").read_text(encoding="utf-8"))["systems"]
        found = {
            name: {row["id"]: row for row in system["evaluation"]["rows"]}
            for name, system in values.items()
            if system["evaluation"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not the folder of a comparison ({error}).") from error
    if not found:
        raise ValueError(f"{folder}: no system of this comparison said anything.")
    if names is None:
        return found
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in found]:
        raise ValueError(f"{folder}: has no system {unknown[0]!r}, expected some of {', '.join(found)}.")
    return {name: found[name] for name in chosen}


def work_results(arguments: argparse.Namespace) -> None:
    """Analyses as the arguments say."""
    from hierspeech.evaluation.listening_results import analyse
    from hierspeech.evaluation.tables import write_text

    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ValueError(f"{arguments.json}: no such folder {Path(arguments.json).absolute().parent}.")
    results = analyse(arguments.key, arguments.answers)
    say(results.markdown())
    if arguments.json:
        write_text(arguments.json, json.dumps(results.as_dict(), indent=1, ensure_ascii=False) + "\n")
