"""Semantic tokens -> codes of a codec: autoregressive with delayed codebooks, or masked in a few passes."""

from spear.semantic_to_acoustic.masked import MaskedSemanticToAcoustic, MaskedSemanticToAcousticConfig
from spear.semantic_to_acoustic.model import SemanticToAcoustic, SemanticToAcousticConfig

__all__ = [
    "MaskedSemanticToAcoustic",
    "MaskedSemanticToAcousticConfig",
    "SemanticToAcoustic",
    "SemanticToAcousticConfig",
]
