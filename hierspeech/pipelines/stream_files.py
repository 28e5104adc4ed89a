"""Where scripts send a stream: standard output, or a WAV file that grows and is valid after every chunk.

A growing file cannot appear whole under its name at the end, as other outputs do: whoever listens opens it while it grows. So it
is begun with the first chunk, under its own name, and its header is set anew after every chunk: after an interrupt it holds
what was spoken until then, and the message says how much that is. To standard output, which cannot be rewound, goes a header that
gives the greatest length, as ffmpeg and sox do it; or no header at all ("pcm").
"""

import argparse
import os
import struct
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hierspeech.pipelines.command_line import check_paths, say

if TYPE_CHECKING:  # nothing heavy at the top: wrong arguments are answered before torch is loaded
    from hierspeech.pipelines.output import Speech

UNKNOWN_LENGTH = 0xFFFFFFFF  # in a header: until the end of the stream
SYNTHETIC = b"Synthetic speech, made by hierspeech.\0"  # as output.SYNTHETIC, in an even number of bytes
NOTE = struct.pack("<4sI4s4sI", b"LIST", 12 + len(SYNTHETIC), b"INFO", b"ICMT", len(SYNTHETIC)) + SYNTHETIC
HEADER_BYTES = 44 + len(NOTE)


def add_stream_option(parser: argparse.ArgumentParser) -> None:
    """--stream, with the form of what is written."""
    parser.add_argument(
        "--stream",
        nargs="?",
        const="wav",
        choices=("wav", "pcm"),
        help="write sound as soon as it is there: to --out - (standard output) as WAV, or as raw 16-bit samples with "
        "--stream pcm; to a .wav file, which is playable while it grows and after an interrupt",
    )


def check_stream_output(name: str, form: str, *inputs: str | list[str] | None) -> None:
    """Refuses an output that no stream can go to, before any work is done for it.

    Raises:
        ValueError: a terminal, another ending than .wav, headerless samples for a file, or an input as output.
    """
    if name == "-":
        if sys.stdout.isatty():
            raise ValueError("--out -: standard output is a terminal, expected a pipe or a file.")
    elif form == "pcm":
        raise ValueError(
            f"{name}: raw samples go to standard output only, expected --out - with --stream pcm."
        )
    elif Path(name).suffix.lower() != ".wav":
        raise ValueError(
            f"{name}: a stream is written as WAV, expected a name that ends in .wav, or - for standard output."
        )
    else:
        check_paths(name, *inputs)


def wav_header(sample_rate: int, data_bytes: int | None) -> bytes:
    """Header of a mono WAV file of 16 bits with so many bytes of samples (None where nobody knows yet) and a note that the
    speech is synthetic."""
    size = UNKNOWN_LENGTH if data_bytes is None else min(data_bytes, UNKNOWN_LENGTH - HEADER_BYTES)
    riff = UNKNOWN_LENGTH if data_bytes is None else size + HEADER_BYTES - 8
    return struct.pack(
        f"<4sI4s4sIHHIIHH{len(NOTE)}s4sI",
        b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16, NOTE, b"data", size,
    )  # fmt: skip


def write_stream(
    chunks: "Generator[Speech, None, None]",
    name: str,
    form: str = "wav",
    timed: Callable[["Speech"], None] | None = None,
) -> list[str]:
    """Writes a stream to the file `name`, or "-", and says how long it became; ends quietly where a pipe is closed.

    `timed` is shown every chunk that was written.

    Returns:
        The symbols that could not be spoken.
    Raises:
        ValueError: what the stream raises, with what the output holds by then.
        KeyboardInterrupt: likewise.
    """
    file: BinaryIO | None = None
    samples, rate, unknown = 0, 1, []
    try:
        for chunk in chunks:
            rate = chunk.sample_rate
            unknown += chunk.unknown
            if file is None:
                file = sys.stdout.buffer if name == "-" else open(name, "wb")  # noqa: SIM115
                if form == "wav":
                    file.write(wav_header(rate, None if name == "-" else 0))
            file.write((chunk.audio.clip(-1.0, 1.0) * 32767).round().astype("<i2").tobytes())
            samples += len(chunk.audio)
            if timed is not None:
                timed(chunk)
            if name != "-":  # the samples first, then the header that counts them
                file.flush()
                file.seek(0)
                file.write(wav_header(rate, 2 * samples))
                file.seek(0, os.SEEK_END)
            file.flush()
    except BrokenPipeError:
        # who listened has heard enough; what is still buffered must not fail when the interpreter flushes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return []
    except (ValueError, KeyboardInterrupt) as error:
        if file is None:
            raise
        where = "standard output" if name == "-" else name
        kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ValueError
        raise kind(
            f"{str(error).rstrip('.') or 'interrupted'}; {where} got the first {samples / rate:.2f} s."
        ) from error
    finally:
        chunks.close()
        if file is not None and name != "-":
            file.close()
    message = f"{name}: {samples / rate:.2f} s at {rate} Hz"
    if name == "-":
        print(message, file=sys.stderr)
    else:
        say(message)
    return list(dict.fromkeys(unknown))
