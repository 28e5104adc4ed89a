"""The published discriminators (spec section 4.10), for continuing the published training."""

from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator, config_48k

MODEL = WaveDiscriminator

__all__ = ["MODEL", "config", "config_48k", "rename"]


def rename(key: str) -> str:
    """The names agree."""
    return key


def config() -> DiscriminatorConfig:
    """The configuration for 16 kHz and 24 kHz."""
    return DiscriminatorConfig()
