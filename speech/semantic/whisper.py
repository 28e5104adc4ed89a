"""Whisper's encoder as a semantic encoder, through transformers: 30 s windows, 50 Hz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.semantic.loading import load_strictly


class WhisperEncoder(nn.Module):
    """wav -> output of one layer of Whisper's encoder, [B, dim, N] at 50 Hz.

    Whisper hears windows of exactly 30 s, so a recording is cut into such windows, the last one padded with silence, and
    the features are joined and cropped. Below the last layer the output is the residual stream; of the last layer it is
    what Whisper's decoder sees, with the final LayerNorm.

    Args:
        encoder: transformers' `WhisperEncoder` with exactly `spec.layer` layers.
        extractor: transformers' `WhisperFeatureExtractor` (log-mel).
        spec: what it gives.
    """

    def __init__(self, encoder: nn.Module, extractor: Any, spec: SemanticSpec) -> None:
        super().__init__()
        self.spec = spec
        self.extractor = extractor
        self.encoder = encoder.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, spec: SemanticSpec, device: str | torch.device = "cpu"
    ) -> WhisperEncoder:
        """Load from a folder in transformers' format (`preprocessor_config.json` included) or from a hub id.

        Raises:
            ValueError: no such weights, weights missing or left over, or a model that cannot give what `spec` says.
        """
        from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel  # seconds to import

        full_depth = 0

        def shorten(config: Any) -> None:
            nonlocal full_depth
            full_depth = config.encoder_layers
            _check(config, spec, source)
            config.encoder_layers = spec.layer
            config.decoder_layers = 0  # the decoder is never built

        model = load_strictly(WhisperModel, WhisperConfig, source, shorten, _is_surplus(spec.layer))
        try:
            extractor = WhisperFeatureExtractor.from_pretrained(source)
        except OSError as error:
            raise ValueError(f"no preprocessor_config.json could be read from {source}: {error}") from error
        encoder = model.encoder
        if extractor.feature_size != encoder.config.num_mel_bins:
            raise ValueError(
                f"{source}: {extractor.feature_size} mel bins, expected {encoder.config.num_mel_bins}"
            )
        if spec.layer < full_depth:
            encoder.layer_norm = nn.Identity()
        return cls(encoder, extractor, spec).to(device)

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features of recordings.

        Args:
            wav: [B, T] at 16 kHz, in [-1, 1].
            lengths: valid samples [B]; what lies past them is taken for silence.
        Returns: semantic [B, dim, N] with N = T // 320, 0 past each end.
        """
        frames = wav.shape[-1] // HOP_SAMPLES
        if frames == 0:
            return wav.new_zeros(len(wav), self.spec.dim, 0)
        if lengths is not None:
            places = torch.arange(wav.shape[-1], device=wav.device)
            wav = wav * (places < lengths[:, None])
        window = self.extractor.n_samples
        windows = F.pad(wav, (0, -wav.shape[-1] % window)).reshape(-1, window)  # [B * W, 30 s]
        mel = self.extractor(
            list(windows.float().cpu().numpy()),
            sampling_rate=self.extractor.sampling_rate,
            return_tensors="pt",
        ).input_features  # [B * W, M, 3000]
        parameter = next(self.encoder.parameters())
        hidden = self.encoder(
            mel.to(parameter.device, parameter.dtype)
        ).last_hidden_state  # [B * W, 1500, dim]
        semantic = hidden.reshape(len(wav), -1, self.spec.dim).transpose(1, 2)[..., :frames].to(wav.device)
        if lengths is not None:
            places = torch.arange(frames, device=wav.device)
            semantic = semantic * (places < lengths[:, None] // HOP_SAMPLES)[:, None]
        return semantic

    def train(self, mode: bool = True) -> WhisperEncoder:
        """Stays in eval mode: the encoder is frozen."""
        return super().train(False)


def _check(config: Any, spec: SemanticSpec, source: str | Path) -> None:
    if not 1 <= spec.layer <= config.encoder_layers:
        raise ValueError(f"{source} has {config.encoder_layers} layers, expected at least layer {spec.layer}")
    if config.d_model != spec.dim:
        raise ValueError(f"{source} gives {config.d_model} numbers a frame, expected {spec.dim}")
    if spec.rate_hz != 50:
        raise ValueError(f"Whisper's features have 50 Hz, the spec says {spec.rate_hz}")


def _is_surplus(layers: int) -> Any:
    def is_surplus(key: str) -> bool:
        key = key.removeprefix("model.")
        if key.startswith("encoder.layers."):
            return int(key.split(".")[2]) >= layers
        return key.startswith(("decoder.", "proj_out."))

    return is_surplus
