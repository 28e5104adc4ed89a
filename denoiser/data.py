"""Pairs to learn denoising from: a piece of clean speech, and the same piece in a room, under noise, at another level.

Everything is mixed on the fly, from a pack of `prepare.py` or a filelist; what an example becomes depends on its random
generator only, so batches are a function of the step. T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from denoiser import noise as noises
from speech.audio import block_power, load_audio
from speech.data import read_filelist, step_batches
from speech.packs import Pack

RECORDED = {".wav", ".flac", ".ogg"}


@dataclass
class DataConfig:
    """Which speech is spoiled, and how."""

    pack: str | None = None  # folder made by prepare.py; its split "dev" is only measured with
    filelist: str | None = None  # instead of a pack: id|wav|speaker|language|text, the text is not used
    validation_filelist: str | None = None
    wav_root: str = ""  # folder that relative wav paths of a filelist start from
    source_weights: dict[str, float] = field(
        default_factory=dict
    )  # relative frequency, by part of the source's name
    min_range_db: float = (
        0.0  # recordings whose loud blocks stand out less than this from the quiet ones are noisy
    )
    seconds: float = 2.0  # of a piece
    snr_db_range: tuple[float, float] = (-5.0, 20.0)
    clean_share: float = 0.1  # of the pieces, left without noise: clean speech must pass unharmed
    # relative frequency of each kind: the generators of denoiser/noise.py, "babble" and "recorded" (noise_folders)
    noises: dict[str, float] = field(
        default_factory=lambda: {"coloured": 3.0, "fan": 2.0, "hum": 1.0, "clicks": 1.0, "babble": 1.0}
    )
    second_noise_share: float = 0.3  # of the pieces: two kinds of noise at once
    noise_folders: list[str] = field(
        default_factory=list
    )  # recordings of noise, searched with their subfolders
    recorded_speeds: tuple[float, float] = (1.0, 1.0)  # they are played faster or slower, for more kinds
    babble_voices: tuple[int, int] = (3, 8)
    room_share: float = 0.3
    rt60_range: tuple[float, float] = (0.15, 0.7)  # seconds
    early_ms: float = 30.0  # of a room's response, which the target keeps
    clip_share: float = 0.0  # overdriven inputs
    narrow_band_share: float = (
        0.0  # telephone-like speech in input and target alike: band edges are not noise
    )
    level_db_range: tuple[float, float] = (-6.0, 6.0)  # of the input, about the RMS of 1 that inference sets

    def __post_init__(self):
        if (self.pack is None) == (self.filelist is None):
            raise ValueError(
                f"data: expected a pack or a filelist, got pack={self.pack}, filelist={self.filelist}"
            )
        for name in ("clean_share", "second_noise_share", "room_share", "clip_share", "narrow_band_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share of 0 to 1, got {getattr(self, name)}")
        for name in ("snr_db_range", "rt60_range", "level_db_range", "babble_voices", "recorded_speeds"):
            if getattr(self, name)[0] > getattr(self, name)[1]:
                raise ValueError(f"{name}: expected the lower value first, got {getattr(self, name)}")
        known = {*noises.GENERATORS, "babble", "recorded"}
        if unknown := self.noises.keys() - known:
            raise ValueError(f"noises: unknown kinds {sorted(unknown)}; known: {sorted(known)}")
        if not any(self.noises.values()) or min(self.noises.values()) < 0:
            raise ValueError(f"noises: expected frequencies of which one is above 0, got {self.noises}")
        if self.noises.get("recorded", 0) and not self.noise_folders:
            raise ValueError('noises: the kind "recorded" needs noise_folders')
        if self.recorded_speeds[0] <= 0:
            raise ValueError(f"recorded_speeds: expected factors above 0, got {self.recorded_speeds}")
        if self.seconds < 0.1:
            raise ValueError(f"seconds: expected pieces of at least 0.1 s, got {self.seconds}")


@dataclass
class Batch:
    """Pieces of speech, on one level scale."""

    clean: Tensor  # [B, T] what should come out
    noisy: Tensor  # [B, T] what goes in


class Speech:
    """Clean recordings at one sample rate, from a pack or a filelist.

    Attributes:
        speakers: of every recording; weights: relative frequency [recordings] in training.
    """

    def __init__(self, config: DataConfig, sample_rate: int, split: str):
        self.sample_rate, self.where = sample_rate, config.pack or config.filelist
        self.pack = self.paths = None
        if config.pack is not None:
            self.pack = Pack(config.pack)
            listed = [(i, u) for i, u in enumerate(self.pack.utterances) if u["split"] == split]
            self.members = [i for i, _ in listed]
            self.speakers = [u["speaker"] for _, u in listed]
            sources = [u["source"] for _, u in listed]
            seconds = [self.pack.length("wav", i) / sample_rate for i in self.members]
        else:
            path = config.filelist if split == "train" else config.validation_filelist
            utterances = read_filelist(path) if path else []
            self.paths = [Path(config.wav_root) / u.wav for u in utterances]
            if missing := [wav for wav in self.paths if not wav.is_file()]:
                raise ValueError(
                    f"{path}: {len(missing)} of {len(self.paths)} recordings missing, first {missing[0]}"
                )
            self.members = list(range(len(utterances)))
            self.speakers = [u.speaker for u in utterances]
            sources, seconds = [""] * len(utterances), [1.0] * len(utterances)
        factors = [next((w for k, w in config.source_weights.items() if k in s), 1.0) for s in sources]
        self.weights = np.array(factors) * np.array(seconds)
        if config.min_range_db > 0 and split == "train":
            self._keep([level_range_db(self.read(i)) >= config.min_range_db for i in range(len(self))])

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int) -> np.ndarray:
        """Recording `index`, float64 [T] in [-1, 1]."""
        if self.pack is not None:
            return np.asarray(self.pack.read("wav", self.members[index]), np.float64) / 32768
        return load_recording(self.paths[self.members[index]], self.sample_rate).astype(np.float64)

    def _keep(self, flags: list[bool]) -> None:
        self.members = [m for m, keep in zip(self.members, flags, strict=True) if keep]
        self.speakers = [s for s, keep in zip(self.speakers, flags, strict=True) if keep]
        self.weights = self.weights[np.array(flags, bool)]


class NoisyPieces:
    """Random pieces of clean speech with their spoiled versions.

    Args:
        config: what to spoil and how.
        sample_rate: Hz.
        split: "train" or "dev" of a pack; filelist or validation_filelist. Babble is made of the same split.
    """

    def __init__(self, config: DataConfig, sample_rate: int, split: str):
        self.config, self.sample_rate = config, sample_rate
        self.samples = int(config.seconds * sample_rate)
        self.speech = Speech(config, sample_rate, split)
        if split == "train" and not len(self.speech):
            raise ValueError(f"{self.speech.where}: no recordings of clean speech to train on")
        files = (path for folder in config.noise_folders for path in Path(folder).rglob("*"))
        self.recorded = sorted(path for path in files if path.suffix.lower() in RECORDED)
        if config.noises.get("recorded", 0) and not self.recorded:
            raise ValueError(
                f"data.noise_folders: no {', '.join(sorted(RECORDED))} files in {config.noise_folders}"
            )
        self.kinds = sorted(kind for kind, frequency in config.noises.items() if frequency > 0)
        frequencies = np.array([config.noises[kind] for kind in self.kinds], np.float64)
        self.frequencies = frequencies / frequencies.sum()
        self.can_babble = len(set(self.speech.speakers)) > 1
        if split == "train" and "babble" in self.kinds and not self.can_babble:
            raise ValueError(f"{self.speech.where}: babble needs two speakers; leave it out of data.noises")

    def batches(self, batch_size: int, seed: int, start_step: int, num_workers: int) -> Iterator[Batch]:
        """Batches of steps `start_step`, `start_step + 1`, ..."""
        n, weights = len(self.speech), self.speech.weights
        return step_batches(self.example, collate, n, batch_size, seed, start_step, num_workers, weights)

    def example(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(clean [T], noisy [T]), float32: a random piece of recording `index`, spoiled by the draws of `rng`."""
        config = self.config
        clean = self.piece(index, rng)
        spoiled = rng.random() >= config.clean_share
        snr_db = rng.uniform(*config.snr_db_range) if spoiled else None
        return self.spoil(index, clean, snr_db, rng)

    def spoil(
        self,
        index: int,
        clean: np.ndarray,
        snr_db: float | None,
        rng: np.random.Generator,
        kind: str | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pair that a piece of clean speech makes.

        Args:
            index: whose recording it is: babble leaves this speaker out.
            clean: [T].
            snr_db: None adds no noise and no room.
            kind: of noise; None draws it, a room and the other extras too.
        Returns:
            (clean [T], noisy [T]), float32, scaled together; the noisy one has an RMS of 1 before the random level.
        """
        config, noisy = self.config, clean
        extras = kind is None
        if extras and rng.random() < config.narrow_band_share:
            band = noises.narrow_band(len(clean), self.sample_rate, rng)
            clean = noisy = np.fft.irfft(np.fft.rfft(clean) * band, len(clean))
        if snr_db is not None:
            if extras and rng.random() < config.room_share:
                response = noises.room(self.sample_rate, rng, config.rt60_range)
                early = int(config.early_ms / 1000 * self.sample_rate)
                noisy, clean = noises.reverberate(clean, response, early)
            noisy = noises.mix(noisy, self._noise(index, kind, rng), snr_db)
            if extras and rng.random() < config.clip_share:
                noisy = noises.clip(noisy, rng)
        gain_db = rng.uniform(*config.level_db_range) if extras else 0.0
        gain = 10 ** (gain_db / 20) / max(float(np.sqrt(np.square(noisy).mean())), 1e-4)
        return (clean * gain).astype(np.float32), (noisy * gain).astype(np.float32)

    def _noise(self, index: int, kind: str | None, rng: np.random.Generator) -> np.ndarray:
        """Noise of RMS about 1 [T]: of one kind, or of two at levels up to 10 dB apart."""
        if kind is not None:
            return self._noise_of(kind, index, rng)
        first, second = rng.choice(self.kinds, 2, p=self.frequencies)
        noise = self._noise_of(first, index, rng)
        if rng.random() < self.config.second_noise_share:
            noise = noise + 10 ** (rng.uniform(-10.0, 0.0) / 20) * self._noise_of(second, index, rng)
        return noise

    def _noise_of(self, kind: str, index: int, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        if kind == "babble":
            speaker, voices = self.speech.speakers[index], []
            low, high = config.babble_voices
            count = int(rng.integers(max(low, 1), max(high, 1) + 1))
            while len(voices) < count:
                other = int(rng.integers(len(self.speech)))
                if self.speech.speakers[other] != speaker:
                    voices.append(self.piece(other, rng))
            return noises.babble(voices)
        if kind == "recorded":
            path = self.recorded[int(rng.integers(len(self.recorded)))]
            wav = load_recording(path, self.sample_rate).astype(np.float64)
            speed = rng.uniform(*config.recorded_speeds)
            if speed != 1:
                wav = np.interp(np.arange(0, len(wav) - 1, speed), np.arange(len(wav)), wav)
            start = int(rng.integers(0, max(len(wav) - self.samples, 0) + 1))
            return np.resize(wav[start : start + self.samples], self.samples)  # short ones repeat
        return noises.GENERATORS[kind](self.samples, self.sample_rate, rng)

    def piece(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """A random piece of recording `index`, followed by silence where the recording is shorter [T]."""
        wav = self.speech.read(index)
        start = int(rng.integers(0, max(len(wav) - self.samples, 0) + 1))
        wav = wav[start : start + self.samples]
        return np.pad(wav, (0, self.samples - len(wav)))


def collate(examples: list[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Pairs of arrays [T] -> a batch."""
    clean, noisy = zip(*examples, strict=True)
    return Batch(torch.from_numpy(np.stack(clean)), torch.from_numpy(np.stack(noisy)))


def level_range_db(wav: np.ndarray) -> float:
    """How far the loud 25 ms blocks (95th percentile) of wav [T] stand out from the quiet ones (8th), dB.

    A rough signal-to-noise ratio of recordings that hold some pause: 30 dB and more sounds clean.
    """
    power_db = 10 * np.log10(block_power(wav, max(1, min(len(wav), 400))) + 1e-10)
    return float(np.percentile(power_db, 95) - np.percentile(power_db, 8))


@lru_cache(maxsize=64)
def load_recording(path: Path, sample_rate: int) -> np.ndarray:
    """A sound file as float32 [T] at `sample_rate`; the last ones are kept in memory."""
    return load_audio(path, sample_rate)[0]
