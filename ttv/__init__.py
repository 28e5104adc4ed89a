"""Text-to-vec: phonemes and a style vector -> semantic features and log F0."""

from ttv.aligned import AlignedTTV, AlignedTTVConfig
from ttv.model import TTV, TTVConfig
from ttv.output import TTVOutput

TTV_MODELS = {"TTV": TTV, "AlignedTTV": AlignedTTV}

__all__ = ["TTV", "TTV_MODELS", "AlignedTTV", "AlignedTTVConfig", "TTVConfig", "TTVOutput"]
