"""Which methods of the synthesizer may run as CUDA graphs, and how long their tensors are in frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierspeech.synthesizer.encoders import F0_PER_FRAME
from speech.capture.buckets import Part

if TYPE_CHECKING:
    from hierspeech.synthesizer.model import HierSpeechConfig


def capturable_parts(config: HierSpeechConfig) -> list[Part]:
    """`HierSpeech`'s `latent_of`, `excitation_of` and `sound_of`; none where padding would change what is beside it."""
    hop = config.audio.hop_length
    if config.official_padding:
        return []
    latent = {"semantic": 1, "log_f0": F0_PER_FRAME, "style": 0, "frame_mask": 1, "noise": 1}
    equalizer = () if config.equalizer is None else ("equalizer",)
    modules = ("semantic_prior", "flow_semantic", "flow_acoustic", *equalizer)
    parts = [Part("latent_of", latent, (1,), "frame_mask", modules=modules)]
    rate = 0
    if config.source is not None or config.harmonic is not None:
        rate = hop // config.harmonic.hop_length if config.harmonic else F0_PER_FRAME
        inputs = {"z": 1, "style": 0, "log_f0": F0_PER_FRAME, "frame_mask": 1}
        parts.append(Part("excitation_of", inputs, (rate, F0_PER_FRAME), "frame_mask", modules=("source",)))
    inputs = {"z": 1, "features": rate, "style": 0, "frame_mask": 1}
    return [*parts, Part("sound_of", inputs, (hop,), "frame_mask", modules=("generator", *equalizer))]
