"""Text -> semantic tokens, as a token voice reads it.

Shapes: B texts, N semantic tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hierspeech.pipelines.sentences import nothing_to_say
from hierspeech.pipelines.spear_voice import SpearVoice
from speech.text.chunking import is_divider, split_text

Text = str | Sequence[tuple[str, str]]
"""A text, or (text, language) stretches that are spoken as one."""


@dataclass
class Reading:
    """How text becomes semantic tokens.

    Args:
        speaking_rate: tokens of text a second of speech; None is the voice's own.
        temperature: 0 takes the likeliest token; None is the voice's.
        top_k, top_p: only among the likeliest tokens.
        guidance: above 1 the text is followed more closely; needs a model trained for it. None is the voice's, and 1 where tokens are drafted.
        beams: above 1, beam search, which draws nothing.
        speculate: above 0, so many tokens at once are drafted by the model's early exit.
    """

    speaking_rate: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None
    beams: int = 1
    speculate: int = 0


def split_pieces(text: Text, max_chars: int) -> list[tuple[Text, str]]:
    """Pieces that a model can read, with what stands between each and the next (one of `speech.text.chunking.BORDERS`).

    Raises:
        ValueError: an empty text.
    """
    if not isinstance(text, str):
        return [(list(text), "sentence")]
    if not text.strip():
        raise ValueError("the text is empty, expected something to say.")
    pieces = split_text(text, max_chars)
    spoken = [piece for piece in pieces if not is_divider(piece)]
    return [(str(piece), piece.border) for piece in spoken or pieces]


def read_texts(
    voice: SpearVoice,
    tokenizer,
    texts: Sequence[Text],
    language: str | None,
    speed: float,
    reading: Reading,
    seeds: list[int] | None = None,
    continue_from: tuple[str, Tensor] | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
) -> list[Tensor]:
    """Texts, each short enough for the model -> semantic tokens, long [N] each; a text's tokens do not depend on the others.

    Args:
        tokenizer: of text, one of `spear.text_tokens`.
        seeds: one for each text.
        continue_from: (text, semantic tokens [N]) that every text goes on from, for their prosody; they are not spoken again.
        callback: called with (step, new tokens [B]) at every step.
    Raises:
        ValueError: a text longer than the model's window, without anything to speak, or in a language that it does not speak.
    """
    from spear.sampling import Sampling
    from spear.text_tokens import check_length, pad_texts

    model, device, description = voice.text_to_semantic, voice.device, voice.description
    config, language = model.config, language or description.language
    encoded = [tokenizer.encode(text, language, config.languages) for text in texts]
    for text, one in zip(texts, encoded, strict=True):
        if not one.ids:
            raise nothing_to_say(str(text), language)
    known = n_known_text = None
    if continue_from is not None:
        front = tokenizer.encode(continue_from[0], language, config.languages)
        encoded = [front + one for one in encoded]
        known = continue_from[1][None].expand(len(texts), -1).to(device)
        n_known_text = torch.full((len(texts),), len(front.ids), device=device)
    for one in encoded:
        check_length(one.ids, config.max_text)
    ids, languages, lengths = pad_texts(encoded)
    temperature = description.temperature if reading.temperature is None else reading.temperature
    guidance = reading.guidance
    if guidance is None:
        guidance = 1.0 if reading.speculate else description.guidance
    out = model.generate(
        torch.tensor(ids, device=device),
        torch.tensor(lengths, device=device),
        languages=torch.tensor(languages, device=device) if config.languages else None,
        rate=speaking_rate(voice, speed, reading),
        prompt=known,
        n_prompt_text=n_known_text,
        sampling=Sampling(temperature, reading.top_k or description.top_k, reading.top_p, guidance),
        seed=seeds,
        beams=reading.beams,
        speculate=reading.speculate,
        callback=callback,
    )
    for text, ended in zip(texts, out.finished.tolist(), strict=True):
        if not ended:
            warnings.warn(
                f"the model came to no end within {config.max_semantic} tokens of {str(text)[:40]!r}: the speech may be cut off or babble",
                stacklevel=3,
            )
    rows = [row.cpu() for row in out.rows()]
    for text, row in zip(texts, rows, strict=True):
        if not len(row):
            raise ValueError(f"the model made no token of {str(text)[:40]!r}, expected another seed to help.")
    return rows


def speaking_rate(voice: SpearVoice, speed: float, reading: Reading) -> float | None:
    """Tokens of text a second that the model is told, None where it chooses itself.

    Raises:
        ValueError: a model that knows no rate is asked for one.
    """
    config, rate = voice.text_to_semantic.config, reading.speaking_rate
    if not config.rate_bins:
        if rate is not None or speed != 1:
            raise ValueError("this voice's text to semantic knows no speaking rate, expected speed 1.")
        return None
    rate = voice.description.speaking_rate if rate is None else rate
    if rate is None and speed == 1:
        return None
    return (config.typical_rate if rate is None else rate) * speed
