"""Audio in and out of arrays: load, save, resample, loudness and silence. The only file that touches audio files.

Waveforms here are mono float32 numpy arrays [T] in [-1, 1]; files are whatever libsndfile reads.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

WRITABLE = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
BLOCK_SAMPLES = 65536
MAX_WAV_SAMPLES = (2**32 - 2**16) // 2  # of 16 bits: the format counts its bytes in 32 bits
LEVEL_BLOCK = 320  # samples whose mean square is looked at to tell speech from pauses: 20 ms at 16 kHz
RATES_HZ = (1000, 768000)  # sample rates outside are broken headers, not recordings


class AudioError(ValueError):
    """A file or an array that is not usable audio; the message is one sentence for the user."""


def load_audio(
    path: str | os.PathLike,
    sample_rate: int | None = None,
    max_seconds: float | None = None,
    channel: str = "mean",
    start_seconds: float = 0.0,
) -> tuple[np.ndarray, int]:
    """Reads a sound file as mono.

    Args:
        path: a file in any format libsndfile reads, at any rate and with any number of channels.
        sample_rate: the rate to resample to; None keeps the file's own.
        max_seconds: read no more than this much, so that memory is bounded.
        channel: what becomes of several channels, their "mean" or the "first" one.
        start_seconds: where to begin reading, to the nearest sample.
    Returns:
        wav float32 [T] and its sample rate.
    Raises:
        AudioError: no such file, not audio, no samples, or samples that are not finite.
    """
    if channel not in ("mean", "first"):
        raise ValueError(f"channel {channel!r}: expected 'mean' or 'first'.")
    path = Path(path)
    if not path.is_file():
        raise AudioError(
            f"{path}: {'is a folder, not a sound file' if path.is_dir() else 'no such sound file'}."
        )
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
                raise AudioError(
                    f"{path}: a sample rate of {rate} Hz is outside {RATES_HZ[0]} to {RATES_HZ[1]} Hz."
                )
            if start_seconds:
                file.seek(min(round(start_seconds * rate), file.frames))
            wav = _read(file, None if max_seconds is None else int(max_seconds * rate), channel)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: not a sound file that libsndfile can read ({error.error_string})."
        ) from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(wav) == 0:
        raise AudioError(f"{path}: the sound file holds no samples.")
    if not np.isfinite(wav).all():
        raise AudioError(
            f"{path}: the sound file holds samples that are not finite numbers (NaN or infinity)."
        )
    if sample_rate is not None and sample_rate != rate:
        wav, rate = resample(wav, rate, sample_rate), sample_rate
    return np.ascontiguousarray(wav, dtype=np.float32), rate


def _read(file: soundfile.SoundFile, limit: int | None, channel: str) -> np.ndarray:
    """One channel of up to `limit` samples, block by block: what is there counts, not what the header promises."""
    blocks: list[np.ndarray] = []
    left = limit
    while left is None or left > 0:
        block = file.read(
            BLOCK_SAMPLES if left is None else min(left, BLOCK_SAMPLES), "float32", always_2d=True
        )
        if len(block) == 0:
            break
        blocks.append(block[:, 0].copy() if channel == "first" or block.shape[1] == 1 else block.mean(axis=1))
        left = None if left is None else left - len(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def read_length(path: str | os.PathLike) -> tuple[int, int]:
    """(samples, sample rate in Hz) that the header of a sound file states; AudioError where there is none."""
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such sound file.")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: not a sound file that libsndfile can read ({error.error_string})."
        ) from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return info.frames, info.samplerate


def count_samples(path: str | os.PathLike, sample_rate: int) -> int:
    """How many samples `load_audio(path, sample_rate)` would give, from the file's head alone; AudioError as there."""
    frames, own_rate = read_length(path)
    return round(frames * sample_rate / own_rate)


def read_note(path: str | os.PathLike) -> str | None:
    """The comment in a sound file's metadata; None where there is none, or no such file."""
    try:
        with soundfile.SoundFile(path) as file:
            return file.comment or None
    except (soundfile.LibsndfileError, OSError, TypeError):
        return None


def audio_seconds(path: str | os.PathLike) -> float:
    """Length of a sound file as its header says it; AudioError where there is none, or where it cannot be so long."""
    frames, rate = read_length(path)
    if not 0 <= frames / rate < 1e7:
        raise AudioError(f"{path}: its header gives a length of {frames / rate:.0f} s.")
    return frames / rate


