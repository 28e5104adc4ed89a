"""Segments of recordings for the variational recipe, from a pack, from filelists, or from both.

A pack (prepare.py) has waves, F0 and, where asked for, semantic features. A filelist needs its recordings only: F0 is then
tracked in the data workers, and features are the recipe's matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from speech.audio import count_samples, load_audio
from speech.data import read_filelist, step_batches
from speech.f0 import extract_f0
from speech.packs import Pack
from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.training import TrainConfig

SAMPLE_RATE = 16000
F0_HOP = 80  # samples
FRAME_RATE_HZ = SAMPLE_RATE // HOP_SAMPLES
MARGIN_FRAMES = 5  # read around a segment, so that the resampler's edges lie outside


@dataclass
class VariationalDataConfig:
    """Where the recordings lie and how they are cut. At least one of `pack` and `filelist` is given."""

    pack: str | None = None  # folder made by prepare.py, with F0; its `dev` utterances are the validation set
    filelist: str | None = None
    validation_filelist: str | None = None
    wav_root: str = ""  # put before the filelists' wav paths
    seconds: float = 3.84  # of a segment; shorter recordings are padded
    prompt_seconds: float = (
        0.0  # of another recording of the speaker for the style; 0 takes the segment itself
    )
    stored_semantic: bool = False  # features of clean speech from the pack, otherwise encoded on the fly
    f0_min_hz: float = 60.0  # range in which F0 is tracked (filelists)
    f0_max_hz: float = 400.0
    # part of a pack's source name -> factor on how often its recordings are drawn, then by length; {} takes all in turn
    source_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        if self.pack is None and self.filelist is None:
            raise ValueError("expected a pack or a filelist, got neither")
        if self.stored_semantic and (self.pack is None or self.filelist is not None):
            raise ValueError(
                "stored_semantic needs a pack and no filelist, whose recordings have no features"
            )
        if self.seconds <= 0 or self.prompt_seconds < 0:
            raise ValueError(f"expected positive seconds, got {self.seconds} and {self.prompt_seconds}")


@dataclass
class Segments:
    """A batch: T samples, N = T / 320 frames, P prompt samples. All is zero where padded."""

    wav: Tensor  # [B, T]
    f0: Tensor  # [B, 4N] Hz
    n_frames: Tensor  # [B] valid frames
    window_start: Tensor  # [B] frame at which the decoded window begins
    semantic: Tensor | None  # [B, C, N] features of the whole recording, cut; None where they are not stored
    prompt: Tensor | None  # [B, P] of another recording; None where the segment itself is the prompt
    n_prompt: Tensor | None  # [B] valid samples


class Recordings(Protocol):
    """Numbered recordings at 16 kHz; places and counts are in frames of 320 samples."""

    speakers: list[str]
    frames: list[int]
    dev: list[bool]
    weights: list[float]  # relative frequency

    def read(self, index: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """wav [320 * count] float32, F0 [4 * count] Hz and, where stored, features [count, C]."""

    def wav(self, index: int, start: int, count: int) -> np.ndarray:
        """wav [320 * count] float32 alone."""


class PackRecordings:
    """The utterances of a pack."""

    def __init__(self, config: VariationalDataConfig, semantic: SemanticSpec) -> None:
        self.pack = Pack(config.pack)
        self.with_semantic = config.stored_semantic
        if self.with_semantic:
            self.pack.require_semantic(semantic)
        utterances = self.pack.utterances
        self.speakers = [u["speaker"] for u in utterances]
        self.dev = [u.get("split") == "dev" for u in utterances]
        self.frames = [self.pack.length("wav", i) // HOP_SAMPLES for i in range(len(self.pack))]
        if self.with_semantic:
            lengths = (self.pack.length("semantic", i) for i in range(len(self.pack)))
            self.frames = [min(pair) for pair in zip(self.frames, lengths, strict=True)]
        self.weights = [
            frames
            * next((w for name, w in config.source_weights.items() if name in u.get("source", "")), 1.0)
            for frames, u in zip(self.frames, utterances, strict=True)
        ]

    def read(self, index: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        f0 = self.pack.read("f0", index, 4 * start, 4 * (start + count)).astype(np.float32)
        f0 = np.pad(f0, (0, 4 * count - len(f0)))  # a tracker may stop short of the last values
        semantic = None
        if self.with_semantic:
            semantic = self.pack.read("semantic", index, start, start + count).astype(np.float32)
        return self.wav(index, start, count), f0, semantic

    def wav(self, index: int, start: int, count: int) -> np.ndarray:
        samples = self.pack.read("wav", index, HOP_SAMPLES * start, HOP_SAMPLES * (start + count))
        return samples.astype(np.float32) / 32768


class FileRecordings:
    """The recordings of a filelist; unreadable ones are left out and counted in `missing`."""

    def __init__(self, config: VariationalDataConfig, path: str, dev: bool) -> None:
        self.range_hz = config.f0_min_hz, config.f0_max_hz
        self.paths, self.speakers, self.frames = [], [], []
        self.missing: list[str] = []
        for utterance in read_filelist(path):
            wav = Path(config.wav_root) / utterance.wav
            try:
                frames = count_samples(wav, SAMPLE_RATE) // HOP_SAMPLES
            except ValueError as error:
                self.missing.append(str(error))
                continue
            self.paths.append(wav)
            self.speakers.append(utterance.speaker)
            self.frames.append(frames)
        self.dev = [dev] * len(self.paths)
        self.weights = [float(frames) for frames in self.frames]

    def read(self, index: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray, None]:
        wav = self.wav(index, start, count)
        f0 = extract_f0(wav, SAMPLE_RATE, *self.range_hz)
        return wav, np.pad(f0, (0, 4 * count - len(f0))), None

    def wav(self, index: int, start: int, count: int) -> np.ndarray:
        before = min(start, MARGIN_FRAMES)
        wav, _ = load_audio(
            self.paths[index],
            SAMPLE_RATE,
            max_seconds=(before + count + MARGIN_FRAMES) / FRAME_RATE_HZ,
            start_seconds=(start - before) / FRAME_RATE_HZ,
        )
        wav = wav[HOP_SAMPLES * before : HOP_SAMPLES * (before + count)]
        return np.pad(wav, (0, HOP_SAMPLES * count - len(wav)))


class SegmentData:
    """Random segments of all recordings that are long enough for a decoded window.

    Raises:
        ValueError: no recording is usable, or a pack whose features are of another encoder.
    """

    def __init__(
        self, config: VariationalDataConfig, train: TrainConfig, semantic: SemanticSpec, window_frames: int
    ):
        self.config, self.train, self.window_frames = config, train, window_frames
        self.segment_frames = max(round(config.seconds * FRAME_RATE_HZ), window_frames)
        self.sources: list[Recordings] = []
        self.left_out: Counter[str] = Counter()
        if config.pack is not None:
            self.sources.append(PackRecordings(config, semantic))
        for path, dev in ((config.filelist, False), (config.validation_filelist, True)):
            if path is not None:
                source = FileRecordings(config, path, dev)
                self.sources.append(source)
                if source.missing:
                    self.left_out[f"{path}: not readable, such as {source.missing[0]}"] = len(source.missing)
        self.items, self.dev = [], []  # (source, index)
        self.members: dict[str, list[tuple[Recordings, int]]] = {}
        for source in self.sources:
            for index, (frames, is_dev) in enumerate(zip(source.frames, source.dev, strict=True)):
                if frames < window_frames:
                    self.left_out[f"shorter than {window_frames} frames"] += 1
                    continue
                (self.dev if is_dev else self.items).append((source, index))
                self.members.setdefault(source.speakers[index], []).append((source, index))
        if not self.items:
            raise ValueError(
                f"{config.pack or config.filelist}: no usable training recording, left out {dict(self.left_out)}"
            )

    def batches(self, start_step: int) -> Iterator[Segments]:
        """Batches of steps `start_step`, `start_step + 1`, ..."""
        weights = None
        if self.config.source_weights:
            weights = np.array([source.weights[index] for source, index in self.items])
        return step_batches(
            lambda place, rng: self.example(*self.items[place], rng),
            collate,
            len(self.items),
            self.train.batch_size,
            self.train.seed,
            start_step,
            self.train.num_workers,
            weights,
            seconds=self.segment_frames / FRAME_RATE_HZ,
            batch_seconds=self.train.batch_seconds,
        )

    def fixed(self, count: int) -> list[Segments]:
        """Up to `count` validation pieces from all over the list, in batches, the same ones every time."""
        pieces = self.dev[:: max(1, len(self.dev) // count)][:count]
        size = self.train.batch_size
        return [
            collate([self.example(*item, np.random.default_rng(0)) for item in pieces[first : first + size]])
            for first in range(0, len(pieces), size)
        ]

    def example(self, source: Recordings, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One segment; `rng` chooses where it begins, the decoded window and the prompt."""
        total = source.frames[index]
        count = min(total, self.segment_frames)
        wav, f0, semantic = source.read(index, int(rng.integers(total - count + 1)), count)
        missing = self.segment_frames - count
        out = {
            "wav": np.pad(wav, (0, HOP_SAMPLES * missing)),
            "f0": np.pad(f0, (0, missing * HOP_SAMPLES // F0_HOP)),
            "n_frames": np.int64(count),
            "window_start": rng.integers(count - self.window_frames + 1),
        }
        if semantic is not None:
            out["semantic"] = np.pad(semantic, ((0, missing), (0, 0))).T
        if self.config.prompt_seconds:
            out |= self._prompt(source, index, rng)
        return out

    def _prompt(self, source: Recordings, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        longest = round(self.config.prompt_seconds * FRAME_RATE_HZ)
        others = [item for item in self.members[source.speakers[index]] if item != (source, index)]
        source, index = others[rng.integers(len(others))] if others else (source, index)
        total = source.frames[index]
        count = min(total, longest)
        wav = source.wav(index, int(rng.integers(total - count + 1)), count)
        missing = HOP_SAMPLES * (longest - count)
        return {"prompt": np.pad(wav, (0, missing)), "n_prompt": np.int64(len(wav))}


def collate(examples: list[dict[str, np.ndarray]]) -> Segments:
    """Stack examples, which all have the same lengths; what they do not have is None."""
    return Segments(
        **{
            name: torch.from_numpy(np.stack([e[name] for e in examples])) if name in examples[0] else None
            for name in Segments.__dataclass_fields__
        }
    )
