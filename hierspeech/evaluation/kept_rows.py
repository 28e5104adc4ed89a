"""Rows that are already measured: a file of JSON lines, so that an interrupted evaluation goes on where it was.

A line is {"key", "metric", "id", "row"}. The key is made of everything the row depends on (wav, reference, target and text by
their digests, the metric's card, model and package versions), so nothing stale is ever taken and a list may change freely.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TextIO

from hierspeech.evaluation.metrics.card import Row


class KeptRows:
    """The rows in `path`, or in memory alone where it is None; new ones are written at once."""

    def __init__(self, path: str | os.PathLike | None):
        self.path = None if path is None else Path(path)
        self.rows: dict[str, Row] = {}
        self._file: TextIO | None = None
        if self.path is not None and self.path.is_file():
            self._read()

    def _read(self) -> None:
        with open(self.path, "rb") as file:
            for line in file:
                try:  # the last line of a process that was killed may be cut short
                    entry = json.loads(line)
                    self.rows[entry["key"]] = dict(entry["row"])
                except (ValueError, KeyError, TypeError):
                    continue

    def __enter__(self) -> KeptRows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def get(self, key: str) -> Row | None:
        """The row of that key, if it was measured before."""
        return self.rows.get(key)

    def add(self, key: str, metric: str, item: str, row: Row) -> None:
        """Keeps a row; it is on disk when this returns."""
        self.rows[key] = row
        if self.path is None:
            return
        if self._file is None:
            cut = self.path.is_file() and self.path.stat().st_size and not _ends_whole(self.path)
            self._file = open(self.path, "a", encoding="utf-8")
            if cut:
                self._file.write("\n")
        line = json.dumps({"key": key, "metric": metric, "id": item, "row": row}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def key_of(*parts: Any) -> str:
    """A digest of plain values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
