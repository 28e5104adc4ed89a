"""Blind listening: a page of one HTML file with its sounds inside, for opinion scores or for choices between two systems.

    write_listening("page.html", {"ours": {"u1": "ours/u1.wav"}, "theirs": {"u1": "theirs/u1.wav"}}, kind="ab")

Kinds: "mos" rates one sound from 1 to 5 (ITU-T P.800, absolute category rating); "ab" asks which of two is better; "abx" which of two is
nearer to the voice of a reference X. The page says nothing of the systems: its sounds have random codes, and page.key.json, which no
listener gets, says what they are. Order and sides differ from listener to listener, by a listener id that the page shows and keeps.
Results come back as CSV; listening_results.py reads them.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierspeech.evaluation.pages import fill_page
from hierspeech.evaluation.tables import write_text
from speech.audio import load_audio, save_audio, set_loudness

PAGE = Path(__file__).with_name("listening_page")
KINDS = ("mos", "ab", "abx")
QUESTIONS = {
    "mos": "How natural does this sound?",
    "ab": "Which of the two sounds more natural?",
    "abx": "Which of the two, A or B, is more like the voice of X?",
}
MAX_SECONDS = 30.0
RMS_DB = -23.0  # of every sound: the louder one of two would be preferred for that alone
CODE_BYTES = 5

Sounds = Mapping[str, Mapping[str, str | os.PathLike]]


def write_listening(
    path: str | os.PathLike,
    sounds: Sounds,
    kind: str,
    *,
    references: Mapping[str, str | os.PathLike] | None = None,
    texts: Mapping[str, str] | None = None,
    title: str = "Listening test",
    question: str | None = None,
    trials: int | None = None,
    audio_rate: int | None = None,
) -> Path:
    """Writes the page and its key.

    Args:
        sounds: wavs by system and item; only items that all systems have are heard.
        kind: one of KINDS.
        references: by item, the X of "abx".
        texts: by item, shown beside the sounds; None shows none.
        question: instead of the kind's own.
        trials: each listener gets so many, drawn by the listener's id; None: all.
        audio_rate: of the sounds in Hz; None keeps each file's own.
    Returns:
        Where the key is: the page's name with .key.json.
    Raises:
        ValueError: another kind, too few systems, no item in common, or items without a reference.
    """
    path = Path(path)
    items = _check(sounds, kind, references, trials)
    codes = {(system, item): secrets.token_hex(CODE_BYTES) for system in sounds for item in items}
    media = {code: _sound(sounds[system][item], audio_rate) for (system, item), code in codes.items()}
    xs: dict[str, str] = {}
    if kind == "abx":
        known: dict[str, str] = {}  # a reference that several items share is in the page once
        for item in items:
            place = str(references[item])
            known.setdefault(place, secrets.token_hex(CODE_BYTES))
            xs[item] = known[place]
        media |= {code: _sound(place, audio_rate) for place, code in known.items()}
    asked: list[dict[str, Any]] = []
    for item in items:
        groups = [(s,) for s in sounds] if kind == "mos" else itertools.combinations(sounds, 2)
        for group in groups:
            trial = {"sounds": [codes[system, item] for system in group], "x": xs.get(item)}
            asked.append(trial | {"text": (texts or {}).get(item)})
    # neither the order of trials nor that of a pair may tell which system comes first in the list
    shuffle = secrets.SystemRandom().shuffle
    for trial in asked:
        shuffle(trial["sounds"])
    shuffle(asked)
    page_id = secrets.token_hex(4)
    data = {
        "page": page_id,
        "kind": kind,
        "question": question or QUESTIONS[kind],
        "count": min(trials or len(asked), len(asked)),
        "trials": asked,
        "media": dict(sorted(media.items())),
    }
    key = {
        "format": 1,
        "page": page_id,
        "kind": kind,
        "question": data["question"],
        "title": title,
        "systems": list(sounds),
        "sounds": {code: {"system": system, "item": item} for (system, item), code in codes.items()},
    }
    key_path = path.with_name(f"{path.stem}.key.json")
    write_text(key_path, json.dumps(key, indent=1, ensure_ascii=False) + "\n")
    write_text(path, fill_page(PAGE, title, data))
    return key_path


def _check(sounds: Sounds, kind: str, references: Mapping[str, Any] | None, trials: int | None) -> list[str]:
    """The items that are heard."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}.")
    if len(sounds) < (1 if kind == "mos" else 2):
        raise ValueError(
            f"{len(sounds)} systems for a page of kind {kind}, expected {'one' if kind == 'mos' else 'two'} at least."
        )
    if trials is not None and trials < 1:
        raise ValueError(f"{trials} trials: expected a positive number.")
    first, *others = sounds.values()
    items = [item for item in first if all(item in other for other in others)]
    if not items:
        raise ValueError("the systems have no item in common, expected some.")
    if kind == "abx":
        lacking = [item for item in items if not (references or {}).get(item)]
        if lacking:
            raise ValueError(f"item {lacking[0]!r} has no reference, which a page of kind abx needs.")
    return items


def _sound(path: str | os.PathLike, rate: int | None) -> str:
    """A sound file as Ogg in a data URI, at the common level."""
    wav, rate = load_audio(path, rate, max_seconds=MAX_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "sound.ogg"
        save_audio(place, set_loudness(wav, RMS_DB), rate)
        return "data:audio/ogg;base64," + base64.b64encode(place.read_bytes()).decode("ascii")
