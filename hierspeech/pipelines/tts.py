"""Text to speech: text and a reference voice in, speech out (HierSpeech++ section 3; spec 8.1).

Shapes: T samples, S phonemes, N frames at 50 Hz, C channels.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import pick_seed, piece_generator
from hierspeech.pipelines.contours import Contour, contour, gains
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.output import Speech, check_level, finish
from hierspeech.pipelines.pauses import join
from hierspeech.pipelines.pipeline import Pipeline
from hierspeech.pipelines.prompt import Reference, VoicePrompt, adapt_prompt, as_prompt
from hierspeech.pipelines.prosody import Delivery, mark_text, shape_pitch
from hierspeech.pipelines.questions import question_rise
from hierspeech.pipelines.sentences import (
    FADE_SECONDS,
    NEUTRAL_PITCH,
    Sentence,
    TextReader,
    cut_passages,
    nothing_to_say,
)
from hierspeech.pipelines.stream_text import stream_pieces
from hierspeech.pipelines.streaming import Lookahead, StreamPiece, speak_pieces
from hierspeech.pipelines.timings import Spoken, time_sentence, time_sentences
from hierspeech.pipelines.voice import Voice
from ttv.languages import tokenizer_of
from ttv.output import TTVOutput

if TYPE_CHECKING:
    from os import PathLike

    from hierspeech.pipelines.batches import BatchItem, BatchResult
    from hierspeech.pipelines.long_text import Written


class TextToSpeech(Pipeline):
    """Speaks text in the voice of a reference recording.

    >>> speech = TextToSpeech.from_pretrained("lite")("Good morning.", "someone.wav")
    >>> speech.save("good_morning.wav")
    """

    def __init__(self, voice: Voice):
        super().__init__(voice)
        description, config = voice.description, voice.ttv.config
        self.tokenizer = tokenizer_of(config)
        self.reader = TextReader(
            description.language,
            description.normalizer,
            description.max_chars,
            self.tokenizer,
            config.languages,
        )

    def __call__(
        self,
        text: str,
        reference: Reference = None,
        language: str | None = None,
        speed: float = 1.0,
        noise_scale: float | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        *,
        noise_scale_vc: float | None = None,
        denoise_ratio: float | str | None = None,
        level: str | None = None,
        pitch_shift: float = 0.0,
        pitch_range: float = 1.0,
        energy: float = 0.0,
        mix_with: Reference = None,
        mix: float | Sequence[float] | None = None,
    ) -> Speech:
        """Speaks a text of any length, sentence by sentence.

        Args:
            text: what to say.
            reference: whose voice: a sound file, samples [T], a VoicePrompt, a saved prompt's file or shipped name;
                None is the voice's first shipped prompt.
            language: of the text up to its first tag such as <pl>, "en-us" or any espeak language; None is the voice's own.
            speed: 2 is twice as fast; 0.25 to 4.
            noise_scale: spread of what text-to-vec draws: 0 is the most even, 0.333 robust, 0.667 livelier; None is the
                voice's default.
            seed: equal seeds give equal speech; None is a new one every time.
            output_sample_rate: 16000, 24000 or 48000 Hz.
            sample_rate: rate of `reference` in Hz if it is an array of samples (default: the voice's).
            progress: called with (sentences done, sentences in all).
            noise_scale_vc: the same for the synthesizer; None is `noise_scale`.
            denoise_ratio: share of the cleaned reference in the style, 0 to 1, or "auto"; None is the voice's default.
            level: "loudness" (-23 dB RMS), "peak" (0.999) or "prompt" (peak of the reference); None is the voice's default.
            pitch_shift: semitones, -12 to 12.
            pitch_range: factor on how far the melody moves from the voice's mean: 0 is monotonous, 3 at most.
            energy: dB above the level, -20 to 20, as far as the highest sample leaves room.
            mix_with: a second reference, whose voice is mixed in. mix: its share, 0 to 1, of all sentences or of each (default 0.5).
        Marks in the text say the same of parts of it: see `speech.text.marks`.
        Raises:
            ValueError: nothing to speak, an unusable reference or an argument outside its range, in one sentence.
        """
        options = SpeakingOptions(
            language, speed, noise_scale, noise_scale_vc, pick_seed(seed), output_sample_rate, denoise_ratio, level,
            pitch_shift, pitch_range, energy, mix_with, mix,
        ).fill_in(self.voice)  # fmt: skip
        self.voice.speechsr(output_sample_rate)  # if it is broken, that is said before the text is spoken
        sentences, unknown = self.encode(mark_text(text, mix), language)
        delivery = self.delivery(reference, options, sample_rate)
        pieces: list[Spoken] = []
        for index, sentence in enumerate(sentences):
            pieces.append(self.speak_piece(sentence, delivery, piece_generator(options.seed, index)))
            if progress:
                progress(index + 1, len(sentences))
        return self.put_together(pieces, sentences, delivery, unknown)

    def delivery(
        self, reference: Reference, options: SpeakingOptions, sample_rate: int | None = None
    ) -> Delivery:
        """How sentences are said: whatever references are, as prompts of this voice, with filled-in options."""
        ratio = options.denoise_ratio
        prompt = as_prompt(reference, self.voice, sample_rate, ratio)
        second = None
        if options.mix_with is not None:
            second = as_prompt(options.mix_with, self.voice, sample_rate, ratio)
        check_level(options.level, prompt.peak)
        return Delivery(prompt, options, second)

    def put_together(
        self, pieces: list[Spoken], sentences: list[Sentence], delivery: Delivery, unknown: list[str]
    ) -> Speech:
        """Spoken sentences -> one Speech, with the pauses that stand between them in the text."""
        rate = self.voice.sample_rate
        options = delivery.options
        pauses = [delivery.pause(sentence, rate) for sentence in sentences]
        wav = join([piece.wav for piece in pieces], pauses, int(FADE_SECONDS * rate), self.fade_ends)
        speech = finish(
            wav,
            self.voice,
            options.output_sample_rate,
            options.level,
            delivery.prompt.peak,
            unknown=unknown,
            energy_db=options.energy,
        )
        lengths = [len(piece.wav) + pause for piece, pause in zip(pieces, pauses, strict=True)]
        durations = [piece.durations for piece in pieces]
        timings = time_sentences(sentences, durations, lengths, rate, self.frame_seconds)
        audio = self.mark(speech.audio, speech.sample_rate)
        return replace(speech, audio=audio, words=timings.words, phonemes=timings.phonemes)

    @property
    def frame_seconds(self) -> float:
        """Of one frame of the models; durations are counted in them."""
        return self.voice.audio.hop_length / self.voice.sample_rate

    def stream(
        self,
        text: str,
        reference: Reference = None,
        language: str | None = None,
        speed: float = 1.0,
        noise_scale: float | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        *,
        noise_scale_vc: float | None = None,
        denoise_ratio: float | str | None = None,
        level: str | None = None,
        pitch_shift: float = 0.0,
        pitch_range: float = 1.0,
        energy: float = 0.0,
        mix_with: Reference = None,
        mix: float | Sequence[float] | None = None,
    ) -> Generator[Speech, None, None]:
        """Speaks a text of any length in chunks, each of which can be played while the next ones are computed.

        >>> for chunk in tts.stream(text, "someone.wav"):
        ...     play(chunk.audio, chunk.sample_rate)

        Arguments are those of a call. What differs from the speech that a call gives:
        - The first piece of text is short (`stream_text.py`), so a long first sentence may have a pause at a clause border.
        - The level of the whole is not known in advance: speech begins at the level at which the models speak, and moves, 2 dB
          at most between one piece and the next, to the one wanted (`stream_output.Leveller`).
        Given the same pieces, the samples before levelling are the same to 1e-4. Memory does not grow with the text.

        Returns:
            A generator of `Speech` chunks; closing it ends the work.
        Raises:
            ValueError: as for a call; what can be known from the arguments and the first piece is said here, at once. The
                generator raises it where a later piece of the text cannot be spoken.
        """
        options = SpeakingOptions(
            language, speed, noise_scale, noise_scale_vc, pick_seed(seed), output_sample_rate, denoise_ratio, level,
            pitch_shift, pitch_range, energy, mix_with, mix,
        ).fill_in(self.voice)  # fmt: skip
        self.voice.speechsr(output_sample_rate)  # if it is broken, that is said before the text is spoken
        marked, language = self.reader.check_text(mark_text(text, mix), language)
        unknown: list[str] = []
        pieces = cut_passages(marked, lambda part: stream_pieces(part, self.voice.description.max_chars))
        parts = Lookahead(self.reader.encode_pieces(pieces, language, unknown, marked))
        if not parts.more():
            raise nothing_to_say(marked.text, language)
        delivery = self.delivery(reference, options, sample_rate)
        style, peak = delivery.prompt.synthesizer_style.to(self.voice.device), delivery.prompt.peak
        chunks = speak_pieces(
            self._decodable(parts, delivery),
            self.voice,
            style,
            output_sample_rate,
            options.level,
            peak,
            unknown,
            energy_db=energy,
        )
        return self.mark_stream(chunks)

    @torch.inference_mode()
    def _decodable(
        self,
        parts: Lookahead,
        delivery: Delivery,
    ) -> Iterator[StreamPiece]:
        """What the decoder needs of each sentence in `parts`, computed when it is asked for."""
        rate, options = self.voice.sample_rate, delivery.options
        fade_samples = int(FADE_SECONDS * rate)
        before: Sentence | None = None
        for index, sentence in enumerate(parts):
            generator = piece_generator(options.seed, index)
            prompt, speed = delivery.voice(sentence), delivery.speed(sentence)
            style = prompt.synthesizer_style.to(self.voice.device)
            out = self._text_to_vec(sentence, prompt, speed, options.noise_scale, generator)
            out, asked = self._shape(out, sentence, prompt, options)
            z = self.voice.synthesizer.sample_latent(
                out.semantic, out.log_f0, style, out.frame_mask, options.noise_scale_vc, generator
            )
            yield StreamPiece(
                z,
                out.log_f0,
                pause_samples=0 if before is None else delivery.pause(before, rate),
                fade_in=fade_samples if index or self.fade_ends else 0,
                fade_out=lambda: fade_samples if parts.more() or self.fade_ends else 0,
                timings=time_sentence(sentence.source, out.durations[0].tolist(), self.frame_seconds),
                style=style,
                gains=gains(asked, self.voice.audio.hop_length),
            )
            before = sentence

    @property
    def fade_ends(self) -> bool:
        """Whether speech begins and ends with a fade."""
        # A published voice gives the samples of its models untouched. Ours fades in and out besides, so that players do
        # not click where a model begins or ends with sound.
        return self.voice.description.recordings == "levelled"

    def speak_to_file(
        self,
        text: str,
        path: "str | PathLike",
        reference: Reference = None,
        *,
        timestamps: "str | PathLike | None" = None,
        **options,
    ) -> "Written":
        """Speaks a text of any length into a sound file, in constant memory; after an interrupt the same call goes on.

        Args:
            timestamps: a .srt, .vtt, .TextGrid or .json file that says when the words are heard.
            options: the fields of `SpeakingOptions`; the file holds what a call with the same ones gives.
        """
        from hierspeech.pipelines.long_text import speak_to_file

        given = SpeakingOptions(**options)
        return speak_to_file(self, text, path, reference, given, timestamps=timestamps)

    def batch(
        self, items: "Iterable[BatchItem | dict | str]", batch_size: int = 8, **options
    ) -> "Iterator[BatchResult]":
        """Speaks many texts, several at a time; each sounds as in a call of its own with the same seed.

        >>> for result in tts.batch([{"text": "Good morning.", "reference": "someone.wav"}, {"text": "Good night."}]):
        ...     result.speech.save(f"{result.index}.wav")

        Args:
            items: texts, or dictionaries with text, reference, language, speed and seed, of which all but text may fail.
            batch_size: sentences that are spoken together, at most.
            options: the fields of `SpeakingOptions`, for what an item does not say itself.
        """
        from hierspeech.pipelines.batches import speak_items

        return speak_items(self, items, SpeakingOptions(**options), batch_size)

    def prompt(
        self,
        reference: Reference,
        sample_rate: int | None = None,
        denoise_ratio: float | str | None = None,
        adapt_steps: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> VoicePrompt:
        """Listens to a reference once, for many texts; with `adapt_steps` longer, to come nearer (`adaptation.adapt`)."""
        prompt = as_prompt(reference, self.voice, sample_rate, denoise_ratio)
        return adapt_prompt(prompt, reference, self.voice, adapt_steps, sample_rate, progress)

    def encode(self, text: str, language: str | None = None) -> tuple[list[Sentence], list[str]]:
        """Text -> phoneme ids of its sentences, and the symbols that have none.

        Raises:
            ValueError: nothing to speak, or a language that is unknown or that the model does not speak.
        """
        return self.reader.encode(text, language)

    def speak(
        self,
        phoneme_ids: list[int],
        prompt: VoicePrompt,
        speed: float = 1.0,
        noise_scale: float = 0.333,
        generator: torch.Generator | None = None,
        noise_scale_vc: float | None = None,
    ) -> np.ndarray:
        """The chain of the paper for one sentence: phoneme ids -> semantic features and F0 -> wav [T].

        `phoneme_ids` is a `Sentence`, or a plain list, which is in the first of the model's languages.
        """
        vc = noise_scale if noise_scale_vc is None else noise_scale_vc
        options = SpeakingOptions(speed=speed, noise_scale=noise_scale, noise_scale_vc=vc)
        return self.speak_piece(phoneme_ids, Delivery(prompt, options), generator).wav

    @torch.inference_mode()
    def speak_piece(
        self, sentence: list[int], delivery: Delivery, generator: torch.Generator | None
    ) -> Spoken:
        """One sentence, said as `delivery` has it, with the durations that were spoken."""
        voice, options, prompt = self.voice, delivery.options, delivery.voice(sentence)
        out = self._text_to_vec(sentence, prompt, delivery.speed(sentence), options.noise_scale, generator)
        out, asked = self._shape(out, sentence, prompt, options)
        wav = (
            voice.synthesizer.infer(
                out.semantic,
                out.log_f0,
                prompt.synthesizer_style.to(voice.device),
                out.frame_mask,
                noise_scale=options.noise_scale_vc,
                generator=generator,
            )[0, 0]
            .float()
            .cpu()
            .numpy()
        )
        loud = gains(asked, voice.audio.hop_length)
        return Spoken(wav if loud is None else wav * loud, out.durations[0].tolist())

    def _shape(
        self, out: TTVOutput, sentence: list[int], prompt: VoicePrompt, options: SpeakingOptions
    ) -> tuple[TTVOutput, Contour | None]:
        """The pitch of one sentence as options and marks ask for it, and all that they ask for."""
        durations, n_frames = out.durations[0].tolist(), out.frame_mask.shape[1]
        source, says = getattr(sentence, "source", None), self.voice.description
        own, spread = out.log_f0[0, 0].float().cpu().numpy(), options.pitch_range
        rise = question_rise(source, durations, n_frames, own, says.question_rise, spread)
        asked = contour(source, durations, n_frames, options.pitch_shift, spread, rise)
        return replace(out, log_f0=shape_pitch(out.log_f0, asked, prompt, says.f0_floor_hz)), asked

    def _text_to_vec(
        self,
        phoneme_ids: list[int],
        prompt: VoicePrompt,
        speed: float,
        noise_scale: float,
        generator: torch.Generator | None,
    ) -> TTVOutput:
        """Semantic features and F0 of one sentence; arguments as for `speak`."""
        device = self.voice.device
        languages = getattr(phoneme_ids, "languages", None)
        pitch = (prompt.log_f0_mean, prompt.log_f0_std) if prompt.has_pitch else NEUTRAL_PITCH
        out = self.voice.ttv.infer(
            torch.tensor([phoneme_ids], device=device),
            prompt.ttv_style.to(device),
            noise_scale=noise_scale,
            length_scale=1.0 / speed,
            pitch=torch.tensor([pitch], device=device),
            generator=generator,
            language_ids=None if languages is None else torch.tensor([languages], device=device),
        )
        return replace(out, log_f0=clip_pitch(out.log_f0, self.voice.description.f0_floor_hz))


def clip_pitch(log_f0: Tensor, floor_hz: float) -> Tensor:
    """log(F0 + 1) [B, 1, 4N] with values under ln(floor) set to 0, unvoiced (the published pipeline's rule)."""
    return torch.where(log_f0 < math.log(floor_hz), 0.0, log_f0)
