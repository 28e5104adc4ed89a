"""Bridge: semantic tokens -> refined features of the semantic encoder and an F0 contour, so that tokens speak through the hierarchical way.

A token is a cell of feature space; what its neighbours say narrows down where in it a frame lies. Pitch is not in the tokens as a number but
its course mostly follows from what is said and how long; it comes out in units of the speaker's own mean and deviation, as in the compact
text-to-vec, and a prompt supplies those. Proposed in place of a codec: HierSpeech++ (Lee et al. 2023) speaks from exactly these two.
Shapes: B batch, N' tokens, N frames at 50 Hz, 4N f0 frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.style_pooling import StylePooling, StylePoolingConfig
from speech.semantic.quantizer import TokenSpec, check_tokens
from speech.spectrogram import AudioConfig

F0_FRAMES = 4
"""F0 values a frame of features."""


@dataclass
class BridgeConfig:
    """Sizes of the bridge."""

    tokens: TokenSpec = field(default_factory=TokenSpec)
    audio: AudioConfig = field(default_factory=AudioConfig)  # of the style prompt's mel
    style: StylePoolingConfig | None = None  # None = all speakers alike, but for their range of pitch
    width: int = 192
    token_layers: int = 4  # at the rate of the tokens, with a wide view
    layers: int = 3  # at 50 Hz
    pitch_layers: int = 2
    expansion: float = 2.0
    dropout: float = 0.1
    normalized: bool = True  # features are layer-normalised, as the phonetic encoder's are
    voiced_threshold: float = 0.5
    pitch_range: float = 1.0  # factor on the predicted deviation of log F0 at inference

    def __post_init__(self) -> None:
        if self.tokens.semantic.rate_hz % self.tokens.rate_hz:
            raise ValueError(
                f"tokens of {self.tokens.rate_hz}/s: expected a divisor of the features' {self.tokens.semantic.rate_hz}/s"
            )


@dataclass
class BridgePrediction:
    """Output of the training path."""

    semantic: Tensor  # [B, C, N]
    contour: Tensor  # [B, 4N], log F0 in the speaker's deviations from the speaker's mean
    voiced: Tensor  # [B, 4N], logits


@dataclass
class BridgeOutput:
    """What a synthesizer speaks from; the fields of the same names of text-to-vec models."""

    semantic: Tensor  # [B, C, N], 0 where padded
    log_f0: Tensor  # [B, 1, 4N] log(F0_Hz + 1) at 200 Hz, 0 where unvoiced
    frame_mask: Tensor  # [B, N], True = valid


class Bridge(nn.Module, Pretrained):
    """Semantic tokens -> semantic features and F0, by regression."""

    Config = BridgeConfig

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__()
        self.config = config
        self.frames = config.tokens.semantic.rate_hz // config.tokens.rate_hz  # a token
        width, style = config.width, config.style.out if config.style else 0

        def blocks(layers: int, kernel_size: int) -> nn.ModuleList:
            return nn.ModuleList(
                ConvNeXtBlock(width, config.expansion, kernel_size, style, dropout=config.dropout)
                for _ in range(layers)
            )

        self.style_encoder = StylePooling(config.style) if config.style else None
        self.embedding = nn.Embedding(config.tokens.n_tokens, width)
        self.token_blocks = blocks(config.token_layers, 11)
        self.place = nn.Embedding(self.frames, width)  # of a frame within its token
        self.blocks = blocks(config.layers, 7)
        self.semantic_head = nn.Linear(width, config.tokens.semantic.dim)
        self.pitch_blocks = blocks(config.pitch_layers, 11)
        self.pitch_head = nn.Linear(width, 2 * F0_FRAMES)

    def forward(
        self,
        tokens: Tensor,
        token_mask: Tensor,
        style: Tensor | None = None,
        prompt: Tensor | None = None,
        prompt_mask: Tensor | None = None,
    ) -> BridgePrediction:
        """Training path.

        Args:
            tokens: [B, N']. token_mask: [B, N'].
            style: [B, C_style], of a model with a style encoder; or
            prompt: log-mel of the same speaker [B, M, P] with prompt_mask [B, P], which gives it.
        Returns: N = N' * frames a token.
        """
        if prompt is not None and self.style_encoder is not None:
            style = self.style_encoder(prompt, prompt_mask)
        self._check_style(style)
        mask = token_mask[:, None]
        x = self.embedding(tokens).transpose(1, 2)  # [B, C, N']
        mask = mask.to(x.dtype)
        x = x * mask
        for block in self.token_blocks:
            x = block(x, mask, style)
        place = self.place.weight.T.repeat(1, tokens.shape[1])  # [C, N]
        mask = mask.repeat_interleave(self.frames, 2)
        x = (x.repeat_interleave(self.frames, 2) + place) * mask
        for block in self.blocks:
            x = block(x, mask, style)
        semantic = self.semantic_head(x.transpose(1, 2)).float()  # [B, N, C]
        if self.config.normalized:
            semantic = F.layer_norm(semantic, semantic.shape[-1:])
        for block in self.pitch_blocks:
            x = block(x, mask, style)
        contour, voiced = self.pitch_head(x.transpose(1, 2)).float().chunk(2, dim=-1)  # [B, N, 4]
        return BridgePrediction(semantic.transpose(1, 2) * mask, contour.flatten(1), voiced.flatten(1))

    @torch.no_grad()
    def infer(
        self,
        tokens: Tensor,
        pitch: Tensor,
        style: Tensor | None = None,
        token_mask: Tensor | None = None,
    ) -> BridgeOutput:
        """Features and F0 of token streams. Each row of a padded batch comes out as it would alone.

        Args:
            tokens: [B, N'].
            pitch: [B, 2], mean and deviation of the speaker's voiced ln F0 (Hz).
            style: [B, C_style], of a model with a style encoder.
            token_mask: [B, N'], None = all valid.
        Raises:
            ValueError: tokens out of range, a shape that does not fit, a style that is missing or not wanted.
        """
        check_tokens(tokens, self.config.tokens)
        if not tokens.shape[1]:
            raise ValueError("no semantic token to speak")
        if pitch.shape != (len(tokens), 2):
            raise ValueError(
                f"pitch {list(pitch.shape)}: expected mean and deviation of each row, [{len(tokens)}, 2]"
            )
        if token_mask is None:
            token_mask = torch.ones_like(tokens, dtype=torch.bool)
        out = self(tokens, token_mask, style)
        frame_mask = token_mask.repeat_interleave(self.frames, 1)
        # deviations beyond what voices do are errors of a frame, not of a melody
        log_f0 = pitch[:, :1] + pitch[:, 1:] * self.config.pitch_range * out.contour.clamp(-3.5, 3.5)
        log_f0 = torch.log1p(log_f0.exp().clamp(40.0, 1100.0))
        voiced = out.voiced.sigmoid() > self.config.voiced_threshold
        voiced = voiced & frame_mask.repeat_interleave(F0_FRAMES, 1)
        return BridgeOutput(out.semantic, (log_f0 * voiced)[:, None], frame_mask)

    def _check_style(self, style: Tensor | None) -> None:
        wanted = self.config.style.out if self.config.style else None
        found = None if style is None else style.shape[-1]
        if wanted != found:
            raise ValueError(f"style of {found} numbers: expected {wanted} by this bridge")
