"""Layouts that are lists with a line for each recording: LJSpeech, Common Voice, a csv, a filelist, a manifest."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from hierspeech.preparation.records import DEFAULT_LANGUAGE, CorpusOptions, Dropped, Recording

ADULT_AGE = 15
CSV_COLUMNS = ("path", "text", "speaker", "language", "split", "id", "source")
COMMON_VOICE = "validated"
# locales of Common Voice whose first part is not the code that our front end knows them by
LOCALES = {"zh-cn": "zh", "zh-tw": "zh", "zh-hk": "yue", "en": "en-us", "nn-no": "nb"}


def read_ljspeech(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """LJSpeech's layout: metadata.csv (id|raw text|normalised text) beside wavs/."""
    for where, line, problem in _lines(folder / "metadata.csv"):
        row = [field.strip() for field in line.split("|")]
        if not problem and (len(row) not in (2, 3) or not row[0]):
            problem = f"expected id|text|normalised text, got {line!r:.120}"
        if problem:
            yield Dropped(row[0], where, "broken line", problem)
            continue
        wav = str(folder / "wavs" / f"{row[0]}.wav")
        language = options.language or DEFAULT_LANGUAGE
        yield Recording(row[0], wav, "LJ", language, row[-1] or row[1], source="ljspeech", where=where)


def read_commonvoice(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """Common Voice: SUBSET.tsv (client_id, path, sentence, locale, ...) beside clips/.

    The subsets are "validated" unless told otherwise; whoever speaks in dev.tsv or test.tsv belongs to that split with all
    clips. The language is that of the locale column.
    """
    splits = {}
    for split in ("test", "dev"):
        if (folder / f"{split}.tsv").is_file():
            for row, _, problem in _rows(folder / f"{split}.tsv", "\t"):
                if not problem:
                    splits[row.get("client_id", "")] = split
    for subset in options.subsets or (COMMON_VOICE,):
        for row, where, problem in _rows(folder / f"{subset}.tsv", "\t", ("client_id", "path", "sentence")):
            name = row.get("path") or ""
            if not problem and not (name and row["client_id"]):
                problem = "expected a path and a client_id"
            if problem:
                yield Dropped(name, where, "broken line", problem)
                continue
            yield Recording(
                id=f"commonvoice/{Path(name).stem}",
                wav=str(folder / "clips" / name),
                speaker=f"cv-{row['client_id'][:20]}",
                language=options.language or _locale(row.get("locale") or ""),
                text=" ".join(row["sentence"].split()),
                split=splits.get(row["client_id"], "train" if splits else ""),
                source=f"commonvoice-{subset}",
                where=where,
            )


def read_csv(path: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """A table whose header names the columns: path, and any of text, speaker, language, split, id and source.

    Paths are relative to the folder of the table. Quotes mean something in a table with commas only: other tables are
    written without them, and a lone quotation mark in a text must not swallow the lines below.
    """
    for row, where, problem in _rows(path, options.delimiter, ("path",)):
        name = (row.get("path") or "").strip()
        if not problem and not name:
            problem = "the path is empty"
        cells = {key: (row.get(key) or "").strip() for key in CSV_COLUMNS}
        own = cells["id"] or os.path.splitext(name)[0]
        if problem:
            yield Dropped(own, where, "broken line", problem)
            continue
        yield Recording(
            id=own,
            wav=str(path.parent / name),
            speaker=cells["speaker"] or own,
            language=cells["language"] or options.language or DEFAULT_LANGUAGE,
            text=" ".join(cells["text"].split()),
            split=cells["split"],
            source=cells["source"] or path.stem,
            where=where,
        )


def read_list(path: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """A filelist (filelists/README.md); an empty speaker is one of its own, an empty language the given one."""
    for where, line, problem in _lines(path):
        parts = [part.strip() for part in line.split("|", 4)]
        if not problem and (len(parts) != 5 or not parts[0] or not parts[1]):
            problem = f"expected id|wav|speaker|language|text, got {line!r:.120}"
        if problem:
            yield Dropped(parts[0], where, "broken line", problem)
            continue
        own, wav, speaker, language, text = parts
        language = language or options.language or DEFAULT_LANGUAGE
        yield Recording(own, wav, speaker or own, language, text, source=path.stem, where=where)


def read_manifest(folder: Path, options: CorpusOptions) -> Iterator[Recording | Dropped]:
    """A folder with `manifest.csv`: path|speaker|source|licence|seconds|age|gender|split|transcript.

    Children are left out: at a few hundred adult speakers their voices are too far from all others to be learned.
    """
    needed = ("path", "speaker", "source", "age", "split", "transcript")
    for row, where, problem in _rows(folder / "manifest.csv", "|", needed):
        own = os.path.splitext(row.get("path") or "")[0]
        age = row.get("age") or ""
        if not problem and age and not age.isdecimal():
            problem = f"the age is {age!r}, expected a number of years"
        if problem:
            yield Dropped(own, where, "broken line", problem)
        elif age and int(age) < ADULT_AGE:
            yield Dropped(own, where, "child", f"the speaker is {age}, expected at least {ADULT_AGE}")
        else:
            # a label that stands for "somebody" is no speaker: each such recording is its own
            speaker = row["speaker"] if "unknown" not in row["speaker"] else Path(row["path"]).stem
            yield Recording(
                id=own,
                wav=str(folder / row["path"]),
                speaker=speaker,
                language=options.language or DEFAULT_LANGUAGE,
                text=row["transcript"].strip(),
                split=row["split"],
                source=row["source"],
                where=where,
            )


def _locale(locale: str) -> str:
    locale = locale.lower()
    return LOCALES.get(locale, locale.split("-")[0]) or DEFAULT_LANGUAGE


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(file:line, line, what is wrong with it) of every line that is not empty; a missing file is a ValueError."""
    try:
        file = open(path, "rb")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    with file:
        for number, raw in enumerate(file, 1):
            try:
                line, problem = raw.decode("utf-8-sig" if number == 1 else "utf-8"), ""
            except UnicodeDecodeError as error:
                line, problem = raw.decode("utf-8", "replace"), f"not UTF-8 ({error.reason})"
            line = line.rstrip("\r\n")
            if line.strip():
                yield f"{path}:{number}", line, problem


def _rows(
    path: Path, delimiter: str, needed: tuple[str, ...] = ()
) -> Iterator[tuple[dict[str, str], str, str]]:
    """(cells by the header's names, file:line, what is wrong) of every row of a table with a header.

    Raises:
        ValueError: no such file, or a header without one of the `needed` columns.
    """
    where = problem = ""

    def text() -> Iterator[str]:
        nonlocal where, problem
        for where, line, problem in _lines(path):  # noqa: B007 (where and problem go with the row read last)
            yield line + "\n"

    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(text(), delimiter=delimiter, quoting=quoting)
    header = [name.strip() for name in next(reader, [])]
    if missing := [name for name in needed if name not in header]:
        raise ValueError(
            f"{path}: the header lacks the column {missing[0]!r}, it has {delimiter.join(header)!r:.200}"
        )
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield {}, where, str(error)
            continue
        if cells is None:
            return
        wrong = problem
        if not wrong and len(cells) != len(header):
            wrong = f"expected {len(header)} columns, got {len(cells)}"
        yield dict(zip(header, cells, strict=False)), where, wrong
