"""References by URL: fetched once a process into a temporary folder, which goes with it."""

from __future__ import annotations

import functools
import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath

from speech.audio import AudioError

SCHEMES = ("http://", "https://")
MAX_BYTES = 100 * 2**20  # of what is fetched: an hour of speech as flac
SECONDS = 30.0  # that the other side may be silent
BLOCK = 1 << 16


def is_url(reference: object) -> bool:
    """Whether a reference is to be fetched."""
    return isinstance(reference, str) and reference.lower().startswith(SCHEMES)


@functools.lru_cache(maxsize=256)
def fetch(url: str) -> Path:
    """The file behind a URL, with the ending that the URL has.

    Raises:
        AudioError: it cannot be had within `SECONDS`, or has more than `MAX_BYTES`.
    """
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            content = _read(answer, url)
    except urllib.error.HTTPError as error:
        raise AudioError(f"{url}: cannot be fetched (status {error.code}).") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        reason = getattr(error, "reason", None) or error
        raise AudioError(f"{url}: cannot be fetched ({reason}).") from error
    suffix = PurePosixPath(urllib.parse.urlsplit(url).path).suffix.lower()
    path = Path(_folder().name) / f"{fetch.cache_info().misses}{suffix if suffix[1:].isalnum() else ''}"
    path.write_bytes(content)
    return path


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    content = bytearray()
    while block := answer.read(BLOCK):
        content += block
        if len(content) > MAX_BYTES:
            raise AudioError(f"{url}: has more than {MAX_BYTES} bytes, expected a recording of some seconds.")
    return bytes(content)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="hierspeech-")  # removed when the process ends
