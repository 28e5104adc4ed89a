"""Layouts that are folders with a text file for each recording: LibriTTS, VCTK, and any folder of recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hierspeech.preparation.records import (
    AUDIO_ENDINGS,
    DEFAULT_LANGUAGE,
    CorpusOptions,
    Dropped,
    Recording,
)

LIBRITTS_SPLITS = {"train": "train", "dev": "dev", "test": "test"}  # first word of a subset's name -> split


def read_folder(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """Any folder of recordings: the parent folder's name is the speaker, NAME.txt beside NAME.wav the text."""
    for path in _recordings(folder):
        yield _with_text(
            path,
            path.with_suffix(".txt"),
            id=str(path.relative_to(folder).with_suffix("")),
            speaker=path.parent.name,
            language=options.language or DEFAULT_LANGUAGE,
            source=folder.name,
        )


def read_libritts(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """LibriTTS and LibriTTS-R: SUBSET/SPEAKER/CHAPTER/NAME.wav with NAME.normalized.txt beside it.

    `folder` is the corpus, or one of its subsets. The subset's name says the split: train-clean-100, dev-other, ...
    """
    subsets = options.subsets or tuple(
        sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name.split("-")[0] in LIBRITTS_SPLITS)
    )
    if not subsets and folder.name.split("-")[0] in LIBRITTS_SPLITS:
        folder, subsets = folder.parent, (folder.name,)
    for subset in subsets:
        if not (folder / subset).is_dir():
            raise ValueError(f"{folder}: has no subset folder {subset!r}")
        for path in _recordings(folder / subset):
            yield _with_text(
                path,
                path.with_suffix(".normalized.txt"),
                id=f"libritts/{path.stem}",
                speaker=f"libritts-{path.relative_to(folder / subset).parts[0]}",
                language=options.language or DEFAULT_LANGUAGE,
                split=LIBRITTS_SPLITS.get(subset.split("-")[0], ""),
                source=f"libritts-{subset}",
            )


def read_vctk(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """VCTK: wav48_silence_trimmed/SPEAKER/NAME_micN.flac (0.92) or wav48/SPEAKER/NAME.wav (0.80), txt/SPEAKER/NAME.txt.

    Where the wanted microphone is missing (p280 and p315 have one) the other is taken.
    """
    root = next((folder / n for n in ("wav48_silence_trimmed", "wav48") if (folder / n).is_dir()), None)
    if root is None:
        raise ValueError(f"{folder}: has neither wav48_silence_trimmed nor wav48, the folders of VCTK")
    found: dict[str, Path] = {}
    for path in _recordings(root):
        name, _, mic = path.stem.partition("_mic")
        if name not in found or mic == str(options.mic):
            found[name] = path
    for name, path in found.items():
        speaker = path.parent.name
        yield _with_text(
            path,
            folder / "txt" / speaker / f"{name}.txt",
            id=f"vctk/{name}",
            speaker=speaker,
            language=options.language or "en-gb",
            source="vctk",
        )


def _recordings(folder: Path) -> Iterator[Path]:
    """Sound files below `folder`, folder by folder in the order of their names."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(AUDIO_ENDINGS) and not name.startswith("."):
                yield Path(parent, name)


def _with_text(path: Path, text_path: Path, **fields: str) -> Recording | Dropped:
    """The recording with the text that `text_path` holds; a missing file means no text."""
    try:
        text = " ".join(text_path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        return Dropped(fields["id"], str(text_path), "broken text", f"not UTF-8 ({error.reason})")
    return Recording(wav=str(path), text=text, where=str(path), **fields)
