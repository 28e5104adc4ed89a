"""Packs: utterances and their features in a handful of memory-mapped files, so that many utterances are not many files.

A pack is a folder with `utterances.jsonl` (one JSON object a line: id, speaker, language, text, ...) and, for every array
name, `NAME.bin` (all utterances one after another) with `NAME.json` (dtype, trailing shape, start of every utterance).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np


class Pack:
    """Read-only view of a pack folder; arrays are opened when first asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = self.folder / "utterances.jsonl"
        if not index.is_file():
            raise ValueError(f"{folder}: not a pack made by prepare.py (no utterances.jsonl in it)")
        self.utterances: list[dict] = [
            json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()
        ]
        self._arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.utterances)

    def has(self, name: str) -> bool:
        """Whether every utterance has the array `name`."""
        return (self.folder / f"{name}.json").is_file()

    def read(self, name: str, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows `start:stop` of the array `name` of utterance `index` (a view of the file, do not write to it)."""
        values, starts = self._open(name)
        first, last = int(starts[index]), int(starts[index + 1])
        return values[min(first + start, last) : last if stop is None else min(first + stop, last)]

    def length(self, name: str, index: int) -> int:
        """Number of rows of the array `name` of utterance `index`."""
        _, starts = self._open(name)
        return int(starts[index + 1] - starts[index])

    def require_semantic(self, spec: object) -> None:
        """Refuse semantic features of another encoder than `spec` (a SemanticSpec) names."""
        path = self.folder / "semantic.spec.json"
        found = json.loads(path.read_text()) if path.is_file() else None
        if found != asdict(spec):
            raise ValueError(
                f"{self.folder}: holds semantic features of {found}, the model wants {asdict(spec)}"
            )

    def _open(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        if name not in self._arrays:
            if not self.has(name):
                raise ValueError(
                    f"{self.folder}: the pack has no {name!r}; run prepare.py for that stage first"
                )
            meta = json.loads((self.folder / f"{name}.json").read_text())
            starts = np.array(meta["starts"], np.int64)
            if len(starts) != len(self) + 1:
                raise ValueError(
                    f"{self.folder}: {name!r} was made for {len(starts) - 1} utterances, not {len(self)}"
                )
            shape = (int(starts[-1]), *meta["shape"])
            path = self.folder / f"{name}.bin"
            # an array that is empty for all utterances (no transcripts, say) cannot be mapped
            values = (
                np.memmap(path, meta["dtype"], "r", shape=shape)
                if shape[0]
                else np.zeros(shape, meta["dtype"])
            )
            self._arrays[name] = values, starts
        return self._arrays[name]


class SpeakerIndex:
    """Which utterances share a speaker, for prompts that are another recording of the same voice."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.members: dict[str, list[int]] = {}
        for index, utterance in enumerate(pack.utterances):
            self.members.setdefault(utterance["speaker"], []).append(index)

    def prompt(self, index: int, samples: int, rng: np.random.Generator) -> np.ndarray:
        """A random piece of up to `samples` samples by the speaker of utterance `index`, another recording if there is one."""
        others = [i for i in self.members[self.pack.utterances[index]["speaker"]] if i != index]
        chosen = int(rng.choice(others)) if others else index
        start = int(rng.integers(0, max(self.pack.length("wav", chosen) - samples, 0) + 1))
        return self.pack.read("wav", chosen, start, start + samples).astype(np.float32) / 32768


def write_utterances(folder: str | Path, utterances: Iterable[dict]) -> None:
    """Start a pack: the list of its utterances."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(u, ensure_ascii=False) + "\n" for u in utterances)
    _rename_into_place(folder / "utterances.jsonl", text)


def write_arrays(folder: str | Path, names: list[str], rows: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Write arrays `names` for all utterances; `rows` yields one tuple of arrays for each utterance, in order.

    Nothing is left under its final name until all are written, so an interrupted stage is simply done again.
    """
    folder = Path(folder)
    files = [open(folder / f"{name}.bin.part", "wb") for name in names]
    starts: list[list[int]] = [[0] for _ in names]
    kinds: list[tuple[str, list[int]] | None] = [None] * len(names)
    try:
        for arrays in rows:
            for k, array in enumerate(arrays):
                array = np.ascontiguousarray(array)
                kind = (array.dtype.str, list(array.shape[1:]))
                if kinds[k] is not None and kinds[k] != kind:
                    raise ValueError(
                        f"{names[k]}: utterance {len(starts[k]) - 1} has {kind}, others {kinds[k]}"
                    )
                kinds[k] = kind
                files[k].write(array.tobytes())
                starts[k].append(starts[k][-1] + len(array))
    finally:
        for file in files:
            file.close()
    for name, begin, kind in zip(names, starts, kinds, strict=True):
        if kind is None:
            raise ValueError(f"{folder}: no utterance to write {name!r} for")
        (folder / f"{name}.bin.part").replace(folder / f"{name}.bin")
        meta = {"dtype": kind[0], "shape": kind[1], "starts": begin}
        _rename_into_place(folder / f"{name}.json", json.dumps(meta))


def _rename_into_place(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
