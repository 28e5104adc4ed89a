"""Corpora: the layouts that recordings come in, each read into the same list of utterances."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from speech.data import Utterance, read_filelist

ADULT_AGE = 15


@dataclass(frozen=True)
class Recording(Utterance):
    """An utterance and what its corpus says of it."""

    split: str = "train"
    source: str = ""


def read_manifest(folder: Path, language: str = "en-us") -> list[Recording]:
    """A folder with `manifest.csv`: path|speaker|source|licence|seconds|age|gender|split|transcript.

    Children are left out: at a few hundred adult speakers their voices are too far from all others to be learned.
    """
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    return [
        Recording(
            id=str(Path(row["path"]).with_suffix("")),
            wav=str(folder / row["path"]),
            # a label that stands for "somebody" is no speaker: each such recording is its own
            speaker=row["speaker"] if "unknown" not in row["speaker"] else Path(row["path"]).stem,
            language=language,
            text=row["transcript"].strip(),
            split=row["split"],
            source=row["source"],
        )
        for row in rows
        if not (row["age"] and int(row["age"]) < ADULT_AGE)
    ]


def read_ljspeech(folder: Path, language: str = "en-us") -> list[Recording]:
    """LJSpeech's layout: metadata.csv (id|raw text|normalised text) beside wavs/."""
    lines = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines if line.strip()]
    return [
        Recording(row[0], str(folder / "wavs" / f"{row[0]}.wav"), "LJ", language, row[-1], source="ljspeech")
        for row in rows
    ]


def read_folder(folder: Path, language: str = "en-us") -> list[Recording]:
    """Any folder of recordings: the parent folder's name is the speaker, NAME.txt beside NAME.wav the text."""
    found = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in (".wav", ".flac", ".ogg", ".opus", ".mp3")
    )
    return [
        Recording(
            id=str(path.relative_to(folder).with_suffix("")),
            wav=str(path),
            speaker=path.parent.name,
            language=language,
            text=text.read_text(encoding="utf-8").strip()
            if (text := path.with_suffix(".txt")).is_file()
            else "",
            source=folder.name,
        )
        for path in found
    ]


def read_list(path: Path, language: str = "en-us") -> list[Recording]:
    """A filelist (filelists/README.md); an empty speaker is one of its own, an empty language the given one."""
    return [
        Recording(u.id, u.wav, u.speaker or u.id, u.language or language, u.text, source=path.stem)
        for u in read_filelist(path)
    ]


CORPORA: dict[str, Callable[[Path, str], list[Recording]]] = {
    "manifest": read_manifest,
    "ljspeech": read_ljspeech,
    "folder": read_folder,
    "filelist": read_list,
}
