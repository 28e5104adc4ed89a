"""Benchmarks. `python benchmark.py train CONFIG [CONFIG ...] [key=value ...]` times the training of recipes, for example

    python benchmark.py train configs/lite/synthesizer.yaml configs/lite/denoiser.yaml data.pack=data/pack

Every recipe is trained for some steps by the loop's own code in several variants, which take turns in one process: `eager`
(fp32, the first, which the ratios refer to), `bf16`, `compile` (fp32) and `bf16+compile`. The table says seconds of audio
trained on per second.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierspeech.pipelines.command_line import Parser, run, say

if TYPE_CHECKING:
    from speech.throughput import Throughput

VARIANTS = {
    "eager": {"precision": "fp32", "compile": []},
    "bf16": {"precision": "bf16", "compile": []},
    "compile": {"precision": "fp32", "compile": None},  # None: every module that learns
    "bf16+compile": {"precision": "bf16", "compile": None},
}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and measures; returns the exit code."""
    parser = Parser(
        prog="benchmark.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    train = commands.add_parser("train", help="seconds of audio trained on per second, for each recipe")
    train.add_argument("arguments", nargs="+", metavar="CONFIG or key=value")
    train.add_argument("--steps", type=int, default=10, help="timed in each round (default: %(default)s)")
    train.add_argument("--rounds", type=int, default=2, help="the fastest counts (default: %(default)s)")
    train.add_argument(
        "--variants",
        default="eager,bf16",
        help=f"some of {','.join(VARIANTS)}; the ratios refer to the first (default: %(default)s)",
    )
    train.add_argument("--json", metavar="FILE", help="the figures too")
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Measures as the arguments say."""
    names = arguments.variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ValueError(f"variants: expected some of {', '.join(VARIANTS)}, got {unknown[0]!r}.")
    if min(arguments.steps, arguments.rounds) < 1:
        raise ValueError(
            f"steps and rounds: expected positive numbers, got {arguments.steps} and {arguments.rounds}."
        )
    configs = [argument for argument in arguments.arguments if "=" not in argument]
    if not configs:
        raise ValueError("expected at least one CONFIG, got only key=value.")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ValueError(f"{arguments.json}: no such folder {Path(arguments.json).absolute().parent}.")
    assignments = [argument for argument in arguments.arguments if "=" in argument]
    results = {}
    say("| recipe | variant | audio, s/s | steps/s | ratio | memory, MB |\n|---|---|---|---|---|---|")
    for config in configs:
        results[config] = measure_config(config, assignments, names, arguments.steps, arguments.rounds)
        for row in rows(config, results[config]):
            say(row)
        sys.stdout.flush()
    if arguments.json:
        figures = {c: {name: vars(value) for name, value in r.items()} for c, r in results.items()}
        temporary = Path(f"{arguments.json}.tmp")
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        temporary.replace(arguments.json)


def measure_config(
    config: str, assignments: list[str], names: list[str], steps: int, rounds: int
) -> dict[str, Throughput]:
    """The figures of one configuration, by variant."""
    from speech.throughput import measure
    from train import read

    _, recipe_class, sections, losses, settings = read(config, assignments)

    def make(changed: Any) -> Any:
        return recipe_class(sections.model, sections.data, sections.recipe, losses, changed)

    variants = {
        name: values | ({"compile": sorted(losses)} if values["compile"] is None else {})
        for name, values in VARIANTS.items()
        if name in names
    }
    ordered = {name: variants[name] for name in names}
    return measure(make, settings, losses, ordered, steps, rounds=rounds)


def rows(config: str, figures: dict[str, Throughput]) -> list[str]:
    """Markdown rows of one configuration."""
    first = next(iter(figures.values())).steps_per_second
    return [
        f"| {config} | {name} | {f.audio_seconds_per_second:.1f} | {f.steps_per_second:.2f} "
        f"| {f.steps_per_second / first:.2f} | {f.memory_mb:.0f} |"
        for name, f in figures.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
