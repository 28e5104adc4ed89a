"""Floors and ceilings: espeak-ng, the recording itself, and plain resampling."""

from __future__ import annotations

import ctypes
import importlib
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.systems.contract import Entry, Missing, Request, Sound, SystemCard

SYNCHRONOUS, UTF8 = 2, 1
LONGEST_DATA_PATH = 120  # espeak-ng copies it into 160 bytes
CHUNK_MS = 60


class Espeak:
    """espeak-ng by the library of espeakng-loader, or by its program where that is absent."""

    def __init__(self, model: str | None = None):
        self.voice = model  # an espeak voice; None: that of the language

    def load(self, device: str) -> None:
        """Starts it."""
        self.library = None
        try:
            loader: Any = importlib.import_module("espeakng_loader")
        except ImportError:
            self.program = shutil.which("espeak-ng") or shutil.which("espeak")
            if self.program is None:
                raise Missing("neither espeakng-loader nor the program espeak-ng is there") from None
            return
        folder = loader.get_data_path()
        if len(str(folder)) > LONGEST_DATA_PATH:
            self._short = tempfile.TemporaryDirectory(prefix="espeak-")
            folder = Path(self._short.name) / "espeak-ng-data"
            folder.symlink_to(loader.get_data_path(), target_is_directory=True)
        self.library = ctypes.CDLL(str(loader.get_library_path()))
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, CHUNK_MS, str(folder).encode(), 0)
        if self.rate <= 0:
            raise Missing(f"espeak-ng finds no data in {folder}")

    def synthesize(self, request: Request) -> Sound:
        """The whole text."""
        import numpy as np

        if self.library is None:
            return self._by_program(request)
        chunks: list[Any] = []
        self._speak(request, chunks.append)
        return np.concatenate([np.zeros(0, np.float32), *chunks]), self.rate

    def stream(self, request: Request) -> Iterator[Sound]:
        """Chunks of 60 ms as the library hands them out."""
        if self.library is None:
            yield self._by_program(request)
            return
        ready: queue.Queue[Any] = queue.Queue()

        def work() -> None:
            self._speak(request, ready.put)
            ready.put(None)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            while (chunk := ready.get()) is not None:
                yield chunk, self.rate
        finally:
            worker.join()

    def parameters(self) -> None:
        """It has rules, nothing that was learned."""

    def _speak(self, request: Request, take: Any) -> None:
        import numpy as np

        name = (self.voice or request.language).encode()
        if self.library.espeak_SetVoiceByName(name):
            raise ValueError(f"espeak-ng has no voice {name.decode()!r}")

        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        def receive(samples: Any, count: int, _events: Any) -> int:
            if samples and count > 0:
                take(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / 32768)
            return 0

        self.library.espeak_SetSynthCallback(receive)
        text = (request.text or "").encode()
        self.library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()

    def _by_program(self, request: Request) -> Sound:
        from speech.audio import load_audio

        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "speech.wav"
            command = [str(self.program), "-v", self.voice or request.language, "-w", str(out), "--stdin"]
            subprocess.run(command, input=request.text, text=True, check=True, capture_output=True)
            return load_audio(out)


class Recording:
    """Recorded speech of the same words: what judges say of people."""

    def load(self, device: str) -> None:
        """Nothing to load."""

    def synthesize(self, request: Request) -> Sound:
        """The target."""
        from speech.audio import load_audio

        return load_audio(request.target)

    def parameters(self) -> None:
        """None."""


class Sinc:
    """Resampling by soxr: the band above the source's stays empty."""

    def load(self, device: str) -> None:
        """Nothing to load."""

    def synthesize(self, request: Request) -> Sound:
        """The source at the rate wanted."""
        from speech.audio import load_audio

        return load_audio(request.source, request.output_rate or 48000)

    def parameters(self) -> None:
        """None."""


ENTRIES = (
    Entry(
        SystemCard(
            name="espeak",
            kind="formants (floor)",
            licence="GPL-3.0",
            install="pip install espeakng-loader, or the package espeak-ng of the system",
            voice="one voice",
            source="https://github.com/espeak-ng/espeak-ng",
            packages=("espeakng-loader",),
        ),
        Espeak,
    ),
    Entry(
        SystemCard(
            name="recorded",
            kind="recording (ceiling)",
            licence="the corpus's",
            install="nothing to install; the protocol needs recordings of its texts",
            tasks=("resynthesize",),
            voice="the speaker's own",
        ),
        lambda model: Recording(),
    ),
    Entry(
        SystemCard(
            name="sinc",
            kind="resampling (floor)",
            licence="LGPL-2.1 (soxr)",
            install="ships with hierspeech",
            tasks=("upsample",),
            voice="the source's",
            packages=("soxr",),
        ),
        lambda model: Sinc(),
    ),
)
