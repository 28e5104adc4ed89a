"""The phonemes of a pack's utterances: as prepare.py stored them, or made from the texts by the same front end."""

from __future__ import annotations

from speech.packs import Pack
from speech.text.frontend import text_to_phonemes

PHONEMES = (
    "phonemes"  # array of a pack: the UTF-8 bytes of each utterance's phonemes (uint8), empty without text
)


def read_phonemes(pack: Pack, index: int) -> str:
    """The phonemes of utterance `index`; empty where it has no text."""
    if pack.has(PHONEMES):
        return pack.read(PHONEMES, index).tobytes().decode("utf-8")
    utterance = pack.utterances[index]
    text = utterance["text"]
    if not text.strip():
        return ""
    # corpora in capitals would be spelled out letter by letter
    return text_to_phonemes(text.lower() if text.isupper() else text, utterance["language"])
