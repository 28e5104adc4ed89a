"""Voice conversion: the words and the melody of one recording in the voice of another (HierSpeech++ section 3.5; spec 8.2).

Shapes: T samples, N frames at 50 Hz, F = 4N pitch frames at 200 Hz.
"""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import ARTICULATION, NOISE_SCALES, check_range, make_generator
from hierspeech.pipelines.output import Speech, check_level, check_output_rate, finish
from hierspeech.pipelines.pipeline import Pipeline
from hierspeech.pipelines.prompt import F0_MAX_HZ, Reference, VoicePrompt, as_prompt
from hierspeech.pipelines.recording import prepare_source
from hierspeech.pipelines.source_reader import SourceReader
from hierspeech.pipelines.streaming import StreamPiece, speak_pieces
from hierspeech.pipelines.voice_pitch import pitch_range
from hierspeech.synthesizer.equalizer import articulated
from speech.audio import block_power
from speech.f0 import extract_f0
from speech.semantic.encoder import PUBLISHED_UNIT

MIN_SECONDS = 0.1  # of sound in the source
MAX_SECONDS = 3600.0  # a longer source is refused rather than cut
PIECE_SECONDS = (10.0, 20.0)  # long sources are converted in pieces, cut where it is quietest between these
# In a stream the first ones are shorter, so that sound begins early; the last entry holds for all that follow.
STREAM_PIECE_SECONDS = ((2.0, 4.0), (5.0, 10.0), PIECE_SECONDS)
RANGE_SECONDS = 10.0  # of the source, from which a stream knows its pitch range
MAX_SPREAD = 3.0  # a monotonous source is not stretched further than this to reach the target's pitch range
F0_LIMITS_HZ = (40.0, 1000.0)


