"""Denoising of 16 kHz speech: magnitude and phase of the clean spectrum (MP-SENet), and windows for long recordings."""

from denoiser.model import Denoiser, DenoiserConfig, DenoiserOutput
from denoiser.windows import denoise

__all__ = ["Denoiser", "DenoiserConfig", "DenoiserOutput", "denoise"]
