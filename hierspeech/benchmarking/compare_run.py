"""One system says all utterances of a protocol: outputs kept by what they were made of, crashes and hangs cost their own row."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.compare_systems import Chosen
from hierspeech.benchmarking.protocols import Protocol, Utterance
from hierspeech.benchmarking.systems.contract import Request
from hierspeech.benchmarking.systems.process import SystemFailed, SystemProcess
from hierspeech.evaluation.items import file_digest

FAILURES_IN_A_ROW = 3  # crashes or hangs after which nothing more is asked of a system
FIRST_AUDIO_TEXTS = 3
PATHS = ("reference", "source", "target")
Progress = Callable[[str, int, int], None]


@dataclass
class Spoken:
    """What became of one utterance: a wav with its times, or why there is none."""

    id: str
    wav: str | None = None
    why: str | None = None
    seconds: float | None = None
    audio_seconds: float | None = None
    machine: str = ""


@dataclass
class Outcome:
    """What became of one system.

    Attributes:
        spoken: by the utterance's id.
        facts: load_seconds, first_audio_seconds, memory_mb, parameters, versions ... as far as they are known.
        skipped: why there is nothing at all.
    """

    chosen: Chosen
    spoken: dict[str, Spoken] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: str | None = None

    @property
    def good(self) -> dict[str, Spoken]:
        """Those that have a wav."""
        return {name: row for name, row in self.spoken.items() if row.wav}


@dataclass
class Limits:
    """How long a process may take, and where it runs."""

    timeout_seconds: float = 300.0
    load_seconds: float = 900.0
    device: str = "cpu"
    machine: str = ""


def make_request(utterance: Utterance, protocol: Protocol, task: str) -> Request:
    """What is sent to a process."""
    values = {name: getattr(utterance, name) for name in ("text", "language", "speaker", "voice")}
    values |= {
        name: None if getattr(utterance, name) is None else str(getattr(utterance, name).absolute())
        for name in PATHS
    }
    # the recording of the words asked for is nobody's business but of those that stand for it
    if task != "resynthesize":
        values["target"] = None
    return Request(
        task,
        **values,
        reference_text=utterance.reference_text,
        output_rate=protocol.output_rate,
        seed=protocol.seed,
    )


def digest(chosen: Chosen, request: Request, device: str) -> str:
    """Of what an output is made of: system, weights, device, and the request with its files' contents."""
    values = asdict(request)
    for name in PATHS:
        values[name] = values[name] and file_digest(values[name])
    made_of = [chosen.made_of(), values, device.partition(":")[0]]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:24]


def run_system(
    chosen: Chosen,
    utterances: Sequence[Utterance],
    protocol: Protocol,
    folder: Path,
    limits: Limits,
    progress: Progress | None = None,
    fresh: bool = False,
) -> Outcome:
    """Asks one system for all utterances; what lies in `folder` is not asked for again unless `fresh`.

    Nothing that the system does raises: it is in the outcome.
    """
    outcome = Outcome(chosen)
    task = protocol.task
    if task not in chosen.card.tasks:
        if "resynthesize" not in chosen.card.tasks:
            outcome.skipped = f"it can {' and '.join(chosen.card.tasks)}, the protocol asks to {task}"
            return outcome
        task = "resynthesize"
        utterances = [utterance for utterance in utterances if utterance.target is not None]
        if not utterances:
            outcome.skipped = "the protocol has no recordings of its texts"
            return outcome
    folder.mkdir(parents=True, exist_ok=True)
    requests = {u.id: make_request(u, protocol, task) for u in utterances}
    places = {name: folder / digest(chosen, request, limits.device) for name, request in requests.items()}
    kept = {} if fresh else {name: _read(places[name], name) for name in requests}
    pending = [name for name in requests if kept.get(name) is None]
    state = folder / "system.json"
    basis = chosen.made_of() | {"device": limits.device}
    outcome.facts = _read_facts(state, basis)
    outcome.spoken = {name: row for name, row in kept.items() if row is not None}
    if pending or not outcome.facts:
        with _Talk(chosen, limits, outcome) as talk:
            talk.speak(requests, places, pending, progress)
            talk.finish(requests)
        _write(state, {"made_of": basis, "facts": outcome.facts})
    if not outcome.good:
        reasons = [row.why for row in outcome.spoken.values() if row.why]
        outcome.skipped = outcome.skipped or (reasons[0] if reasons else "it said nothing")
    else:
        outcome.skipped = None
    outcome.spoken = {name: outcome.spoken[name] for name in requests if name in outcome.spoken}
    return outcome


