"""What the endpoints share."""

from dataclasses import dataclass

from hierspeech.web.metrics import Metrics
from hierspeech.web.protocol import Engine
from hierspeech.web.settings import Settings
from hierspeech.web.voices import VoiceStore


@dataclass(frozen=True)
class Context:
    """One application's parts."""

    settings: Settings
    engine: Engine
    voices: VoiceStore
    metrics: Metrics
