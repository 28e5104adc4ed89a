"""Packs: utterances and their features in a few memory-mapped files, so that many utterances are not many files.

A plain pack is a folder with `utterances.jsonl` (one JSON object a line: id, speaker, language, text, ...) and, for every
array name, `NAME.bin` (all utterances one after another) with `NAME.json` (dtype, trailing shape, start of every
utterance). A sharded pack is a folder of plain packs, `shards/00000`, `shards/00001`, ..., with an index over all of them
(`speech.pack_index`); it grows and is made in parallel, and `Pack` reads both alike.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

OPEN_MAPS = 8192
"""Mapped files kept open; systems allow a process some 65,000."""


class Pack:
    """Read-only view of a pack folder; arrays are opened when first asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.index: dict | None = None  # of a sharded pack: what pack.json says
        if (self.folder / "pack.json").is_file():
            self.index = json.loads((self.folder / "pack.json").read_text(encoding="utf-8"))
            place = self.folder / self.index["index"]
            self.first = np.load(place / "shards.npy")  # first utterance of every shard, and the end
            lines = np.load(place / "lines.npy", mmap_mode="r")
            self.utterances = Utterances(place / "utterances.jsonl", lines, place)
        elif (self.folder / "utterances.jsonl").is_file():
            self.utterances = Utterances(self.folder / "utterances.jsonl")
            self.first = np.array([0, len(self.utterances)])
        elif (self.folder / "plan.json").is_file():
            raise ValueError(f"{folder}: this pack is not finished; run the same prepare.py command again")
        else:
            raise ValueError(f"{folder}: not a pack made by prepare.py (no utterances.jsonl in it)")
        self._starts: dict[str, np.ndarray] = {}  # rows before every utterance, [n + 1]
        self._maps: dict[tuple[str, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.utterances)

    def __getstate__(self) -> dict:
        return {
            "folder": self.folder
        }  # a mapped array would be sent to another process as a copy of its file

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["folder"])

    def has(self, name: str) -> bool:
        """Whether every utterance has the array `name`."""
        if self.index is not None:
            return name in self.index["arrays"]
        return (self.folder / f"{name}.json").is_file()

    def read(self, name: str, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows `start:stop` of the array `name` of utterance `index` (a view of the file, do not write to it)."""
        starts = self._rows(name)
        shard = int(np.searchsorted(self.first, index, "right")) - 1
        before = int(starts[self.first[shard]])
        first, last = int(starts[index]) - before, int(starts[index + 1]) - before
        values = self._map(name, shard)
        return values[min(first + start, last) : last if stop is None else min(first + stop, last)]

    def length(self, name: str, index: int) -> int:
        """Number of rows of the array `name` of utterance `index`."""
        starts = self._rows(name)
        return int(starts[index + 1] - starts[index])

    def lengths(self, name: str) -> np.ndarray:
        """Number of rows of the array `name` of all utterances, int64 [n]."""
        return np.diff(self._rows(name))

    @property
    def semantic_spec(self) -> dict | None:
        """The spec of the encoder that made `semantic`, None where there are no such features."""
        if self.index is not None:
            return self.index["semantic"]
        path = self.folder / "semantic.spec.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def require_semantic(self, spec: object) -> None:
        """Refuse semantic features of another encoder than `spec` (a SemanticSpec) names."""
        if self.semantic_spec != asdict(spec):
            raise ValueError(
                f"{self.folder}: holds semantic features of {self.semantic_spec}, the model wants {asdict(spec)}"
            )

    def shard_folder(self, shard: int) -> Path:
        """Where the arrays of shard number `shard` lie."""
        return self.folder if self.index is None else self.folder / shard_name(shard)

    def _kind(self, name: str) -> dict | None:
        """dtype, shape and, in a plain pack, starts of the array `name`; None where there is no such array."""
        if self.index is not None:
            return self.index["arrays"].get(name)
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def _rows(self, name: str) -> np.ndarray:
        if name not in self._starts:
            kind = self._kind(name)
            if kind is None:
                raise ValueError(
                    f"{self.folder}: the pack has no {name!r}; run prepare.py for that stage first"
                )
            if self.index is None:
                starts = np.array(kind["starts"], np.int64)
            else:
                path = self.folder / self.index["index"] / f"{name}.npy"
                starts = np.asarray(np.load(path, mmap_mode="r"))  # a plain view: quicker to index
            if len(starts) != len(self) + 1:
                raise ValueError(
                    f"{self.folder}: {name!r} was made for {len(starts) - 1} utterances, not {len(self)}"
                )
            self._starts[name] = starts
        return self._starts[name]

    def _map(self, name: str, shard: int) -> np.ndarray:
        values = self._maps.get((name, shard))
        if values is None:
            kind, starts = self._kind(name), self._rows(name)
            rows = int(starts[self.first[shard + 1]] - starts[self.first[shard]])
            shape = (rows, *kind["shape"])
            path = self.shard_folder(shard) / f"{name}.bin"
            if path.stat().st_size != np.dtype(kind["dtype"]).itemsize * int(np.prod(shape)):
                raise ValueError(
                    f"{path}: {path.stat().st_size} bytes do not fit the index of the pack; run prepare.py again"
                )
            # an array that is empty for all utterances (no transcripts, say) cannot be mapped
            values = (
                np.memmap(path, kind["dtype"], "r", shape=shape) if rows else np.zeros(shape, kind["dtype"])
            )
            if len(self._maps) >= OPEN_MAPS:
                del self._maps[next(iter(self._maps))]
            self._maps[name, shard] = values
        return values


class Utterances(Sequence):
    """The records of a pack, each parsed from the mapped file when asked for: millions cost no memory.

    Args:
        path: `utterances.jsonl`.
        starts: where each line begins, and the end [n + 1]; None = found by reading the file once.
        columns: folder with the codes of some fields (`speech.pack_index`); None = found by reading all records.
    """

    def __init__(self, path: Path, starts: np.ndarray | None = None, columns: Path | None = None) -> None:
        self._columns = columns
        with open(path, "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        self._starts = line_starts(self._text) if starts is None else starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> dict: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"utterance {index} of {len(self)}")
        index = int(index) % len(self)
        return json.loads(self._text[int(self._starts[index]) : int(self._starts[index + 1])].decode("utf-8"))

    def codes(self, name: str) -> tuple[np.ndarray, list]:
        """One field of all utterances: which of the values each has, int32 [n], and the values."""
        if self._columns is not None and (self._columns / f"{name}.values.json").is_file():
            values = json.loads((self._columns / f"{name}.values.json").read_text(encoding="utf-8"))
            return np.load(self._columns / f"{name}.codes.npy"), values
        known: dict = {}
        codes = np.fromiter((known.setdefault(u[name], len(known)) for u in self), np.int32, len(self))
        return codes, list(known)

    def column(self, name: str) -> list:
        """One field of all utterances; quick for speaker, split, source and language of a sharded pack."""
        codes, values = self.codes(name)
        return [values[code] for code in codes]


class SpeakerIndex:
    """Which utterances share a speaker, for prompts that are another recording of the same voice."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.codes, self.names = pack.utterances.codes("speaker")
        self._order = np.argsort(self.codes, kind="stable")
        self._first = np.searchsorted(self.codes[self._order], np.arange(len(self.names) + 1))

    def recordings(self, index: int) -> np.ndarray:
        """All utterances by the speaker of utterance `index`, itself included, in order."""
        code = self.codes[index]
        return self._order[self._first[code] : self._first[code + 1]]

    def prompt(self, index: int, samples: int, rng: np.random.Generator) -> np.ndarray:
        """A random piece of up to `samples` samples by the speaker of utterance `index`, another recording if there is one."""
        members = self.recordings(index)
        others = members[members != index]
        chosen = int(rng.choice(others)) if len(others) else index
        start = int(rng.integers(0, max(self.pack.length("wav", chosen) - samples, 0) + 1))
        return self.pack.read("wav", chosen, start, start + samples).astype(np.float32) / 32768


def line_starts(text: bytes | mmap.mmap) -> np.ndarray:
    """Where each line of `text` begins, and the end, int64 [n + 1]; an empty last line is none."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    if len(text) and (not len(ends) or ends[-1] != len(text)):
        ends = np.append(ends, len(text))
    return np.concatenate([[0], ends]).astype(np.int64)


def shard_name(shard: int) -> str:
    """Folder of a shard within its pack."""
    return f"shards/{shard:05d}"


def write_utterances(folder: str | Path, utterances: Iterable[dict]) -> None:
    """Start a pack: the list of its utterances."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(
        folder / "utterances.jsonl", "".join(json.dumps(u, ensure_ascii=False) + "\n" for u in utterances)
    )


