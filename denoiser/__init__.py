"""Denoising of 16 kHz speech: magnitude and phase of the clean spectrum (MP-SENet, or bands on CPUs), and windows for long recordings."""

from denoiser.bands import BandDenoiser, BandDenoiserConfig
from denoiser.model import Denoiser, DenoiserConfig
from denoiser.spectra import DenoiserOutput, SpectralDenoiser
from denoiser.windows import denoise

DENOISERS = {
    "Denoiser": Denoiser,
    "BandDenoiser": BandDenoiser,
}  # the class that a config.json names -> the class

__all__ = [
    "DENOISERS",
    "BandDenoiser",
    "BandDenoiserConfig",
    "Denoiser",
    "DenoiserConfig",
    "DenoiserOutput",
    "SpectralDenoiser",
    "denoise",
]
