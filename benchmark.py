"""Benchmarks. `python benchmark.py train CONFIG [CONFIG ...] [key=value ...]` times the training of recipes, for example

    python benchmark.py train configs/lite/synthesizer.yaml configs/lite/denoiser.yaml data.pack=data/pack

Every recipe is trained for some steps by the loop's own code in several variants, which take turns in one process: `eager`
(fp32, the first, which the ratios refer to), `bf16`, `compile` (fp32) and `bf16+compile`. The table says seconds of audio
trained on per second.

`python benchmark.py infer` times speaking, for example

    python benchmark.py infer --voice lite
    python benchmark.py infer --voice base --markdown table.md --json figures.json
    python benchmark.py infer --voice base --device cuda --batch 1 32      # docs/performance_gpu.md

part by part and in all, in variants that take turns too: `reference` (the plain eager layout that tests compare with), `fp32`
and `bf16` (what `prepare_for_inference` makes of it). `base` is the published size with random weights. RTF is seconds of work
per second of audio; "difference" and "LSD" compare the wave with the first variant's.

`python benchmark.py compare` puts whole systems side by side (ours, other people's, floors and ceilings); docs/benchmark/ has an example:

    python benchmark.py compare --protocol offline --systems hierspeech,spear,espeak --out DIR
    python benchmark.py listen DIR page.html --kind ab                     # a blind listening page of its outputs
    python benchmark.py listen-results page.key.json listening-*.csv       # and what listeners answered
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierspeech.benchmarking.compare_command import add_compare
from hierspeech.benchmarking.compare_listening import add_listen
from hierspeech.pipelines.command_line import Parser, run, say

if TYPE_CHECKING:
    from speech.throughput import Throughput

ROOT = Path(__file__).resolve().parent
INFERENCE_VARIANTS = ("reference", "fp32", "bf16")
TEXT = (
    "It was late in the evening when the train finally reached the small station by the sea. "
    "Nobody was waiting there, and the lamps along the platform had long been put out."
)

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
    train.set_defaults(work=work)
    _add_infer(commands)
    add_compare(commands)
    add_listen(commands)
    line = sys.argv[1:] if argv is None else argv

    def start(arguments: argparse.Namespace) -> None:
        arguments.line = line
        arguments.work(arguments)

    return run(parser, start, argv)


def _add_infer(commands: argparse._SubParsersAction) -> None:
    infer = commands.add_parser(
        "infer", help="parts and totals of speaking: RTF, first audio, memory, loading"
    )
    infer.add_argument(
        "--voice", default="lite", help="name, folder, hub id, or base: full size (default: %(default)s)"
    )
    infer.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    infer.add_argument(
        "--batch", nargs="+", default=["1"], help="sentences at once, e.g. 1 32 or 1,32 (default: 1)"
    )
    infer.add_argument("--no-tf32", action="store_true", help="exact fp32 in a GPU's convolutions, too")
    infer.add_argument(
        "--rates", default="48000", help="in Hz besides the voice's own (default: %(default)s)"
    )
    infer.add_argument(
        "--variants",
        default="reference,fp32,bf16",
        help="the first one is what the others are compared with (default: %(default)s)",
    )
    infer.add_argument("--text", default=TEXT, help="what to say (default: some ten seconds)")
    infer.add_argument("--rounds", type=int, default=2, help="the fastest counts (default: %(default)s)")
    infer.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    infer.add_argument(
        "--warm-only", action="store_true", help="start no fresh processes to time their start"
    )
    infer.add_argument("--json", metavar="FILE", help="the figures too")
    infer.add_argument("--markdown", metavar="FILE", help="the tables too")
    infer.set_defaults(work=work_infer)


def work_infer(arguments: argparse.Namespace) -> None:
    """Measures speaking as the arguments say."""
    names, rates = arguments.variants.split(","), _numbers("rates", arguments.rates)
    batches = _numbers("batch", ",".join(arguments.batch))
    if unknown := [name for name in names if name not in INFERENCE_VARIANTS]:
        raise ValueError(f"variants: expected some of {', '.join(INFERENCE_VARIANTS)}, got {unknown[0]!r}.")
    if arguments.rounds < 1 or (arguments.threads is not None and arguments.threads < 1):
        raise ValueError("rounds and threads: expected positive numbers.")
    for name in filter(None, (arguments.json, arguments.markdown)):
        if not Path(name).absolute().parent.is_dir():
            raise ValueError(f"{name}: no such folder {Path(name).absolute().parent}.")
    with tempfile.TemporaryDirectory() as folder:
        figures = _infer(arguments, names, rates, batches, Path(folder))
    from hierspeech.benchmarking.table import markdown

    text = markdown(figures, " ".join(["python benchmark.py", *map(shlex.quote, arguments.line)]))
    say(text)
    if arguments.json:
        _write(arguments.json, json.dumps(figures, indent=2) + "\n")
    if arguments.markdown:
        _write(arguments.markdown, text)


def _infer(
    arguments: argparse.Namespace, names: list[str], rates: list[int], batches: list[int], folder: Path
) -> dict[str, Any]:
    import torch

    from hierspeech.benchmarking.full_size import build_full_size
    from hierspeech.benchmarking.inference import Variant, measure, measure_first_audio, prepared
    from hierspeech.benchmarking.machine import OtherWork, describe_machine, process_megabytes
    from hierspeech.benchmarking.new_lengths import measure_new_lengths
    from hierspeech.benchmarking.start_up import cold_seconds, load_seconds
    from hierspeech.pipelines.prompt import as_prompt
    from hierspeech.pipelines.voice import find_voice, load_voice
    from speech.capture.runner import RUNNERS

    if arguments.no_tf32:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    place = build_full_size(folder / "base") if arguments.voice == "base" else find_voice(arguments.voice)
    voice = load_voice(place, arguments.device)
    start_up = {"loading the models": load_seconds(voice, rates)}
    machine, others = describe_machine(voice.device), OtherWork()
    switches = {
        "reference": _plain_layout(),
        "fp32": prepared(torch.float32),
        "bf16": prepared(torch.bfloat16),
    }
    variants = [Variant(name, switches[name]) for name in names]
    prompt = as_prompt(None, voice)
    rows = []
    for batch in batches:
        rows += measure(voice, prompt, arguments.text, variants, rates, batch, arguments.rounds)
    new_lengths = []
    if voice.device.type in RUNNERS:
        rate = next((rate for rate in rates if voice.speechsr(rate) is not None), None)
        new_lengths = measure_new_lengths(voice, prompt, arguments.text, variants, rate)
    first = measure_first_audio(voice, prompt, arguments.text, variants, [voice.sample_rate, *rates], 3)
    if not arguments.warm_only:
        start_up |= cold_seconds(ROOT, place, arguments.device)
    weights = {
        name: sum(p.numel() for p in model.parameters())
        for name, model in (("ttv", voice.ttv), ("synthesizer", voice.synthesizer))
    }
    return {
        "voice": arguments.voice,
        "text": arguments.text,
        "machine": machine,
        "weights": weights,
        "rows": [vars(row) for row in rows],
        "new_lengths": new_lengths,
        "first_audio": first,
        "start_up": start_up,
        "other_cores": others.cores(),
        "process_peak_mb": process_megabytes(),
    }


def _plain_layout() -> Any:
    """The reference of every fast path, which lives with the tests."""
    import importlib.util

    path = ROOT / "tests" / "plain_layout.py"
    spec = importlib.util.spec_from_file_location("plain_layout", path)
    if spec is None or not path.is_file():
        raise ValueError(f"{path}: not there, expected the repository that benchmark.py lies in.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_layout


def _numbers(name: str, text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",") if part.strip().isdigit()]
    if not numbers or len(numbers) != len(text.split(",")) or min(numbers) < 1:
        raise ValueError(f"{name}: expected positive whole numbers such as 1,32, got {text!r}.")
    return numbers


def _write(name: str, text: str) -> None:
    temporary = Path(f"{name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(name)


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
        _write(arguments.json, json.dumps(figures, indent=2) + "\n")


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
