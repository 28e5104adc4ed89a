"""Making a pack: plan, audio, the other stages, index; whatever is there already is skipped."""

from __future__ import annotations

import contextlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hierspeech.preparation.cutting import AudioSettings
from hierspeech.preparation.engines import PoolEngine, RayEngine
from hierspeech.preparation.planning import Plan, planned_seconds
from hierspeech.preparation.records import Dropped, Recording
from hierspeech.preparation.reporting import Progress
from hierspeech.preparation.stages import SAMPLE_RATE, stage_named
from hierspeech.preparation.work import is_made, read_lines, run_task, write_lines
from speech.pack_index import forget_arrays, write_index
from speech.packs import Pack

STAGES = ("phonemes", "alignment", "f0", "semantic")
"""What `--redo` may name; in this order, after the audio."""


@dataclass
class PackOptions:
    """How a pack is made.

    Args:
        audio: settings of the audio stage, which cannot change later.
        dev_share, dev_by: see `Plan.add`.
        shard_hours: most that a shard holds.
        align: whether texts are aligned.
        encoder: description of a semantic encoder (`semantic.describe_encoder`), None = no semantic features.
        redo: stages to do again though they are there.
        strict: refuse the first utterance that would be dropped.
    """

    audio: AudioSettings = field(default_factory=AudioSettings)
    dev_share: float = 0.02
    dev_by: str = "auto"
    shard_hours: float = 1.0
    align: bool = True
    encoder: dict | None = None
    redo: tuple[str, ...] = ()
    strict: bool = False


@dataclass
class Summary:
    """What a pack holds, and what it does not."""

    utterances: int
    hours: float
    splits: Counter
    speakers: int
    arrays: list[str]
    dropped: Counter
    incomplete: Counter
    notes: list[str]


def prepare(
    folder: Path,
    recordings: list[Recording],
    dropped: list[Dropped],
    options: PackOptions,
    engine: PoolEngine | RayEngine,
) -> Summary:
    """Make the pack in `folder`, or go on with it.

    Raises:
        ValueError: settings or features of another kind than the pack's; with `strict`, anything that is dropped.
    """
    if options.align and any(r.text for r in recordings) and not importlib.util.find_spec("pocketsphinx"):
        raise ValueError(
            "transcripts are aligned by pocketsphinx, which is not installed: pip install '.[prepare]', or --no-align"
        )
    if not options.shard_hours > 0:
        raise ValueError(f"shard hours {options.shard_hours:g}: expected more than 0")
    if options.strict:
        _refuse(dropped)
    folder = folder.absolute()  # workers may run elsewhere
    plan = Plan(folder)
    plan.require(options.audio)
    with locked(folder):
        for part in [*folder.glob("*.part"), *folder.glob("shards/*/*.part")]:
            part.unlink()
        if (folder / "utterances.jsonl").is_file():  # a plain pack: one shard, which is the pack
            shards, plain = [folder], True
            changed = False
        else:
            plain = False
            dropped = dropped + plan.add(
                recordings,
                options.audio,
                options.dev_share,
                options.dev_by,
                options.shard_hours * 3600,
                lambda tasks: engine.map(run_task, tasks),
            )
            if options.strict:
                _refuse(dropped)
            if not plan.shards:
                first = dropped[0]
                raise ValueError(
                    f"none of {len(dropped)} recordings can be used, first {first.where}: {first.detail}"
                )
            shards = plan.folders()
            changed = _make_audio(shards, options, engine)
        for name in STAGES:
            changed |= _make_stage(name, folder, shards, plan, options, engine)
        if not plain and (changed or _indexed(folder) != len(shards)):
            write_index(folder, len(shards))
        return _summary(folder, shards, dropped)


def _make_audio(shards: list[Path], options: PackOptions, engine) -> bool:
    tasks = [
        {
            "kind": "audio",
            "shard": str(shard),
            "settings": asdict(options.audio),
            "strict": options.strict,
            "seconds": planned_seconds(shard),
        }
        for shard in shards
        if not is_made(shard, ("wav", "phonemes"))
    ]
    _work("audio", tasks, sum(task["seconds"] for task in tasks), engine)
    return bool(tasks)


