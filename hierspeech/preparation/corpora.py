"""Corpora by name: reading any of the layouts there are, and which of the recordings are for validation.

A layout is a generator `(path, options) -> Recording | Dropped` in `layouts.py` or `tables.py`; whatever is wrong with a
line is yielded and not raised, so that one bad line of a million costs one utterance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from hierspeech.preparation.layouts import read_folder, read_libritts, read_vctk
from hierspeech.preparation.records import CorpusOptions, Dropped, Recording
from hierspeech.preparation.tables import read_commonvoice, read_csv, read_list, read_ljspeech, read_manifest

SPLITS = ("train", "dev", "test")

LAYOUTS: dict[str, Callable[[Path, CorpusOptions], Iterator[Recording | Dropped]]] = {
    "commonvoice": read_commonvoice,
    "csv": read_csv,
    "filelist": read_list,
    "folder": read_folder,
    "libritts": read_libritts,
    "ljspeech": read_ljspeech,
    "manifest": read_manifest,
    "vctk": read_vctk,
}


def read_corpus(path: Path, layout: str, options: CorpusOptions) -> tuple[list[Recording], list[Dropped]]:
    """All recordings of a corpus, in its order, and the lines that cannot be used.

    Raises:
        ValueError: no such corpus, not of this layout, or no recording in it.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such corpus folder or list")
    recordings: list[Recording] = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for found in LAYOUTS[layout](path, options):
        if isinstance(found, Dropped):
            dropped.append(found)
        elif found.id in seen:
            dropped.append(
                Dropped(found.id, found.where, "id occurs twice", f"the id {found.id!r} occurs twice")
            )
        elif found.split and found.split not in SPLITS:
            detail = f"the split is {found.split!r}, expected one of {', '.join(SPLITS)}"
            dropped.append(Dropped(found.id, found.where, "broken line", detail))
        else:
            seen.add(found.id)
            recordings.append(found)
    if not recordings:
        first = f"; first: {dropped[0].where}: {dropped[0].detail}" if dropped else ""
        raise ValueError(f"{path}: no recordings found in layout {layout!r}{first}")
    return recordings, dropped


def with_splits(
    recordings: Iterable[Recording], dev_share: float, by: Mapping[str, str]
) -> Iterator[Recording]:
    """Gives "dev" or "train" to those recordings whose corpus has no split of its own.

    A hash decides for each speaker or utterance alone, so the answer stays the same however the corpus grows.

    Args:
        dev_share: share of the speakers (or utterances) for "dev", 0 to 1.
        by: source -> "speakers" or "utterances".
    """
    if not 0 <= dev_share < 1:
        raise ValueError(f"dev share {dev_share:g}: expected 0 <= share < 1")
    for one in recordings:
        if one.split:
            yield one
            continue
        speakers = by[one.source] == "speakers"
        key = f"speaker {one.speaker}" if speakers else f"utterance {one.id}"
        split = "dev" if hash_share(key) < dev_share else "train"
        yield Recording(
            one.id, one.wav, one.speaker, one.language, one.text, split, one.source, one.where
        )  # dataclasses.replace is ten times slower


def hash_share(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone, on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
