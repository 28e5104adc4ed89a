"""Samples into the bytes of a response: wav and pcm as scripts write them, mp3, opus, aac and flac by FFmpeg's encoders (PyAV).

PyAV, since it writes every format from front to back: libsndfile holds Ogg-Opus back for a second, returns to the head of
mp3 and flac files, which a response cannot, and knows no AAC. Shapes: T samples.
"""

import io

import numpy as np

from hierspeech.pipelines.output import SYNTHETIC
from hierspeech.pipelines.stream_files import wav_header

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# container, encoder, its sample format, bits per second (None: lossless), options of the container
_FFMPEG = {
    "mp3": ("mp3", "libmp3lame", "fltp", 96_000, {}),
    "opus": ("ogg", "libopus", "flt", 48_000, {"page_duration": "20000"}),  # microseconds: a page per packet
    "aac": ("adts", "aac", "fltp", 96_000, {}),
    "flac": ("flac", "flac", "s16", None, {}),
}


def to_pcm(wav: np.ndarray) -> np.ndarray:
    """wav float [T] -> int16 [T], the samples that `Speech.save` writes; what is beyond [-1, 1] is clipped."""
    return np.floor(np.asarray(wav, np.float32) * 32768).clip(-32768, 32767).astype("<i2")  # libsndfile's way


class _Pipe(io.RawIOBase):
    """A file that is only ever appended to, whose bytes are taken away as they come."""

    def __init__(self):
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Encoder:
    """One sound, chunk by chunk: `push` and `finish` give the bytes that are ready; put together they are the file."""

    def __init__(self, name: str, sample_rate: int):
        """Args: name: one of MEDIA_TYPES; sample_rate: in Hz."""
        self.name, self.sample_rate = name, sample_rate
        self._head = wav_header(sample_rate, None) if name == "wav" else b""
        self._pipe = _Pipe()
        self._file = FFmpegFile(self._pipe, name, sample_rate) if name in _FFMPEG else None

    def push(self, wav: np.ndarray) -> bytes:
        """wav [T] -> bytes, perhaps none yet."""
        if self._file is not None:
            self._file.write(wav)
            return self._pipe.take()
        head, self._head = self._head, b""
        return head + to_pcm(wav).tobytes()

    def finish(self) -> bytes:
        """The last bytes."""
        if self._file is None:
            return b""
        self._file.close()
        return self._pipe.take()


def encode(wav: np.ndarray, sample_rate: int, name: str) -> bytes:
    """A whole sound [T] as a file whose head states its length."""
    if name == "pcm":
        return to_pcm(wav).tobytes()
    if name == "wav":
        return wav_header(sample_rate, 2 * len(wav)) + to_pcm(wav).tobytes()
    target = io.BytesIO()  # it can seek, so the head is put right at the end
    file = FFmpegFile(target, name, sample_rate)
    file.write(wav)
    file.close()
    return target.getvalue()


class FFmpegFile:
    """A compressed file that is being written."""

    def __init__(self, target, name: str, sample_rate: int):
        import av

        container, codec, self._format, bit_rate, options = _FFMPEG[name]
        self._file = av.open(target, "w", format=container, options=options | {"flush_packets": "1"})
        self._file.metadata["comment"] = SYNTHETIC
        self._stream = self._file.add_stream(codec, rate=sample_rate)
        self._stream.codec_context.layout = "mono"
        self._stream.codec_context.format = self._format
        if bit_rate is not None:
            self._stream.bit_rate = bit_rate
        self._written = 0

    def write(self, wav: np.ndarray) -> None:
        """Appends wav [T]."""
        import av

        if not len(wav):
            return
        samples = to_pcm(wav) if self._format == "s16" else np.clip(wav, -1, 1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format=self._format, layout="mono")
        frame.sample_rate = self._stream.codec_context.sample_rate
        frame.pts = self._written
        self._written += len(wav)
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds, and the end."""
        self._file.mux(self._stream.encode(None))
        self._file.close()
