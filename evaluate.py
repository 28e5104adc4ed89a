"""Judge speech: metrics with confidence intervals, as a table, JSON, CSV and a report to read and listen to. For example

    python evaluate.py outputs/ --references references/ --out report
    python evaluate.py list.txt --metrics wer_sphinx,dnsmos
    python evaluate.py ours=a/list.txt theirs=b/list.txt --out report         two systems side by side
    python evaluate.py list.txt --metrics all --device cuda                   with what is fetched from the hub
    python evaluate.py --list-metrics

INPUT is a folder of wavs with .txt files beside them; or a list of lines `wav|text|reference|target|speaker`, of which only the wav
must be there (a first line may name other fields: id, language, seconds); or a filelist `id|wav|speaker|language|text`. The
reference is a recording of the voice; the target is recorded speech of the same words, or the clean original. Without --metrics
all those are measured that need no download. What cannot be measured is said with its reason. docs/evaluation.md has every
metric's card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from hierspeech.pipelines.command_line import Parser, run, say

REPORT, RESULTS, ITEMS, ROWS = "report.html", "results.json", "items.csv", "rows.jsonl"


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and evaluates; returns the exit code."""
    parser = Parser(
        prog="evaluate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="[NAME=]INPUT", help="a folder or a list, for each system"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help=f"for {REPORT}, {RESULTS}, {ITEMS} and the rows to go on from"
    )
    parser.add_argument(
        "--metrics", metavar="A,B", help="some of --list-metrics, or all (default: what is offline)"
    )
    parser.add_argument(
        "--list-metrics", action="store_true", help="every metric with what it means, and stop"
    )
    parser.add_argument(
        "--references", metavar="FOLDER|FILE", help="voices by the items' names, or one for all"
    )
    parser.add_argument(
        "--targets", metavar="FOLDER", help="recordings of the same words by the items' names"
    )
    parser.add_argument("--language", default="en-us", help="where the list says none (default: %(default)s)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="METRIC=PLACE",
        help="another folder or hub id for a metric's model; may be repeated",
    )
    parser.add_argument("--device", default="cpu", help="of the judges: cpu, cuda (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    parser.add_argument("--csv", metavar="FILE", help="the items' figures")
    parser.add_argument(
        "--report-items",
        type=int,
        metavar="N",
        help="items with sound and pictures in the report (default: all)",
    )
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Evaluates as the arguments say."""
    from hierspeech.evaluation.metrics import METRICS

    if arguments.list_metrics:
        return say(list_metrics(METRICS))
    if not arguments.inputs:
        raise ValueError("expected at least one folder or list (see --help).")
    names = _names(arguments.metrics, METRICS)
    models = dict(_pair(text) for text in arguments.model)
    if arguments.report_items is not None and arguments.report_items < 0:
        raise ValueError(f"report-items: expected 0 or more, got {arguments.report_items}.")
    for name in filter(None, (arguments.json, arguments.csv)):
        if not Path(name).absolute().parent.is_dir():
            raise ValueError(f"{name}: no such folder {Path(name).absolute().parent}.")
    inputs = _inputs(arguments.inputs)

    from hierspeech.evaluation.reading import read_items

    systems = {
        name: read_items(place, arguments.references, arguments.targets, arguments.language)
        for name, place in inputs.items()
    }
    out = None if arguments.out is None else Path(arguments.out)
    if out is not None:
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out}: is a file, expected a folder to write to.")
        out.mkdir(parents=True, exist_ok=True)
    _check_device(arguments.device)
    try:
        _evaluate(arguments, systems, names, models, out)
    except KeyboardInterrupt:
        kept = (
            "nothing kept"
            if out is None
            else f"what is measured is kept in {out / ROWS}, the same command goes on"
        )
        raise KeyboardInterrupt(f"interrupted, {kept}.") from None


def _evaluate(arguments, systems, names, models, out) -> None:
    from hierspeech.evaluation.run import evaluate
    from hierspeech.evaluation.tables import as_csv, as_json, summary_table, write_text
    from hierspeech.pipelines.progress_bar import ProgressBar

    bar = ProgressBar()
    found = {}
    for system, items in systems.items():
        prefix = f"{system}: " if len(systems) > 1 else ""
        found[system] = evaluate(
            items,
            names,
            rows=None if out is None else out / ROWS,
            models=models,
            device=arguments.device,
            progress=lambda what, done, total, prefix=prefix: bar(prefix + what, done, total),
            header={"input": str(arguments.inputs[len(found)])},
            seed=arguments.seed,
        )
    say(summary_table(found))
    files = {arguments.json: as_json, arguments.csv: as_csv}
    if out is not None:
        files |= {out / RESULTS: as_json, out / ITEMS: as_csv}
    for name, make in files.items():
        if name:
            write_text(name, make(found))
    if out is not None:
        from hierspeech.evaluation.report import write_report

        write_report(out / REPORT, found, title="Evaluation", items_with_audio=arguments.report_items)
        say(f"\n{out / REPORT}")


def list_metrics(metrics: Mapping) -> str:
    """Every card as text."""
    blocks = []
    for name, metric in metrics.items():
        card = metric.card
        needs = ", ".join(metric.needs) or "the wav alone"
        lines = [
            f"{name}{' (fetches weights: only if asked for)' if metric.downloads else ''}",
            f"  {card.meaning}",
            f"  Scale: {card.scale}",
            "  Figures: "
            + "; ".join(f"{c.name} ({c.unit}, {c.better or 'neither'} is better)" for c in card.columns),
            f"  Needs: {needs}. Source: {card.source}. Model: {card.model or 'none'}. Licence: {card.licence}.",
            f"  Install: {card.install}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _names(text: str | None, metrics: Mapping) -> list[str] | None:
    if text is None:
        return None
    if text == "all":
        return list(metrics)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in metrics]:
        raise ValueError(f"metrics: expected all, or some of {', '.join(metrics)}, got {unknown[0]!r}.")
    if not names:
        raise ValueError(f"metrics: expected all, or some of {', '.join(metrics)}, got {text!r}.")
    return names


def _pair(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not name or not place:
        raise ValueError(
            f"model: expected METRIC=PLACE such as wer_whisper=openai/whisper-small, got {text!r}."
        )
    return name, place


def _inputs(texts: list[str]) -> dict[str, str]:
    """Inputs by system; one that does not say its name has that of its file."""
    inputs: dict[str, str] = {}
    for text in texts:
        name, _, place = text.partition("=")
        if not place or "/" in name or Path(text).exists():
            name, place = Path(text).stem or Path(text).resolve().name, text
        if name in inputs:
            raise ValueError(f"the system {name!r} is there twice, expected NAME=INPUT with different names.")
        inputs[name] = place
    return inputs


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"device {device!r}: cannot be used here ({str(error).splitlines()[0]}).") from error


if __name__ == "__main__":
    sys.exit(main())
