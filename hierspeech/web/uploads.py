"""Recordings in multipart forms."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import UploadFile

from hierspeech.web.errors import ApiError


async def read_upload(file: UploadFile, max_bytes: int) -> bytes:
    """The bytes of a recording; 413 where they are too many, 400 where there are none. Its name is never looked at."""
    data = await file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ApiError(413, f"the recording is longer than {max_bytes} bytes.", "file")
    if not data:
        raise ApiError(400, "the recording is empty.", "file")
    return data


@contextmanager
def recording_errors() -> Iterator[None]:
    """What is wrong with a recording as 422."""
    try:
        yield
    except ValueError as error:
        raise ApiError(422, " ".join(str(error).split()), "file", "unusable_recording") from error
