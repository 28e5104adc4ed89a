"""Byte-pair encoding of text (Sennrich et al. 2016, over bytes as GPT-2 has it), by the `tokenizers` library, trained on one's own corpus.

Between bytes and phonemes: no language needs rules, no letter is unknown, and a text has a third to a half of the tokens that it has in
bytes. The tokenizer is one JSON file in the library's own format, which transformers reads too:

    python prepare.py bpe PACK data/bpe.json --size 1000
    python train.py configs/spear/t2s.yaml model.tokenizer=data/bpe.json ...

A model keeps the whole JSON in its config, so that its folder needs no second file and no other tokenizer can slip in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spear.text_tokens import Text, TextTokens, encode_stretches

PREFIX = "bpe:"
"""A model's `tokenizer` that begins so goes on with the tokenizer's JSON."""
BYTES, MOST = 256, 32767  # tokens: fewer add nothing, more do not fit the 16 bits of stores


def train_bpe(texts: Iterable[str], size: int, lowercase: bool = False) -> str:
    """The JSON of a tokenizer of `size` tokens, the 256 bytes among them; equal texts give an equal one.

    Args:
        texts: sentences of the corpus. lowercase: capitals are written small, here and later.
    Raises:
        ValueError: no more tokens than bytes, too many, or texts that do not hold so many different pieces.
    """
    if not BYTES < size <= MOST:
        raise ValueError(f"--size {size}: expected more tokens than the {BYTES} bytes, and up to {MOST}")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (found := tokenizer.get_vocab_size()) < size:
        raise ValueError(f"--size {size}: the texts give no more than {found} tokens, expected fewer")
    return tokenizer.to_str()


def embed(name: str) -> str:
    """A model's `tokenizer` with what it needs: of a file NAME.json its content, other names as they are.

    Raises:
        ValueError: no such file, or no tokenizer in it.
    """
    if name.startswith(PREFIX) or not name.endswith(".json"):
        return name
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the tokenizer {name}: {error}") from error
    return PREFIX + _compact(text, name)


class BpeTokenizer:
    """Text in the tokens of a JSON of the `tokenizers` library; a `TextTokenizer`.

    Raises:
        ValueError: text that is no such JSON, or the library is missing.
    """

    def __init__(self, text: str) -> None:
        self.text = _compact(text, "tokenizer")
        self.tokenizer = _load(self.text)
        self.n_tokens = self.tokenizer.get_vocab_size()

    def encode(self, text: Text, language: str = "en", languages: Sequence[str] = ()) -> TextTokens:
        """Tokens of the stripped text; none crosses a border between languages."""
        return encode_stretches(self._ids, text, language, languages)

    def spoken(self, token: int) -> bool:
        """Whether a letter or digit is in it; a part of a letter counts."""
        return any(
            letter.isalnum() or letter == "\N{REPLACEMENT CHARACTER}" for letter in self.decode([token])
        )

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def _ids(self, words: str) -> list[int]:
        return self.tokenizer.encode(words, add_special_tokens=False).ids

    def __reduce__(self) -> tuple[Any, ...]:
        return BpeTokenizer, (self.text,)  # loaders in other processes


def _compact(text: str, where: str) -> str:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: not the JSON of a tokenizer ({error})") from error
    if not isinstance(values, dict) or "model" not in values:
        raise ValueError(f"{where}: expected the JSON of a tokenizer as the tokenizers library writes it")
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _load(text: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ValueError(
            f'a BPE tokenizer of text needs the package tokenizers: pip install "hierspeech[semantic]" ({error})'
        ) from error
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception
        raise ValueError(f"the tokenizers library cannot read this tokenizer: {error}") from error
