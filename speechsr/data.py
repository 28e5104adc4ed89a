"""Pairs to learn super-resolution from: a piece of a wideband recording and what is left of it at 16 kHz.

The narrow side is made by random low-pass filters and resamplers (speechsr/narrowing.py), so that the model does not
learn to undo one of them. Only the piece is read from the file, not the recording.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from speech.audio import AudioError, load_audio, resample
from speech.data import step_batches
from speechsr.narrowing import LOW_PASSES, RESAMPLERS, narrow
from speechsr.recordings import UNFIT, Recording, find_recordings


@dataclass
class DataConfig:
    """Which recordings are learnt from, and in which pieces."""

    filelist: str  # id|wav|speaker|language|text; the text is not used
    validation_filelist: str | None = None
    wav_root: str = ""  # folder that relative wav paths start from; the current one where empty
    segment_samples: int = 9600  # of the output rate; shorter recordings are unfit
    min_rate: float = 1.0  # recordings of a sample rate below this share of the output rate are unfit
    unfit: str = "refuse"  # or "skip": what becomes of unfit recordings
    # relative frequency of each low-pass filter and of each resampler: speechsr/narrowing.py
    filters: dict[str, float] = field(
        default_factory=lambda: {"none": 4, "sinc": 1, "butterworth": 1, "chebyshev": 1, "elliptic": 1}
    )
    resamplers: dict[str, float] = field(default_factory=lambda: {"soxr": 4, "kaiser": 2, "fft": 1})
    cutoff_range: tuple[float, float] = (0.75, 1.0)  # of the filters, share of the narrow band
    order_range: tuple[int, int] = (2, 8)  # of the filters
    rms_db_range: tuple[float, float] = (-32.0, -16.0)

    def __post_init__(self):
        if self.segment_samples < 1:
            raise ValueError(f"segment_samples: expected a positive number, got {self.segment_samples}")
        if not 0 < self.min_rate:
            raise ValueError(f"min_rate: expected a share above 0, got {self.min_rate}")
        if self.unfit not in UNFIT:
            raise ValueError(f"unfit: expected one of {list(UNFIT)}, got {self.unfit!r}")
        if not 0 < self.cutoff_range[0] <= self.cutoff_range[1] <= 1:
            raise ValueError(f"cutoff_range: expected shares of the band in order, got {self.cutoff_range}")
        if not 1 <= self.order_range[0] <= self.order_range[1] <= 12:
            raise ValueError(f"order_range: expected orders of 1 to 12 in order, got {self.order_range}")
        if self.rms_db_range[0] > self.rms_db_range[1]:
            raise ValueError(f"rms_db_range: expected the lower value first, got {self.rms_db_range}")
        for name, known in (("filters", LOW_PASSES), ("resamplers", RESAMPLERS)):
            weights = getattr(self, name)
            if unknown := weights.keys() - known.keys():
                raise ValueError(f"{name}: unknown {sorted(unknown)}; known: {sorted(known)}")
            if not weights or min(weights.values()) < 0 or not any(weights.values()):
                raise ValueError(f"{name}: expected frequencies of which one is above 0, got {weights}")


class SpeechSRData:
    """Random pieces of the recordings in a filelist.

    Args:
        path: the filelist.
        sample_rate: of the narrow side, Hz.
        output_rate: of the wide side, Hz.
    Raises:
        ValueError: a broken filelist or unfit recordings (see `find_recordings`), or a segment that has no whole number of
            narrow samples.
    """

    MARGIN = 480  # output samples, at least, of context on each side, so that filters see no edge

    def __init__(self, path: str, config: DataConfig, sample_rate: int, output_rate: int):
        self.config, self.sample_rate, self.output_rate = config, sample_rate, output_rate
        self.unit = output_rate // math.gcd(output_rate, sample_rate)  # output samples of a whole narrow one
        self.margin = -(-self.MARGIN // self.unit) * self.unit
        if config.segment_samples % self.unit:
            raise ValueError(
                f"data.segment_samples: {config.segment_samples} samples at {output_rate} Hz are no whole number of samples "
                f"at {sample_rate} Hz, expected a multiple of {self.unit}"
            )
        self.recordings = find_recordings(
            path,
            config.wav_root,
            config.min_rate * output_rate,
            config.segment_samples / output_rate,
            config.unfit,
        )

    def example(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(narrow [segment * rate ratio], wide [segment]), float32, of a random piece of recording `index`."""
        config = self.config
        wide = self._piece(index, config.segment_samples + 2 * self.margin, rng)
        wide = wide * gain_to(wide, rng.uniform(*config.rms_db_range))
        small = narrow(
            wide,
            self.output_rate,
            self.sample_rate,
            config.filters,
            config.resamplers,
            config.cutoff_range,
            config.order_range,
            rng,
        )
        edge, length = self._narrow(self.margin), self._narrow(config.segment_samples)
        return small[edge : edge + length], wide[self.margin : self.margin + config.segment_samples]

    def held_out(self, index: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """(narrow, wide): the middle of recording `index` at -23 dB, as inference would hear it; nothing is random."""
        recording = self.recordings[index]
        size = int(min(seconds, recording.samples / recording.rate) * self.output_rate)
        size = max(size // self.unit * self.unit, self.unit)
        start = (recording.samples - size * recording.rate // self.output_rate) // 2
        wide = self._read(recording, max(start, 0), size)
        wide = wide * gain_to(wide, -23.0)
        return resample(wide, self.output_rate, self.sample_rate)[: self._narrow(size)], wide

    def batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int,
        num_workers: int,
        batch_seconds: float | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(narrow [B, 1, T], wide [B, 1, T * scale]) for step `start_step` and on."""
        return step_batches(
            self.example,
            collate,
            len(self.recordings),
            batch_size,
            seed,
            start_step,
            num_workers,
            seconds=self.config.segment_samples / self.output_rate,
            batch_seconds=batch_seconds,
        )

    def _narrow(self, samples: int) -> int:
        return samples * self.sample_rate // self.output_rate

    def _piece(self, index: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """`size` samples from anywhere in recording `index`; a damaged file gives way to the next one where that may be."""
        for place in range(index, index + len(self.recordings)):
            recording = self.recordings[place % len(self.recordings)]
            needed = math.ceil(size * recording.rate / self.output_rate)
            start = int(rng.integers(0, max(recording.samples - needed, 0) + 1))
            try:
                return self._read(recording, start, size)
            except AudioError as error:  # the header was fine: what follows it is not
                if self.config.unfit == "refuse":
                    raise AudioError(f"{recording.where}: {error}") from error
                warnings.warn(f"{recording.where}: {error} Another one is taken.", stacklevel=2)
        raise AudioError(f"{self.recordings[0].where} and all that follow cannot be read.")

    def _read(self, recording: Recording, start: int, size: int) -> np.ndarray:
        """`size` samples at the output rate from `start` (at the recording's own rate), silence after its end."""
        seconds = (size + 2) / self.output_rate
        wav, rate = load_audio(recording.path, max_seconds=seconds, start_seconds=start / recording.rate)
        wav = resample(wav, rate, self.output_rate)[:size]
        return np.pad(wav, (0, size - len(wav)))


def gain_to(wav: np.ndarray, rms_db: float) -> np.float32:
    """The factor that brings wav [T] to a level in dB re full scale without clipping it."""
    level, highest = float(np.sqrt(np.mean(np.square(wav)))), float(np.abs(wav).max())
    return np.float32(min(10 ** (rms_db / 20) / max(level, 1e-4), 0.98 / max(highest, 1e-4)))


def collate(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Pairs of arrays -> (narrow [B, 1, T], wide [B, 1, T * scale])."""
    small, wide = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(small))[:, None], torch.from_numpy(np.stack(wide))[:, None]