class _Talk:
    """The conversation with one system's process, started anew where it ended."""

    def __init__(self, chosen: Chosen, limits: Limits, outcome: Outcome):
        self.chosen, self.limits, self.outcome = chosen, limits, outcome
        self.process: SystemProcess | None = None
        self.memory: list[float] = []

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.close()

    def speak(
        self,
        requests: dict[str, Request],
        places: dict[str, Path],
        pending: list[str],
        progress: Progress | None,
    ) -> None:
        """Asks for what is pending, row by row."""
        failures, last = 0, ""
        done = len(requests) - len(pending)
        for name in pending:
            if failures >= FAILURES_IN_A_ROW:
                row = Spoken(name, why=f"given up after {failures} failures in a row: {last}")
            elif self.outcome.skipped is not None:
                row = Spoken(name, why=self.outcome.skipped)
            else:
                try:
                    row = self._speak_one(name, requests[name], places[name])
                    failures = 0
                except SystemFailed as error:
                    self.process = None
                    failures, last = failures + 1, str(error)
                    row = Spoken(name, why=last)
            self.outcome.spoken[name] = row
            done += 1
            if progress is not None:
                progress(self.chosen.label, done, len(requests))

    def _speak_one(self, name: str, request: Request, place: Path) -> Spoken:
        wav = place.with_suffix(".wav").absolute()
        message = {"request": asdict(request), "out": str(wav)}
        timeout = self.limits.timeout_seconds
        if self.process is None:
            self._start()
            if self.process is None:
                return Spoken(name, why=self.outcome.skipped)
            # Caches, kernels and lazily loaded parts belong to no row: the first one is asked for twice.
            answer = self.process.ask("speak", timeout, **message)
            if answer["ok"]:
                self.outcome.facts.setdefault("first_call_seconds", answer.get("seconds"))
        answer = self.process.ask("speak", timeout, **message)
        if not answer["ok"]:
            return Spoken(name, why=str(answer.get("why", "it gave no reason")))
        if not wav.is_file():
            return Spoken(name, why="it said that it had spoken, but there is no file")
        try:
            seconds, audio_seconds = float(answer["seconds"]), float(answer["audio_seconds"])
        except (KeyError, TypeError, ValueError):
            return Spoken(name, why="its answer does not say how long it took")
        row = Spoken(name, str(wav), None, seconds, audio_seconds, self.limits.machine)
        _write(place.with_suffix(".json"), asdict(row) | {"wav": wav.name, "request": asdict(request)})
        return row

    def _start(self) -> None:
        """A process that has loaded its system; `outcome.skipped` where it cannot."""
        self.process = SystemProcess(self.chosen.command, self.chosen.environment)
        try:
            answer = self.process.ask("load", self.limits.load_seconds, device=self.limits.device)
        except SystemFailed as error:
            self.process = None
            self.outcome.skipped = f"loading failed: {error}"
            return
        if not answer["ok"]:
            self.process.close()
            self.process = None
            install = f"; to install: {self.chosen.card.install}" if answer.get("missing") else ""
            self.outcome.skipped = str(answer.get("why", "it gave no reason")).rstrip(".") + install
            return
        self.outcome.facts |= {
            "load_seconds": answer.get("seconds"),
            "parameters": answer.get("parameters"),
            "streams": bool(answer.get("streams")),
        }

    def finish(self, requests: dict[str, Request]) -> None:
        """First audio of streams and what the process says of itself; a failure here costs only these facts."""
        facts = self.outcome.facts
        try:
            if self.process is None and self.outcome.good and "parameters" not in facts:
                self._start()
            if self.process is None:
                return
            state = self.process.ask("state", self.limits.timeout_seconds)
            if state["ok"]:
                facts |= {key: value for key, value in state.items() if key not in ("id", "ok")}
            if facts.get("streams"):
                latencies = []
                for name in [name for name in requests if name in self.outcome.good][:FIRST_AUDIO_TEXTS]:
                    answer = self.process.ask(
                        "first_audio", self.limits.timeout_seconds, request=asdict(requests[name])
                    )
                    if answer["ok"]:
                        latencies.append(answer["seconds"])
                if latencies:
                    facts["first_audio_seconds"] = statistics.median(latencies)
        except SystemFailed as error:
            self.process = None
            facts["incomplete"] = str(error)


def _read(place: Path, name: str) -> Spoken | None:
    """A row that is there already; the sound counts, not the word for it."""
    wav = place.with_suffix(".wav")
    try:
        values = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        row = Spoken(
            name, str(wav.absolute()), None, values["seconds"], values["audio_seconds"], values["machine"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return row if wav.is_file() else None


def _read_facts(path: Path, basis: dict[str, Any]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return dict(values["facts"]) if values["made_of"] == basis else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    temporary.replace(path)
