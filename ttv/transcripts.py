"""The phonemes of a pack's utterances: as prepare.py stored them, or made from the texts by the same front end."""

from speech.packs import Pack
from speech.text.frontend import Phonemes, text_to_phonemes
from speech.text.language_tags import match_language, split_languages
from speech.text.phones import PhoneTokenizer
from ttv.languages import language_ids

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


def aligned_language_ids(
    pack: Pack, index: int, tokenizer: PhoneTokenizer, languages: list[str]
) -> list[int] | None:
    """The language of each of the aligned `token_ids` of utterance `index`, as `ttv.languages.language_ids` gives them."""
    if not languages:
        return None
    utterance, n_ids = pack.utterances[index], pack.length("token_ids", index)
    if (
        "<" in utterance["text"]
    ):  # the alignment keeps the tokens of the text, but for boundaries that are pauses
        phonemes = read_phonemes(pack, index)
        found = language_ids(phonemes, tokenizer.encode(phonemes), languages)
        if len(found) == n_ids:
            return found
    return [match_language(utterance["language"], languages)] * n_ids