def check_writable(path: str | os.PathLike) -> Path:
    """Refuses an output path that could not be written, before any work is done for it; leaves nothing behind."""
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise AudioError(f"{path}: the output name must end in one of {', '.join(WRITABLE)}.")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, expected the name of a sound file to write.")
    if not path.parent.is_dir():
        raise AudioError(f"{path}: the folder {path.parent} does not exist.")
    if path.exists() and not os.access(path, os.W_OK):
        raise AudioError(f"{path}: no permission to replace this file.")
    temporary = _temporary(path)
    try:  # permissions alone do not tell: the file system may be read-only, and root may write anywhere but there
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def save_audio(path: str | os.PathLike, wav: np.ndarray, sample_rate: int, note: str | None = None) -> None:
    """Writes wav [T] as 16-bit WAV or FLAC, or OGG, by the name's ending; the file appears whole or not at all.

    Samples beyond [-1, 1] are clipped, as 16 bits demand: see `set_loudness`. `note` is the file's comment. Raises AudioError for samples that
    are not finite, an empty wav, or a place that cannot be written.
    """
    path = check_writable(path)
    wav = np.asarray(wav, dtype=np.float32)
    if wav.ndim != 1 or len(wav) == 0:
        raise AudioError(f"{path}: expected a wav of shape [T] with T > 0, got {list(wav.shape)}.")
    save_blocks(
        path,
        (wav[start : start + BLOCK_SAMPLES] for start in range(0, len(wav), BLOCK_SAMPLES)),
        sample_rate,
        note,
    )


def save_blocks(
    path: str | os.PathLike, blocks: Iterable[np.ndarray], sample_rate: int, note: str | None = None
) -> None:
    """`save_audio` of a wav that comes in blocks [T], of at most BLOCK_SAMPLES each, so that it never is in memory whole."""
    path = check_writable(path)
    form, subtype = WRITABLE[path.suffix.lower()]
    temporary = _temporary(path)
    written = 0
    try:
        with soundfile.SoundFile(temporary, "w", sample_rate, 1, subtype, format=form) as file:
            if note is not None:  # before the samples: behind them, a WAV reader may not look for it
                file.comment = note
            for block in blocks:  # the Vorbis encoder overflows its stack on long arrays
                if not np.isfinite(block).all():
                    raise AudioError(f"{path}: the samples to write are not all finite numbers.")
                written += len(block)
                if form == "WAV" and written > MAX_WAV_SAMPLES:
                    hours = MAX_WAV_SAMPLES / sample_rate / 3600
                    raise AudioError(
                        f"{path}: a WAV file holds no more than {hours:.1f} h at {sample_rate} Hz, expected .flac."
                    )
                file.write(block.clip(-1.0, 1.0))
        os.replace(temporary, path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: cannot be written ({error}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Band-limited resampling by soxr: wav [T] at from_rate Hz -> float32 [round(T * to_rate / from_rate)]."""
    wav = np.asarray(wav, dtype=np.float32)
    return wav if from_rate == to_rate else soxr.resample(wav, from_rate, to_rate)


def resample_blocks(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """`resample` of a wav that comes in blocks [T]: what comes out, put together, is bit for bit the same."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def set_loudness(wav: np.ndarray, rms_db: float = -23.0, peak: float = 0.95) -> np.ndarray:
    """Scales wav [T] so that its loud parts have the wanted level, without ever clipping; see `loudness_gain`."""
    wav = np.asarray(wav, dtype=np.float32)
    highest = float(np.abs(wav).max(initial=0.0))
    if highest == 0.0:
        return wav
    power = block_power(wav, max(1, min(len(wav), LEVEL_BLOCK)))
    return wav * np.float32(loudness_gain(power, highest, rms_db, peak))


def loudness_gain(power: np.ndarray, highest: float, rms_db: float, peak: float) -> float:
    """The factor that gives a wav the wanted level.

    The level is the RMS in dB re full scale over the 20 ms blocks within 40 dB of the loudest (pauses do not count);
    the gain is smaller where the highest sample would exceed `peak`.

    Args:
        power: mean square of each block of LEVEL_BLOCK samples.
        highest: absolute value of the highest sample, above 0.
    """
    active = power[power >= power.max() * 1e-4]
    gain = 10 ** (rms_db / 20) / max(float(np.sqrt(active.mean())), 1e-9)
    return min(gain, peak / highest)


def block_power(wav: np.ndarray, block: int) -> np.ndarray:
    """Mean square of every whole block of `block` samples of wav [T] -> float64 [T // block]."""
    n_blocks, at_once = len(wav) // block, max(1, (1 << 20) // block)
    power = np.empty(n_blocks)
    for first in range(0, n_blocks, at_once):  # hours of sound are not copied to float64 as a whole
        last = min(first + at_once, n_blocks)
        part = wav[first * block : last * block].astype(np.float64)
        power[first:last] = np.square(part, out=part).reshape(-1, block).mean(axis=1)
    return power


def trim_silence(
    wav: np.ndarray,
    sample_rate: int,
    below_peak_db: float = 40.0,
    floor_db: float = -60.0,
    margin_ms: float = 50.0,
) -> np.ndarray:
    """Cuts leading and trailing silence off wav [T]; an all-silent wav gives an empty array.

    A 20 ms block is silent if its RMS lies `below_peak_db` under the loudest block, or under `floor_db` re full scale.
    `margin_ms` of what surrounds the first and last loud block is kept.
    """
    block = max(1, sample_rate // 50)
    power = block_power(wav, block)
    threshold = max(power.max(initial=0.0) * 10 ** (-below_peak_db / 10), 10 ** (floor_db / 10))
    loud = np.flatnonzero(power >= threshold)
    if len(loud) == 0:
        return wav[:0]
    margin = int(margin_ms * sample_rate / 1000)
    return wav[max(0, loud[0] * block - margin) : (loud[-1] + 1) * block + margin]
