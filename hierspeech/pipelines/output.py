"""What every pipeline hands back: mono samples with their rate, and how rate and level are reached."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from hierspeech.pipelines.timings import Timing
from hierspeech.pipelines.voice import LEVELS, Voice
from speech.audio import LEVEL_BLOCK, block_power, loudness_gain, resample_blocks, save_audio

OUTPUT_RATES = (16000, 24000, 48000)  # Hz
RMS_DB = -23.0  # level of what goes out: that of broadcast speech, which leaves room for peaks
PEAK = 0.95  # no sample of the level "loudness" is higher
FULL_PEAK = 0.999  # highest sample of the level "peak", as in the published pipeline
CHUNK_SAMPLES = 160000  # super-resolution works on 10 s at a time, so that memory is bounded
# More than a super-resolution model's receptive field on either side, so that no seam is heard; with CHUNK_SAMPLES a
# multiple of the hop of those that work in frames.
CONTEXT_SAMPLES = 4000


SYNTHETIC = "Synthetic speech, made by hierspeech."  # in the metadata of every file of it; docs/consent.md


@dataclass
class Speech:
    """Spoken audio: float32 samples [T] within [-1, 1], and their rate in Hz."""

    audio: np.ndarray
    sample_rate: int
    unknown: list[str] = field(default_factory=list)  # symbols of the text that the voice cannot speak
    # When the words of the text, as they are written, and their sounds are heard; nothing where no text was spoken. In a
    # stream, the first chunk of a piece of text has all of its words, counted from the start of the stream.
    words: list[Timing] = field(default_factory=list, kw_only=True)
    phonemes: list[Timing] = field(default_factory=list, kw_only=True)
    note: str | None = field(default=SYNTHETIC, kw_only=True)  # for the metadata of files

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | os.PathLike) -> None:
        """Writes a .wav, .flac or .ogg file, whole or not at all."""
        save_audio(path, self.audio, self.sample_rate, self.note)

    def _repr_html_(self) -> str:
        """A player for notebooks, whose words light up while they are heard."""
        from hierspeech.pipelines.player import player_html

        return player_html(self)

    def save_timestamps(self, path: str | os.PathLike, text: str) -> None:
        """Writes when the words of `text`, which was spoken, are heard: .srt, .vtt, .TextGrid or .json."""
        from hierspeech.pipelines.subtitles import write_timestamps
        from hierspeech.pipelines.timings import Timings

        write_timestamps(path, Timings(self.words, self.phonemes), text, self.seconds)


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


def check_finite(wav: np.ndarray, voice: Voice) -> None:
    """One-sentence ValueError where a voice gives no sound."""
    if not np.isfinite(wav).all():
        raise ValueError(
            f"the voice {voice.description.name!r} gave samples that are not finite: its weights are broken."
        )


def finish(
    wav: np.ndarray,
    voice: Voice,
    output_sample_rate: int,
    level: str,
    prompt_peak: float | None = None,
    n_samples: int | None = None,
    unknown: list[str] | None = None,
    energy_db: float = 0.0,
) -> Speech:
    """The synthesizer's wav [T] -> Speech at the wanted rate and level, `energy_db` above it where the peaks leave room.

    `n_samples` of the wav are kept, counted at the voice's rate (default: all). The rest is cut off at the new rate, so
    that super-resolution does not see an end where the synthesizer made none.
    """
    check_finite(wav, voice)
    n_samples = len(wav) if n_samples is None else n_samples
    wav = change_rate(wav, voice, output_sample_rate)
    wav = wav[: round(n_samples * output_sample_rate / voice.sample_rate)]
    return Speech(set_level(wav, level, prompt_peak, energy_db), output_sample_rate, list(unknown or []))


def set_level(
    wav: np.ndarray, level: str, prompt_peak: float | None = None, energy_db: float = 0.0
) -> np.ndarray:
    """Scales wav [T]; silence stays silence.

    "loudness" is -23 dB RMS with peaks under 0.95; "peak" makes the highest sample 0.999; "prompt" makes it that of the
    reference, at most 1, since what lies above does not fit into a file. `energy_db` moves all of that.
    """
    check_level(level, prompt_peak)
    power = block_power(wav, max(1, min(len(wav), LEVEL_BLOCK))) if level == "loudness" else np.zeros(0)
    return scaling(np.abs(wav).max(initial=np.float32(0)), power, level, prompt_peak, energy_db)(wav)


def scaling(
    highest: np.float32,
    power: np.ndarray,
    level: str,
    prompt_peak: float | None = None,
    energy_db: float = 0.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """What `set_level` does to a wav, for any part [T] of it, given what must be known of the whole.

    Args:
        highest: absolute value of the highest sample of the whole.
        power: mean square of each LEVEL_BLOCK samples of the whole; only for the level "loudness".
    """
    if highest == 0:
        return lambda wav: wav
    if level == "loudness":
        gain = np.float32(loudness_gain(power, float(highest), RMS_DB + energy_db, PEAK))
        return lambda wav: wav * gain
    wanted = np.float32(peak_of(level, prompt_peak, energy_db))
    return lambda wav: wav / highest * wanted


def peak_of(level: str, prompt_peak: float | None, energy_db: float = 0.0) -> float:
    """The highest sample of the levels "peak" and "prompt"."""
    full = FULL_PEAK if level == "peak" else 1.0
    wanted = full if level == "peak" else prompt_peak
    return min(wanted if energy_db == 0 else wanted * 10 ** (energy_db / 20), full)


def change_rate(wav: np.ndarray, voice: Voice, output_sample_rate: int) -> np.ndarray:
    """wav [T] at the voice's rate -> [round(T * ratio)]: by the voice's SpeechSR where it has one, else by soxr."""
    chunks = change_rate_in_chunks(lambda start, stop: wav[start:stop], len(wav), voice, output_sample_rate)
    return np.concatenate([np.zeros(0, np.float32), *chunks])


def change_rate_in_chunks(
    read: Callable[[int, int], np.ndarray],
    n_samples: int,
    voice: Voice,
    output_sample_rate: int,
    first: int = 0,
) -> Iterator[np.ndarray]:
    """`change_rate` of a wav that need not be in memory: what comes out, put together, is that of the whole.

    Each chunk is a matter of its own samples and CONTEXT_SAMPLES around them where a SpeechSR makes it.

    Args:
        read: gives the samples from a start to a stop [stop - start] of the wav.
        n_samples: T, of the whole.
        first: the chunk to begin with; those before it are there already.
    """
    starts = range(0, n_samples, CHUNK_SAMPLES)
    model = voice.speechsr(output_sample_rate)
    if model is None:
        blocks = (read(start, min(start + CHUNK_SAMPLES, n_samples)) for start in starts)
        yield from islice(resample_blocks(blocks, voice.sample_rate, output_sample_rate), first, None)
        return
    factor = model.config.scale
    # Even pieces keep 1.5 times their length a whole number.
    padded = n_samples if float(factor).is_integer() else n_samples + n_samples % 2
    length = round(n_samples * output_sample_rate / voice.sample_rate)
    for start in range(first * CHUNK_SAMPLES, padded, CHUNK_SAMPLES):
        stop = min(start + CHUNK_SAMPLES, padded)
        left, right = max(0, start - CONTEXT_SAMPLES), min(padded, stop + CONTEXT_SAMPLES)
        piece = read(left, min(right, n_samples))
        piece = np.pad(piece, (0, right - left - len(piece)))
        piece = model.infer(torch.from_numpy(piece[None, None]).to(voice.device))[0, 0].float().cpu().numpy()
        yield piece[
            int((start - left) * factor) : min(int((stop - left) * factor), length - int(left * factor))
        ]
