"""Semantic tokens by a bottleneck inside a frozen Whisper."""

from spear.whisper_tokens.model import WhisperBottleneck, WhisperBottleneckConfig
from spear.whisper_tokens.tokenizer import WhisperTokenizer

__all__ = ["WhisperBottleneck", "WhisperBottleneckConfig", "WhisperTokenizer"]
