"""Pairs to learn super-resolution from: a piece of a wideband recording and what is left of it at 16 kHz.

The narrow side is made by several random low-pass filters, so that the model does not learn to undo one resampler.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speech.audio import AudioError, load_audio, resample
from speech.data import read_filelist, step_batches


@dataclass
class DataConfig:
    """Which recordings are learnt from, and in which pieces."""

    filelist: str  # id|wav|speaker|language|text; the text is not used
    validation_filelist: str | None = None
    wav_root: str = ""  # folder that relative wav paths start from; the current one where empty
    segment_samples: int = 9600  # of the output rate
    min_rate: float = 0.9  # recordings of a sample rate below this share of the output rate are refused
    clean_share: float = 0.5  # of the pieces: made narrow by the resampler that inference uses
    cutoff_range: tuple[float, float] = (0.75, 1.0)  # of the random filters, share of the narrow band
    rms_db_range: tuple[float, float] = (-32.0, -16.0)

    def __post_init__(self):
        if self.segment_samples < 1 or not 0 <= self.clean_share <= 1:
            raise ValueError(f"expected segment_samples > 0 and clean_share in 0 to 1, got {self}")
        if not 0 < self.cutoff_range[0] <= self.cutoff_range[1] <= 1:
            raise ValueError(f"cutoff_range: expected shares of the band in order, got {self.cutoff_range}")


class SpeechSRData:
    """Random pieces of the recordings in a filelist.

    Args:
        path: the filelist.
        sample_rate: of the narrow side, Hz.
        output_rate: of the wide side, Hz.
    """

    MARGIN = 480  # output samples of context on each side, so that filters see no edge

    def __init__(self, path: str, config: DataConfig, sample_rate: int, output_rate: int):
        self.config, self.sample_rate, self.output_rate = config, sample_rate, output_rate
        self.wavs = [Path(config.wav_root) / utterance.wav for utterance in read_filelist(path)]
        missing = [wav for wav in self.wavs if not wav.is_file()]
        if missing:
            raise ValueError(
                f"{path}: {len(missing)} of {len(self.wavs)} recordings missing, first {missing[0]}"
            )
        narrow = config.segment_samples * sample_rate / output_rate
        if not narrow.is_integer():
            raise ValueError(
                f"data.segment_samples: {config.segment_samples} samples at {output_rate} Hz are {narrow} samples at "
                f"{sample_rate} Hz, expected a whole number"
            )

    def example(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(narrow [segment * rate ratio], wide [segment]), float32, of a random piece of recording `index`."""
        config = self.config
        wav = self._load(self.wavs[index])
        size = config.segment_samples + 2 * self.MARGIN
        start = int(rng.integers(0, max(len(wav) - size, 0) + 1))
        wide = np.pad(wav[start : start + size], (0, max(size - len(wav), 0)))
        level = float(np.sqrt(np.mean(wide**2)))
        gain = 10 ** (rng.uniform(*config.rms_db_range) / 20) / max(level, 1e-4)
        wide = wide * np.float32(min(gain, 0.98 / max(np.abs(wide).max(), 1e-4)))
        if rng.random() < config.clean_share:
            narrow = resample(wide, self.output_rate, self.sample_rate)
        else:
            narrow = narrow_by_random_filter(
                wide, self.output_rate, self.sample_rate, config.cutoff_range, rng
            )
        edge = self.MARGIN * self.sample_rate // self.output_rate
        length = config.segment_samples * self.sample_rate // self.output_rate
        return narrow[edge : edge + length], wide[self.MARGIN : self.MARGIN + config.segment_samples]

    def batches(
        self, batch_size: int, seed: int, start_step: int, num_workers: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(narrow [B, 1, T], wide [B, 1, T * scale]) for step `start_step` and on."""
        return step_batches(
            self.example, collate, len(self.wavs), batch_size, seed, start_step, num_workers=num_workers
        )

    def _load(self, path: Path) -> np.ndarray:
        wav, rate = load_audio(path)
        if rate < self.config.min_rate * self.output_rate:
            raise AudioError(
                f"{path}: recorded at {rate} Hz, too narrow to learn {self.output_rate} Hz from "
                f"(data.min_rate is {self.config.min_rate})"
            )
        return resample(wav, rate, self.output_rate)


def collate(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Pairs of arrays -> (narrow [B, 1, T], wide [B, 1, T * scale])."""
    narrow, wide = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(narrow))[:, None], torch.from_numpy(np.stack(wide))[:, None]


def narrow_by_random_filter(
    wav: np.ndarray, from_rate: int, to_rate: int, cutoff_range: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Low-pass `wav` [T] by a random filter and decimate it to `to_rate`; no delay, float32 [T * to_rate / from_rate].

    The magnitude is that of a Butterworth filter of order 4 to 16, of a Chebyshev filter with 0.1 to 1 dB of ripple,
    or of a windowed sinc with a linear slope; the decimation is exact, in the frequency domain.
    """
    length = len(wav) * to_rate // from_rate
    spectrum = np.fft.rfft(wav)[: length // 2 + 1]
    frequency = np.fft.rfftfreq(length)[: len(spectrum)] * 2  # 1 = the narrow band's edge
    cutoff = rng.uniform(*cutoff_range)
    kind, order = rng.integers(3), int(rng.integers(4, 17))
    if kind == 0:
        response = 1 / np.sqrt(1 + (frequency / cutoff) ** (2 * order))
    elif kind == 1:
        ripple = 10 ** (rng.uniform(0.1, 1.0) / 10) - 1
        x = frequency / cutoff
        polynomial = np.where(
            x <= 1, np.cos(order * np.arccos(np.minimum(x, 1))), np.cosh(order * np.arccosh(np.maximum(x, 1)))
        )
        response = 1 / np.sqrt(1 + ripple * polynomial**2)
    else:
        slope = rng.uniform(0.01, 0.15)
        response = np.clip((cutoff - frequency) / slope + 1, 0, 1)
    return np.fft.irfft(spectrum * response, length).astype(np.float32) * np.float32(to_rate / from_rate)
