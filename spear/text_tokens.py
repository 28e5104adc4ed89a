"""Text as token ids for token models: UTF-8 bytes, byte pairs (`bpe.py`) or the phonemes of our front end, with a language for every token.

Languages are a model's own list, or the 99 of Whisper's first releases in their order. Text is never cut silently: what does
not fit is refused by name, and `speech.text.chunking` splits it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from speech.text.language_tags import match_language, split_languages
from speech.text.phones import BEGIN, ENDS, PAD, PAUSES, WORD
from speech.text.tokenizer import get_tokenizer

# Order of the language tokens of OpenAI's Whisper (version 20230918, MIT licence); the row of a language in such models
WHISPER_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk "
    "te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo "
    "ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su"
).split()
ALIASES = {
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
    "cmn": "zh", "jv": "jw", "nb": "no", "fil": "tl", "iw": "he",
}  # fmt: skip
ALL_OF_WHISPER = "whisper"  # in a model's list of languages

Text = str | Sequence[tuple[str, str]]
"""A text (with `<pl>` where another language begins), or (text, language) stretches."""


def expand_languages(languages: Sequence[str]) -> list[str]:
    """A model's languages; `["whisper"]` stands for all 99 of Whisper's table."""
    return list(WHISPER_LANGUAGES) if list(languages) == [ALL_OF_WHISPER] else list(languages)


def language_place(code: str, languages: Sequence[str]) -> int:
    """The row of a language in a model's list: itself, an alias of it, its main part ("en" for "en-us"), or a variety.

    Raises:
        ValueError: the model does not speak it.
    """
    known = expand_languages(languages)
    wanted = code.strip().lower().replace("_", "-")
    for name in (wanted, ALIASES.get(wanted), wanted.split("-")[0], ALIASES.get(wanted.split("-")[0])):
        if name in known:
            return known.index(name)
    for place, name in enumerate(known):
        if name.split("-")[0] == wanted.split("-")[0]:
            return place
    # only now the front end's table, whose spoken varieties need espeak
    if all(name in WHISPER_LANGUAGES for name in known):
        raise ValueError(f"the model does not speak {code!r}: its languages are {', '.join(known)}")
    return match_language(wanted, known)


@dataclass
class TextTokens:
    """Token ids of a text and the language of each, as its place in the model's list (0 where the model has none)."""

    ids: list[int]
    language_ids: list[int]

    def __add__(self, other: TextTokens) -> TextTokens:
        return TextTokens(self.ids + other.ids, self.language_ids + other.language_ids)


class TextTokenizer(Protocol):
    """`n_tokens` different ids; `spoken(id)` is whether an id stands for sound, not for a border between words."""

    n_tokens: int

    def encode(self, text: Text, language: str = "en", languages: Sequence[str] = ()) -> TextTokens: ...

    def spoken(self, token: int) -> bool: ...

    def decode(self, ids: Sequence[int]) -> str: ...


def encode_stretches(
    encode: Callable[[str], list[int]], text: Text, language: str, languages: Sequence[str]
) -> TextTokens:
    """Ids of a stripped text's stretches of one language each, joined.

    Raises:
        ValueError: a language that is not among `languages` (where there are any), or the character NUL.
    """
    stretches = split_languages(text.strip(), language) if isinstance(text, str) else list(text)
    found = TextTokens([], [])
    for words, code in ((w, c) for c, w in stretches) if isinstance(text, str) else stretches:
        if "\0" in words:
            raise ValueError("the text holds the character NUL, expected text without it")
        ids = encode(words)
        found += TextTokens(ids, [language_place(code, languages) if languages else 0] * len(ids))
    return found


class ByteTokenizer:
    """UTF-8 bytes: 256 ids, of which 0 never occurs in text."""

    n_tokens = 256

    def encode(self, text: Text, language: str = "en", languages: Sequence[str] = ()) -> TextTokens:
        """Bytes of the stripped text; a letter of several bytes has its language as often."""
        return encode_stretches(lambda words: list(words.encode("utf-8")), text, language, languages)

    def spoken(self, token: int) -> bool:
        return token > 0 and not (token < 128 and not chr(token).isalnum())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if 0 < i < 256).decode("utf-8", errors="replace")


