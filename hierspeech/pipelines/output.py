"""What every pipeline hands back: mono samples with their rate, and how the rate is reached."""

import os
from dataclasses import dataclass, field

import numpy as np
import torch

from hierspeech.pipelines.voice import Voice
from speech.audio import resample, save_audio, set_loudness

OUTPUT_RATES = (16000, 24000, 48000)  # Hz
RMS_DB = -23.0  # level of what goes out: that of broadcast speech, which leaves room for peaks
PEAK = 0.95
CHUNK_SAMPLES = 160000  # super-resolution works on 10 s at a time, so that memory is bounded
CONTEXT_SAMPLES = 1600  # more than its receptive field on either side, so that no seam is heard


@dataclass
class Speech:
    """Spoken audio: float32 samples [T] with peak at most 0.95, and their rate in Hz."""

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


def finish(
    wav: np.ndarray, voice: Voice, output_sample_rate: int, unknown: list[str] | None = None
) -> Speech:
    """The synthesizer's wav [T] -> Speech at the wanted rate and level."""
    if not np.isfinite(wav).all():
        raise ValueError(
            f"the voice {voice.description.name!r} gave samples that are not finite: its weights are broken."
        )
    wav = change_rate(wav, voice, output_sample_rate)
    return Speech(set_loudness(wav, RMS_DB, PEAK), output_sample_rate, list(unknown or []))


def change_rate(wav: np.ndarray, voice: Voice, output_sample_rate: int) -> np.ndarray:
    """wav [T] at the voice's rate -> [round(T * ratio)]: by the voice's SpeechSR where it has one, else by soxr."""
    model = voice.speechsr(output_sample_rate)
    if model is None:
        return resample(wav, voice.sample_rate, output_sample_rate)
    length = round(len(wav) * output_sample_rate / voice.sample_rate)
    scale = model.config.scale
    # Even pieces keep both 1.5 and 3 times their length whole numbers.
    wav = np.pad(wav, (0, len(wav) % 2))
    pieces = []
    for start in range(0, len(wav), CHUNK_SAMPLES):
        stop = min(start + CHUNK_SAMPLES, len(wav))
        left, right = max(0, start - CONTEXT_SAMPLES), min(len(wav), stop + CONTEXT_SAMPLES)
        piece = torch.from_numpy(wav[None, None, left:right]).to(voice.device)
        piece = model.infer(piece)[0, 0].float().cpu().numpy()
        pieces.append(piece[int((start - left) * scale) : int((stop - left) * scale)])
    return np.concatenate(pieces)[:length]
