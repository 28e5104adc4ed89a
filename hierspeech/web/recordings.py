"""Recordings that clients send: bytes of any format that libsndfile reads, checked before a model sees them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speech.audio import AudioError, load_audio, read_length

MAX_RATE_HZ = 192_000  # a higher rate would make much memory of few bytes


@contextmanager
def recording_file(data: bytes, max_seconds: float) -> Iterator[Path]:
    """The recording as a file of a name of ours, for as long as the block lasts.

    Raises:
        ValueError: not a recording, or too long; and whatever ValueError the block raises, without the file's name.
    """
    with tempfile.TemporaryDirectory(prefix="hierspeech-") as folder:
        path = Path(folder) / "recording"
        try:
            path.write_bytes(data)
            _, rate = read_length(path)
            if rate > MAX_RATE_HZ:
                raise AudioError(f"{path}: a sample rate of {rate} Hz is above {MAX_RATE_HZ} Hz.")
            # what is there counts, not what a head promises
            wav, rate = load_audio(path, max_seconds=max_seconds + 1)
            if len(wav) > max_seconds * rate:
                raise AudioError(f"{path}: longer than {max_seconds:g} s, expected at most that.")
            yield path
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "the recording")) from error
