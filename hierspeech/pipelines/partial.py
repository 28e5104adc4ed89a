"""Work that survives an interrupt: a folder beside the output, with the samples made so far and what they were made with.

chapter.wav.partial/   made_of.json   what the samples depend on; another content means another work
                       state.json     {"spoken": [pieces, samples], "finished": [chunks, samples]}
                       spoken.f32     samples of the synthesizer, float32
                       finished.f32   the same at the output's rate, if that is another one

A count is written, whole or not at all, after the samples that it counts; what lies beyond them is cut off. So whatever is
killed whenever goes on from the last count.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from speech.audio import BLOCK_SAMPLES

TRACKS = ("spoken", "finished")
NOTES = "spoken.jsonl"  # a line for each piece of the track "spoken"
SAMPLE_BYTES = 4  # float32


class Partial:
    """The unfinished samples of one output file; use as a context manager, which keeps other processes out.

    Attributes:
        changed: what an earlier work was made with otherwise, which was therefore thrown away; empty if nothing was.
    """

    def __init__(self, output: str | os.PathLike, made_of: dict[str, Any]):
        output = Path(output)
        self.folder = output.with_name(f"{output.name}.partial")
        self.made_of = json.loads(json.dumps(made_of))  # as it will be read back
        self.changed: list[str] = []
        self._state: dict[str, list[int]] = {track: [0, 0] for track in TRACKS}
        self._files: dict[str, BinaryIO] = {}
        self.notes: list[Any] = []  # of the pieces of "spoken", as they were appended

    def __enter__(self) -> "Partial":
        known = self.folder / "made_of.json"
        if (
            self.folder.is_symlink()
            or self.folder.exists()
            and not (self.folder.is_dir() and _is_ours(self.folder))
        ):
            raise ValueError(f"{self.folder}: is no unfinished speech, expected nothing of that name.")
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock()
            if known.is_file():
                self.changed = self._compare(_read_json(known))
            if self.changed or not known.is_file():
                for path in self.folder.iterdir():
                    if path.name != "lock":
                        path.unlink()
                _write_json(known, self.made_of)
            else:
                state = _read_json(self.folder / "state.json")
                self._state |= {track: state[track] for track in TRACKS if _is_count(state.get(track))}
            for track in TRACKS:
                self._open(track)
            self._open_notes()
        except OSError as error:
            self._close()
            raise ValueError(f"{self.folder}: cannot be written ({error.strerror or error}).") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._close()
        if self._state == {track: [0, 0] for track in TRACKS}:  # nothing to go on from
            self.remove()

    def count(self, track: str) -> int:
        """How many pieces ("spoken") or chunks ("finished") are there."""
        return self._state[track][0]

    def samples(self, track: str) -> int:
        """How many samples they have together."""
        return self._state[track][1]

    def append(self, track: str, wav: np.ndarray, note: Any = None) -> None:
        """Adds one piece or chunk, float32 [T], and counts it once it is safely there.

        `note`: what is to be known of a piece of "spoken" besides, as JSON can say it.
        """
        if track == "spoken":
            self.notes.append(note)
            file = self._files[NOTES]
            file.write(json.dumps(note).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        file = self._files[track]
        file.write(np.ascontiguousarray(wav, dtype="<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
        count, samples = self._state[track]
        self._state[track] = [count + 1, samples + len(wav)]
        _write_json(self.folder / "state.json", self._state)

    def read(self, track: str, start: int, stop: int) -> np.ndarray:
        """Samples from `start` to `stop` [stop - start], those that are there."""
        with open(self._path(track), "rb") as file:
            file.seek(start * SAMPLE_BYTES)
            wanted = max(0, min(stop, self.samples(track)) - start)
            return np.frombuffer(file.read(wanted * SAMPLE_BYTES), dtype="<f4").astype(np.float32)

    def blocks(self, track: str, block_samples: int = BLOCK_SAMPLES) -> Iterator[np.ndarray]:
        """All samples in blocks [T]."""
        for start in range(0, self.samples(track), block_samples):
            yield self.read(track, start, start + block_samples)

    def remove(self) -> None:
        """Deletes the folder: the output is there, or nothing was done yet."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _compare(self, before: dict[str, Any]) -> list[str]:
        names = sorted(before.keys() | self.made_of.keys())
        return [name for name in names if before.get(name) != self.made_of.get(name)]

    def _open(self, track: str) -> None:
        """Opens a file of samples behind the last one that counts; without all that it should have, it begins anew."""
        path = self._path(track)
        size = self.samples(track) * SAMPLE_BYTES
        if (path.stat().st_size if path.exists() else 0) < size:
            self._state[track], size = [0, 0], 0
        file = self._files[track] = open(path, "r+b" if path.exists() else "w+b")
        file.truncate(size)
        file.seek(size)

    def _open_notes(self) -> None:
        """Opens the notes behind the last one that counts; where they are not all there, the pieces begin anew."""
        path, count = self.folder / NOTES, self.count("spoken")
        lines = path.read_bytes().split(b"\n")[:count] if path.exists() else []
        try:
            self.notes = [json.loads(line) for line in lines]
        except ValueError:
            self.notes = []
        if len(self.notes) < count:
            self._state["spoken"], self.notes = [0, 0], []
            self._files["spoken"].truncate(0)
            self._files["spoken"].seek(0)
        kept = b"".join(line + b"\n" for line in lines[: len(self.notes)])
        file = self._files[NOTES] = open(path, "r+b" if path.exists() else "w+b")
        file.truncate(len(kept))
        file.seek(len(kept))

    def _path(self, track: str) -> Path:
        return self.folder / f"{track}.f32"

    def _lock(self) -> None:
        """Refuses to share the folder; the system lifts the lock of a process that dies."""
        self._files["lock"] = open(self.folder / "lock", "ab")
        try:
            import fcntl
        except ImportError:  # Windows: two processes at the same file are the user's to avoid
            return
        try:
            fcntl.flock(self._files["lock"], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{self.folder}: another process is writing this file right now.") from error

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds unfinished speech, or nothing."""
    ours = {"lock", "made_of.json", "state.json", NOTES, *(f"{track}.f32" for track in TRACKS)}
    return all(path.name.removesuffix(".tmp") in ours for path in folder.iterdir())


def _is_count(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) and n >= 0 for n in value)


def _read_json(path: Path) -> dict[str, Any]:
    """A json object; an empty one where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
