"""w2v-BERT 2.0 as a semantic encoder, through transformers: the open kin of the network whose tokens SPEAR-TTS reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.semantic.loading import load_strictly

_EDGE = 120
"""Samples reflected at each end: its filter banks have windows of 400 samples at hop 160, so that this gives two for every frame, the
two together centred on it."""
# parts of checkpoints for other tasks that are no part of the encoder
_HEADS = ("lm_head.", "masked_spec_embed", "adapter.", "intermediate_ffn.")


class W2vBertEncoder(nn.Module):
    """wav -> output of one conformer layer of a w2v-BERT 2.0 model, [B, dim, N] at 50 Hz.

    The model hears Kaldi filter banks, two of 10 ms a frame, each band scaled to zero mean and unit variance over the
    utterance; so the same sound gives other features in another utterance, as the model was trained. Only the layers that
    are needed are loaded; the output is what the layer hands on, `hidden_states[layer]` of the whole model.

    Args:
        model: transformers' `Wav2Vec2BertModel` with exactly `spec.layer` layers.
        extractor: transformers' `SeamlessM4TFeatureExtractor` (filter banks).
        spec: what it gives.
    """

    def __init__(self, model: nn.Module, extractor: Any, spec: SemanticSpec) -> None:
        super().__init__()
        self.spec = spec
        self.extractor = extractor
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, spec: SemanticSpec, device: str | torch.device = "cpu"
    ) -> W2vBertEncoder:
        """Load from a folder in transformers' format (`preprocessor_config.json` included) or from a hub id.

        Raises:
            ValueError: no such weights, weights missing or left over, or a model that cannot give what `spec` says.
        """
        from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

        def shorten(config: Any) -> None:
            _check(config, spec, source)
            config.num_hidden_layers = spec.layer
            config.add_adapter = config.use_intermediate_ffn_before_adapter = False

        model = load_strictly(Wav2Vec2BertModel, Wav2Vec2BertConfig, source, shorten, _is_surplus(spec.layer))
        try:
            extractor = SeamlessM4TFeatureExtractor.from_pretrained(source)
        except OSError as error:
            raise ValueError(f"no preprocessor_config.json could be read from {source}: {error}") from error
        wide = extractor.num_mel_bins * extractor.stride
        if extractor.stride != 2 or wide != model.config.feature_projection_input_dim:
            raise ValueError(
                f"{source}: {extractor.num_mel_bins} mel bins and a stride of {extractor.stride}, expected "
                f"{model.config.feature_projection_input_dim // 2} and 2"
            )
        return cls(model, extractor, spec).to(device)

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features of recordings.

        Args:
            wav: [B, T] at 16 kHz, in [-1, 1].
            lengths: valid samples [B]; each utterance then comes out as it would alone.
        Returns: semantic [B, dim, N] with N = T // 320, 0 past each end.
        """
        frames = wav.shape[-1] // HOP_SAMPLES
        ends = [wav.shape[-1]] * len(wav) if lengths is None else lengths.tolist()
        n_frames = [end // HOP_SAMPLES for end in ends]
        heard = [row for row, n in enumerate(n_frames) if n]  # under a frame there is nothing to hear
        semantic = wav.new_zeros(len(wav), self.spec.dim, frames)
        if not heard:
            return semantic
        banks = self.extractor(
            [self._padded(wav[row, : ends[row]], n_frames[row]) for row in heard],
            sampling_rate=self.extractor.sampling_rate,
            return_tensors="pt",
        )
        parameter = next(self.model.parameters())
        hidden = self.model(
            banks.input_features.to(parameter.device, parameter.dtype),
            attention_mask=banks.attention_mask.to(parameter.device),
        ).last_hidden_state  # [heard, longest, dim]
        for place, row in enumerate(heard):
            semantic[row, :, : n_frames[row]] = hidden[place, : n_frames[row]].T.to(semantic)
        return semantic

    def train(self, mode: bool = True) -> W2vBertEncoder:
        """Stays in eval mode: the encoder is frozen, and its dropout and layer drop would spoil the features."""
        return super().train(False)

    @staticmethod
    def _padded(wav: Tensor, frames: int) -> Any:
        """wav [T] -> samples that give exactly two filter banks for each of `frames`, as numpy."""
        wav = F.pad(wav[None, None].float(), (_EDGE, _EDGE), mode="reflect")[0, 0]
        return wav[: frames * HOP_SAMPLES + 2 * _EDGE].cpu().numpy()


def _check(config: Any, spec: SemanticSpec, source: str | Path) -> None:
    if not 1 <= spec.layer <= config.num_hidden_layers:
        raise ValueError(
            f"{source} has {config.num_hidden_layers} layers, expected at least layer {spec.layer}"
        )
    if config.hidden_size != spec.dim:
        raise ValueError(f"{source} gives {config.hidden_size} numbers a frame, expected {spec.dim}")
    if spec.rate_hz != 50:
        raise ValueError(f"w2v-BERT's features have 50 Hz, the spec says {spec.rate_hz}")


def _is_surplus(layers: int) -> Any:
    def is_surplus(key: str) -> bool:
        key = key.removeprefix("wav2vec2_bert.")
        if key.startswith("encoder.layers."):
            return int(key.split(".")[2]) >= layers
        return key.startswith(_HEADS)

    return is_surplus
