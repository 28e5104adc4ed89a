"""Whether tokens of the Whisper bottleneck still say what was said: word error rate of their decoding, beside evenness of use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from spear.tokens import TokenUse, token_use
from spear.whisper_tokens.tokenizer import WhisperTokenizer


@dataclass
class Health:
    """Of a tokenizer on some recordings."""

    use: TokenUse
    wer: float  # of what Whisper makes of tokens, against the texts
    wer_without_codes: float  # of what it makes of its own states

    def lines(self) -> list[str]:
        """For people."""
        use = self.use
        bits = math.log2(use.n_tokens)
        return [
            f"tokens: {use.used} of {use.n_tokens} used, {use.counted} counted",
            f"entropy: {use.entropy_bits:.2f} of {bits:.2f} bits ({use.entropy_share:.1%})",
            f"word error rate: {self.wer:.1%} of tokens, {self.wer_without_codes:.1%} of Whisper without them",
        ]


@torch.no_grad()
def health(
    tokenizer: WhisperTokenizer,
    recordings: Iterable[tuple[np.ndarray, str, str]],
    max_tokens: int | None = None,
) -> Health:
    """Tokenize recordings and let Whisper say what it understands.

    Args:
        recordings: (wav [T] at 16 kHz, of at most a window; text; language).
        max_tokens: most text tokens of a transcript, None = all Whisper has room for.
    Raises:
        ValueError: no recording, or none with text.
    """
    whisper, streams = tokenizer.whisper, []
    errors = errors_before = words = 0
    for wav, text, language in recordings:
        meant = plain_words(text)
        tokens = tokenizer.encode_audio(wav)
        streams.append(tokens)
        said = plain_words(tokenizer.decode_text(tokens, language, max_tokens))
        states = whisper.encode_mel(whisper.mel(wav)[None])
        before = plain_words(whisper.text(whisper.transcribe(states, language, max_tokens)[0]))
        errors += edit_distance(said, meant)
        errors_before += edit_distance(before, meant)
        words += len(meant)
    if not words:
        raise ValueError("no recording with text to check a tokenizer on")
    return Health(token_use(streams, tokenizer.spec.n_tokens), errors / words, errors_before / words)


def plain_words(text: str) -> list[str]:
    """Words in small letters without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def edit_distance(said: list[str], meant: list[str]) -> int:
    """Fewest insertions, deletions and substitutions of words that make one of the other (Levenshtein 1966)."""
    row = list(range(len(meant) + 1))
    for i, word in enumerate(said, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(meant, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]
