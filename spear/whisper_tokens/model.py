"""The bottleneck between Whisper's encoder and its decoder: few codes a second, from which the frozen decoder still transcribes.

WhisperSpeech's way to semantic tokens (Collabora, github.com/collabora/WhisperSpeech; after the question of AudioLM and SPEAR-TTS which units
say what is said): encoder states are averaged in twos, named by one of some hundred codes, and made into states again. What survives
is what transcription needs. Silence after the end is one more code, the padding code, so that short clips look the same whatever follows.
Shapes: B batch, C width of Whisper, N frames at 50 Hz, N' tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.transformer import Transformer, TransformerConfig
from speech.modules.vector_quantize import VectorQuantizer
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import TokenSpec, check_semantic, check_tokens, pool_neighbours

KIND = "whisper-vq"
POOLINGS = ("mean", "stride", "conv")


@dataclass
class WhisperBottleneckConfig:
    """Sizes of the bottleneck; `sizes.published` names those that WhisperSpeech trained."""

    whisper: str = "openai/whisper-medium"  # frozen: hub id or folder
    semantic: SemanticSpec = field(default_factory=lambda: SemanticSpec("whisper-medium", 24, 1024, 50))
    n_tokens: int = 512
    codebook_dim: int = 64
    downsample: int = 2  # frames a token
    pooling: str = "mean"
    heads: int = 16
    layers: int = 1  # of the transformer after the codes
    window: int = 1500  # frames: Whisper hears 30 s
    mlp_mult: float = 4.0
    decay: float = 0.9  # of the codebook's running means
    dead_below: float = 0.0

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling {self.pooling!r}: expected {', '.join(POOLINGS)}")
        if self.semantic.rate_hz % self.downsample or self.window % self.downsample:
            raise ValueError(
                f"downsample {self.downsample}: expected a divisor of {self.semantic.rate_hz} Hz and of {self.window} frames"
            )


@dataclass
class BottleneckOutput:
    """Output of the training path."""

    semantic: Tensor  # [B, C, window], states for Whisper's decoder
    tokens: Tensor  # [B, N'], padding code after the end
    commitment: Tensor  # scalar


class WhisperBottleneck(nn.Module, Pretrained):
    """Encoder states -> tokens -> encoder states."""

    Config = WhisperBottleneckConfig

    def __init__(self, config: WhisperBottleneckConfig) -> None:
        super().__init__()
        self.config = config
        width = config.semantic.dim
        hidden = int(width * config.mlp_mult)
        self.pool = (
            nn.Conv1d(width, width, 3, stride=config.downsample, padding=1)
            if config.pooling == "conv"
            else None
        )
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.quantizer = VectorQuantizer(
            width, config.n_tokens, config.codebook_dim, True, config.decay, config.dead_below
        )
        self.padding = nn.Parameter(torch.randn(width) * 0.02)  # what the padding code stands for
        self.positions = nn.Parameter(torch.randn(width, config.window) * 0.02)
        self.transformer = Transformer(TransformerConfig(width, config.heads, layers=config.layers))
        self.norm = nn.LayerNorm(
            width
        )  # the states that the decoder knows are layer-normalised with an offset

    @property
    def padding_code(self) -> int:
        """The token after the end of a clip, one above the last that says something."""
        return self.config.n_tokens

    @property
    def window_tokens(self) -> int:
        """Tokens of a whole window."""
        return self.config.window // self.config.downsample

    def spec(self, codebook: str = "") -> TokenSpec:
        """What a model trained on these tokens must agree with."""
        config = self.config
        rate_hz = config.semantic.rate_hz // config.downsample
        return TokenSpec(config.semantic, config.n_tokens, rate_hz, KIND, codebook)

    def forward(self, semantic: Tensor, n_frames: Tensor | None = None) -> BottleneckOutput:
        """Training path; the codebook follows in training mode.

        Args:
            semantic: states [B, C, N], N up to a window; what lies past the end does not matter.
            n_frames: frames with sound in each row [B], None = all.
        """
        x, valid = self._before_codes(semantic, n_frames)
        quantized = self.quantizer(x, valid)
        tokens = torch.where(valid, quantized.codes, self.padding_code)
        x = torch.where(valid[:, None], quantized.x, self.padding[:, None].to(quantized.x.dtype))
        return BottleneckOutput(self._after_codes(x), self._whole(tokens), quantized.commitment)

    @torch.no_grad()
    def quantize(self, semantic: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """states [B, C, N] with n_frames [B] -> tokens [B, N'], the padding code past the end of a row."""
        x, valid = self._before_codes(semantic, n_frames)
        return torch.where(valid, self.quantizer.encode(x), self.padding_code)

    def dequantize(self, tokens: Tensor, n_tokens: Tensor | None = None) -> Tensor:
        """tokens [B, N'] -> the states of a whole window [B, C, window].

        Args:
            tokens: a row ends at its first padding code, or after `n_tokens` [B] of them.
        Raises:
            ValueError: more tokens than a window has, or one there is not.
        """
        if tokens.dim() == 2 and tokens.shape[1] > self.window_tokens:
            raise ValueError(
                f"{tokens.shape[1]} tokens: expected at most the {self.window_tokens} of a window"
            )
        ended = (tokens == self.padding_code).cumsum(1) > 0
        if n_tokens is not None:
            ended = ended | ~lengths_to_mask(n_tokens.to(tokens.device), tokens.shape[1])
        tokens = check_tokens(tokens.masked_fill(ended, 0), self.spec())
        x = torch.where(ended[:, None], self.padding[:, None], self.quantizer.decode(tokens))
        return self._after_codes(x)

    def _before_codes(self, semantic: Tensor, n_frames: Tensor | None) -> tuple[Tensor, Tensor]:
        """states -> one vector a token [B, C, N'], and which of them hold sound [B, N']."""
        check_semantic(semantic, self.config.semantic)
        if semantic.shape[-1] > self.config.window:
            raise ValueError(
                f"{semantic.shape[-1]} frames: expected at most the {self.config.window} of a window"
            )
        step = self.config.downsample
        means, valid = pool_neighbours(semantic, step, n_frames)
        if self.config.pooling == "mean":
            x = means
        else:
            frames = semantic.shape[-1]
            if n_frames is not None:
                sound = lengths_to_mask(n_frames.to(semantic.device), frames)
                semantic = semantic.masked_fill(~sound[:, None], 0)
            x = semantic[..., ::step]
            if self.pool is not None:
                x = x + self.pool(F.pad(semantic, (0, -frames % step)))[..., : x.shape[-1]]
        rows = x.transpose(1, 2)  # [B, N', C]
        rows = rows + self.mlp(self.mlp_norm(rows))
        return rows.transpose(1, 2), valid

    def _after_codes(self, x: Tensor) -> Tensor:
        """vectors of tokens [B, C, N'] -> states [B, C, window], padding code after them."""
        gap = self.window_tokens - x.shape[-1]
        x = torch.cat([x, self.padding[:, None].to(x.dtype).expand(len(x), -1, gap)], 2)
        x = x.repeat_interleave(self.config.downsample, 2) + self.positions
        return self.norm(self.transformer(x.transpose(1, 2))).transpose(1, 2)

    def _whole(self, tokens: Tensor) -> Tensor:
        return F.pad(tokens, (0, self.window_tokens - tokens.shape[1]), value=self.padding_code)
