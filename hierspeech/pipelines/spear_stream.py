"""Speech by way of tokens, in chunks: codes go through the codec in windows while later ones are drawn.

A window of the compact codec is decoded with the frames around it that its network sees, so chunks put together are what the whole gives.
Shapes: T samples, Q codebooks, M frames of codes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import piece_generator, piece_seed
from hierspeech.pipelines.output import Speech, check_finite
from hierspeech.pipelines.pauses import pause_samples, rising
from hierspeech.pipelines.sentences import FADE_SECONDS
from hierspeech.pipelines.spear_prompt import SpearPrompt, SpearReference, as_spear_prompt
from hierspeech.pipelines.spear_sound import Acoustics, bridge_to_wav, codes_to_wav, tokens_to_codes
from hierspeech.pipelines.spear_voice import SpearVoice
from hierspeech.pipelines.stream_output import Leveller, RateChanger
from hierspeech.pipelines.stream_text import stream_pieces

if TYPE_CHECKING:
    from hierspeech.pipelines.spear import Reading, SpearTTS

FIRST_FRAMES, NEXT_FRAMES = 16, 50  # of codes in a window; the first is small, so that sound begins early


class Stopped(Exception):
    """Nobody wants the rest."""


def stream(
    tts: SpearTTS,
    text: str,
    speaker: SpearReference = None,
    language: str | None = None,
    speed: float = 1.0,
    *,
    reading: Reading | None = None,
    acoustics: Acoustics | None = None,
    seed: int | None = None,
    output_sample_rate: int = 16000,
    sample_rate: int | None = None,
    level: str = "loudness",
) -> Generator[Speech, None, None]:
    """Speaks a text of any length in chunks; arguments as for `SpearTTS.synthesize`.

    The first piece of text is short, as in streams of the hierarchical way (`stream_text.py`), and the level moves towards the one wanted
    (`stream_output.Leveller`). Given the same pieces, tokens and codes are those of a call with the same seed.

    Raises:
        ValueError: as for a call; what can be known from the arguments is said here, at once.
    """
    reading, acoustics, seed = tts._check(reading, acoustics, speed, output_sample_rate, level, seed)
    if not text.strip():
        raise ValueError("the text is empty, expected something to say.")
    prompt = as_spear_prompt(speaker, tts.voice, sample_rate)

    def chunks() -> Generator[Speech, None, None]:
        voice = tts.voice
        changer, leveller = RateChanger(voice, output_sample_rate), Leveller(level, None, output_sample_rate)
        before: str | None = None
        received = 0
        for index, piece in enumerate(stream_pieces(text, voice.description.max_chars)):
            own_seed = piece_seed(seed, index)
            if before is not None:
                pause = pause_samples(before, speed, voice.sample_rate)
                leveller.begin_piece(round((received + pause) * changer.ratio))
                received += pause
                yield from _chunk(changer, leveller, np.zeros(pause, np.float32), output_sample_rate)
            tokens = tts.read([str(piece)], language, speed, reading, [own_seed])[0]
            for wav in _windows(tokens, prompt, voice, acoustics, own_seed):
                check_finite(wav, voice)
                received += len(wav)
                yield from _chunk(changer, leveller, wav, output_sample_rate)
            before = piece.border
        yield from _chunk(changer, leveller, np.zeros(0, np.float32), output_sample_rate, last=True)

    return chunks()


def _chunk(
    changer: RateChanger, leveller: Leveller, wav: np.ndarray, rate: int, last: bool = False
) -> Iterator[Speech]:
    wav = changer.push(wav, last)
    if len(wav):
        yield Speech(leveller(wav), rate)


def _windows(
    tokens: Tensor, prompt: SpearPrompt, voice: SpearVoice, acoustics: Acoustics, seed: int
) -> Iterator[np.ndarray]:
    """wav [T] of the windows of one piece, with a fade at both ends."""
    fade = int(FADE_SECONDS * voice.sample_rate)
    if acoustics.way == "ar":
        parts = _decoded(_drawn(tokens, prompt, voice, acoustics, seed), voice)
    elif acoustics.way == "nar":
        n_tokens = torch.tensor([len(tokens)])
        codes = tokens_to_codes(tokens[None], n_tokens, [prompt], voice, acoustics, [seed])[0]
        parts = _decoded(iter([codes]), voice)
    else:
        parts = iter([bridge_to_wav(tokens[None], prompt, voice, piece_generator(seed, 0))])
    held: np.ndarray | None = None
    first = True
    for wav in parts:
        if held is not None:
            yield held
        held = wav * rising(len(wav), min(fade, len(wav) // 2)) if first else wav
        first = False
    if held is not None:
        yield held * rising(len(held), min(fade, len(held) // 2))[::-1]


def _drawn(
    tokens: Tensor, prompt: SpearPrompt, voice: SpearVoice, acoustics: Acoustics, seed: int
) -> Iterator[Tensor]:
    """Codes [Q, m] as they are drawn, in another thread; closing the iterator ends the drawing."""
    ready: queue.Queue[Tensor | BaseException | None] = queue.Queue()
    stop = threading.Event()
    shown = 0

    def put(codes: Tensor) -> None:
        nonlocal shown
        if stop.is_set():
            raise Stopped
        ready.put(codes[0, :, shown:].cpu())  # all that are finished so far come each time
        shown = codes.shape[-1]

    def draw() -> None:
        try:
            n_tokens = torch.tensor([len(tokens)])
            tokens_to_codes(tokens[None], n_tokens, [prompt], voice, acoustics, [seed], put)
            ready.put(None)
        except Stopped:
            pass
        except BaseException as error:  # whoever reads is told, whatever it is
            ready.put(error)

    worker = threading.Thread(target=draw, daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join()


def _decoded(parts: Iterator[Tensor], voice: SpearVoice) -> Iterator[np.ndarray]:
    """Codes [Q, m] in any portions -> wav [T] of windows that together are the decoding of the whole."""
    hop = voice.codec.spec.hop_length
    halo = getattr(voice.codec, "halo_frames", None)
    codes: Tensor | None = None
    done, wanted = 0, FIRST_FRAMES
    for part in parts:
        codes = part if codes is None else torch.cat([codes, part], 1)
        while halo is not None and codes.shape[1] - halo >= done + wanted:
            yield _window(codes, done, done + wanted, halo, hop, voice)
            done, wanted = done + wanted, NEXT_FRAMES
    if codes is None or not codes.shape[1]:
        return
    if halo is None:  # a codec of which it is not known how far it looks around
        yield codes_to_wav(codes, voice)
    elif done < codes.shape[1]:
        yield _window(codes, done, codes.shape[1], halo, hop, voice)


def _window(codes: Tensor, start: int, stop: int, halo: int, hop: int, voice: SpearVoice) -> np.ndarray:
    left, right = max(start - halo, 0), min(stop + halo, codes.shape[1])
    wav = codes_to_wav(codes[:, left:right], voice)
    return wav[(start - left) * hop : (stop - left) * hop]