def write_arrays(folder: str | Path, names: list[str], rows: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Write arrays `names` for all utterances; `rows` yields one tuple of arrays for each utterance, in order.

    Nothing is left under its final name until all are written, so an interrupted stage is simply done again; in a
    sharded pack that holds for each shard, and the index follows at the end.
    """
    folder = Path(folder)
    if not (folder / "pack.json").is_file():
        _write_arrays(folder, names, rows)
        return
    from speech.pack_index import forget_arrays, write_index

    pack, rows = Pack(folder), iter(rows)
    forget_arrays(folder, names)  # a reader must not find new shards under the old index
    for shard, (first, stop) in enumerate(zip(pack.first[:-1], pack.first[1:], strict=True)):
        if stop > first:
            _write_arrays(pack.shard_folder(shard), names, islice(rows, int(stop - first)), int(stop - first))
    write_index(folder, len(pack.first) - 1)


def _write_arrays(
    folder: Path, names: list[str], rows: Iterable[tuple[np.ndarray, ...]], expected: int | None = None
) -> None:
    parts = [folder / f"{name}.bin.{os.getpid()}.part" for name in names]
    starts: list[list[int]] = [[0] for _ in names]
    kinds: list[tuple[str, list[int]] | None] = [None] * len(names)
    try:
        _append_rows(parts, names, rows, starts, kinds)
        if None in kinds:
            raise ValueError(f"{folder}: no utterance to write {names[0]!r} for")
        if expected not in (None, len(starts[0]) - 1):
            raise ValueError(f"{folder}: {names[0]!r} of {len(starts[0]) - 1} utterances, not {expected}")
        for name, part in zip(names, parts, strict=True):
            (folder / f"{name}.json").unlink(missing_ok=True)
            part.replace(folder / f"{name}.bin")
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    for name, begin, kind in zip(names, starts, kinds, strict=True):
        write_whole(
            folder / f"{name}.json", json.dumps({"dtype": kind[0], "shape": kind[1], "starts": begin})
        )


def _append_rows(parts: list[Path], names: list[str], rows: Iterable, starts: list, kinds: list) -> None:
    files = [open(part, "wb") for part in parts]
    try:
        for arrays in rows:
            for k, array in enumerate(arrays):
                array = np.ascontiguousarray(array)
                kind = (array.dtype.str, list(array.shape[1:]))
                if kinds[k] not in (None, kind):
                    raise ValueError(
                        f"{names[k]}: utterance {len(starts[k]) - 1} has {kind}, others {kinds[k]}"
                    )
                kinds[k] = kind
                files[k].write(array.tobytes())
                starts[k].append(starts[k][-1] + len(array))
    finally:
        for file in files:
            file.close()


def write_whole(path: Path, text: str | Iterator[str]) -> None:
    """Write a text file under a temporary name and rename it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.writelines([text] if isinstance(text, str) else text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
