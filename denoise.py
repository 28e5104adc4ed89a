"""Denoising: python denoise.py noisy.wav clean.wav, or a whole folder: python denoise.py NOISY_DIR CLEAN_DIR"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hierspeech.pipelines.command_line import (
    Parser,
    add_model_options,
    check_input,
    check_paths,
    progress_line,
    run,
    say,
)

if TYPE_CHECKING:
    from hierspeech import Denoising

# Of the files that libsndfile reads; files of a folder with other endings are no recordings.
SUFFIXES = {
    *(".wav", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".au", ".caf", ".snd", ".sph", ".nist", ".voc"),
}
WRITABLE = {".wav", ".flac", ".ogg"}  # a recording with another ending becomes a .wav


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and denoises; returns the exit code."""
    parser = Parser(
        prog="denoise.py",
        description="Take the noise out of a recording of speech, or of all recordings in a folder. "
        "A folder is mirrored with its subfolders; recordings that are there already are skipped, so the same "
        "command goes on where it was interrupted.",
    )
    parser.add_argument("input", help="a sound file, or a folder of them")
    parser.add_argument("output", help=".wav, .flac or .ogg file to write, or the folder to write to")
    parser.add_argument(
        "--ratio",
        type=float,
        default=1.0,
        help="share of the cleaned recording, 0 to 1 (default: %(default)s)",
    )
    add_model_options(parser)
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Denoises as the arguments say; ValueError with one sentence where they cannot be followed."""
    if not 0 <= arguments.ratio <= 1:
        raise ValueError(f"ratio {arguments.ratio:g}: expected a number from 0 to 1.")
    if Path(arguments.input).is_dir():
        return denoise_folder(arguments)
    check_input(arguments.input)
    check_paths(arguments.output, arguments.input)
    denoising = load(arguments)
    speech = denoising(arguments.input, ratio=arguments.ratio, progress=progress_line("window"))
    speech.save(arguments.output)
    say(f"{arguments.output}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


def load(arguments: argparse.Namespace) -> Denoising:
    """The pipeline of the wanted voice."""
    from hierspeech import Denoising  # after the cheap checks: it loads torch

    denoising = Denoising.from_pretrained(arguments.voice, arguments.device, arguments.precision)
    _ = denoising.voice.denoiser  # a broken model is said once, before any recording is read
    return denoising


def denoise_folder(arguments: argparse.Namespace) -> None:
    """Every recording below the input folder -> the same place below the output folder; bad ones are named and left out.

    Raises:
        ValueError: nothing to do, an unusable output folder, or, at the end, recordings that could not be denoised.
    """
    if not arguments.output:
        raise ValueError("expected the folder to write to, got an empty name.")
    folder, out = Path(arguments.input), Path(arguments.output)
    check_folders(folder, out)
    pairs, failed = find_pairs(folder, out)
    if not pairs and not failed:
        raise ValueError(f"{folder}: the folder holds no recordings ({', '.join(sorted(SUFFIXES))}).")
    todo = [(source, target) for source, target in pairs if not target.exists()]
    done, skipped = 0, len(pairs) - len(todo)
    if skipped:
        say(f"{skipped} of {len(pairs)} recordings are in {out} already, skipped")
    denoising = load(arguments) if todo else None
    try:
        for number, (source, target) in enumerate(todo, 1):
            try:
                speech = denoising(source, ratio=arguments.ratio)
                target.parent.mkdir(parents=True, exist_ok=True)
                speech.save(target)
            except (ValueError, OSError, MemoryError) as error:
                complain(error if str(error) else f"{source}: out of memory")
                failed += 1
                continue
            done += 1
            say(f"[{number}/{len(todo)}] {target}: {speech.seconds:.2f} s")
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted after {done} recordings were written; the same command goes on with the rest."
        ) from None
    say(f"done {done}, skipped {skipped}, failed {failed}")
    if failed:
        raise ValueError(f"{failed} recordings were not denoised, as said above.")


def check_folders(folder: Path, out: Path) -> None:
    """Refuses an output folder that cannot be one, before any work is done for it."""
    if (out.exists() or out.is_symlink()) and not out.is_dir():
        raise ValueError(f"{out}: is a file, expected a folder to write to.")
    if out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(
            f"{out}: the outputs would lie among the inputs in {folder}, expected another folder."
        )
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{out}: cannot be written (no permission in {there}).")


def find_pairs(folder: Path, out: Path) -> tuple[list[tuple[Path, Path]], int]:
    """Recordings below `folder` with the files to write, in order, and how many were found to have none.

    Hidden files and folders are left out, and `out` if it lies inside `folder`.
    """
    errors: list[OSError] = []  # of folders that cannot be listed
    clashes = 0
    pairs: list[tuple[Path, Path]] = []
    for place, subfolders, names in os.walk(folder, onerror=errors.append):
        here = Path(place)
        for name in subfolders:
            if (here / name).is_symlink() and name[0] != ".":
                complain(f"{here / name}: a link to a folder, which is not followed.")
        subfolders[:] = sorted(s for s in subfolders if s[0] != "." and (here / s).resolve() != out.resolve())
        taken: dict[Path, Path] = {}  # file to write -> recording
        sources = [here / n for n in sorted(names) if n[0] != "." and Path(n).suffix.lower() in SUFFIXES]
        # Those that keep their names come first, so that only an ending that has to change can meet a taken name.
        for source in sorted(sources, key=lambda s: s.suffix.lower() not in WRITABLE):
            target = out / source.relative_to(folder)
            target = target if target.suffix.lower() in WRITABLE else target.with_suffix(".wav")
            if target in taken:
                complain(f"{source}: {target} is what {taken[target]} becomes, expected another name.")
                clashes += 1
            taken.setdefault(target, source)
        pairs += sorted((source, target) for target, source in taken.items())
    for error in errors:
        complain(f"{error.filename}: the folder cannot be read ({error.strerror}).")
    return pairs, clashes + len(errors)


def complain(message: object) -> None:
    """One line about one recording to standard error."""
    print(f"denoise.py: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
