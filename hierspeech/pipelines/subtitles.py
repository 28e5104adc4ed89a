"""Timings into files that other programs read: SubRip and WebVTT subtitles, Praat's TextGrid, JSON.

Subtitles show the text as it is written, some words at a time; WebVTT also says when each word begins, for highlighting.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # nothing heavy at the top: a wrong name is refused before torch is loaded
    from hierspeech.pipelines.timings import Timing, Timings

FORMATS = (".srt", ".vtt", ".textgrid", ".json")
CUE_CHARS = 84  # two lines of 42, the usual limit of a subtitle
CUE_SECONDS = 7.0
PAUSE_SECONDS = 0.6  # of silence, after which a new subtitle begins


def check_timestamps(name: str, *others: str | list[str] | None) -> Path:
    """Refuses a place where no timings can be written, before any work is done for it.

    Raises:
        ValueError: another ending, a folder, one that is not there, or a file that the same command reads or writes.
    """
    path = Path(name)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{name}: expected a name that ends in .srt, .vtt, .TextGrid or .json.")
    if path.is_dir():
        raise ValueError(f"{name}: is a folder, expected the name of a file to write.")
    if not path.parent.is_dir():
        raise ValueError(f"{name}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{name}: no permission to write this file.")
    for other in (one for given in others for one in (given if isinstance(given, list) else [given])):
        if other is not None and Path(other).absolute() == path.absolute():
            raise ValueError(f"{name}: the timings would replace {other}.")
    return path


def write_timestamps(path: str | os.PathLike, timings: Timings, text: str, seconds: float) -> None:
    """Writes when words (and, as TextGrid and JSON, sounds) are heard; the file appears whole or not at all.

    Args:
        path: ends in .srt, .vtt, .TextGrid or .json.
        text: what was spoken, for subtitles as it is written.
        seconds: of the whole speech.
    Raises:
        ValueError: another ending, or a place that cannot be written.
    """
    path = check_timestamps(str(path))
    content = _WRITERS[path.suffix.lower()](timings, text, seconds)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(content, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def cues(words: list[Timing], text: str) -> list[list[tuple[Timing, str]]]:
    """Words in groups that are shown together, each word with its text and marks as written, up to the next word."""
    found: list[list[tuple[Timing, str]]] = []
    before: Timing | None = None
    for word, (written, begins) in zip(words, _as_written(words, text) if words else [], strict=True):
        if before is not None and not begins:
            group = found[-1]
            chars = sum(len(part) for _, part in group) + len(written.strip())
            begins = (
                word.start - before.end > PAUSE_SECONDS
                or chars > CUE_CHARS
                or word.end - group[0][0].start > CUE_SECONDS
            )
        if before is None or begins:
            found.append([])
        found[-1].append((word, written))
        before = word
    return found


def _as_written(words: list[Timing], text: str) -> list[tuple[str, bool]]:
    """What stands in the text from each word to the next, without notation, and whether a sentence begins with it."""
    from speech.text.marks import remove_notation
    from speech.text.words import find_sentences

    places = [word.offset for word in words]
    if None in places or any(a >= b for a, b in zip(places, places[1:], strict=False)):
        return [(f"{word.text} ", False) for word in words]
    places = [_before_marks(text, place, end) for place, end in zip(places, [0, *places], strict=False)]
    sentences = find_sentences(text)
    shown, current = [], -1
    for start, stop in zip(places, [*places[1:], len(text)], strict=True):
        begins = False
        while current + 1 < len(sentences) and sentences[current + 1][0] <= start:
            current, begins = current + 1, True
        if current >= 0 and sentences[current][1] > start:  # what divides sections is not shown
            stop = min(stop, sentences[current][1])
        shown.append((remove_notation(text[start:stop]), begins))
    return shown


def _before_marks(text: str, place: int, end: int) -> int:
    """The place of the opening quotes, brackets and currency signs before a word."""
    while place > end and text[place - 1] in "\"'“‘«„([{¿¡<":
        place -= 1
    return place


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _srt(timings: Timings, text: str, seconds: float) -> str:
    blocks = [
        f"{number}\n{_clock(group[0][0].start, ',')} --> {_clock(group[-1][0].end, ',')}\n"
        f"{_line(''.join(part for _, part in group))}\n"
        for number, group in enumerate(cues(timings.words, text), 1)
    ]
    return "\n".join(blocks)  # each ends with a line end, so that blank lines part them


def _vtt(timings: Timings, text: str, seconds: float) -> str:
    def escape(part: str) -> str:
        part = part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return re.sub(r"\s+", " ", part)

    blocks = ["WEBVTT\n"]
    for group in cues(timings.words, text):
        first, last = group[0][0].start, group[-1][0].end
        line, reached = escape(group[0][1]), first
        for word, part in group[1:]:
            if reached < word.start < last:  # times inside a cue must rise
                line, reached = f"{line}<{_clock(word.start, '.')}>", word.start
            line += escape(part)
        blocks.append(f"{_clock(first, '.')} --> {_clock(last, '.')}\n{line.strip()}\n")
    return "\n".join(blocks)


def _textgrid(timings: Timings, text: str, seconds: float) -> str:
    tiers = {"words": timings.words, "phones": timings.phonemes}
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {seconds:.6g}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, entries) in enumerate(tiers.items(), 1):
        intervals = _without_gaps(entries, seconds)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += [
            "        xmin = 0",
            f"        xmax = {seconds:.6g}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (label, start, end) in enumerate(intervals, 1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {start:.6g}"]
            lines += [f"            xmax = {end:.6g}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def _without_gaps(entries: list[Timing], seconds: float) -> list[tuple[str, float, float]]:
    """Intervals that cover everything, as Praat wants them; what lasts no time has none."""
    found, reached = [], 0.0
    for entry in entries:
        start, end = max(entry.start, reached), min(entry.end, seconds)
        if end <= start:
            continue
        if start > reached:
            found.append(("", reached, start))
        found.append((entry.text, start, end))
        reached = end
    return [*found, ("", reached, seconds)] if reached < seconds else found


def _json(timings: Timings, text: str, seconds: float) -> str:
    words = [asdict(word) for word in timings.words]
    sounds = [{"text": sound.text, "start": sound.start, "end": sound.end} for sound in timings.phonemes]
    return json.dumps({"seconds": seconds, "words": words, "phonemes": sounds}, ensure_ascii=False, indent=1)


_WRITERS: dict[str, Callable[[Timings, str, float], str]] = {
    ".srt": _srt,
    ".vtt": _vtt,
    ".textgrid": _textgrid,
    ".json": _json,
}
