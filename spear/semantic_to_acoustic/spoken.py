"""What both semantic-to-acoustic models have in common beside their layers: whose codes they make, how many, and whom they hear."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spear.codec.codec import CodecSpec
from spear.semantic_to_acoustic.conditioning import Conditioning
from spear.semantic_to_acoustic.inputs import check_codec, frames_of


class Spoken:
    """Mixin of a model with a `config` (tokens, codec, n_codebooks) and a `conditioning`."""

    config: Any
    conditioning: Conditioning

    def check_codec(self, codec: CodecSpec) -> None:
        """Refuse a codec whose codes this model neither reads nor makes (ValueError, by name)."""
        check_codec(self.config.codec, codec, self.config.n_codebooks)

    def n_frames(self, n_tokens: Tensor | int) -> Tensor | int:
        """Frames of codes made of so many tokens."""
        return frames_of(n_tokens, self.config.tokens, self.config.codec)

    def style(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-mel prompt [B, n_mels, F] -> style [B, C], to keep and hand to `generate`."""
        return self.conditioning.vectors(mel, len(mel), mask)

    def encode_style(self, wav: Tensor, n_samples: Tensor | None = None) -> Tensor:
        """Recordings [B, T] of `n_samples` [B] (None = all T) -> style [B, C], to keep and hand to `generate`."""
        return self.conditioning.hear(wav, n_samples)
