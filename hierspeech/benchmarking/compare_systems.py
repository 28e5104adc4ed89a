"""Which systems a comparison runs: names, groups, other voices or weights, other interpreters, programs of one's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hierspeech.benchmarking.systems import GROUPS, SYSTEMS, SystemCard
from hierspeech.benchmarking.systems.process import worker_command, worker_environment


@dataclass(frozen=True)
class Chosen:
    """A system of one comparison.

    Attributes:
        label: in tables, and unique.
        command: that starts its process. environment: variables beside ours.
        fingerprint: changes with its weights.
        python: the interpreter where it is not ours.
    """

    label: str
    card: SystemCard
    command: list[str]
    fingerprint: str = ""
    model: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    python: str | None = None

    @property
    def folder(self) -> str:
        """The label as a plain file name."""
        return re.sub(r"[^\w.+-]", "_", self.label)

    def made_of(self) -> dict[str, str | int | None]:
        """What decides what it says, besides the request."""
        return {
            "system": self.card.name,
            "version": self.card.version,
            "model": self.model or self.card.model,
            "weights": self.fingerprint,
            "python": self.python,
            # of an adapter, the card says it all; a program of one's own is known by its command alone
            "command": None if self.card.name in SYSTEMS else shlex.join(self.command),
        }


def choose(
    names: Sequence[str],
    interpreters: Mapping[str, str] | None = None,
    commands: Mapping[str, str] | None = None,
    threads: int | None = None,
    download: bool = False,
) -> list[Chosen]:
    """Names as typed -> systems, each once.

    Args:
        names: of SYSTEMS or GROUPS, or NAME=MODEL: that system with another voice or other weights.
        interpreters: NAME -> Python of the environment that its packages are in.
        commands: NAME -> a program of one's own that answers as `systems/worker.py` does.
        threads: of each process.
        download: whether packages may fetch weights.
    Raises:
        ValueError: an unknown name.
    """
    interpreters, commands = dict(interpreters or {}), dict(commands or {})
    spelled = [part for name in names for part in GROUPS.get(name, (name,))]
    spelled += [name for name in commands if name not in spelled]
    chosen: dict[str, Chosen] = {}
    environment = worker_environment(threads, download)
    for entry in spelled:
        name, _, model = entry.partition("=")
        if name in commands:
            card = SystemCard(name, "external", "its own", f"--command {name}=...", ("speak", "convert", "upsample"))  # fmt: skip
            chosen[name] = Chosen(name, card, shlex.split(commands[name]), environment=_external(environment))
            continue
        if name not in SYSTEMS:
            known = ", ".join([*GROUPS, *SYSTEMS])
            raise ValueError(
                f"unknown system {name!r}: expected some of {known}, or a --command of that name."
            )
        system, python = SYSTEMS[name], interpreters.get(name)
        if python is not None and not Path(python).exists():
            raise ValueError(f"--env {name}={python}: there is no such interpreter.")
        label = name if not model else f"{name} ({Path(model).name})"
        if label in chosen and chosen[label].model != (model or None):
            label = entry
        chosen[label] = Chosen(
            label=label,
            card=system.card,
            command=worker_command(name, model or None, python),
            fingerprint=_fingerprint(name, model or None),
            model=model or None,
            environment=environment,
            python=python,
        )
    if unknown := [name for name in interpreters if name not in {c.card.name for c in chosen.values()}]:
        raise ValueError(f"--env {unknown[0]}: this system is not among those compared.")
    if not chosen:
        raise ValueError("no system, expected at least one.")
    return list(chosen.values())


def _external(environment: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key != "PYTHONPATH"}


def _fingerprint(name: str, model: str | None) -> str:
    """Of the weights: the adapter's own, or that of a folder or file that stands for them."""
    fingerprint = SYSTEMS[name].fingerprint
    if fingerprint is not None:
        return fingerprint(model)
    if model is None or not Path(model).exists():
        return ""
    place = Path(model)
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    return " ".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)
