"""The index of a sharded pack: what all its shards hold, in one place, so that millions of utterances open at once.

    pack.json                  which index folder counts; arrays' dtypes and shapes; the spec of the semantic features
    index-N/utterances.jsonl   the utterances of all shards, in order
    index-N/lines.npy          where each line begins [n + 1]
    index-N/shards.npy         first utterance of every shard [shards + 1]
    index-N/NAME.npy           rows of the array before every utterance [n + 1], counted over all shards
    index-N/FIELD.codes.npy    which of FIELD.values.json each utterance has [n]: speaker, split, source, language
    shards/00000/...           the shards, each a plain pack

A new index is written beside the old one and `pack.json` then replaced, so a reader sees the one or the other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from speech.packs import Utterances, line_starts, shard_name, write_whole

COLUMNS = ("speaker", "split", "source", "language")


def write_index(folder: str | Path, n_shards: int) -> None:
    """(Re)write the index over the first `n_shards` shards of a pack, all of which hold utterances.jsonl.

    Arrays that a shard lacks are left out; a shard without utterances lacks none.

    Raises:
        ValueError: no utterance at all, or shards whose arrays or semantic encoders differ.
    """
    folder = Path(folder)
    old = _read(folder)
    number = int(old["index"].split("-")[1]) + 1 if old else 1
    place = folder / f"index-{number}"
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed here
    place.mkdir()
    first, lines = [0], [np.zeros(1, np.int64)]
    with open(place / "utterances.jsonl", "wb") as file:
        for shard in range(n_shards):
            text = (folder / shard_name(shard) / "utterances.jsonl").read_bytes()
            lines.append(line_starts(text)[1:] + file.tell())
            first.append(first[-1] + len(lines[-1]))
            file.write(text)
    if first[-1] == 0:
        raise ValueError(f"{folder}: no utterance is left; see dropped.jsonl in it")
    lines = np.concatenate(lines)
    np.save(place / "lines.npy", lines)
    _write_columns(place, lines)
    np.save(place / "shards.npy", np.array(first))
    shards = [folder / shard_name(k) for k in range(n_shards) if first[k + 1] > first[k]]
    arrays = {}
    for name in sorted(
        path.stem for path in shards[0].glob("*.json") if (path.with_suffix(".bin")).is_file()
    ):
        if all((shard / f"{name}.json").is_file() for shard in shards):
            arrays[name], starts = _merge(shards, name)
            np.save(place / f"{name}.npy", starts)
    spec = _one_spec(shards) if "semantic" in arrays else None
    values = {"format": 2, "index": place.name, "shards": n_shards, "arrays": arrays, "semantic": spec}
    write_whole(folder / "pack.json", json.dumps(values, indent=1))
    for path in folder.glob("index-*"):
        if path != place:
            shutil.rmtree(path, ignore_errors=True)


def forget_arrays(folder: str | Path, names: list[str]) -> None:
    """Take arrays off a sharded pack, so that they can be made again."""
    folder = Path(folder)
    values = _read(folder)
    if values is None:
        return
    if set(names) & set(values["arrays"]):
        values["arrays"] = {k: v for k, v in values["arrays"].items() if k not in names}
        values["semantic"] = None if "semantic" in names else values["semantic"]
        write_whole(folder / "pack.json", json.dumps(values, indent=1))
    for shard in range(values["shards"]):
        for name in names:
            (folder / shard_name(shard) / f"{name}.json").unlink(missing_ok=True)


def _read(folder: Path) -> dict | None:
    path = folder / "pack.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write_columns(place: Path, lines: np.ndarray) -> None:
    known: dict[str, dict] = {name: {} for name in COLUMNS}
    codes = {name: np.zeros(len(lines) - 1, np.int32) for name in COLUMNS}
    for index, utterance in enumerate(Utterances(place / "utterances.jsonl", lines)):
        for name in COLUMNS:
            codes[name][index] = known[name].setdefault(utterance.get(name, ""), len(known[name]))
    for name in COLUMNS:
        np.save(place / f"{name}.codes.npy", codes[name])
        write_whole(place / f"{name}.values.json", json.dumps(list(known[name]), ensure_ascii=False))


def _merge(shards: list[Path], name: str) -> tuple[dict, np.ndarray]:
    kind, starts, total = None, [np.zeros(1, np.int64)], 0
    for shard in shards:
        meta = json.loads((shard / f"{name}.json").read_text())
        own = {"dtype": meta["dtype"], "shape": meta["shape"]}
        if kind not in (None, own):
            raise ValueError(f"{shard}: {name!r} has {own}, the shards before have {kind}")
        kind = own
        starts.append(np.array(meta["starts"][1:], np.int64) + total)
        total += meta["starts"][-1]
    return kind, np.concatenate(starts)


def _one_spec(shards: list[Path]) -> dict:
    specs = {(shard / "semantic.spec.json").read_text() for shard in shards}
    if len(specs) > 1:
        raise ValueError(f"{shards[0].parent}: semantic features of several encoders: {', '.join(specs)}")
    return json.loads(specs.pop())
