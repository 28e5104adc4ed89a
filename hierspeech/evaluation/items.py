"""What is judged: an `Item` is one wav with what is known about it. Audio is loaded once and kept for a while."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from speech.audio import load_audio

ROLES = ("wav", "reference", "target")
CACHE_BYTES = 256_000_000  # of loaded audio: some two hours at 16 kHz


@dataclass(frozen=True)
class Item:
    """One utterance of a system.

    Attributes:
        id: unique among the items; equal ids of several systems are shown side by side.
        wav: the sound that is judged.
        text: what it should say; None where nobody knows.
        reference: a recording of the voice that it should have (other words, as a rule).
        target: recorded speech of the same words, or the clean, full-band original.
        language: as in filelists, "en-us", "de", ...
        speaker: label of the voice; None: every reference is a voice of its own.
        seconds: how long the system took to make the wav, where it says so.
    """

    id: str
    wav: Path
    text: str | None = None
    reference: Path | None = None
    target: Path | None = None
    language: str = "en-us"
    speaker: str | None = None
    seconds: float | None = None

    def load(self, role: str = "wav", sample_rate: int | None = None) -> tuple[np.ndarray, int]:
        """(wav float32 [T], its rate in Hz) of the "wav", "reference" or "target"; do not write into it.

        Raises:
            ValueError: the item has none, or the file is no audio (see `speech.audio.load_audio`).
        """
        path = getattr(self, role)
        if path is None:
            raise ValueError(f"{self.id}: has no {role}.")
        return load_cached(path, sample_rate)

    @property
    def voice(self) -> str | None:
        """What tells its speaker from others: the label, else the reference's name; None where neither is known."""
        return self.speaker or (str(self.reference) if self.reference is not None else None)

    def digest(self) -> str:
        """Changes whenever something changes that a metric may look at; the id is not looked at."""
        parts = [file_digest(getattr(self, role)) if getattr(self, role) else "" for role in ROLES]
        parts += [str(value) for value in (self.text, self.language, self.speaker, self.seconds)]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


_loaded: OrderedDict[tuple, tuple[np.ndarray, int]] = OrderedDict()


def load_cached(path: str | os.PathLike, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """`load_audio`, remembering what was loaded last; a file that changed is loaded anew."""
    state = os.stat(path) if os.path.isfile(path) else None
    key = (str(path), sample_rate, None if state is None else (state.st_mtime_ns, state.st_size))
    if key in _loaded:
        _loaded.move_to_end(key)
        return _loaded[key]
    wav, rate = load_audio(path, sample_rate)
    wav.flags.writeable = False  # it is shared by all metrics
    _loaded[key] = (wav, rate)
    while len(_loaded) > 1 and sum(kept.nbytes for kept, _ in _loaded.values()) > CACHE_BYTES:
        _loaded.popitem(last=False)
    return wav, rate


def file_digest(path: str | os.PathLike) -> str:
    """Of the bytes of a file; "absent" where there is none."""
    try:
        state = os.stat(path)
    except OSError:
        return "absent"
    return _digest(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _digest(path: str, _mtime: int, _size: int) -> str:
    with open(path, "rb") as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
