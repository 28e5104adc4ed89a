"""Clips of recordings and what is said in them: the text is cut where the sound is, at a border between words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech.packs import Pack
from speech.text.phones import BEGIN, ENDS, PAD, PAUSES, WORD, PhoneTokenizer

LEAD_SECONDS = 0.05  # a word's sound may reach so far behind its aligned end


def cut_text(
    text: str, seconds: float, total: float, word_ends: Sequence[float] | None = None
) -> tuple[str, float]:
    """What is said in the first `seconds` of a recording of `total` seconds.

    Args:
        word_ends: of each word of `text.split()` in seconds, as aligned; None = words are taken to last as long as they are written,
            and the clip stays as it is.
    Returns:
        the text ("" where no word fits) and the seconds that it lasts: up to the end of its last word where that is known.
    """
    words = text.split()
    if seconds >= total or not words:
        return " ".join(words), min(seconds, total)
    if word_ends is not None and len(word_ends) == len(words):
        number = int(np.searchsorted(np.asarray(word_ends), seconds, side="right"))
        if not number:
            return "", 0.0
        last = word_ends[number - 1]
        following = word_ends[number] if number < len(words) else total
        return " ".join(words[:number]), min(last + LEAD_SECONDS, following, seconds)
    # in proportion: the border nearest to the share of the letters
    borders = np.cumsum([len(word) + 1 for word in words]) - 0.5
    number = int(np.abs(np.concatenate([[0], borders]) - borders[-1] * seconds / total).argmin())
    return " ".join(words[:number]), seconds if number else 0.0


def word_ends_of(pack: Pack, index: int, tokenizer: PhoneTokenizer) -> list[float] | None:
    """Ends of the words of utterance `index` in seconds from its alignment; None where it has none or counts other words."""
    if not pack.has("token_ids") or not pack.length("token_ids", index):
        return None
    borders = {PAD, BEGIN, WORD, *PAUSES.values(), *ENDS.values()}
    spoken = [tokenizer.symbols[i][0] not in borders for i in pack.read("token_ids", index)]
    seconds = pack.read("token_ends", index) / 100
    last = np.array(spoken) & ~np.append(spoken[1:], False)
    ends = seconds[: len(last)][last].tolist()
    return ends if len(ends) == len(pack.utterances[index]["text"].split()) else None
