"""MMS, XLS-R and HuBERT: hidden states of wav2vec 2.0 and HuBERT models, through transformers (HierSpeech++ hand-over section 2.3)."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.semantic.loading import load_strictly

_EDGE = 40
"""Samples reflected at each end, so that the 400-sample window at hop 320 gives exactly T // 320 frames."""
# parts of a pre-training checkpoint that are no part of the encoder
_HEADS = ("quantizer.", "project_q.", "project_hid.", "lm_head.", "masked_spec_embed", "adapter.")


class Wav2Vec2Encoder(nn.Module):
    """wav -> output of one transformer layer of a wav2vec 2.0 or HuBERT model, [B, dim, N] at 50 Hz.

    The wave is taken as it is, without the feature extractor's normalisation to zero mean and unit variance (HuBERT base has
    a group norm behind its first convolution, which takes the loudness out). Only the layers that are needed are loaded;
    for the pre-norm models (MMS, XLS-R) the output is the residual stream, without the model's last LayerNorm, which is
    `hidden_states[layer]` of the whole model; for the post-norm ones (HuBERT base) it is what the layer hands on.

    Args:
        model: transformers' `Wav2Vec2Model` or `HubertModel` with exactly `spec.layer` layers.
        spec: what it gives.
    """

    def __init__(self, model: nn.Module, spec: SemanticSpec) -> None:
        super().__init__()
        self.spec = spec
        if model.config.do_stable_layer_norm:
            model.encoder.layer_norm = nn.Identity()
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        spec: SemanticSpec,
        device: str | torch.device = "cpu",
        family: Literal["wav2vec2", "hubert"] = "wav2vec2",
    ) -> Wav2Vec2Encoder:
        """Load from a folder in transformers' format or from a hub id.

        Args:
            family: the architecture; the two differ in their training and in the names of their weights.
        Raises:
            ValueError: no such weights, weights missing or left over, or a model that cannot give what `spec` says.
        """
        import transformers  # seconds to import, and not needed by the lite voice

        classes = {
            "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config"),
            "hubert": ("HubertModel", "HubertConfig"),
        }[family]
        model_class, config_class = (getattr(transformers, name) for name in classes)

        def shorten(config: Any) -> None:
            _check(config, spec, source)
            config.num_hidden_layers = spec.layer

        model = load_strictly(model_class, config_class, source, shorten, _is_surplus(spec.layer))
        return cls(model, spec).to(device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors in transformers' format, with the layers in use and nothing else.

        `from_pretrained` reads the folder again, and gives the same features. Files appear whole or not at all.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        norm = self.model.encoder.layer_norm
        if isinstance(norm, nn.Identity):  # a model of this class has one, whatever its numbers
            self.model.encoder.layer_norm = nn.LayerNorm(self.spec.dim)
        try:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                self.model.save_pretrained(temporary)
                for name in ("model.safetensors", "config.json"):
                    os.replace(Path(temporary) / name, folder / name)
        finally:
            self.model.encoder.layer_norm = norm

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features of recordings.

        Args:
            wav: [B, T] at 16 kHz, in [-1, 1].
            lengths: valid samples [B]; each utterance then comes out as it would alone.
        Returns: semantic [B, dim, N] with N = T // 320, 0 past each end.
        """
        if lengths is None:
            return self._encode(wav)
        if self.model.config.feat_extract_norm == "layer" and int(lengths.min()) >= HOP_SAMPLES:
            return self._encode_padded(wav, lengths)
        # A group norm takes its mean over the padding too, so those models hear one utterance at a time.
        semantic = wav.new_zeros(len(wav), self.spec.dim, wav.shape[-1] // HOP_SAMPLES)
        for index, length in enumerate(lengths.tolist()):
            semantic[index, :, : length // HOP_SAMPLES] = self._encode(wav[index : index + 1, :length])[0]
        return semantic

    def train(self, mode: bool = True) -> Wav2Vec2Encoder:
        """Stays in eval mode: the encoder is frozen, and its dropout and layer drop would spoil the features."""
        return super().train(False)

    def _encode(self, wav: Tensor) -> Tensor:
        if wav.shape[-1] < HOP_SAMPLES:
            return wav.new_zeros(len(wav), self.spec.dim, 0)
        hidden = self.model(F.pad(wav, (_EDGE, _EDGE), mode="reflect")).last_hidden_state  # [B, N, dim]
        return hidden.transpose(1, 2)

    def _encode_padded(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """A padded batch in one pass: every end is reflected in its place, and attention keeps off the padding."""
        last = lengths[:, None].to(wav.device) - 1
        place = torch.arange(-_EDGE, wav.shape[-1] + _EDGE, device=wav.device).expand(len(wav), -1)
        heard = place <= last + _EDGE  # the reflection belongs to the utterance
        place = (last - (last - place.abs()).abs()).clamp(min=0)
        padded = wav.gather(1, place) * heard
        hidden = self.model(padded, attention_mask=heard.long()).last_hidden_state  # [B, N, dim]
        frames = (
            torch.arange(hidden.shape[1], device=wav.device) < lengths[:, None].to(wav.device) // HOP_SAMPLES
        )
        return (hidden * frames[:, :, None]).transpose(1, 2)


def _check(config: Any, spec: SemanticSpec, source: str | Path) -> None:
    if not 1 <= spec.layer <= config.num_hidden_layers:
        raise ValueError(
            f"{source} has {config.num_hidden_layers} layers, expected at least layer {spec.layer}"
        )
    if config.hidden_size != spec.dim:
        raise ValueError(f"{source} gives {config.hidden_size} numbers a frame, expected {spec.dim}")
    if math.prod(config.conv_stride) != HOP_SAMPLES or spec.rate_hz != 50:
        raise ValueError(
            f"{source} has a hop of {math.prod(config.conv_stride)} samples, expected {HOP_SAMPLES} (50 Hz)"
        )


def _is_surplus(layers: int) -> Any:
    def is_surplus(key: str) -> bool:
        key = key.removeprefix("wav2vec2.").removeprefix("hubert.")
        if key.startswith("encoder.layers."):
            return int(key.split(".")[2]) >= layers
        return key.startswith(_HEADS)

    return is_surplus
