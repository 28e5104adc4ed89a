"""A table of texts to speak, .csv or .jsonl, with one sound file for each row; what is there already is not made again.

    text,ref,out,language,speed,seed
    Good morning.,anna,out/1.wav,,1.0,0

Only text and out must be there. Beside the table lies TABLE.done, a line for each file that was written: what it was made
of, its size and the time of its last change. A row is done if its line and its file say so.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from hierspeech.pipelines.batches import OWN, BatchItem, speak_items
from hierspeech.pipelines.fingerprints import (
    ReferenceFingerprints,
    fingerprint_program,
    fingerprint_text,
    fingerprint_voice,
    summary,
)
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.tts import TextToSpeech
from speech.audio import check_writable

COLUMNS = ("text", "ref", "out", "language", "speed", "seed", "pitch_shift", "pitch_range", "energy")
NEEDED = ("text", "out")
NUMBERS = ("speed", "seed", "pitch_shift", "pitch_range", "energy")


@dataclass
class TableRow:
    """One row: what to speak, and where to; or what is wrong with it."""

    line: int  # of the file, 1 is the first
    item: BatchItem | None
    out: str = ""
    error: str | None = None


@dataclass
class BatchReport:
    """What became of a table."""

    written: int = 0
    skipped: int = 0  # done before
    bad: int = 0
    seconds: float = 0.0  # of speech written


def speak_table(
    tts: TextToSpeech,
    table: str | os.PathLike,
    reference: str | list[str] | None = None,
    options: SpeakingOptions | None = None,
    batch_size: int = 8,
    progress: Callable[[str, int, int], None] | None = None,
    complain: Callable[[str], None] | None = None,
) -> BatchReport:
    """Speaks a table; bad rows are named with file and line while the others go on.

    Args:
        table: a .csv or .jsonl file.
        reference, options: for rows that do not say them.
        progress: called with ("text", done, in all).
        complain: told one sentence for each bad row.
    Raises:
        ValueError: the table cannot be read, or an option is outside its range.
    """
    table, report = Path(table), BatchReport()
    complain = complain or (lambda sentence: None)
    options = (options or SpeakingOptions()).fill_in(tts.voice)
    rows = list(read_table(table))
    with Done(table) as done:
        common = {"voice": fingerprint_voice(tts.voice), "program": fingerprint_program(tts.voice)}
        fingerprint = ReferenceFingerprints(tts.voice)
        taken: dict[Path, int] = {}
        wanted: list[tuple[TableRow, str]] = []

        def refuse(row: TableRow, error: str) -> None:
            report.bad += 1
            complain(f"{table}:{row.line}: {error}")

        for row in rows:
            try:
                made_of = common | _check(tts, row, reference, options, taken, fingerprint)
            except (ValueError, OSError) as error:
                refuse(row, " ".join(str(error).split()))
                continue
            if done.has(row.out, summary(made_of)):
                report.skipped += 1
            else:
                wanted.append((row, summary(made_of)))
        if progress:
            progress("text", len(rows) - len(wanted), len(rows))
        items = (row.item for row, _ in wanted)
        try:
            for result in speak_items(tts, items, options, batch_size):
                row, made_of = wanted[result.index]
                error = result.error
                if error is None:
                    error = _save(result.speech, row.out)
                if error is None:
                    done.add(row.out, made_of)
                    report.written += 1
                    report.seconds += result.speech.seconds
                else:
                    refuse(row, error)
                if progress:
                    progress("text", len(rows) - len(wanted) + result.index + 1, len(rows))
        except KeyboardInterrupt as stop:
            left = len(wanted) - report.written - report.bad
            raise KeyboardInterrupt(
                f"interrupted, {report.written} written; the same command goes on with the other {max(left, 0)}."
            ) from stop
    return report


def read_table(table: Path) -> Iterator[TableRow]:
    """The rows of a table, those that cannot be understood among them; ValueError where it cannot be read as one."""
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    if table.suffix.lower() not in readers:
        raise ValueError(f"{table}: expected a table whose name ends in {' or '.join(readers)}.")
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            for line, values in readers[table.suffix.lower()](file, table):
                yield values if isinstance(values, TableRow) else _understand(line, values)
    except OSError as error:
        raise ValueError(f"{table}: the table cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{table}: not a table in UTF-8 ({error.reason}).") from error


def _read_csv(file: TextIO, table: Path) -> Iterator[tuple[int, dict[str, Any] | TableRow]]:
    reader = csv.reader(file, strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{table}: not a table ({error}).") from error
    for name in NEEDED:
        if name not in head:
            raise ValueError(
                f"{table}: its first line names no column {name!r}, expected some of {', '.join(COLUMNS)}."
            )
    if strange := [name for place, name in enumerate(head) if name not in COLUMNS or name in head[:place]]:
        shown = ", ".join(map(repr, strange))
        raise ValueError(
            f"{table}: columns {shown} are unknown or twice there, expected some of {', '.join(COLUMNS)}."
        )
    before = reader.line_num  # a quoted text may span lines: a row is where it begins
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # where a quote is missing, nobody knows where the next row begins
            raise ValueError(f"{table}:{before + 1}: not a table from here on ({error}).") from error
        line, before = before + 1, reader.line_num
        if not cells:
            continue
        if len(cells) != len(head):
            error = f"{len(cells)} columns, expected {len(head)} (a text with commas goes in quotes)."
            yield line, TableRow(line, None, error=error)
        else:
            yield line, {name: cell for name, cell in zip(head, cells, strict=True) if cell.strip()}


def _read_jsonl(file: TextIO, table: Path) -> Iterator[tuple[int, dict[str, Any] | TableRow]]:
    for line, content in enumerate(file, 1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except ValueError as error:
            yield line, TableRow(line, None, error=f"not JSON ({error}).")
            continue
        if isinstance(values, dict):
            yield line, {name: value for name, value in values.items() if value is not None}
        else:
            yield line, TableRow(line, None, error=f"expected an object with {', '.join(NEEDED)}.")


def _understand(line: int, values: dict[str, Any]) -> TableRow:
    """A row whose values are of the right kind, or one that says what is not."""
    if unknown := [name for name in values if name not in COLUMNS]:
        return TableRow(
            line, None, error=f"unknown {', '.join(unknown)}, expected some of {', '.join(COLUMNS)}."
        )
    for name in NEEDED:
        if not str(values.get(name, "")).strip():
            return TableRow(line, None, error=f"{name} is empty.")
    for name in ("text", "ref", "out", "language"):
        if not isinstance(values.get(name, ""), str):
            return TableRow(line, None, error=f"{name} {values[name]!r}: expected a text.")
    numbers: dict[str, Any] = {}
    for name in NUMBERS:
        kind, wanted = (int, "a whole number") if name == "seed" else (float, "a number")
        if name in values:
            try:
                numbers[name] = kind(str(values[name]))
            except ValueError:
                return TableRow(line, None, error=f"{name} {values[name]!r}: expected {wanted}.")
    item = BatchItem(values["text"], values.get("ref"), values.get("language"), **numbers)
    return TableRow(line, item, values["out"].strip())


def _check(
    tts: TextToSpeech,
    row: TableRow,
    reference: str | list[str] | None,
    options: SpeakingOptions,
    taken: dict[Path, int],
    fingerprint: ReferenceFingerprints,
) -> dict[str, Any]:
    """What a row's sound depends on; ValueError where it cannot become a file."""
    if row.error is not None:
        raise ValueError(row.error)
    item = row.item
    if item.reference is None:
        item.reference = reference
    place = check_writable(row.out).absolute()
    if place in taken:
        raise ValueError(f"{row.out}: line {taken[place]} writes this file already.")
    references = item.reference if isinstance(item.reference, list) else [item.reference]
    if place.exists() and any(one and Path(one).exists() and place.samefile(one) for one in references):
        raise ValueError(f"{row.out}: the output would replace the reference.")
    own = {name: getattr(item, name) for name in OWN}
    chosen = replace(options, **{name: value for name, value in own.items() if value is not None})
    made_of = chosen.fill_in(tts.voice).facts(tts.voice) | {
        "text": fingerprint_text(item.text),
        "reference": fingerprint(item.reference),
    }
    taken[place] = row.line
    return made_of


