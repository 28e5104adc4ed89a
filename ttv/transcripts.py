"""The phonemes of a pack's utterances: as prepare.py stored them, or made from the texts by the same front end."""

from speech.packs import Pack
from speech.text.frontend import Phonemes, text_to_phonemes

# Array of a pack: the UTF-8 bytes (uint8) of each utterance's phonemes, `Phonemes.tagged` where a text mixes languages;
# empty without text.
PHONEMES = "phonemes"


def read_phonemes(pack: Pack, index: int) -> Phonemes:
    """The phonemes of utterance `index`; empty where it has no text."""
    utterance = pack.utterances[index]
    if pack.has(PHONEMES):
        stored = pack.read(PHONEMES, index).tobytes().decode("utf-8")
        return Phonemes.from_tagged(stored, utterance["language"])
    text = utterance["text"]
    if not text.strip():
        return Phonemes("")
    # corpora in capitals would be spelled out letter by letter
    return text_to_phonemes(text.lower() if text.isupper() else text, utterance["language"])
