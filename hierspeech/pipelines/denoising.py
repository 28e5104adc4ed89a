"""Denoising: a noisy recording of speech -> a clean one, by the voice's denoiser (HierSpeech++ hand-over section 7)."""

import os
from collections.abc import Callable

import numpy as np
import torch

from hierspeech.pipelines.arguments import DENOISE_RATIOS, check_range
from hierspeech.pipelines.output import PEAK, Speech
from hierspeech.pipelines.pipeline import Pipeline
from hierspeech.pipelines.recording import check_recording, note_of, read_recording, resample_recording
from hierspeech.pipelines.voice import Voice


class Denoising(Pipeline):
    """Cleans recordings of any length: the model's memory does not grow with them, only the samples themselves are held.

    >>> Denoising.from_pretrained("lite")("noisy.wav").save("clean.wav")
    """

    def __init__(self, voice: Voice):
        if voice.description.denoiser is None:
            raise ValueError(
                f"the voice {voice.description.name!r} has no denoiser, expected a voice with one."
            )
        super().__init__(voice)

    def __call__(
        self,
        recording: str | os.PathLike | np.ndarray,
        sample_rate: int | None = None,
        ratio: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Speech:
        """Cleans a recording, at its own level (lowered only where a peak would exceed 0.95 of full scale).

        Args:
            recording: a sound file or samples [T].
            sample_rate: rate in Hz of `recording` if it is an array (default: the voice's).
            ratio: share of the cleaned recording in the result, 0 to 1; the rest is the recording as it was.
            progress: called with (windows done, windows) after each.
        Returns:
            Speech at the voice's rate, 16 kHz: what the recording has above 8 kHz is lost.
        Raises:
            ValueError: an unusable recording, or a ratio out of range.
        """
        from denoiser.windows import (
            denoise,
        )  # with the model, which only this pipeline and noisy prompts need

        check_range("denoise ratio", ratio, DENOISE_RATIOS)
        voice, recordings = self.voice, self.voice.description.recordings
        wav, rate, name = read_recording(
            recording,
            sample_rate or voice.sample_rate,
        )
        check_recording(wav, rate, name, min_seconds=0.0)
        wav = resample_recording(wav, rate, voice.sample_rate, recordings)
        clean = denoise(voice.denoiser, torch.from_numpy(wav), progress=progress).numpy()
        if not np.isfinite(clean).all():
            raise ValueError(
                f"{name}: the voice {voice.description.name!r} gave samples that are not finite: its weights are broken."
            )
        wav = ratio * clean + (1 - ratio) * wav
        highest = float(np.abs(wav).max())
        wav = (wav * (PEAK / max(highest, PEAK))).astype(np.float32)
        return Speech(wav, voice.sample_rate, note=note_of(recording))
