"""The source of a streamed conversion, read as it is needed: a file block by block, however long it is.

The same steps as `recording.prepare_source`, but for what would need the whole: level and mains hum are measured in the
first ten seconds.
Shapes: T samples.
"""

import os
from collections.abc import Iterator

import numpy as np
import soxr

from hierspeech.pipelines.recording import (
    check_recording,
    level_recording,
    read_recording,
    resample_recording,
    without_hum,
)
from hierspeech.pipelines.streaming import Lookahead
from speech.audio import AudioError, load_audio, read_length
from speech.hum import HumRemover, find_hum

BLOCK_SECONDS = 10  # read at once, and what level and hum are taken from


class SourceReader:
    """Samples of a source at the voice's rate, in order, as many as are asked for.

    A voice whose recordings are "as_recorded" has a resampler that wants the whole, so that a source at another rate is then read
    at once.
    """

    def __init__(
        self,
        source: str | os.PathLike | np.ndarray,
        sample_rate: int,
        own_rate: int | None,
        recordings: str,
        min_seconds: float,
    ):
        """Arguments as for `prepare_source`. Reads on until there is sound.

        Raises:
            AudioError: not readable, not finite, without sound, or too short.
        """
        self.sample_rate, self.recordings = sample_rate, recordings
        if isinstance(source, np.ndarray):
            read_recording(source, sample_rate)  # one channel, or an error
        self.rate = (own_rate or sample_rate) if isinstance(source, np.ndarray) else read_length(source)[1]
        self.name = "recording" if isinstance(source, np.ndarray) else str(source)
        self._resampler = None
        if self.rate != sample_rate and recordings == "as_recorded":
            whole, *_ = read_recording(source, self.rate)
            self._check(whole, min_seconds)
            source = resample_recording(whole, self.rate, sample_rate, recordings)
            self.rate = sample_rate
        elif self.rate != sample_rate:
            self._resampler = soxr.ResampleStream(self.rate, sample_rate, 1, dtype="float32")
        self._blocks = Lookahead(self._read(source))
        start = self._find_sound(min_seconds)
        probe = self._resample(start)
        lines = find_hum(probe, sample_rate) if recordings == "levelled" else []
        self._hum = HumRemover(sample_rate, lines)
        clean = without_hum(probe, sample_rate, self.name, lines)
        highest = int(np.abs(clean).argmax())
        self._gain = np.float32(level_recording(clean, recordings)[highest] / clean[highest])
        self._wav = self._prepare(probe)

    def peek(self, samples: int) -> np.ndarray:
        """The next `samples` [T] without taking them; fewer only where the source ends."""
        while len(self._wav) < samples and self._blocks.more():
            self._wav = np.concatenate([self._wav, self._prepare(self._resample(next(self._blocks)))])
        return self._wav[:samples]

    def take(self, samples: int) -> np.ndarray:
        """The next `samples` [T], or what is left."""
        wav = self.peek(samples)
        self._wav = self._wav[samples:]
        return wav

    def _find_sound(self, min_seconds: float) -> np.ndarray:
        """The source up to the block that makes it a usable recording: the first of most, some begin with silence."""
        wav, complaint = np.zeros(0, np.float32), AudioError(f"{self.name}: the recording holds no samples.")
        for block in self._blocks:
            wav = np.concatenate([wav, block])
            try:
                self._check(wav, min_seconds)
                return wav
            except AudioError as error:
                complaint = error
        raise complaint

    def _read(self, source: str | os.PathLike | np.ndarray) -> Iterator[np.ndarray]:
        """Blocks of BLOCK_SECONDS at `self.rate`."""
        size, start = BLOCK_SECONDS * self.rate, 0
        frames = len(source) if isinstance(source, np.ndarray) else read_length(source)[0]
        while start < frames:
            if isinstance(source, np.ndarray):
                block = source[start : start + size].astype(np.float32)
                if not np.isfinite(block).all():
                    raise AudioError("recording: the source holds samples that are not finite.")
            else:  # the header may promise more than there is
                block = load_audio(source, max_seconds=BLOCK_SECONDS, start_seconds=start / self.rate)[0]
            yield block
            start += size

    def _prepare(self, wav: np.ndarray) -> np.ndarray:
        return self._hum.push(wav, last=not self._blocks.more()) * self._gain

    def _resample(self, wav: np.ndarray) -> np.ndarray:
        if self._resampler is None:
            return wav
        return self._resampler.resample_chunk(wav, last=not self._blocks.more())

    def _check(self, wav: np.ndarray, min_seconds: float) -> None:
        check_recording(wav, self.rate, self.name, min_seconds)
