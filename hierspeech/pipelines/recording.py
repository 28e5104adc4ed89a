"""Recordings of users, references and sources alike: read, checked, and made like those that the voice's models know.

A voice's `recordings` says how. "levelled" is our own training's way: the mean of the channels, no mains hum, soxr, one
loudness, and of references the silence around the sound cut away. "as_recorded" is the published pipelines' (spec 8.1, 8.2): their
resampler and nothing else, and of references the first channel.

Shapes: T samples.
"""

import os

import numpy as np

from speech.audio import AudioError, load_audio, read_note, resample, set_loudness, trim_silence
from speech.hum import remove_hum
from speech.resampling import resample_kaiser

MIN_SECONDS = (
    0.5  # of sound in a reference, silence at both ends not counted; 3 s and more give a good likeness
)
MAX_SECONDS = 30.0  # more of a reference than this is not listened to, so that memory is bounded
READ_SECONDS = 300.0  # a file is searched for sound this far from its start
SILENCE_PEAK = 1e-3  # -60 dB re full scale; below, a recording is refused
FLOOR_DB = -80.0  # RMS under which nothing is sound, so that faint recordings are not trimmed away
ONLY_HUM = 1e-4  # share of a recording's power without hum, under which it was nothing else
RMS_DB = -23.0  # level of the recordings that models are trained on
MARGIN_MS = 200.0  # of silence kept around the sound, as in training


def note_of(recording: str | os.PathLike | np.ndarray) -> str | None:
    """What a sound file's metadata says of it: a recording of a person stays one, synthetic speech goes on saying that it is."""
    return None if isinstance(recording, np.ndarray) else read_note(recording)


def prepare_reference(
    reference: str | os.PathLike | np.ndarray,
    sample_rate: int,
    own_rate: int | None = None,
    recordings: str = "levelled",
) -> tuple[np.ndarray, float]:
    """A reference, checked and made like the recordings that the models know, at most 30 s of it.

    Args:
        reference: a sound file, or samples [T].
        sample_rate: rate in Hz of the result.
        own_rate: rate in Hz of `reference` if it is an array (default: `sample_rate`).
        recordings: "levelled" or "as_recorded".
    Returns:
        wav float32 [T], and the highest sample before its level was changed.
    Raises:
        AudioError: not readable, not finite, silent (peak under -60 dB), or under 0.5 s of sound.
    """
    own_rate = own_rate or sample_rate
    if recordings == "as_recorded":
        wav, rate, name = read_recording(reference, own_rate, MAX_SECONDS, channel="first")
        wav = wav[: int(MAX_SECONDS * rate)]
        check_recording(wav, rate, name, MIN_SECONDS)
    else:
        wav, rate, name = read_recording(reference, own_rate, READ_SECONDS)
        check_recording(wav, rate, name, MIN_SECONDS)
        wav = without_hum(wav, rate, name)
        wav = trim_silence(wav, rate, floor_db=FLOOR_DB, margin_ms=MARGIN_MS)[: int(MAX_SECONDS * rate)]
    wav = resample_recording(wav, rate, sample_rate, recordings)
    return level_recording(wav, recordings), float(np.abs(wav).max())


def prepare_source(
    source: str | os.PathLike | np.ndarray,
    sample_rate: int,
    own_rate: int | None = None,
    recordings: str = "levelled",
    min_seconds: float = 0.1,
    max_seconds: float = 3600.0,
) -> np.ndarray:
    """What is to be spoken again, checked; arguments as for `prepare_reference` -> wav float32 [T], untrimmed.

    Raises:
        AudioError: not readable, not finite, silent, too short or too long.
    """
    wav, rate, name = read_recording(source, own_rate or sample_rate, max_seconds + 1)
    if len(wav) > max_seconds * rate:
        raise AudioError(f"{name}: the source is longer than {max_seconds / 60:g} minutes.")
    check_recording(wav, rate, name, min_seconds)
    wav = resample_recording(wav, rate, sample_rate, recordings)
    if recordings == "levelled":
        wav = without_hum(wav, sample_rate, name)
    return level_recording(wav, recordings)


def resample_recording(wav: np.ndarray, rate: int, sample_rate: int, recordings: str) -> np.ndarray:
    """wav [T] at `rate` Hz -> at `sample_rate` Hz, by the resampler that belongs to `recordings`."""
    return (resample_kaiser if recordings == "as_recorded" else resample)(wav, rate, sample_rate)


def without_hum(wav: np.ndarray, rate: int, name: str, lines: list[float] | None = None) -> np.ndarray:
    """A recording [T] without its mains hum (`lines`: see `remove_hum`); AudioError where it holds nothing else."""
    cleaned = remove_hum(wav, rate, lines)
    if np.square(cleaned).mean() < ONLY_HUM * np.square(wav).mean():
        raise AudioError(f"{name}: the recording holds nothing but mains hum.")
    return cleaned


def level_recording(wav: np.ndarray, recordings: str) -> np.ndarray:
    """wav [T] at the level that models know: -23 dB RMS, or the recording's own."""
    return wav if recordings == "as_recorded" else set_loudness(wav, RMS_DB)


def read_recording(
    recording: str | os.PathLike | np.ndarray,
    own_rate: int,
    max_seconds: float | None = None,
    channel: str = "mean",
) -> tuple[np.ndarray, int, str]:
    """A file or an array of samples -> wav [T], its rate in Hz, and how to call it in a message."""
    if not isinstance(recording, np.ndarray):
        return *load_audio(recording, max_seconds=max_seconds, channel=channel), str(recording)
    wav = np.asarray(recording, dtype=np.float32)
    if wav.ndim != 1:
        raise AudioError(f"recording: expected samples of shape [T], got {list(wav.shape)}.")
    return wav, own_rate, "recording"


def check_recording(wav: np.ndarray, sample_rate: int, name: str, min_seconds: float) -> None:
    """One-sentence AudioError for a recording [T] that is empty, not finite, silent or too short."""
    if len(wav) == 0:
        raise AudioError(f"{name}: the recording holds no samples.")
    if not np.isfinite(wav).all():
        raise AudioError(
            f"{name}: the recording holds samples that are not finite numbers (NaN or infinity)."
        )
    # A constant offset is not sound.
    mean = float(wav.mean(dtype=np.float64))
    peak = max(float(wav.max()) - mean, mean - float(wav.min()))
    if peak < SILENCE_PEAK:
        raise AudioError(
            f"{name}: the recording is silent (peak {peak:.1g}, expected at least {SILENCE_PEAK:g})."
        )
    seconds = len(trim_silence(wav, sample_rate, floor_db=FLOOR_DB, margin_ms=0)) / sample_rate
    if seconds < min_seconds:
        raise AudioError(
            f"{name}: {seconds:.2f} s of sound is too short, expected at least {min_seconds:g} s."
        )
