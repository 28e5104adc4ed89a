"""Speech super-resolution from 16 kHz to 24 or 48 kHz."""

from speechsr.model import SpeechSR, SpeechSRConfig

__all__ = ["SpeechSR", "SpeechSRConfig"]
