"""What every pipeline hands back: mono samples with their rate, and how rate and level are reached."""

import os
from dataclasses import dataclass, field

import numpy as np
import torch

from hierspeech.pipelines.voice import LEVELS, Voice
from speech.audio import resample, save_audio, set_loudness

OUTPUT_RATES = (16000, 24000, 48000)  # Hz
RMS_DB = -23.0  # level of what goes out: that of broadcast speech, which leaves room for peaks
PEAK = 0.95  # no sample of the level "loudness" is higher
FULL_PEAK = 0.999  # highest sample of the level "peak", as in the published pipeline
CHUNK_SAMPLES = 160000  # super-resolution works on 10 s at a time, so that memory is bounded
# More than a super-resolution model's receptive field on either side, so that no seam is heard; with CHUNK_SAMPLES a
# multiple of the hop of those that work in frames.
CONTEXT_SAMPLES = 4000


@dataclass
class Speech:
    """Spoken audio: float32 samples [T] within [-1, 1], and their rate in Hz."""

    audio: np.ndarray
    sample_rate: int
    unknown: list[str] = field(default_factory=list)  # symbols of the text that the voice cannot speak

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | os.PathLike) -> None:
        """Writes a .wav, .flac or .ogg file, whole or not at all."""
        save_audio(path, self.audio, self.sample_rate)


def check_output_rate(sample_rate: int) -> None:
    """One-sentence ValueError for a rate that no pipeline gives."""
    if sample_rate not in OUTPUT_RATES:
        rates = ", ".join(map(str, OUTPUT_RATES))
        raise ValueError(f"output sample rate {sample_rate}: expected one of {rates} Hz.")


def check_level(level: str, prompt_peak: float | None = None) -> None:
    """One-sentence ValueError for a level that no pipeline gives, or that this prompt cannot give."""
    if level not in LEVELS:
        raise ValueError(f"level {level!r}: expected one of {', '.join(LEVELS)}.")
    if level == "prompt" and prompt_peak is None:
        raise ValueError(
            "level 'prompt': this saved prompt does not know the peak of its recording, expected loudness or peak."
        )


def finish(
    wav: np.ndarray,
    voice: Voice,
    output_sample_rate: int,
    level: str,
    prompt_peak: float | None = None,
    n_samples: int | None = None,
    unknown: list[str] | None = None,
) -> Speech:
    """The synthesizer's wav [T] -> Speech at the wanted rate and level.

    `n_samples` of the wav are kept, counted at the voice's rate (default: all). The rest is cut off at the new rate, so
    that super-resolution does not see an end where the synthesizer made none.
    """
    if not np.isfinite(wav).all():
        raise ValueError(
            f"the voice {voice.description.name!r} gave samples that are not finite: its weights are broken."
        )
    n_samples = len(wav) if n_samples is None else n_samples
    wav = change_rate(wav, voice, output_sample_rate)
    wav = wav[: round(n_samples * output_sample_rate / voice.sample_rate)]
    return Speech(set_level(wav, level, prompt_peak), output_sample_rate, list(unknown or []))


def set_level(wav: np.ndarray, level: str, prompt_peak: float | None = None) -> np.ndarray:
    """Scales wav [T]; silence stays silence.

    "loudness" is -23 dB RMS with peaks under 0.95; "peak" makes the highest sample 0.999; "prompt" makes it that of the
    reference, at most 1, since what lies above does not fit into a file.
    """
    check_level(level, prompt_peak)
    if level == "loudness":
        return set_loudness(wav, RMS_DB, PEAK)
    highest = np.abs(wav).max(initial=np.float32(0))
    if highest == 0:
        return wav
    return wav / highest * np.float32(FULL_PEAK if level == "peak" else min(prompt_peak, 1.0))


def change_rate(wav: np.ndarray, voice: Voice, output_sample_rate: int) -> np.ndarray:
    """wav [T] at the voice's rate -> [round(T * ratio)]: by the voice's SpeechSR where it has one, else by soxr."""
    model = voice.speechsr(output_sample_rate)
    if model is None:
        return resample(wav, voice.sample_rate, output_sample_rate)
    length = round(len(wav) * output_sample_rate / voice.sample_rate)
    scale = model.config.scale
    # Even pieces keep 1.5 times their length a whole number.
    wav = np.pad(wav, (0, 0 if float(scale).is_integer() else len(wav) % 2))
    pieces = []
    for start in range(0, len(wav), CHUNK_SAMPLES):
        stop = min(start + CHUNK_SAMPLES, len(wav))
        left, right = max(0, start - CONTEXT_SAMPLES), min(len(wav), stop + CONTEXT_SAMPLES)
        piece = torch.from_numpy(wav[None, None, left:right]).to(voice.device)
        piece = model.infer(piece)[0, 0].float().cpu().numpy()
        pieces.append(piece[int((start - left) * scale) : int((stop - left) * scale)])
    return np.concatenate(pieces)[:length]
