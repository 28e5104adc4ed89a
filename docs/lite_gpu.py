"""Train the shipped voice's synthesizer on, on a lent GPU: a machine that starts bare, takes 64 MiB a call and keeps nothing.

Here, in the repository, with PACK as docs/training.md makes it (`prepare.py ... --predicted`, `prepare.py clean`):

    export PYTHONPATH=.                                                      here and there: nothing is installed
    python docs/lite_gpu.py pack PACK parts --megabytes 36 [--hours 2]       waves as FLAC, 145 MB an hour of speech

There, a call for each part (the tree and the part must fit into one call: hierspeech/voices/lite-spear and docs/benchmark may stay behind):

    python docs/lite_gpu.py unpack parts/part-03.zip /tmp/pack               on any order of parts; those that are there add up
    setsid python docs/lite_gpu.py train /tmp/pack /tmp/runs 8000 >/tmp/log 2>&1 &      goes on between calls
    python docs/lite_gpu.py collect /tmp/runs $OUT; tail -3 /tmp/log         newest step, as much as one call may bring back
    python docs/lite_gpu.py collect /tmp/runs $OUT --step 8000 --call 1      the next of it, and so on; the weights come with the first

And here again, with the files that came back in one folder:

    python docs/lite_gpu.py restore FILES runs/lite_synthesizer_gpu          a step folder as if trained here: publish it, or go on from it

Needed there beside torch, accelerate and PyYAML: soundfile, soxr (wheels). `train` starts from the voice and, where the folder below has
them, from the discriminators that taught it.
"""

import argparse
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speech.packs import Pack, write_arrays, write_utterances

CONFIG = "configs/lite/synthesizer_gpu.yaml"
DISCRIMINATORS = Path("configs/lite/discriminators_gpu.safetensors")
RUN = "lite_synthesizer_gpu"
WAVES, OTHERS = ("wav", "clean"), ("f0", "predicted")
PIECE = 15 << 20  # bytes of a file that comes back
CALL_FILES, CALL_BYTES = 8, 60 << 20  # that come back with one call
LARGE = "training.pt"  # what a run goes on from: comes back last, and a step folder is of use without it


def pack(folder: Path, out: Path, megabytes: float, hours: float | None) -> None:
    """Write what the synthesizer's recipe reads of a pack as zip files of up to so many megabytes, native clean speech first."""
    import soundfile

    source = Pack(folder)
    missing = [name for name in (*WAVES, *OTHERS) if not source.has(name)]
    if missing:
        raise ValueError(
            f"{folder} has no {' and no '.join(missing)}: expected a finished pack (docs/training.md)"
        )
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise ValueError(f"{out} is not empty, expected a new folder")
    part, size, seconds, number = _Part(), 0, 0.0, 0
    for index in _order(source):
        if hours is not None and seconds > 3600 * hours:
            break
        blobs = {}
        for name in WAVES:
            buffer = io.BytesIO()
            soundfile.write(buffer, source.read(name, index), 16000, format="FLAC", subtype="PCM_16")
            blobs[name] = buffer.getvalue()
        blobs |= {name: _array_bytes(source.read(name, index)) for name in OTHERS}
        if part.records and size + sum(map(len, blobs.values())) > megabytes * 1e6:
            part.write(out / f"part-{number:02d}.zip")
            part, size, number = _Part(), 0, number + 1
        part.add(dict(source.utterances[index]), blobs)
        size += sum(map(len, blobs.values()))
        seconds += source.length("wav", index) / 16000
    part.write(out / f"part-{number:02d}.zip")
    print(f"{out}: {number + 1} parts, {seconds / 3600:.2f} h")


def _order(source: Pack) -> list[int]:
    """Utterances of LibriSpeech, VCTK and LJSpeech, then the others; `dev` ones of each first, as there are few."""
    native = ("librispeech", "vctk", "ljspeech")
    records = source.utterances

    def place(index: int) -> tuple[bool, bool, int]:
        record = records[index]
        return not record["source"].startswith(native), record["split"] != "dev", index * 7919 % len(source)

    return sorted(range(len(source)), key=place)


