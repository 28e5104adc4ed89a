"""The parent's side of a system: starts its process, asks it with a time limit, and survives whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent
STDERR_LINES = 12
GRACE_SECONDS = 5.0  # for a process to end when its input ends


class SystemFailed(Exception):
    """A request has no answer: why. The process is gone and a new one has to be started."""


class SystemProcess:
    """One child: `with SystemProcess(command) as child: child.ask("load", 60, device="cpu")`.

    Args:
        command: program and arguments; see `worker.py` for what it must answer.
        environment: what is added to ours.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None = None):
        self.command = command
        self._id = 0
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=STDERR_LINES)
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=os.environ | (environment or {}),
                start_new_session=os.name == "posix",  # so that its own children end with it
            )
        except OSError as error:
            raise SystemFailed(f"{command[0]} cannot be started ({error.strerror})") from error
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> SystemProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, operation: str, timeout: float, **values: Any) -> dict[str, Any]:
        """One message -> its answer, which may say `ok: false`.

        Raises:
            SystemFailed: it ended, took longer than `timeout` seconds, or answered something else; it is ended then.
        """
        self._id += 1
        try:
            self.process.stdin.write(json.dumps({"id": self._id, "op": operation, **values}) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError) as error:
            raise SystemFailed(self._end()) from error
        end = time.monotonic() + timeout
        try:
            line = self._answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            self.kill()
            raise SystemFailed(f"no answer within {timeout:g} s") from None
        if line is None:
            raise SystemFailed(self._end())
        try:
            answer = json.loads(line)
            known = answer["id"] == self._id and isinstance(answer["ok"], bool)
        except (ValueError, TypeError, KeyError):
            known = False
        if not known:
            self.kill()
            raise SystemFailed(f"answered something that is no answer: {line.strip()[:80]!r}")
        return answer

    def close(self) -> None:
        """Lets it end; ends it after a while."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """Ends it and its children at once."""
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(GRACE_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                pipe.close()

    def _end(self) -> str:
        """Why it ended: exit code or signal, and its last words."""
        try:
            code = self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        if code is None:
            what = "closed its output"
        elif code < 0:
            what = f"was ended by {signal.Signals(-code).name}"
        else:
            what = f"ended with code {code}"
        last = next((line for line in reversed(self._errors) if line.strip()), "")
        return f"the process {what}" + (f" ({last.strip()[:300]})" if last else "")

    def _read_answers(self) -> None:
        # a line has an end: a system that writes without one must not fill the memory
        with contextlib.suppress(ValueError, OSError):
            while line := self.process.stdout.readline(1_000_000):
                self._answers.put(line)
        self._answers.put(None)

    def _read_errors(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            while line := self.process.stderr.readline(100_000):
                self._errors.append(line)


def worker_command(name: str, model: str | None, python: str | None = None) -> list[str]:
    """The command of an adapter of ours, in this environment or in that of another interpreter."""
    module = "hierspeech.benchmarking.systems.worker"
    return [python or sys.executable, "-u", "-m", module, name, *([] if model is None else [model])]


def worker_environment(threads: int | None, download: bool) -> dict[str, str]:
    """Variables: where our modules lie, threads, and whether packages may fetch weights."""
    values = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "TOKENIZERS_PARALLELISM": "false",
        "HIERSPEECH_DOWNLOAD": "1" if download else "0",
    }
    if not download:
        values |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if threads:
        values |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    return values
