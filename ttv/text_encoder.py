"""Phoneme ids and style -> prior of the latent and context of the duration predictor (HierSpeech++ section 3.3)."""

from dataclasses import dataclass

from torch import Tensor, nn

from speech.modules.attention import TransformerEncoder
from speech.modules.gaussian import DiagonalGaussian
from ttv.languages import LanguageEmbedding, embed_languages


@dataclass
class TextEncoderConfig:
    """Sizes of the text encoder."""

    n_symbols: int = 178  # rows of the embedding: as many as the tokenizer has symbols, or more
    filter_channels: int = 1024
    heads: int = 4
    layers: int = 3  # in each of the two encoders
    kernel_size: int = 9
    dropout: float = 0.2
    window: int = 4  # relative positions, in tokens


class TextEncoder(nn.Module):
    """Two transformer encoders; the style is added between them, so the first one knows the text only."""

    def __init__(self, config: TextEncoderConfig, hidden: int, style_channels: int, n_languages: int = 0):
        super().__init__()
        self.language_embedding = LanguageEmbedding(n_languages, hidden) if n_languages else None
        self.embedding = nn.Embedding(config.n_symbols, hidden)
        nn.init.normal_(self.embedding.weight, std=hidden**-0.5)
        self.scale = hidden**0.5
        sizes = (hidden, config.filter_channels, config.heads, config.layers, config.kernel_size)
        self.encoder = TransformerEncoder(*sizes, config.dropout, config.window)
        self.style_proj = nn.Conv1d(style_channels, hidden, 1)
        self.styled_encoder = TransformerEncoder(*sizes, config.dropout, config.window)
        self.proj = nn.Conv1d(hidden, 2 * hidden, 1)

    def forward(
        self, phoneme_ids: Tensor, mask: Tensor, style: Tensor, language_ids: Tensor | None = None
    ) -> tuple[Tensor, DiagonalGaussian]:
        """Encodes a batch of texts.

        Args:
            phoneme_ids: [B, S] int64.
            mask: [B, 1, S], True = valid.
            style: [B, C_style].
            language_ids: [B, S], of a model with languages; None = all in its first one.

        Returns:
            The encoder's output [B, C, S] and the prior per token, [B, C, S]; all zero where padded.
        """
        x = self.embedding(phoneme_ids) + embed_languages(self.language_embedding, language_ids, phoneme_ids)
        x = x.transpose(1, 2) * self.scale  # [B, C, S]
        x = self.encoder(x, mask)
        x = self.styled_encoder(x + self.style_proj(style.unsqueeze(2)), mask)
        mean, log_std = (self.proj(x) * mask).chunk(2, dim=1)
        return x, DiagonalGaussian(mean, log_std)