class VoiceConversion(Pipeline):
    """Speaks a recording again in another voice.

    >>> VoiceConversion.from_pretrained("lite")("source.wav", "target.wav").save("converted.wav")
    """

    def __call__(
        self,
        source: str | os.PathLike | np.ndarray,
        reference: Reference = None,
        noise_scale: float | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        *,
        denoise_ratio: float | str | None = None,
        level: str | None = None,
        articulation: float | None = None,
    ) -> Speech:
        """Converts a recording; the result is as long as the source.

        Args:
            source: a sound file or samples [T].
            reference: the voice to speak with, as for `TextToSpeech`.
            noise_scale: 0 is the most even, 0.333 robust; None is the voice's default.
            seed: equal seeds give equal speech; None is a new one every time.
            output_sample_rate: 16000, 24000 or 48000 Hz.
            sample_rate: rate in Hz of `source` and `reference` where they are arrays (default: the voice's).
            progress: called with (pieces done, pieces in all).
            denoise_ratio: share of the cleaned reference in the style, 0 to 1, or "auto"; None is the voice's default.
            level: "loudness" (-23 dB RMS), "peak" (0.999) or "prompt" (peak of the reference); None is the voice's default.
            articulation: how much of the movement of the source's spectrum is kept, of a voice with an equalizer: 0 is most
                like the target, 1 keeps most words; None is the voice's default, `ArticulationConfig.kept` or, of voices alike, more.
        Raises:
            ValueError: an unusable source or reference, or an argument outside its range, in one sentence.
        """
        voice, description = self.voice, self.voice.description
        noise_scale, level = self._check(noise_scale, level, output_sample_rate, articulation)
        wav = prepare_source(
            source, voice.sample_rate, sample_rate, description.recordings, MIN_SECONDS, MAX_SECONDS
        )
        prompt = as_prompt(reference, voice, sample_rate, denoise_ratio)
        check_level(level, prompt.peak)
        generator = make_generator(seed)
        # The published pipeline measures the pitch of the padded source, and super-resolution sees what the padding became.
        published = description.recordings == "as_recorded"
        source_range = pitch_range(self._f0(pad(wav) if published else wav), description.recordings)
        bounds = piece_bounds(wav, voice.sample_rate)
        pieces = []
        for done, (start, stop) in enumerate(bounds, 1):
            piece = self.convert(wav[start:stop], source_range, prompt, noise_scale, generator, articulation)
            pieces.append(piece if published and done == len(bounds) else piece[: stop - start])
            if progress:
                progress(done, len(bounds))
        speech = finish(np.concatenate(pieces), voice, output_sample_rate, level, prompt.peak, len(wav))
        return replace(speech, audio=self.mark(speech.audio, speech.sample_rate))

    @torch.inference_mode()
    def convert(
        self,
        wav: np.ndarray,
        source_range: tuple[float, float],
        prompt: VoicePrompt,
        noise_scale: float = 0.333,
        generator: torch.Generator | None = None,
        articulation: float | None = None,
    ) -> np.ndarray:
        """One piece of the source, wav [T] at the voice's rate, whose pitch range is known -> wav [T + padding]."""
        z, log_f0, wav_hat = self._latent(wav, source_range, prompt, noise_scale, generator, articulation)
        if wav_hat is None:
            style = prompt.synthesizer_style.to(self.voice.device)
            wav_hat, _ = self.voice.synthesizer.decode(z, style, log_f0)
        return wav_hat[0, 0].float().cpu().numpy()

    def stream(
        self,
        source: str | os.PathLike | np.ndarray,
        reference: Reference = None,
        noise_scale: float | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        *,
        denoise_ratio: float | str | None = None,
        level: str | None = None,
        articulation: float | None = None,
    ) -> Generator[Speech, None, None]:
        """Converts a recording of any length in chunks, each of which can be played while the next ones are computed.

        Arguments are those of a call. What differs from what a call gives:
        - A file is read as it is needed; the level and the pitch range of the source are those of its first 10 s.
        - The first pieces are shorter: 2 to 4 s, then 5 to 10 s, cut where it is quietest.
        - The output begins at the level at which the models speak, and moves, 2 dB at most between one piece and the next, to
          the one wanted.
        A source of up to 4 s gives the same samples before levelling, to 1e-4. Memory does not grow with the source, unless
        the voice is a published one and the file has another rate than the voice.

        Returns:
            A generator of `Speech` chunks, as long as the source together; closing it ends the work.
        Raises:
            ValueError: as for a call, at once; the generator raises it where a later part of the source is unusable.
        """
        voice = self.voice
        noise_scale, level = self._check(noise_scale, level, output_sample_rate, articulation)
        recordings = voice.description.recordings
        reader = SourceReader(source, voice.sample_rate, sample_rate, recordings, MIN_SECONDS)
        prompt = as_prompt(reference, voice, sample_rate, denoise_ratio)
        check_level(level, prompt.peak)
        pieces = self._decodable(reader, prompt, noise_scale, make_generator(seed), articulation)
        style = prompt.synthesizer_style.to(voice.device)
        return self.mark_stream(speak_pieces(pieces, voice, style, output_sample_rate, level, prompt.peak))

    @torch.inference_mode()
    def _decodable(
        self,
        reader: SourceReader,
        prompt: VoicePrompt,
        noise_scale: float,
        generator: torch.Generator,
        articulation: float | None,
    ) -> Iterator[StreamPiece]:
        """What the decoder needs of each piece of the source, computed when it is asked for."""
        voice, rate = self.voice, self.voice.sample_rate
        published = voice.description.recordings == "as_recorded"
        start = reader.peek(int(RANGE_SECONDS * rate))
        source_range = pitch_range(self._f0(pad(start) if published else start), voice.description.recordings)
        lengths = iter(STREAM_PIECE_SECONDS)
        while True:
            seconds = next(lengths, PIECE_SECONDS)
            wav = reader.peek(int(seconds[1] * rate) + 1)
            if not len(wav):
                return
            _, stop = piece_bounds(wav, rate, seconds)[0]
            last = stop == len(wav)
            wav = reader.take(stop)
            z, log_f0, _ = self._latent(wav, source_range, prompt, noise_scale, generator, articulation)
            surplus = z.shape[-1] * voice.audio.hop_length - len(wav)
            # published super-resolution sees what the padding became, as in a call
            heard = {"unheard_samples": surplus} if published and last else {"keep_samples": len(wav)}
            yield StreamPiece(z, log_f0, **heard)

    def _check(
        self,
        noise_scale: float | None,
        level: str | None,
        output_sample_rate: int,
        articulation: float | None,
    ) -> tuple[float, str]:
        """Noise scale and level, as they are or as the voice has them; ValueError for what is unusable or missing."""
        voice, description = self.voice, self.voice.description
        noise_scale = description.noise_scale if noise_scale is None else noise_scale
        level = description.level if level is None else level
        check_range("noise scale", noise_scale, NOISE_SCALES)
        check_level(level, prompt_peak=1.0)
        check_output_rate(output_sample_rate)
        if articulation is not None:
            check_range("articulation", articulation, ARTICULATION)
            if articulation and voice.synthesizer.equalizer is None:
                raise ValueError(f"articulation {articulation:g}: this voice has no equalizer, expected 0.")
        # what is missing is said before the first long piece of work
        _ = voice.semantic_encoder, voice.speechsr(output_sample_rate)
        return noise_scale, level

    def _latent(
        self,
        wav: np.ndarray,
        source_range: tuple[float, float],
        prompt: VoicePrompt,
        noise_scale: float,
        generator: torch.Generator | None,
        articulation: float | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the decoder needs of a piece wav [T], which is padded first: what `sample_latent` gives, and log F0 [1, 1, 4N].

        The third is what it makes of them [1, 1, T + padding], where that was needed to articulate; None elsewhere.
        """
        padded = pad(wav)
        f0 = move_pitch(self._f0(padded), source_range, (prompt.log_f0_mean, prompt.log_f0_std))
        device, synthesizer = self.voice.device, self.voice.synthesizer
        heard = torch.from_numpy(padded)[None].to(device)
        semantic = synthesizer.detailed(self.voice.semantic_encoder(heard), heard)
        log_f0 = torch.from_numpy(np.log(f0 + 1)).to(device)[None, None, : 4 * semantic.shape[-1]]
        style = prompt.synthesizer_style.to(device)
        z = synthesizer.sample_latent(semantic, log_f0, style, noise_scale=noise_scale, generator=generator)
        if synthesizer.equalizer is None or articulation == 0:
            return z, log_f0, None
        moved, z = articulated(synthesizer, z, style, log_f0, semantic, heard, articulation)
        return z, log_f0, moved

    def _f0(self, wav: np.ndarray) -> np.ndarray:
        return extract_f0(wav, self.voice.sample_rate, f0_max=F0_MAX_HZ[self.voice.description.recordings])


def pad(wav: np.ndarray) -> np.ndarray:
    """wav [T] -> whole units of 1280 samples, where an exact multiple still gains one, as the models know recordings."""
    return np.pad(wav, (0, PUBLISHED_UNIT - len(wav) % PUBLISHED_UNIT))


def move_pitch(f0: np.ndarray, source: tuple[float, float], target: tuple[float, float]) -> np.ndarray:
    """Gives f0 [F] in Hz the target's mean and deviation of ln F0 over voiced frames; unvoiced frames stay 0.

    With no pitch range on either side (mean 0: too few voiced frames) f0 is returned as it is.
    """
    if source[0] <= 0 or target[0] <= 0:
        return f0
    spread = np.clip(target[1] / max(source[1], 1e-3), 1 / MAX_SPREAD, MAX_SPREAD)
    voiced = f0 > 0
    log_f0 = (np.log(np.where(voiced, f0, 1.0)) - source[0]) * spread + target[0]
    return np.where(voiced, np.exp(log_f0).clip(*F0_LIMITS_HZ), 0.0).astype(np.float32)


def piece_bounds(
    wav: np.ndarray, sample_rate: int, seconds: tuple[float, float] = PIECE_SECONDS
) -> list[tuple[int, int]]:
    """Cuts wav [T] into pieces of at most 20 s, where it is quietest; (start, stop) of each, in samples.

    `seconds`: the shortest and the longest piece; the last one may be shorter.
    """
    shortest, longest = (int(value * sample_rate) for value in seconds)
    block = sample_rate // 50
    bounds, start = [], 0
    while len(wav) - start > longest:
        power = block_power(wav[start + shortest : start + longest], block)
        stop = start + shortest + int(power.argmin()) * block + block // 2
        bounds.append((start, stop))
        start = stop
    return [*bounds, (start, len(wav))]
