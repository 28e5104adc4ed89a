"""The hierarchical synthesizer of HierSpeech++."""

from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig

__all__ = ["HierSpeech", "HierSpeechConfig"]
