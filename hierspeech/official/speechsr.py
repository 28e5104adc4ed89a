"""The published SpeechSR checkpoints (spec section 6): 134 tensors each, under the key `model` of a training file."""

from hierspeech.official.rename import AMP_BLOCKS, renamer
from speechsr.model import SpeechSR, SpeechSRConfig

MODEL = SpeechSR

rename = renamer([*AMP_BLOCKS, (r"^dec\.stages\.0\.", "stage."), (r"^dec\.", "")])


def config_24k() -> SpeechSRConfig:
    """The configuration of the 24 kHz model."""
    return SpeechSRConfig(scale=1.5)


def config_48k() -> SpeechSRConfig:
    """The configuration of the 48 kHz model."""
    return SpeechSRConfig(scale=3.0)
