"""What the pipelines have in common: a voice, found and loaded by name."""

import contextlib
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.voice import DEFAULT_VOICE, Voice, load_voice
from hierspeech.pipelines.watermark import Watermark, load_watermark

P = TypeVar("P", bound="Pipeline")


class Pipeline:
    """Trained models of a voice, composed to do one thing when called; pipelines of one voice share its models.

    Attributes:
        watermark: None, or what is called with the samples [T] of finished speech and their rate in Hz, and gives them back
            with an inaudible mark: the whole speech of a call, every chunk of a stream, every few seconds of a long file.
    """

    watermark: Watermark | None = None

    def __init__(self, voice: Voice):
        self.voice = voice

    @classmethod
    def from_pretrained(
        cls: type[P],
        name: str | Path | Voice = DEFAULT_VOICE,
        device: str = "auto",
        precision: str = "fp32",
        dtype: torch.dtype | str | None = None,
        watermark: Watermark | str | None = None,
    ) -> P:
        """Loads a voice.

        Args:
            name: a folder, a shipped name ("lite"), a hub id, or a voice that is loaded.
            device: "auto", "cpu", "cuda" or "cuda:N".
            precision: "bf16" lets full-size models multiply in bf16 where that is faster; durations, F0 and all else stay "fp32".
            dtype: the same as torch says it: torch.float32 or torch.bfloat16, or their names; None is as `precision` says.
            watermark: marks what goes out: a function, see the attribute, or a name of `WATERMARKS`; nothing does by default.
        Raises:
            ValueError: no such voice, one that lacks what the pipeline needs, another precision, a device or watermark that is not there.
        """
        if isinstance(watermark, str):  # first: what is not installed is said before models are loaded
            watermark = load_watermark(watermark)
        pipeline = cls(load_voice(name, device, pick_precision(precision, dtype)))
        pipeline.watermark = watermark
        return pipeline

    def mark(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """wav [T] with the watermark, if there is one; ValueError where it gives something else."""
        if self.watermark is None or len(wav) == 0:
            return wav
        marked = np.asarray(self.watermark(wav, sample_rate), np.float32)
        if marked.shape != wav.shape or not np.isfinite(marked).all():
            raise ValueError(
                f"the watermark gave samples of shape {list(marked.shape)}, expected finite ones of {list(wav.shape)}."
            )
        return marked

    def mark_stream(self, chunks: Generator[Speech, None, None]) -> Generator[Speech, None, None]:
        """Chunks with the watermark, each by itself."""
        return chunks if self.watermark is None else self._mark_each(chunks)

    def _mark_each(self, chunks: Generator[Speech, None, None]) -> Generator[Speech, None, None]:
        with contextlib.closing(chunks):
            for chunk in chunks:
                yield replace(chunk, audio=self.mark(chunk.audio, chunk.sample_rate))


def pick_precision(precision: str, dtype: torch.dtype | str | None) -> str:
    """The precision that a dtype stands for; ValueError for any but float32 and bfloat16, or where both are said."""
    if dtype is None:
        return precision
    names = {"float32": "fp32", "bfloat16": "bf16"}
    name = str(dtype).removeprefix("torch.")
    if name not in names:
        raise ValueError(f"dtype {name}: expected {' or '.join(names)}.")
    if precision != "fp32" and precision != names[name]:
        raise ValueError(f"dtype {name} and precision {precision}: expected one of them.")
    return names[name]
