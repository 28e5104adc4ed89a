"""Comparing systems: a protocol's utterances through every system, judged by hierspeech.evaluation, side by side.

    result = compare(read_protocol("offline"), choose(["hierspeech", "espeak"]), Path("out"), Options())
    write_comparison(result, Path("out"))

OUT/outputs/SYSTEM/ holds what was said, by what it was made of; OUT/rows/ what was measured. A run that was stopped goes on there.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.compare_run import Limits, Outcome, Progress, run_system
from hierspeech.benchmarking.compare_systems import Chosen, choose
from hierspeech.benchmarking.protocols import ROOT, Protocol, Utterance, list_utterances
from hierspeech.evaluation.items import Item
from hierspeech.evaluation.run import Evaluation, evaluate

OWN = "own-"  # ids of what a system says once in each voice, to be compared with itself


@dataclass
class Options:
    """How a comparison runs.

    Attributes:
        device: of the systems. judges: device of the metrics.
        metrics: instead of the protocol's. models: folder or hub id for a metric's model.
        threads, download: of the processes. fresh: says everything again.
        timeout_seconds: instead of the protocol's.
    """

    device: str = "cpu"
    judges: str = "cpu"
    metrics: list[str] | None = None
    models: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    download: bool = False
    fresh: bool = False
    timeout_seconds: float | None = None
    progress: Progress | None = None


@dataclass
class Comparison:
    """What came of it: outcomes and evaluations by the systems' labels, and the header."""

    protocol: Protocol
    outcomes: dict[str, Outcome]
    evaluations: dict[str, Evaluation]
    own_voice: dict[str, Evaluation]
    header: dict[str, Any]


def compare(protocol: Protocol, systems: Sequence[Chosen], out: Path, options: Options) -> Comparison:
    """Runs every system on the protocol, then measures.

    Raises:
        ValueError: the corpus is absent, a metric is unknown, or the references cannot be made.
    """
    import torch

    from hierspeech.benchmarking.machine import describe_machine
    from hierspeech.evaluation.metrics import METRICS, default_metrics

    names = options.metrics or protocol.metrics or default_metrics()
    if unknown := [name for name in names if name not in METRICS]:
        raise ValueError(f"metrics: expected some of {', '.join(METRICS)}, got {unknown[0]!r}.")
    utterances = list_utterances(protocol)
    out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(torch.device(options.device))
    limits = Limits(
        options.timeout_seconds or protocol.timeout_seconds,
        device=options.device,
        machine=machine.get("gpu", machine["cpu"]),
    )
    if protocol.layout == "sentences":
        utterances = with_references(protocol, utterances, out, limits, options)
    if protocol.task == "upsample":
        utterances = [with_narrow_source(u, protocol.input_rate, out / "inputs") for u in utterances]
    begin = time.monotonic()
    result = Comparison(protocol, {}, {}, {}, {})
    for chosen in systems:
        own = own_utterances(protocol, utterances)
        folder = out / "outputs" / chosen.folder
        outcome = run_system(
            chosen, [*utterances, *own], protocol, folder, limits, options.progress, options.fresh
        )
        result.outcomes[chosen.label] = outcome
    for label, outcome in result.outcomes.items():
        measure(result, label, outcome, utterances, names, out, options)
    result.header = {
        "date": time.strftime("%Y-%m-%d"),
        "protocol": {key: value for key, value in asdict(protocol).items() if value not in (None, "", [])},
        "utterances": len(utterances),
        "seed": protocol.seed,
        "hierspeech": _version(),
        "machine": machine,
        "threads of systems": options.threads or "their own choice",
        "machines of outputs": sorted(
            {row.machine for outcome in result.outcomes.values() for row in outcome.good.values()}
        ),
        "seconds": round(time.monotonic() - begin, 1),
    }
    return result


def measure(
    result: Comparison,
    label: str,
    outcome: Outcome,
    utterances: Sequence[Utterance],
    names: list[str],
    out: Path,
    options: Options,
) -> None:
    """Adds the system's evaluations to the result, as far as it said anything."""
    by_id, recorded = outcome.good, outcome.chosen.card.kind.startswith("recording")
    items = [
        Item(
            id=u.id,
            wav=Path(row.wav),
            text=u.words or u.text,
            reference=u.reference,
            target=u.target,
            language=u.language,
            speaker=u.speaker,
            seconds=None if recorded else row.seconds,  # nobody computed a recording
        )
        for u in utterances
        if (row := by_id.get(u.id)) is not None
    ]
    if not items:
        return
    rows = out / "rows"
    rows.mkdir(exist_ok=True)

    def show(what: str, done: int, total: int) -> None:
        if options.progress is not None:
            options.progress(f"{label}: {what}", done, total)

    shared: dict[str, Any] = {"models": options.models, "device": options.judges, "progress": show}
    kept = rows / f"{outcome.chosen.folder}.jsonl"
    header = {"system": outcome.chosen.card.as_dict(), **outcome.facts}
    result.evaluations[label] = evaluate(items, names, rows=kept, header=header, **shared)
    similarity = next((name for name in names if name.startswith("sim_")), None)
    own = [
        replace(item, reference=Path(by_id[OWN + item.speaker].wav), target=None)
        for item in items
        if item.speaker is not None and OWN + item.speaker in by_id
    ]
    if own and similarity:
        result.own_voice[label] = evaluate(own, [similarity], rows=kept, **shared)


def with_references(
    protocol: Protocol, utterances: list[Utterance], out: Path, limits: Limits, options: Options
) -> list[Utterance]:
    """Utterances whose references the protocol's voice has spoken, one for each saved prompt, into OUT/references/."""
    speaker = choose([f"hierspeech={protocol.voice}"], threads=options.threads)[0]
    voices = list(dict.fromkeys(u.voice for u in utterances if u.voice))
    wanted = [
        Utterance(voice, protocol.reference_text, None, protocol.language, voice, voice=voice)
        for voice in voices
    ]
    made = run_system(speaker, wanted, protocol, out / "references", limits, options.progress, options.fresh)
    if lacking := [voice for voice in voices if voice not in made.good]:
        why = made.skipped or made.spoken[lacking[0]].why
        raise ValueError(f"{protocol.name}: the reference {lacking[0]!r} cannot be spoken: {why}.")
    return [
        replace(u, reference=Path(made.good[u.voice].wav), reference_text=protocol.reference_text)
        for u in utterances
        if u.voice
    ]


def own_utterances(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Utterance]:
    """One more utterance for each voice, where the protocol has a text for it."""
    if not protocol.own_text:
        return []
    first = {u.speaker: u for u in reversed(utterances) if u.speaker}
    return [
        replace(u, id=OWN + speaker, text=protocol.own_text, words=None, target=None)
        for speaker, u in sorted(first.items())
    ]


def with_narrow_source(utterance: Utterance, rate: int, folder: Path) -> Utterance:
    """An utterance whose source is a copy at `rate` Hz."""
    from hierspeech.evaluation.items import file_digest
    from speech.audio import load_audio, save_audio

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_digest(utterance.source)[:16]}-{rate}.wav"
    if not path.is_file():
        save_audio(path, load_audio(utterance.source, rate)[0], rate)
    return replace(utterance, source=path)


def _version() -> str:
    """Of this package, with the commit where it is a working copy."""
    try:
        version = metadata.version("hierspeech")
    except metadata.PackageNotFoundError:
        version = "not installed"
    try:
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return version
    return f"{version} (commit {commit.stdout.strip()})" if commit.returncode == 0 else version
