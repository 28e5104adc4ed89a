"""Tasks: what one worker does at a time, a stage of a shard as a rule. The same for every engine.

A task reads the shard's files and writes its own under temporary names, which it renames when all is there: a task that is
killed, or done twice, does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from hierspeech.preparation.cutting import AudioSettings, pieces_of
from hierspeech.preparation.records import Dropped
from hierspeech.preparation.stages import SAMPLE_RATE, Arrays, Stage, stage_named
from speech.audio import AudioError, audio_seconds
from speech.packs import Pack, write_arrays, write_utterances, write_whole

BATCH_SECONDS = 240.0  # of padded sound at once on a GPU
WINDOW = 256  # utterances that are sorted by length into batches


def run_task(task: dict) -> dict:
    """Do one task; `task["kind"]` says which."""
    return {"measure": _measure, "audio": _make_audio, "stage": _make_stage}[task["kind"]](task)


def is_made(shard: Path, names: Iterable[str]) -> bool:
    """Whether a shard holds the arrays; a shard without utterances needs none."""
    if not (shard / "utterances.jsonl").is_file():
        return False
    return (shard / "utterances.jsonl").stat().st_size == 0 or all(
        (shard / f"{n}.json").is_file() for n in names
    )


def read_lines(path: Path) -> list[dict]:
    """The objects of a .jsonl file; none where there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_lines(path: Path, values: Iterable[dict]) -> None:
    """Write a .jsonl file whole."""
    write_whole(path, (json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def _measure(task: dict) -> dict:
    """Length of each of `wavs` in seconds, or why there is none: ("missing audio" or "unreadable audio", detail)."""
    found: list = []
    for wav in task["wavs"]:
        try:
            found.append(audio_seconds(wav))
        except AudioError as error:
            found.append(["unreadable audio" if Path(wav).is_file() else "missing audio", str(error)])
    return {"first": task["first"], "found": found}


def _make_audio(task: dict) -> dict:
    """The audio stage of a shard: from plan.jsonl to utterances.jsonl, which is written last."""
    shard, settings = Path(task["shard"]), AudioSettings(**task["settings"])
    planned, kept, dropped = read_lines(shard / "plan.jsonl"), [], []

    def rows() -> Iterator[tuple]:
        for recording in planned:
            try:
                pieces, problems = pieces_of(recording, settings)
            except Exception as error:  # a bug: say which of a million recordings it was
                raise RuntimeError(f"{recording['where']}: {recording['id']!r}: {error!r}") from error
            if problems and task["strict"]:
                first = problems[0]
                raise ValueError(f"{first.where}: {first.reason}: {first.detail}")
            dropped.extend(asdict(problem) for problem in problems)
            for utterance, arrays in pieces:
                kept.append(utterance)
                yield arrays["wav"], arrays["phonemes"]

    made = rows()
    first = next(made, None)
    if first is not None:
        write_arrays(shard, ["wav", "phonemes"], _chain(first, made))
    write_lines(shard / "audio.dropped.jsonl", dropped)
    write_utterances(shard, kept)
    return {"seconds": task["seconds"], "utterances": len(kept)}


def _make_stage(task: dict) -> dict:
    """Another stage of a shard, for all of its utterances."""
    shard, stage = Path(task["shard"]), stage_named(task["stage"], task.get("encoder"))
    pack = Pack(shard)
    incomplete: list[dict] = []

    def rows() -> Iterator[tuple]:
        for utterance, (arrays, reason) in _results(pack, stage):
            if reason and reason != "no text":
                where = utterance.get("where", utterance["wav"])
                incomplete.append(asdict(Dropped(utterance["id"], where, reason, stage.name)))
            yield tuple(arrays[name] for name in stage.makes)
        write_lines(shard / f"{stage.name}.incomplete.jsonl", incomplete)  # before the arrays get their names

    if len(pack):
        if stage.name == "semantic":
            write_whole(shard / "semantic.spec.json", json.dumps(task["encoder"]["spec"]))
        write_arrays(shard, list(stage.makes), rows())
        seconds = int(pack.lengths("wav").sum()) / SAMPLE_RATE
    else:
        seconds = 0.0
    return {"seconds": seconds, "utterances": len(pack)}


def _results(pack: Pack, stage: Stage) -> Iterator[tuple[dict, tuple[Arrays, str]]]:
    """Utterance and result, in the order of the pack."""
    for start in range(0, len(pack), WINDOW):
        indices = range(start, min(start + WINDOW, len(pack)))
        utterances = pack.utterances[start : start + WINDOW]
        if stage.run_many is None:
            for i, utterance in zip(indices, utterances, strict=True):
                try:
                    yield utterance, stage.run(utterance, _needed(pack, stage, i))
                except Exception as error:  # a bug, or a broken pack: say which of a million it was
                    raise RuntimeError(f"{stage.name} of {utterance['id']!r}: {error}") from error
            continue
        results: dict[int, tuple[Arrays, str]] = {}
        for batch in _batches(pack, indices):
            arrays = [_needed(pack, stage, i) for i in batch]
            made = stage.run_many([utterances[i - start] for i in batch], arrays)
            results.update(zip(batch, made, strict=True))
        for i, utterance in zip(indices, utterances, strict=True):
            yield utterance, results[i]


def _needed(pack: Pack, stage: Stage, index: int) -> Arrays:
    return {name: pack.read(name, index) for name in stage.needs}


def _batches(pack: Pack, indices: range) -> list[list[int]]:
    """The utterances by length, in batches of at most BATCH_SECONDS with their padding."""
    batches: list[list[int]] = []
    for i in sorted(indices, key=lambda i: pack.length("wav", i)):
        padded = (
            (len(batches[-1]) + 1) * pack.length("wav", i) / SAMPLE_RATE if batches else BATCH_SECONDS + 1
        )
        if padded > BATCH_SECONDS:
            batches.append([])
        batches[-1].append(i)
    return batches


def _chain(first: tuple, rest: Iterator[tuple]) -> Iterator[tuple]:
    yield first
    yield from rest
