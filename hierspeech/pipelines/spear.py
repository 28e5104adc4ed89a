"""Text to speech by way of discrete tokens (SPEAR-TTS, Kharitonov et al. 2023): text -> semantic tokens -> acoustic tokens -> speech.

The same calls as `TextToSpeech`, so that the two ways can be compared. Shapes: T samples, N semantic tokens, Q codebooks, M frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import SPEEDS, check_range, pick_seed, piece_generator, piece_seed
from hierspeech.pipelines.output import Speech, check_finite, check_level, check_output_rate, finish
from hierspeech.pipelines.pauses import join, pause_samples
from hierspeech.pipelines.recording import prepare_source
from hierspeech.pipelines.sentences import FADE_SECONDS
from hierspeech.pipelines.spear_prompt import (
    ENCODER_RATE,
    SpearPrompt,
    SpearReference,
    as_spear_prompt,
    encode_codes,
    encode_tokens,
)
from hierspeech.pipelines.spear_sound import (
    Acoustics,
    bridge_to_wav,
    check_prompting,
    codes_to_wav,
    pick_way,
    tokens_to_codes,
)
from hierspeech.pipelines.spear_text import Reading, Text, read_texts, split_pieces
from hierspeech.pipelines.spear_voice import DEFAULT_SPEAR_VOICE, SpearVoice, load_spear_voice
from speech.text.chunking import BORDERS

LEVEL = "loudness"


@dataclass
class SpearSpeech(Speech):
    """Speech with the tokens that it was made of, sentence by sentence."""

    tokens: list[Tensor] = field(default_factory=list)  # semantic, long [N] each
    codes: list[Tensor] = field(
        default_factory=list
    )  # acoustic, long [Q, M] each; empty where the bridge spoke


class SpearTTS:
    """Speaks text through discrete tokens in the voice of a reference recording.

    >>> speech = SpearTTS.from_pretrained("lite-spear").synthesize("Good morning.", "someone.wav")
    >>> speech.save("good_morning.wav")
    """

    def __init__(self, voice: SpearVoice):
        from spear.text_tokens import text_tokenizer

        self.voice = voice
        self.config = voice.text_to_semantic.config
        self.text_tokenizer = text_tokenizer(self.config.tokenizer)
        if not self.config.tokens.accepts(voice.tokenizer.spec):
            raise ValueError(
                f"{voice.folder}: text to semantic makes {self.config.tokens}, the tokenizer has {voice.tokenizer.spec}."
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | SpearVoice = DEFAULT_SPEAR_VOICE,
        device: str = "auto",
        precision: str = "fp32",
    ) -> SpearTTS:
        """Loads a token voice: a folder, a shipped name or a hub id; ValueError where there is none."""
        return cls(load_spear_voice(name, device, precision))

    def __call__(self, *arguments, **options) -> SpearSpeech:
        """`synthesize`."""
        return self.synthesize(*arguments, **options)

    def synthesize(
        self,
        text: Text,
        speaker: SpearReference = None,
        language: str | None = None,
        speed: float = 1.0,
        *,
        reading: Reading | None = None,
        acoustics: Acoustics | None = None,
        continue_from: tuple[str, Tensor] | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        level: str = LEVEL,
        progress: Callable[[int, int], None] | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> SpearSpeech:
        """Speaks a text of any length, piece by piece.

        Args:
            text: what to say, or (text, language) stretches, spoken as one.
            speaker: whose voice: a sound file, samples [T], a SpearPrompt, a saved prompt's file or shipped name; None is the first shipped.
            language: of the text up to its first tag such as <pl>; None is the voice's own.
            speed: 2 is twice as fast; 0.25 to 4; on top of the speaking rate.
            reading: how tokens are drawn. acoustics: how they become sound.
            continue_from: (text, semantic tokens [N]) that the first piece goes on from, for their prosody; they are not spoken again.
            seed: equal seeds give equal speech; None is a new one every time.
            output_sample_rate: 16000, 24000 or 48000 Hz.
            sample_rate: of `speaker` in Hz if it is an array (default 16000).
            level: "loudness" (-23 dB RMS) or "peak" (0.999).
            progress: called with (pieces done, pieces in all). callback: called with (step, new semantic tokens [B]) at every step.
        Raises:
            ValueError: nothing to speak, an unusable reference or an argument outside its range, in one sentence.
        """
        reading, acoustics, seed = self._check(reading, acoustics, speed, output_sample_rate, level, seed)
        pieces = split_pieces(text, self.voice.description.max_chars)
        prompt = as_spear_prompt(speaker, self.voice, sample_rate)
        spoken = []
        for index, (piece, _) in enumerate(pieces):
            before = continue_from if index == 0 else None
            tokens = self.read(
                [piece], language, speed, reading, [piece_seed(seed, index)], before, callback
            )[0]
            spoken.append(self._sound([tokens], [prompt], acoustics, [piece_seed(seed, index)])[0])
            if progress:
                progress(index + 1, len(pieces))
        return self._finish(spoken, [border for _, border in pieces], speed, output_sample_rate, level)

    def batch(
        self,
        texts: Iterable[str],
        speaker: SpearReference | Sequence[SpearReference] = None,
        language: str | None = None,
        speed: float = 1.0,
        *,
        reading: Reading | None = None,
        acoustics: Acoustics | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        level: str = LEVEL,
    ) -> list[SpearSpeech]:
        """Speaks several texts at once; text k sounds as in a call of its own with the seed `seed`.

        Args:
            texts: each as for `synthesize`, of one piece or more.
            speaker: one for all, or one for each.
        """
        reading, acoustics, seed = self._check(reading, acoustics, speed, output_sample_rate, level, seed)
        texts = list(texts)
        pieces = [split_pieces(text, self.voice.description.max_chars) for text in texts]
        if isinstance(speaker, (list, tuple)):
            if len(speaker) != len(texts):
                raise ValueError(
                    f"{len(speaker)} speakers for {len(texts)} texts: expected one, or one for each."
                )
            prompts = [as_spear_prompt(one, self.voice) for one in speaker]
        else:
            prompts = [as_spear_prompt(speaker, self.voice)] * len(texts)
        flat = [(k, i, piece) for k, own in enumerate(pieces) for i, (piece, _) in enumerate(own)]
        if not flat:
            return []
        seeds = [piece_seed(seed, i) for _, i, _ in flat]
        tokens = self.read([piece for _, _, piece in flat], language, speed, reading, seeds)
        spoken = self._sound(tokens, [prompts[k] for k, _, _ in flat], acoustics, seeds)
        results = []
        for k, own in enumerate(pieces):
            mine = [part for part, (owner, _, _) in zip(spoken, flat, strict=True) if owner == k]
            results.append(
                self._finish(mine, [border for _, border in own], speed, output_sample_rate, level)
            )
        return results

    def to_file(
        self, text: str, path: str | os.PathLike, speaker: SpearReference = None, **options
    ) -> SpearSpeech:
        """`synthesize` into a .wav, .flac or .ogg file, which appears whole or not at all."""
        speech = self.synthesize(text, speaker, **options)
        speech.save(path)
        return speech

    def to_notebook(self, text: str, speaker: SpearReference = None, **options):
        """`synthesize` as a player for a notebook (`IPython.display.Audio`).

        Raises:
            ValueError: IPython is not installed.
        """
        try:
            from IPython.display import Audio
        except ImportError as error:
            raise ValueError(
                "to_notebook needs IPython, which is not installed: pip install ipython."
            ) from error
        speech = self.synthesize(text, speaker, **options)
        return Audio(speech.audio, rate=speech.sample_rate)

    def stream(
        self,
        text: str,
        speaker: SpearReference = None,
        language: str | None = None,
        speed: float = 1.0,
        **options,
    ) -> Generator[Speech, None, None]:
        """Speaks in chunks, each of which can be played while the next is computed; see `spear_stream.stream`."""
        from hierspeech.pipelines.spear_stream import stream

        return stream(self, text, speaker, language, speed, **options)

    def clone(self, reference: SpearReference, sample_rate: int | None = None) -> SpearPrompt:
        """Listens to a reference once, for many texts; `.save(path)` keeps it."""
        return as_spear_prompt(reference, self.voice, sample_rate)

    def encode_semantic(
        self, audio: str | os.PathLike | np.ndarray, sample_rate: int | None = None
    ) -> Tensor:
        """A recording -> its semantic tokens, long [N]."""
        return encode_tokens(self._recording(audio, sample_rate), self.voice)[0].cpu()

    def encode_acoustic(
        self, audio: str | os.PathLike | np.ndarray, sample_rate: int | None = None
    ) -> Tensor:
        """A recording -> codes of the voice's codec, long [Q, M]."""
        return encode_codes(self._recording(audio, sample_rate), self.voice)[0].cpu()

    def resynthesize(
        self,
        audio: str | os.PathLike | np.ndarray,
        speaker: SpearReference = None,
        *,
        acoustics: Acoustics | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        sample_rate: int | None = None,
        level: str = LEVEL,
    ) -> SpearSpeech:
        """Voice conversion: the words and rhythm of a recording in another voice, by its semantic tokens."""
        _, acoustics, seed = self._check(None, acoustics, 1.0, output_sample_rate, level, seed)
        tokens = self.encode_semantic(audio, sample_rate)
        prompt = as_spear_prompt(speaker, self.voice, sample_rate)
        parts = self._windows(tokens)
        spoken = [
            self._sound([part], [prompt], acoustics, [piece_seed(seed, index)])[0]
            for index, part in enumerate(parts)
        ]
        return self._finish(spoken, ["word"] * len(parts), 1.0, output_sample_rate, level, seamless=True)

    def read(
        self,
        texts: Sequence[Text],
        language: str | None = None,
        speed: float = 1.0,
        reading: Reading | None = None,
        seeds: list[int] | None = None,
        continue_from: tuple[str, Tensor] | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
    ) -> list[Tensor]:
        """Texts, each short enough for the model -> semantic tokens, long [N] each; see `spear_text.read_texts`."""
        return read_texts(
            self.voice,
            self.text_tokenizer,
            texts,
            language,
            speed,
            reading or Reading(),
            seeds,
            continue_from,
            callback,
        )

    def _check(
        self,
        reading: Reading | None,
        acoustics: Acoustics | None,
        speed: float,
        output_sample_rate: int,
        level: str,
        seed: int | None,
    ) -> tuple[Reading, Acoustics, int]:
        check_range("speed", speed, SPEEDS)
        check_output_rate(output_sample_rate)
        check_level(level)
        acoustics = acoustics or Acoustics()
        acoustics = replace(acoustics, way=pick_way(acoustics.way, self.voice))
        check_prompting(acoustics.prompting)  # before the text is read
        return reading or Reading(), acoustics, pick_seed(seed)

    def _windows(self, tokens: Tensor) -> list[Tensor]:
        """Tokens [N] in stretches that the acoustic models hold beside a prompt."""
        limit = 20 * self.voice.tokenizer.spec.rate_hz
        number = -(-len(tokens) // limit)
        return list(tokens.tensor_split(number))

    def _sound(
        self, tokens: list[Tensor], prompts: list[SpearPrompt], acoustics: Acoustics, seeds: list[int]
    ) -> list[tuple[np.ndarray, Tensor, Tensor | None]]:
        """(wav [T] at the voice's rate, tokens [N], codes [Q, M]) of each row."""
        if acoustics.way == "bridge":
            return [
                (bridge_to_wav(row[None], prompt, self.voice, piece_generator(seed, 0)), row, None)
                for row, prompt, seed in zip(tokens, prompts, seeds, strict=True)
            ]
        n_tokens = torch.tensor([len(row) for row in tokens])
        padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        codes = tokens_to_codes(padded, n_tokens, prompts, self.voice, acoustics, seeds)
        return [(codes_to_wav(c, self.voice), row, c) for row, c in zip(tokens, codes, strict=True)]

    def _finish(
        self,
        spoken: list[tuple[np.ndarray, Tensor, Tensor | None]],
        borders: list[str],
        speed: float,
        output_sample_rate: int,
        level: str,
        seamless: bool = False,
    ) -> SpearSpeech:
        rate = self.voice.sample_rate
        wavs = [wav for wav, _, _ in spoken]
        for wav in wavs:
            check_finite(wav, self.voice)
        pauses = [0 if seamless else pause_samples(_border(border), speed, rate) for border in borders]
        wav = join(wavs, pauses, int(FADE_SECONDS * rate), fade_ends=True)
        speech = finish(wav, self.voice, output_sample_rate, level)
        codes = [c for _, _, c in spoken if c is not None]
        return SpearSpeech(speech.audio, speech.sample_rate, [], [t for _, t, _ in spoken], codes)

    def _recording(self, audio: str | os.PathLike | np.ndarray, sample_rate: int | None) -> np.ndarray:
        return prepare_source(audio, ENCODER_RATE, sample_rate or ENCODER_RATE)


def _border(border: str) -> str:
    return border if border in BORDERS else "sentence"
