"""Semantic encoders: the one contract they keep, and the table of those there are.

A semantic encoder is a frozen `nn.Module` that turns a 16 kHz waveform into features of what is said, at 50 Hz
(HierSpeech++ hand-over section 2.3):

    encoder.spec                                     SemanticSpec; models store it and refuse another
    encoder(wav [B, T], lengths=None)  ->  semantic [B, dim, N],  N = T // 320

See docs/add_an_encoder.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # config files and text tools read the spec without torch
    import torch
    from torch import Tensor, nn

HOP_SAMPLES = 320
"""Samples of 16 kHz audio for one frame of features."""
PUBLISHED_UNIT = 1280
"""The published models pad recordings to whole units of this many samples (4 frames)."""


@dataclass
class SemanticSpec:
    """Which features a model was trained on; models with different specs do not fit together.

    Args:
        name: key of ENCODERS.
        layer: transformer layer whose output is used, counted from 1; for encoders of our own, their version.
        dim: numbers a frame.
        rate_hz: frames a second.
    """

    name: str = "mms-300m"
    layer: int = 7
    dim: int = 1024
    rate_hz: int = 50


Loader = Callable[[SemanticSpec, "str | Path | None", "str | torch.device"], "nn.Module"]


def _wav2vec2(hub_id: str, family: Literal["wav2vec2", "hubert"] = "wav2vec2") -> Loader:
    def load(spec: SemanticSpec, source: str | Path | None, device: str | torch.device) -> nn.Module:
        from speech.semantic.wav2vec2 import Wav2Vec2Encoder

        return Wav2Vec2Encoder.from_pretrained(source or hub_id, spec, device, family)

    return load


def _w2v_bert(hub_id: str) -> Loader:
    def load(spec: SemanticSpec, source: str | Path | None, device: str | torch.device) -> nn.Module:
        from speech.semantic.w2v_bert import W2vBertEncoder

        return W2vBertEncoder.from_pretrained(source or hub_id, spec, device)

    return load


def _whisper(hub_id: str) -> Loader:
    def load(spec: SemanticSpec, source: str | Path | None, device: str | torch.device) -> nn.Module:
        from speech.semantic.whisper import WhisperEncoder

        return WhisperEncoder.from_pretrained(source or hub_id, spec, device)

    return load


def _phonetic(spec: SemanticSpec, source: str | Path | None, device: str | torch.device) -> nn.Module:
    from speech.semantic.phonetic import PhoneticEncoder

    if source is None:
        raise ValueError("the phonetic encoder has no public weights of its own: name the folder it lies in")
    return PhoneticEncoder.from_pretrained(source, device=device)


ENCODERS: dict[str, Loader] = {
    "mms-300m": _wav2vec2("facebook/mms-300m"),  # the published models' (layer 7)
    "xls-r-300m": _wav2vec2("facebook/wav2vec2-xls-r-300m"),
    "hubert-base": _wav2vec2("facebook/hubert-base-ls960", "hubert"),  # usually layer 9 of 12, dim 768
    "w2v-bert-2.0": _w2v_bert("facebook/w2v-bert-2.0"),  # usually layer 17 of 24, dim 1024
    "whisper-small": _whisper("openai/whisper-small"),
    "whisper-medium": _whisper("openai/whisper-medium"),
    "whisper-large-v3": _whisper("openai/whisper-large-v3"),
    "phonetic": _phonetic,  # ours, ships with the lite voice
}
"""Name -> loader (spec, folder or hub id or None for the usual place, device) -> encoder."""


def load_encoder(
    spec: SemanticSpec, source: str | Path | None = None, device: str | torch.device = "cpu"
) -> nn.Module:
    """The encoder that a spec asks for, frozen and in eval mode.

    Args:
        spec: what the models around it were trained on.
        source: local folder or hub id; None = the usual hub id of that name.
        device: where it is placed.
    Raises:
        ValueError: unknown name, no such weights, or weights that give other features than the spec says.
    """
    if spec.name not in ENCODERS:
        raise ValueError(f"unknown semantic encoder {spec.name!r}: known are {', '.join(ENCODERS)}")
    encoder = ENCODERS[spec.name](spec, source, device)
    if encoder.spec != spec:
        raise ValueError(f"the semantic encoder in {source} gives {encoder.spec}, expected {spec}")
    return encoder


def pad_recording(wav: Tensor) -> Tensor:
    """Zero-pad wav [..., T] on the right as the published models do: to the next whole unit of 1280 samples, where an
    exact multiple still gains one, so that frames come in fours."""
    from torch.nn.functional import pad

    return pad(wav, (0, PUBLISHED_UNIT - wav.shape[-1] % PUBLISHED_UNIT))
