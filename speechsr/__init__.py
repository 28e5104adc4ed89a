"""Speech super-resolution from 16 kHz to 24 or 48 kHz."""

from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig
from speechsr.model import SpeechSR, SpeechSRConfig

# the class that a config.json names -> the class; all have `infer`, `output_rate`, `config.scale` and `config.sample_rate`
SPEECHSR_MODELS = {"SpeechSR": SpeechSR, "ISTFTSpeechSR": ISTFTSpeechSR}

__all__ = ["SPEECHSR_MODELS", "ISTFTSpeechSR", "ISTFTSpeechSRConfig", "SpeechSR", "SpeechSRConfig"]