def _make_stage(
    name: str, folder: Path, shards: list[Path], plan: Plan, options: PackOptions, engine
) -> bool:
    wanted = {"phonemes": True, "alignment": options.align, "f0": True, "semantic": bool(options.encoder)}
    if not wanted[name]:
        return False
    names = list(stage_named(name, options.encoder).makes)
    if name == "semantic":
        _check_encoder(folder, plan, options)
    elif name in options.redo:
        _forget(folder, shards, names)
    tasks = [
        {"kind": "stage", "stage": name, "shard": str(shard), "encoder": options.encoder}
        for shard in shards
        if not is_made(shard, names)
    ]
    seconds = sum(int(Pack(task["shard"]).lengths("wav").sum()) for task in tasks) / SAMPLE_RATE
    _work(name, tasks, seconds, engine, gpu=name == "semantic")
    return bool(tasks)


def _check_encoder(folder: Path, plan: Plan, options: PackOptions) -> None:
    """Refuse to mix features of two encoders; forget the old ones where that is asked for."""
    wanted = {key: options.encoder[key] for key in ("spec", "weights")}
    made = plan.values.get("semantic")
    plain = not plan.values
    # plain packs do not say which weights made their features: these are made again, as they always were
    if made == wanted and "semantic" not in options.redo:
        return
    if made is not None and "semantic" not in options.redo:
        raise ValueError(
            f"{folder}: holds semantic features of {_named(made)}, this encoder is {_named(wanted)}; "
            "--redo semantic makes them again"
        )
    _forget(folder, [folder] if plain else plan.folders(), ["semantic"])
    if plain:
        (folder / "semantic.spec.json").unlink(missing_ok=True)
    else:
        plan.save(semantic=wanted)


def _named(encoder: dict) -> str:
    spec = encoder["spec"]
    return f"{spec['name']} (layer {spec['layer']}, {spec['dim']} numbers, weights {encoder['weights']})"


def _forget(folder: Path, shards: list[Path], names: list[str]) -> None:
    forget_arrays(folder, names)
    for shard in shards:  # also those that no index knows yet
        for name in names:
            (shard / f"{name}.json").unlink(missing_ok=True)


def _work(name: str, tasks: list[dict], seconds: float, engine, gpu: bool = False) -> None:
    with Progress(name, len(tasks), seconds) as progress:
        for report in engine.map(run_task, tasks, gpu=gpu):
            progress.add(report["seconds"], report["utterances"])


def _refuse(dropped: list[Dropped]) -> None:
    if dropped:
        first = dropped[0]
        raise ValueError(
            f"{first.where}: {first.reason}: {first.detail} ({len(dropped)} in all; without --strict these are dropped)"
        )


def _indexed(folder: Path) -> int:
    return Pack(folder).index["shards"] if (folder / "pack.json").is_file() else 0


def _summary(folder: Path, shards: list[Path], dropped: list[Dropped]) -> Summary:
    """Count what there is; writes dropped.jsonl and incomplete.jsonl."""
    lines = [asdict(d) for d in dropped]
    incomplete, notes = [], []
    for shard in shards:
        lines += read_lines(shard / "audio.dropped.jsonl")
        for name in STAGES:
            incomplete += read_lines(shard / f"{name}.incomplete.jsonl")
    write_lines(folder / "dropped.jsonl", lines)
    write_lines(folder / "incomplete.jsonl", incomplete)
    pack = Pack(folder)
    splits = Counter(pack.utterances.column("split"))
    if not splits["dev"]:
        notes.append(
            "no utterance is in the split 'dev': nothing can be validated (--dev-share, --dev-by utterances)"
        )
    known = {path.stem for shard in shards for path in shard.glob("*.bin")}
    arrays = sorted(name for name in known if pack.has(name))
    for name in sorted(known - set(arrays)):
        notes.append(f"{name!r} is not there for all utterances: run its stage again")
    return Summary(
        len(pack),
        int(pack.lengths("wav").sum()) / SAMPLE_RATE / 3600,
        splits,
        len(set(pack.utterances.column("speaker"))),
        arrays,
        Counter(line["reason"] for line in lines),
        Counter(f"{line['detail']}: {line['reason']}" for line in incomplete),
        notes,
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No second prepare.py on the same pack; the lock ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: two commands at once waste work, but tasks may be done twice
        yield
        return
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{folder}: another prepare.py is at work on this pack") from error
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [".lock"]:  # nothing came of it
                (folder / ".lock").unlink()
                folder.rmdir()
