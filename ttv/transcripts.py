"""The phonemes of a pack's utterances: as prepare.py stored them, or made from the texts by the same front end."""

from speech.packs import Pack
from speech.text.frontend import Phonemes, text_to_phonemes
from speech.text.language_tags import split_languages

PHONEMES = (
    "phonemes"  # array of a pack: the UTF-8 bytes (uint8) of each utterance's phonemes, empty without text
)


def read_phonemes(pack: Pack, index: int) -> Phonemes:
    """The phonemes of utterance `index`, each with its language; empty where it has no text."""
    utterance = pack.utterances[index]
    text, language = utterance["text"], utterance["language"]
    if not text.strip():
        return Phonemes("")
    # the array does not say where a text changes its language
    if pack.has(PHONEMES) and split_languages(text, language) == [(language, text)]:
        stored = pack.read(PHONEMES, index).tobytes().decode("utf-8")
        return Phonemes(stored, languages=[language] * len(stored))
    # corpora in capitals would be spelled out letter by letter
    return text_to_phonemes(text.lower() if text.isupper() else text, language)
