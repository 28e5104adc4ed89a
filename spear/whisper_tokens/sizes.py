"""The bottlenecks that WhisperSpeech trained, by its names: WHISPER-2d-CODESc-dimCODEBOOK_DIM ("2d": two frames a token)."""

from __future__ import annotations

from spear.whisper_tokens.model import WhisperBottleneckConfig
from speech.semantic.encoder import SemanticSpec

# name of Whisper -> width, layers of its encoder; heads are width / 64
WHISPERS = {
    "base.en": (512, 6),
    "base": (512, 6),
    "medium": (1024, 24),
    "large-v2": (1280, 32),
    "large-v3": (1280, 32),
}

# name -> Whisper, codes, dimensions in which they are compared
PUBLISHED = {
    "base.en-2d-4096c": ("base.en", 4096, 32),
    "base.en-2d-512c": ("base.en", 512, 32),
    "base.en-2d-512c-dim64": ("base.en", 512, 64),
    "base-2d-512c-dim64": ("base", 512, 64),
    "base-2d-1024c-dim64": ("base", 1024, 64),
    "medium-2d-256c-dim64": ("medium", 256, 64),
    "medium-2d-256c-dim128": ("medium", 256, 128),
    "medium-2d-512c-dim64": ("medium", 512, 64),  # the one that WhisperSpeech released
    "medium-2d-512c-dim128": ("medium", 512, 128),
    "medium-2d-512c-dim256": ("medium", 512, 256),
    "medium-2d-1024c-dim64": ("medium", 1024, 64),
    "medium-2d-2048c-dim64": ("medium", 2048, 64),
    "large-v2-2d-512c-dim64": ("large-v2", 512, 64),
    "large-v3-2d-512c-dim64": ("large-v3", 512, 64),
}


def published(name: str) -> WhisperBottleneckConfig:
    """The sizes of a bottleneck by WhisperSpeech's name.

    Raises:
        ValueError: no such name.
    """
    if name not in PUBLISHED:
        raise ValueError(f"unknown size {name!r}: expected one of {', '.join(PUBLISHED)}")
    whisper, n_tokens, codebook_dim = PUBLISHED[name]
    width, layers = WHISPERS[whisper]
    spec = SemanticSpec(f"whisper-{whisper}", layers, width, 50)
    return WhisperBottleneckConfig(
        f"openai/whisper-{whisper}", spec, n_tokens, codebook_dim, heads=width // 64
    )
