"""Public corpora from where their authors publish them: fetched once, resumed after an interrupt, unpacked whole or not at all."""

from __future__ import annotations

import http.client
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SECONDS = 60.0  # that the other side may be silent
BLOCK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """Where a corpus is published, the folder that its archive holds, and the layout of prepare.py that reads it."""

    url: str
    folder: str
    layout: str


ARCHIVES = {
    "ljspeech": Archive(
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2", "LJSpeech-1.1", "ljspeech"
    ),
}


def download(name: str, into: Path, url: str | None = None) -> Path:
    """Fetches and unpacks a corpus, unless it is there.

    Args:
        name: one of `ARCHIVES`.
        into: the corpus becomes a folder in it.
        url: of a mirror.
    Returns:
        the corpus' folder.
    Raises:
        ValueError: an unknown name, a source that cannot be read, or an archive that is damaged or of something else.
    """
    if name not in ARCHIVES:
        raise ValueError(f"{name}: no such corpus to fetch, expected one of {', '.join(ARCHIVES)}.")
    archive, url = ARCHIVES[name], url or ARCHIVES[name].url
    place = into / archive.folder
    if place.exists():
        return place
    into.mkdir(parents=True, exist_ok=True)
    part = into / f".{archive.folder}.part"
    _fetch(url, part)
    _unpack(part, archive, place)
    part.unlink()
    return place


def _fetch(url: str, part: Path) -> None:
    """Writes what is behind a URL into a file, from where it ends on if the server can do that."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            goes_on = answer.status == http.client.PARTIAL_CONTENT
            total = int(answer.headers.get("Content-Length") or 0) + (there if goes_on else 0)
            with open(part, "ab" if goes_on else "wb") as file:
                shown = 0.0
                while block := answer.read(BLOCK):
                    file.write(block)
                    if time.monotonic() - shown > 1:
                        shown = time.monotonic()
                        print(f"{url}: {file.tell() >> 20} of {total >> 20} MB", file=sys.stderr)
                if file.tell() < total:
                    raise ValueError(f"{url}: broke off; the same command goes on from here.")
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and there:
            return  # it is all there
        raise ValueError(f"{url}: cannot be fetched (status {error.code}).") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(f"{url}: cannot be fetched ({reason}).") from error


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One regular file of an archive into a folder. Not `extractall` with a filter, which Python 3.11.2, Debian's, does not have."""
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        return  # folders are made for what lies in them; links and devices are in no corpus
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not name.parts:  # also //name, whose root is two slashes
        raise tarfile.TarError(f"{member.name} lies outside of the archive")
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as out:
        shutil.copyfileobj(content, out)


def _unpack(part: Path, archive: Archive, place: Path) -> None:
    temporary = place.with_name(f".{archive.folder}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with tarfile.open(part) as tar:
            for member in tar:
                _unpack_file(tar, member, temporary)
    except (tarfile.TarError, OSError, EOFError) as error:
        part.unlink(missing_ok=True)
        raise ValueError(f"{part}: the archive is damaged and was removed ({error}).") from error
    if not (temporary / archive.folder).is_dir():
        part.unlink(missing_ok=True)
        raise ValueError(f"{part}: holds no folder {archive.folder}, expected the published archive.")
    (temporary / archive.folder).replace(place)
    shutil.rmtree(temporary)
