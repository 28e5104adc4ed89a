"""Items from what people have: a folder of wavs with their texts beside them, a list, or a filelist of recordings.

folder/a.wav, folder/a.txt                       references and targets by the same name in folders of their own
wav|text|reference|target|speaker                the last three may be left out or empty
id|wav|seconds|text|...                          the same with a first line that names the fields, in any order
id|wav|speaker|language|text                     the repository's filelists: recordings, whose reference is the speaker's next one
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hierspeech.evaluation.items import Item
from speech.data import read_filelist

FIELDS = ("wav", "text", "reference", "target", "speaker")
ALL_FIELDS = (*FIELDS, "id", "language", "seconds")
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")
LANGUAGE = "en-us"


def read_items(
    place: str | os.PathLike,
    references: str | os.PathLike | None = None,
    targets: str | os.PathLike | None = None,
    language: str = LANGUAGE,
) -> list[Item]:
    """Items of a folder or a list.

    Args:
        references: a folder of sound files with the items' names, or one sound file for all; overrides the list's.
        targets: a folder of recordings of the same words with the items' names.
        language: of items whose list does not say it.
    Raises:
        ValueError: one sentence that names what is missing or wrong, with the line of a list.
    """
    path = Path(place)
    if path.is_dir():
        items = _read_folder(path, language)
    elif path.is_file():
        items = (
            [Item(path.stem, path, language=language)] if _is_sound(path.name) else _read_list(path, language)
        )
    else:
        raise ValueError(f"{path}: no such folder of wavs, and no such list.")
    for role, given in (("reference", references), ("target", targets)):
        if given is not None:
            items = _with_files(items, role, Path(given))
    return items


def _read_folder(folder: Path, language: str) -> list[Item]:
    wavs = sound_files(folder)
    if not wavs:
        raise ValueError(f"{folder}: no sound files in it ({', '.join(SUFFIXES)}).")
    names = Counter(wav.stem for wav in wavs)
    items = []
    for wav in wavs:
        beside, text = wav.with_suffix(".txt"), None
        if beside.is_file():
            try:
                text = " ".join(beside.read_text(encoding="utf-8-sig").split())
            except UnicodeDecodeError as error:
                raise ValueError(f"{beside}: not a text in UTF-8 (byte {error.start}).") from error
        name = wav.stem if names[wav.stem] == 1 else wav.name
        items.append(Item(name, wav, text or None, language=language))
    return items


def sound_files(folder: Path) -> list[Path]:
    """The sound files of a folder by name; hidden ones are left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _read_list(path: Path, language: str) -> list[Item]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a list in UTF-8 (byte {error.start}).") from error
    numbered = [(number, line.split("|")) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise ValueError(f"{path}: the list is empty.")
    first = [field.strip() for field in numbered[0][1]]
    if "wav" in first:
        if unknown := [field for field in first if field not in ALL_FIELDS]:
            raise ValueError(f"{path}:1: expected fields of {', '.join(ALL_FIELDS)}, got {unknown[0]!r}.")
        fields, numbered = first, numbered[1:]
        if not numbered:
            raise ValueError(f"{path}: the list has a first line only.")
    elif len(first) >= 5 and _is_sound(first[1]) and not _is_sound(first[0]):
        return _from_filelist(path, language)
    else:
        fields = list(FIELDS)
    items = [_parse(path, number, parts, fields, language) for number, parts in numbered]
    return _unique(items) if "id" not in fields else items


def _is_sound(name: str) -> bool:
    return Path(name.strip()).suffix.lower() in SUFFIXES


def _parse(path: Path, number: int, parts: list[str], fields: Sequence[str], language: str) -> Item:
    place = f"{path}:{number}"
    if len(parts) > len(fields):
        raise ValueError(
            f"{place}: expected at most {len(fields)} fields ({'|'.join(fields)}), got {len(parts)}."
        )
    row = {field: part.strip() for field, part in zip(fields, parts, strict=False)}
    if not row.get("wav"):
        raise ValueError(f"{place}: no wav, expected {'|'.join(fields)}.")
    found = {
        role: _find(row[role], path.parent, place) for role in ("wav", "reference", "target") if row.get(role)
    }
    seconds = None
    if row.get("seconds"):
        try:
            seconds = float(row["seconds"])
        except ValueError:
            seconds = math.nan
        if not (seconds > 0 and math.isfinite(seconds)):
            raise ValueError(f"{place}: seconds: expected a positive number, got {row['seconds']!r}.")
    return Item(
        id=row.get("id") or found["wav"].stem,
        wav=found["wav"],
        text=row.get("text") or None,
        reference=found.get("reference"),
        target=found.get("target"),
        language=row.get("language") or language,
        speaker=row.get("speaker") or None,
        seconds=seconds,
    )


def _find(name: str, folder: Path, place: str) -> Path:
    """A file named in a list: beside the list, or where the command runs."""
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    raise ValueError(f"{place}: no such sound file {name}.")


def _unique(items: list[Item]) -> list[Item]:
    """Ids by name; where a name is there twice, the folder tells them apart, else the position."""
    for make in (
        lambda k, i: i.id,
        lambda k, i: f"{i.wav.parent.name}/{i.wav.stem}",
        lambda k, i: f"{k:04d}",
    ):
        ids = [make(k, item) for k, item in enumerate(items)]
        if len(set(ids)) == len(ids):
            break
    return [replace(item, id=name) for item, name in zip(items, ids, strict=True)]


def _from_filelist(path: Path, language: str) -> list[Item]:
    lines = read_filelist(path)
    of_speaker = defaultdict(list)
    for line in lines:
        of_speaker[line.speaker].append(line.wav)
    items = []
    for line in lines:
        own = of_speaker[line.speaker]
        other = own[(own.index(line.wav) + 1) % len(own)] if len(own) > 1 else None
        place = f"{path}, {line.id}"
        items.append(
            Item(
                line.id,
                _find(line.wav, path.parent, place),
                line.text or None,
                None if other is None else _find(other, path.parent, place),
                None,
                line.language or language,
                line.speaker or None,
            )
        )
    return items


def _with_files(items: list[Item], role: str, place: Path) -> list[Item]:
    if place.is_file() and role == "reference":
        return [replace(item, reference=place) for item in items]
    if not place.is_dir():
        raise ValueError(f"{role}s: no such folder {place}.")
    by_name = {path.stem: path for path in sound_files(place)}
    matched = [
        replace(item, **{role: by_name[n]}) if (n := _stem(item)) in by_name else item for item in items
    ]
    if matched == items:
        raise ValueError(f"{role}s: none of the {len(items)} items has a file of its name in {place}.")
    return matched


def _stem(item: Item) -> str:
    return item.wav.stem
