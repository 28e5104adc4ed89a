"""The plan of a pack: which recording goes into which shard. Made once and only ever added to.

    plan.json                settings of the pack, number of shards
    shards/00000/plan.jsonl  the recordings of a shard with their lengths, in the order of the corpus

A corpus that has grown gives new shards; what was planned before keeps its shard and its split.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from hierspeech.preparation.corpora import with_splits
from hierspeech.preparation.cutting import AudioSettings
from hierspeech.preparation.records import Dropped, Recording
from hierspeech.preparation.work import read_lines, run_task, write_lines
from speech.packs import shard_name, write_whole

MEASURED_AT_ONCE = 256
SHARDS_OF_SMALL_CORPORA, SMALLEST_SHARD_SECONDS = 16, 180.0


class Plan:
    """The plan of the pack in `folder`.

    Attributes:
        values: what plan.json holds; {} where there is no plan yet.
        shards: number of shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "plan.json"
        self.values: dict = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @property
    def shards(self) -> int:
        return self.values.get("shards", 0)

    def folders(self) -> list[Path]:
        """Where the shards lie."""
        return [self.folder / shard_name(k) for k in range(self.shards)]

    def save(self, **changes) -> None:
        """Write plan.json with some values changed."""
        self.values |= changes
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "plan.json", json.dumps(self.values, indent=1))

    def require(self, settings: AudioSettings) -> None:
        """Refuse settings that the pack was not made with."""
        for key, value in asdict(settings).items():
            made = self.values.get("settings", {}).get(key, value)
            if made != value:
                raise ValueError(
                    f"{self.folder}: this pack was made with {key} = {made}, not {value}; make another pack for that"
                )

    def add(
        self,
        recordings: list[Recording],
        settings: AudioSettings,
        dev_share: float,
        dev_by: str,
        shard_seconds: float,
        measure: Callable[[list[dict]], Iterator[dict]],
    ) -> list[Dropped]:
        """Plan those recordings that are not planned yet.

        Args:
            dev_by: "speakers", "utterances", or "auto": by speakers where a source has several.
            shard_seconds: most that a shard holds, but for a single longer recording.
            measure: does tasks of `run_task` and yields their reports.
        Returns: recordings that cannot be planned.
        """
        self.require(settings)
        # workers may run in another folder
        recordings = [replace(r, wav=os.path.abspath(r.wav)) for r in recordings]
        known = {r["id"]: r["wav"] for shard in self.folders() for r in read_lines(shard / "plan.jsonl")}
        new = [r for r in recordings if r.id not in known]
        dropped = [
            Dropped(r.id, r.where, "id occurs twice", f"the pack holds {r.id!r} of {known[r.id]}")
            for r in recordings
            if known.get(r.id, r.wav) != r.wav
        ]
        found = _lengths([r.wav for r in new], measure)
        good = [(r, f) for r, f in zip(new, found, strict=True) if isinstance(f, float)]
        dropped += [
            Dropped(r.id, r.where, *f) for r, f in zip(new, found, strict=True) if not isinstance(f, float)
        ]
        if not good:
            return dropped
        # decided by the first recordings of each source, so that a corpus of one speaker may gain others
        dev = _split_by([r for r, _ in good], dev_by) | self.values.get("dev_by", {})
        total = sum(seconds for _, seconds in good)
        # a small corpus is cut finer, so that several processes have something to do
        size = min(shard_seconds, max(total / SHARDS_OF_SMALL_CORPORA, SMALLEST_SHARD_SECONDS))
        count = self.shards
        planned = with_splits((r for r, _ in good), dev_share, dev)
        rows = (asdict(r) | {"seconds": s} for r, (_, s) in zip(planned, good, strict=True))
        for group in _groups(rows, size):
            shard = self.folder / shard_name(count)
            shard.mkdir(parents=True, exist_ok=True)
            for leftover in shard.iterdir():  # of a run that was killed before its plan counted
                leftover.unlink()
            write_lines(shard / "plan.jsonl", group)
            count += 1
        self.save(settings=asdict(settings), dev_by=dev, shards=count)
        return dropped


def planned_seconds(shard: Path) -> float:
    """Length of all recordings of a shard."""
    return sum(r["seconds"] for r in read_lines(shard / "plan.jsonl"))


def _split_by(recordings: list[Recording], dev_by: str) -> dict[str, str]:
    """Source -> by what it is split, for sources without a split of their own."""
    speakers: dict[str, set[str]] = {}
    for recording in recordings:
        if not recording.split:
            speakers.setdefault(recording.source, set()).add(recording.speaker)
    auto = {source: "speakers" if len(names) > 1 else "utterances" for source, names in speakers.items()}
    return auto if dev_by == "auto" else dict.fromkeys(speakers, dev_by)


def _lengths(wavs: list[str], measure: Callable) -> list:
    tasks = [
        {"kind": "measure", "first": first, "wavs": wavs[first : first + MEASURED_AT_ONCE]}
        for first in range(0, len(wavs), MEASURED_AT_ONCE)
    ]
    found: list = [None] * len(wavs)
    for report in measure(tasks) if len(tasks) > 1 else map(run_task, tasks):
        found[report["first"] : report["first"] + len(report["found"])] = report["found"]
    return found


def _groups(rows: Iterator[dict], size: float) -> Iterator[list[dict]]:
    group, seconds = [], 0.0
    for row in rows:
        if group and seconds + row["seconds"] > size:
            yield group
            group, seconds = [], 0.0
        group.append(row)
        seconds += row["seconds"]
    if group:
        yield group
