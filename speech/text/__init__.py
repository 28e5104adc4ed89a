"""Text to phonemes to token ids. Imports stay light: espeak, number words and transliteration load on first use."""

from speech.text.chunking import split_text
from speech.text.frontend import Phonemes, text_to_phonemes
from speech.text.language_tags import match_language, split_languages
from speech.text.languages import LANGUAGES, Language, available_languages, find_language
from speech.text.normalize import NORMALIZERS, normalize
from speech.text.overrides import remove_overrides, split_overrides
from speech.text.phonemize import phonemize
from speech.text.tokenizer import TOKENIZERS, Encoded, Tokenizer, get_tokenizer

__all__ = [
    "LANGUAGES",
    "NORMALIZERS",
    "TOKENIZERS",
    "Encoded",
    "Language",
    "Phonemes",
    "Tokenizer",
    "available_languages",
    "find_language",
    "get_tokenizer",
    "match_language",
    "normalize",
    "phonemize",
    "remove_overrides",
    "split_languages",
    "split_overrides",
    "split_text",
    "text_to_phonemes",
]