def _save(speech: Any, out: str) -> str | None:
    """Writes a file; what is wrong where that fails."""
    try:
        speech.save(out)
    except (ValueError, OSError) as error:
        return str(error)
    return None


class Done:
    """The lines of TABLE.done: which files were written, and what they were made of."""

    def __init__(self, table: Path):
        self.path = table.with_name(f"{table.name}.done")
        self._made_of: dict[str, list[Any]] = {}
        self._file: TextIO | None = None

    def __enter__(self) -> "Done":
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
            self._file = open(self.path, "a", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path}: cannot be written ({error}).") from error
        for line in lines:
            try:
                out, *facts = json.loads(line)
            except (ValueError, TypeError):  # the last line of a killed process
                continue
            self._made_of[out] = facts
        if lines:
            self._file.write("\n")  # behind half a line
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def has(self, out: str, made_of: str) -> bool:
        """Whether the file is there as it was written, made of the same."""
        return self._made_of.get(out) == [made_of, *_stamp(out)]

    def add(self, out: str, made_of: str) -> None:
        """Remembers a file that was written."""
        self._file.write(json.dumps([out, made_of, *_stamp(out)]) + "\n")
        self._file.flush()


def _stamp(out: str) -> tuple[int, int]:
    """Size and time of change of a file, zeros without one."""
    path = Path(out)
    return (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else (0, 0)
