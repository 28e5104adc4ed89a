"""`benchmark.py compare`: its arguments and its work. Nothing heavy is imported before the arguments are right."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from hierspeech.pipelines.command_line import say

EPILOG = """\
Examples:
  python benchmark.py compare --protocol offline --systems hierspeech,spear,espeak --out DIR
  python benchmark.py compare --protocol libritts_test_clean root=/data/LibriTTS/test-clean --systems hierspeech,recorded --out DIR
  python benchmark.py compare --protocol offline --systems f5-tts --env f5-tts=/envs/f5/bin/python --download --out DIR

NAME=MODEL is a system with another voice or other weights: hierspeech-official=/voices/official, bark=suno/bark.
"""


def add_compare(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "compare",
        help="systems side by side: quality, similarity, speed, latency, memory, in one report",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("changes", nargs="*", metavar="key=value", help="of the protocol: root=..., limit=10")
    parser.add_argument("--protocol", default="offline", help="a name in configs/benchmarks/, or a file")
    parser.add_argument(
        "--systems", default="hierspeech,espeak", help="names, groups or NAME=MODEL, by commas"
    )
    parser.add_argument("--out", help="folder of outputs and report; a run that was stopped goes on there")
    parser.add_argument("--list", action="store_true", help="the systems there are, with their cards")
    parser.add_argument(
        "--metrics", help="of evaluate.py, by commas, instead of the protocol's; all takes every one"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="METRIC=FOLDER|ID", help="for a metric's model"
    )
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=PYTHON", help="interpreter of a system"
    )
    parser.add_argument(
        "--command",
        dest="programs",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a program of your own as a system; hierspeech/benchmarking/systems/worker.py says what it must answer",
    )
    parser.add_argument("--device", default="cpu", help="of the systems: cpu or cuda (default: %(default)s)")
    parser.add_argument("--judges", default="cpu", help="device of the metrics (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of each system's process (default: its own choice)")
    parser.add_argument("--timeout", type=float, help="seconds for one utterance (default: the protocol's)")
    parser.add_argument("--download", action="store_true", help="packages may fetch weights")
    parser.add_argument("--fresh", action="store_true", help="say everything again")
    parser.add_argument("--report-items", type=int, help="utterances with sounds in the report, worst first")
    parser.add_argument("--report-rate", type=int, help="of the report's sounds in Hz (default: their own)")
    parser.set_defaults(work=work_compare)


def work_compare(arguments: argparse.Namespace) -> None:
    """Compares as the arguments say."""
    if arguments.list:
        return list_systems()
    if arguments.out is None:
        raise ValueError("compare needs --out, a folder for outputs and report.")
    for name in ("threads", "timeout", "report_items", "report_rate"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name.replace('_', '-')} {value}: expected a positive number.")
    from hierspeech.benchmarking.protocols import read_protocol

    protocol = read_protocol(arguments.protocol, arguments.changes)
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file, expected a folder for the outputs.")
    interpreters, programs = _pairs("--env", arguments.env), _pairs("--command", arguments.programs)
    models = _pairs("--model", arguments.model)

    from hierspeech.benchmarking.compare import Options, compare
    from hierspeech.benchmarking.compare_report import write_comparison
    from hierspeech.benchmarking.compare_systems import choose
    from hierspeech.evaluation.metrics import METRICS
    from hierspeech.pipelines.progress_bar import ProgressBar

    names = [name.strip() for name in arguments.systems.split(",") if name.strip()]
    systems = choose(names, interpreters, programs, arguments.threads, arguments.download)
    metrics = None
    if arguments.metrics:
        metrics = list(METRICS) if arguments.metrics == "all" else arguments.metrics.split(",")
    options = Options(
        device=arguments.device,
        judges=arguments.judges,
        metrics=metrics,
        models=models,
        threads=arguments.threads,
        download=arguments.download,
        fresh=arguments.fresh,
        timeout_seconds=arguments.timeout,
        progress=ProgressBar(),
    )
    result = compare(protocol, systems, out, options)
    command = " ".join(["python benchmark.py", *map(shlex.quote, arguments.line)])
    say(write_comparison(result, out, command, arguments.report_items, arguments.report_rate))
    if not result.evaluations:
        raise ValueError(f"no system said anything; {out / 'table.md'} says why.")
    say(f"{out / 'report.html'}")


def list_systems() -> None:
    """Prints the cards."""
    from hierspeech.benchmarking.systems import GROUPS, SYSTEMS
    from hierspeech.evaluation.tables import markdown_table

    rows = [["system", "kind", "protocols that", "voice", "licence", "to install"]]
    for name, entry in SYSTEMS.items():
        card = entry.card
        rows.append([name, card.kind, ", ".join(card.tasks), card.voice, card.licence, card.install])
    say("\n".join(markdown_table(rows)))
    say("\n".join(f"{name} = {', '.join(parts)}" for name, parts in GROUPS.items()))


def _pairs(option: str, entries: list[str]) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        if not (sign and name and value):
            raise ValueError(f"{option} {entry}: expected NAME=VALUE.")
        pairs[name] = value
    return pairs
