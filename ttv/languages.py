"""What a text-to-vec model reads: its tokenizer and, where it speaks several languages, the language of each token.

Every token has a language of its own, so one sentence can mix them. A model without `config.languages` knows nothing of
languages; one with them adds a vector per language to the token's, zero at first, so that a trained model gains languages
without losing how it speaks.
"""

from typing import Any

from torch import Tensor, nn

from speech.text.language_tags import language_ids as language_ids  # where no torch is needed for it
from speech.text.tokenizer import Tokenizer, get_tokenizer


def tokenizer_of(config: Any) -> Tokenizer:
    """The tokenizer of a TTVConfig or AlignedTTVConfig, with the symbols that the model has gained."""
    return get_tokenizer(config.tokenizer, getattr(config, "symbols", ()))


def check_languages(languages: list[str]) -> None:
    """Refuse a model's `languages` that repeat themselves or are not written as `match_language` compares them."""
    if len(set(languages)) != len(languages) or any(
        code != code.lower() or "_" in code for code in languages
    ):
        raise ValueError(f"languages: expected different codes such as en-us and pl, got {languages}")


class LanguageEmbedding(nn.Embedding):
    """A vector for each language of a model."""

    def __init__(self, n_languages: int, width: int):
        super().__init__(n_languages, width)
        nn.init.zeros_(self.weight)


def embed_languages(
    embedding: LanguageEmbedding | None, ids: Tensor | None, token_ids: Tensor
) -> Tensor | float:
    """What the languages add to the tokens' vectors: [B, S, C], or 0 for a model without languages.

    Args:
        ids: [B, S] language of each token; None = all in the model's first language.
        token_ids: [B, S].
    """
    if embedding is None:
        if ids is not None:
            raise ValueError("language_ids were given to a model without languages, expected None")
        return 0.0
    return embedding(token_ids * 0 if ids is None else ids)