class PhonemeTokenizer:
    """Phonemes of the front end, in the ids of one of `speech.text.tokenizer.TOKENIZERS`."""

    def __init__(self, name: str) -> None:
        self.tokenizer = get_tokenizer(name)
        self.n_tokens = len(self.tokenizer)

    def encode(self, text: Text, language: str = "en-us", languages: Sequence[str] = ()) -> TextTokens:
        """Ids of the text's phonemes; (text, language) stretches become one sentence that changes its language."""
        from speech.text.frontend import text_to_phonemes

        if not isinstance(text, str):
            language = text[0][1] if text else language
            text = "".join(f"<{code}>{words}" for words, code in text)
        return self.encode_phonemes(text_to_phonemes(text, language), languages)

    def encode_phonemes(self, phonemes: str, languages: Sequence[str] = ()) -> TextTokens:
        """Ids of phonemes; plain strings (not of `text_to_phonemes`) are taken to be in the first language."""
        encoded = self.tokenizer.encode(phonemes)
        if languages and getattr(phonemes, "languages", None):
            found = {code: language_place(code, languages) for code in dict.fromkeys(phonemes.languages)}
            places = [found[phonemes.languages[place]] for place in encoded.places]
        else:
            places = [0] * len(encoded.ids)
        return TextTokens(list(encoded.ids), places)

    def spoken(self, token: int) -> bool:
        symbol = self.tokenizer.symbols[token]
        symbol = symbol if isinstance(symbol, str) else symbol[0]
        return symbol not in (PAD, BEGIN, WORD, *PAUSES, *ENDS)

    def decode(self, ids: Sequence[int]) -> str:
        """Symbols of ids, stress marks left out."""
        symbols = [self.tokenizer.symbols[i] for i in ids]
        return "".join(s if isinstance(s, str) else s[0] for s in symbols)


TEXT_TOKENIZERS: dict[str, Callable[[], TextTokenizer]] = {
    "bytes": ByteTokenizer,
    "phones": lambda: PhonemeTokenizer("phones"),
    "ipa178": lambda: PhonemeTokenizer("ipa178"),
}
"""Name in a model's config -> what builds its tokenizer."""


def text_tokenizer(name: str) -> TextTokenizer:
    """The tokenizer of that name, or of a JSON behind "bpe:"; ValueError names the known ones."""
    if name.startswith("bpe:"):
        from spear.bpe import PREFIX, BpeTokenizer

        return BpeTokenizer(name[len(PREFIX) :])
    if name not in TEXT_TOKENIZERS:
        raise ValueError(
            f"unknown text tokenizer {name!r}: known are {', '.join(TEXT_TOKENIZERS)}, and FILE.json of a BPE"
        )
    return TEXT_TOKENIZERS[name]()


def check_length(tokens: Sequence, limit: int, what: str = "text") -> None:
    """Refuse what is longer than a model's window, and what is empty.

    Raises:
        ValueError: it would have to be cut.
    """
    if not len(tokens):
        raise ValueError(f"the {what} is empty: expected something to say")
    if len(tokens) > limit:
        raise ValueError(
            f"the {what} has {len(tokens)} tokens, the model takes up to {limit}: split it into shorter pieces"
        )


def pad_texts(texts: Sequence[TextTokens]) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Rows of one length: ids padded with 0, languages with the row's first one; and the lengths."""
    longest = max(len(text.ids) for text in texts)
    ids = [text.ids + [0] * (longest - len(text.ids)) for text in texts]
    languages = [text.language_ids + text.language_ids[:1] * (longest - len(text.ids)) for text in texts]
    return ids, languages, [len(text.ids) for text in texts]
