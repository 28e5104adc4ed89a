"""The smallest complete system: bytes of text straight to a codec's flattened codes."""

from spear.toktts.model import TokTTS, TokTTSConfig

__all__ = ["TokTTS", "TokTTSConfig"]
