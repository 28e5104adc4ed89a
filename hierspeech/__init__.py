"""HierSpeech++: zero-shot text to speech and voice conversion in the voice of a short recording; super-resolution, denoising.

>>> from hierspeech import TextToSpeech
>>> TextToSpeech.from_pretrained("lite")("Good morning.", "someone.wav").save("good_morning.wav")
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "Denoising",
    "LanguageWarning",
    "SpearTTS",
    "Speech",
    "SuperResolution",
    "TextToSpeech",
    "Timing",
    "VoiceConversion",
    "VoicePrompt",
    "load_voice",
]

# Loaded when first asked for, so that importing a model of this package does not load every pipeline with it.
_HOMES = {
    "Denoising": "hierspeech.pipelines.denoising",
    "LanguageWarning": "speech.text.scripts",
    "SpearTTS": "hierspeech.pipelines.spear",
    "Speech": "hierspeech.pipelines.output",
    "SuperResolution": "hierspeech.pipelines.superresolution",
    "TextToSpeech": "hierspeech.pipelines.tts",
    "Timing": "hierspeech.pipelines.timings",
    "VoiceConversion": "hierspeech.pipelines.conversion",
    "VoicePrompt": "hierspeech.pipelines.prompt",
    "load_voice": "hierspeech.pipelines.voice",
}

if TYPE_CHECKING:
    from hierspeech.pipelines.conversion import VoiceConversion
    from hierspeech.pipelines.denoising import Denoising
    from hierspeech.pipelines.output import Speech
    from hierspeech.pipelines.prompt import VoicePrompt
    from hierspeech.pipelines.spear import SpearTTS
    from hierspeech.pipelines.superresolution import SuperResolution
    from hierspeech.pipelines.timings import Timing
    from hierspeech.pipelines.tts import TextToSpeech
    from hierspeech.pipelines.voice import load_voice
    from speech.text.scripts import LanguageWarning


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'hierspeech' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