class _Part:
    """Utterances on their way: their records, and their arrays' bytes one after another."""

    def __init__(self) -> None:
        self.records: list[dict] = []
        self.blobs: dict[str, list[bytes]] = {}

    def add(self, record: dict, blobs: dict[str, bytes]) -> None:
        self.records.append(record | {"bytes": {name: len(blob) for name, blob in blobs.items()}})
        for name, blob in blobs.items():
            self.blobs.setdefault(name, []).append(blob)

    def write(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("utterances.json", json.dumps(self.records), zipfile.ZIP_DEFLATED)
            for name, blobs in self.blobs.items():
                kind = zipfile.ZIP_STORED if name in WAVES else zipfile.ZIP_DEFLATED
                file.writestr(name, b"".join(blobs), kind)


def _array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def unpack(part: Path, folder: Path) -> None:
    """Keep a part's bytes in `folder/parts`, and make the pack anew of all that lie there."""
    kept = folder / "parts"
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(part, kept / part.name)
    parts = [zipfile.ZipFile(path) for path in sorted(kept.glob("part-*.zip"))]
    records = [record for file in parts for record in json.loads(file.read("utterances.json"))]
    write_utterances(folder, [{k: v for k, v in record.items() if k != "bytes"} for record in records])
    write_arrays(folder, [*WAVES, *OTHERS], _rows(parts))
    print(f"{folder}: {len(records)} utterances of {len(parts)} parts")


def _rows(parts: list[zipfile.ZipFile]) -> Iterator[tuple[np.ndarray, ...]]:
    import soundfile

    for file in parts:
        blobs = {name: io.BytesIO(file.read(name)) for name in (*WAVES, *OTHERS)}
        for record in json.loads(file.read("utterances.json")):
            pieces = {name: io.BytesIO(blob.read(record["bytes"][name])) for name, blob in blobs.items()}
            waves = [soundfile.read(pieces[name], dtype="int16")[0] for name in WAVES]
            yield (*waves, *(np.load(pieces[name]) for name in OTHERS))


def train(folder: Path, runs: Path, steps: int, more: list[str]) -> int:
    """`train.py` on the GPU's configuration; the same command goes on."""
    import train as script

    arguments = [CONFIG, f"data.pack={folder}", f"train.runs_folder={runs}", f"train.max_steps={steps}"]
    if DISCRIMINATORS.is_file():
        arguments.append(f"train.init_modules={{discriminator: {DISCRIMINATORS}}}")
    return script.main([*arguments, f"train.run={RUN}", *more])


def collect(runs: Path, out: Path, step: int | None, call: int) -> None:
    """A step folder's files, large ones in pieces of 15 MiB: those that come back with the first call, or a later one."""
    from speech.run_folder import step_folders

    folders = [folder for folder in step_folders(runs / RUN) if step is None or _number(folder) == step]
    if not folders:
        raise ValueError(
            f"{runs / RUN}: no finished step yet" if step is None else f"no finished step {step}"
        )
    calls = _calls(folders[-1])
    if not 0 <= call < len(calls):
        raise ValueError(f"--call {call}: expected 0 to {len(calls) - 1} for {folders[-1].name}")
    out.mkdir(parents=True, exist_ok=True)
    for path, number, count in calls[call]:
        with path.open("rb") as file:
            file.seek(number * PIECE)
            data = file.read(PIECE)
        (out / f"{folders[-1].name}.{path.name}.{number:02d}of{count:02d}").write_bytes(data)
    rest = (
        f"the next: --step {_number(folders[-1])} --call {call + 1}"
        if call + 1 < len(calls)
        else "all is there"
    )
    print(f"{folders[-1]}: {len(calls[call])} files, call {call} of 0 to {len(calls) - 1}; {rest}")


def _number(folder: Path) -> int:
    return int(folder.name.rsplit("_", 1)[1])


def _calls(folder: Path) -> list[list[tuple[Path, int, int]]]:
    """What comes back with each call: a file, the number of its piece, and how many it has."""
    calls: list[list[tuple[Path, int, int]]] = [[]]
    total = 0
    for path in sorted(folder.iterdir(), key=lambda path: (path.name == LARGE, path.stat().st_size)):
        size = path.stat().st_size
        count = max(1, -(-size // PIECE))
        for number in range(count):
            piece = min(PIECE, size - number * PIECE)
            if calls[-1] and (len(calls[-1]) == CALL_FILES or total + piece > CALL_BYTES):
                calls.append([])
                total = 0
            calls[-1].append((path, number, count))
            total += piece
    return calls


def restore(files: Path, run: Path) -> None:
    """The step folders that `collect` took apart; one whose training state has not come back whole is restored without it."""
    pieces: dict[tuple[str, str], dict[int, Path]] = {}
    counts: dict[tuple[str, str], int] = {}
    for path in sorted(files.rglob("step_*.*of*")):
        step, name, place = path.name.split(".", 1)[0], *path.name.split(".", 1)[1].rsplit(".", 1)
        number, counts[step, name] = map(int, place.split("of"))
        pieces.setdefault((step, name), {})[number] = path
    if not pieces:
        raise ValueError(f"{files}: nothing that `collect` wrote")
    for (step, name), found in list(pieces.items()):
        if sorted(found) == list(range(counts[step, name])):
            continue
        short = f"{len(found)} of {counts[step, name]} pieces of {step}/{name}"
        if name != LARGE:
            raise ValueError(f"{files}: {short}, expected all")
        print(f"{files}: {short}: left out", file=sys.stderr)
        del pieces[step, name]
    for (step, name), found in pieces.items():
        (run / step).mkdir(parents=True, exist_ok=True)
        partial = run / step / (name + ".partial")
        partial.write_bytes(b"".join(found[k].read_bytes() for k in sorted(found)))
        partial.replace(run / step / name)
    print(f"{run}: {', '.join(sorted({step for step, _ in pieces}))}")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and does it; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("pack")
    add.add_argument("pack", type=Path)
    add.add_argument("out", type=Path)
    add.add_argument("--megabytes", type=float, default=36)
    add.add_argument("--hours", type=float, help="of speech; native and clean ones come first")
    add = commands.add_parser("unpack")
    add.add_argument("part", type=Path)
    add.add_argument("pack", type=Path)
    add = commands.add_parser("train")
    add.add_argument("pack", type=Path)
    add.add_argument("runs", type=Path)
    add.add_argument("steps", type=int)
    add.add_argument("more", nargs="*", help="key=value for train.py")
    for name, first, second in (("collect", "runs", "out"), ("restore", "files", "run")):
        add = commands.add_parser(name)
        add.add_argument(first, type=Path)
        add.add_argument(second, type=Path)
        if name == "collect":
            add.add_argument("--step", type=int, help="the newest, unless given")
            add.add_argument(
                "--call", type=int, default=0, help="0 is the first: weights, and what else fits"
            )
    args = parser.parse_args(argv)
    try:
        if args.command == "pack":
            pack(args.pack, args.out, args.megabytes, args.hours)
        elif args.command == "unpack":
            unpack(args.part, args.pack)
        elif args.command == "train":
            return train(args.pack, args.runs, args.steps, args.more)
        elif args.command == "collect":
            collect(args.runs, args.out, args.step, args.call)
        else:
            restore(args.files, args.run)
    except (ValueError, OSError) as error:
        print(f"lite_gpu.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
