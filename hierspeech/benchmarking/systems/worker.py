"""The child process of a system: JSON lines in, JSON lines out. `python -m hierspeech.benchmarking.systems.worker NAME [MODEL]`

    {"id": 1, "op": "load", "device": "cpu"}                    -> {"id": 1, "ok": true, "seconds": .., "parameters": .., "streams": ..}
    {"id": 2, "op": "speak", "request": {..}, "out": "x.wav"}   -> {"id": 2, "ok": true, "seconds": .., "audio_seconds": ..}
    {"id": 3, "op": "first_audio", "request": {..}}             -> {"id": 3, "ok": true, "seconds": ..}
    {"id": 4, "op": "state"}                                    -> {"id": 4, "ok": true, "memory_mb": .., ..}
    anything that fails                                         -> {"id": n, "ok": false, "why": "..", "missing": false}

It ends where its input ends. What packages print goes to stderr. A program of one's own, in any language, that keeps to this can be
compared too (`--command`); in Python it is `serve(MySystem())`.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from hierspeech.benchmarking.systems.contract import Missing, Request, System

MAX_SECONDS = 600.0  # of one utterance: more is no speech but a model that found no end


def main(arguments: list[str]) -> int:
    """Serves the system of a name of SYSTEMS."""
    from hierspeech.benchmarking.systems import SYSTEMS

    name, model = arguments[0], arguments[1] if len(arguments) > 1 else None
    card = SYSTEMS[name].card
    serve(SYSTEMS[name].make(model), card.packages)
    return 0


def serve(system: System, packages: Sequence[str] = ()) -> None:
    """Answers requests until the input ends."""
    # The pipe is kept for answers alone, and nobody may wait for a key: some packages ask for consent on stdin.
    incoming = os.fdopen(os.dup(0), "r", encoding="utf-8")
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    others = None
    for line in incoming:
        message = json.loads(line)
        try:
            if message["op"] == "load":
                answer, others = _load(system, message["device"]), _other_work()
            elif message["op"] == "speak":
                answer = _speak(system, Request(**message["request"]), Path(message["out"]))
            elif message["op"] == "first_audio":
                answer = _first_audio(system, Request(**message["request"]))
            elif message["op"] == "state":
                answer = _state(packages, others)
            else:
                answer = {"ok": False, "why": f"unknown operation {message['op']!r}"}
        except Exception as error:  # an utterance that fails is a row that says so
            missing = isinstance(error, Missing)
            why = " ".join(str(error).split())[:500]
            answer = {
                "ok": False,
                "why": why if missing else f"{type(error).__name__}: {why}",
                "missing": missing,
            }
        _send(outgoing, {"id": message["id"], **answer})


def _send(outgoing: IO[str], answer: dict[str, Any]) -> None:
    outgoing.write(json.dumps(answer) + "\n")
    outgoing.flush()


def _load(system: System, device: str) -> dict[str, Any]:
    begin = time.perf_counter()
    system.load(device)
    seconds = time.perf_counter() - begin
    return {
        "ok": True,
        "seconds": seconds,
        "parameters": system.parameters(),
        "streams": hasattr(system, "stream"),
    }


def _speak(system: System, request: Request, out: Path) -> dict[str, Any]:
    seed_everything(request.seed)
    begin = time.perf_counter()
    wav, rate = system.synthesize(request)
    seconds = time.perf_counter() - begin
    n_samples = write_wav(out, wav, rate)
    return {"ok": True, "seconds": seconds, "audio_seconds": n_samples / rate, "rate": rate}


def _first_audio(system: System, request: Request) -> dict[str, Any]:
    seed_everything(request.seed)
    begin = time.perf_counter()
    chunks = system.stream(request)  # type: ignore[attr-defined]
    wav, rate = next(iter(chunks))
    seconds = time.perf_counter() - begin
    chunks.close()
    return {"ok": True, "seconds": seconds, "chunk_seconds": len(wav) / rate}


def _state(packages: Sequence[str], others: Any) -> dict[str, Any]:
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "ok": True,
        "memory_mb": peak_megabytes(),
        "gpu_memory_mb": _gpu_megabytes(),
        "other_cores": None if others is None else others.cores(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "versions": versions,
    }


def seed_everything(seed: int) -> None:
    """For systems that take no seed: whatever random numbers are there begin anew."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def write_wav(path: Path, wav: Any, rate: int) -> int:
    """Samples [T] as float WAV, whole or not at all; returns T. Needs numpy alone, which every environment has.

    Raises:
        ValueError: no samples, samples that are not finite, or more of them than speech can have.
    """
    import numpy as np

    samples = np.ascontiguousarray(np.asarray(wav, np.float32).squeeze())
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"gave samples of shape {list(samples.shape)}, expected some of one channel")
    if not np.isfinite(samples).all():
        raise ValueError("gave samples that are not finite")
    if len(samples) > MAX_SECONDS * rate:
        raise ValueError(f"gave {len(samples) / rate:.0f} s of sound, which is no utterance")
    data = samples.astype("<f4").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 50 + len(data), b"WAVE", b"fmt ", 18, 3, 1, rate, 4 * rate, 4, 32)  # fmt: skip
    head += struct.pack("<H4sII4sI", 0, b"fact", 4, len(samples), b"data", len(data))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(head + data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(samples)


def peak_megabytes() -> float | None:
    """The most memory that this process has held; None where the system does not tell."""
    try:
        # not getrusage: its maximum is handed on from the parent by fork and exec
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1.024e-3 * int(line.split()[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _gpu_megabytes() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return torch.cuda.max_memory_allocated() / 1e6


def _other_work() -> Any:
    """Counts what other processes take meanwhile, where torch, which that module needs, is there anyway."""
    if "torch" not in sys.modules:
        return None
    from hierspeech.benchmarking.machine import OtherWork

    return OtherWork()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
