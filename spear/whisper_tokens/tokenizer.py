"""Speech to semantic tokens by Whisper and a trained bottleneck, and tokens to text by the same Whisper.

Stands where a `SemanticQuantizer` does (`spec`, `tokens`, `features`), and hears audio itself.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spear.whisper_tokens.frozen import FrozenWhisper
from spear.whisper_tokens.model import WhisperBottleneck, WhisperBottleneckConfig
from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.semantic.quantizer import TokenSpec, check_semantic, check_tokens, digest

SAMPLE_RATE = 16000


class WhisperTokenizer(nn.Module):
    """A bottleneck and the Whisper it was trained with.

    Args:
        bottleneck: trained.
        whisper: of the same name and width as the bottleneck's spec says. Its weights are not this module's: they are neither saved
            nor trained.
    Raises:
        ValueError: a Whisper of another kind.
    """

    def __init__(self, bottleneck: WhisperBottleneck, whisper: FrozenWhisper) -> None:
        super().__init__()
        check_whisper(whisper, bottleneck.config)
        self.bottleneck = bottleneck
        self.whisper = whisper
        self.codebook = digest(bottleneck)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, whisper: str | Path | None = None, device: str | torch.device = "cpu"
    ) -> WhisperTokenizer:
        """Load a bottleneck from a folder or hub id, and its Whisper.

        Args:
            name: folder or hub id of the bottleneck.
            whisper: folder or hub id of Whisper; None = the one that the bottleneck's config names.
        Raises:
            ValueError: what cannot be read or does not fit.
        """
        bottleneck = WhisperBottleneck.from_pretrained(name, device=device).requires_grad_(False)
        config = bottleneck.config
        return cls(
            bottleneck, FrozenWhisper.from_pretrained(whisper or config.whisper, config.semantic.name, device)
        )

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> None:
        """Write the bottleneck; Whisper stays where it is."""
        self.bottleneck.save_pretrained(folder, card)

    @property
    def spec(self) -> TokenSpec:
        """What a model trained on these tokens must agree with."""
        return self.bottleneck.spec(self.codebook)

    @torch.no_grad()
    def tokens(
        self, semantic: Tensor, n_frames: Tensor | None = None, spec: SemanticSpec | None = None
    ) -> Tensor:
        """Whisper's states [B, C, N] of any length -> tokens [B, N'], 0 where padded; see `SemanticQuantizer.tokens`."""
        check_semantic(semantic, self.spec.semantic, spec)
        frames = semantic.shape[-1]
        if n_frames is None:
            n_frames = torch.full((len(semantic),), frames, device=semantic.device)
        window, parts = self.bottleneck.config.window, []
        for start in range(0, frames, window):
            left = (n_frames - start).clamp(0, window)
            parts.append(self.bottleneck.quantize(semantic[..., start : start + window], left))
        if not parts:
            return torch.zeros(len(semantic), 0, dtype=torch.long, device=semantic.device)
        tokens = torch.cat(parts, 1)
        return tokens.masked_fill(tokens == self.bottleneck.padding_code, 0)

    @torch.no_grad()
    def features(self, tokens: Tensor) -> Tensor:
        """tokens [B, N'] of any length -> the states they stand for [B, C, N' * frames]."""
        check_tokens(tokens, self.spec)
        step, most = self.bottleneck.config.downsample, self.bottleneck.window_tokens
        parts = [
            self.bottleneck.dequantize(part)[..., : part.shape[1] * step] for part in tokens.split(most, 1)
        ]
        return torch.cat(parts, 2)

    @torch.no_grad()
    def audio_tokens(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """wav [B, T] at 16 kHz with valid samples [B] -> tokens [B, N'] for T // 320 frames, 0 where padded."""
        self.whisper.to(self.bottleneck.padding.device)
        semantic = self.whisper.hear(wav.to(self.bottleneck.padding.device), lengths)
        return self.tokens(semantic, None if lengths is None else lengths.to(semantic.device) // HOP_SAMPLES)

    def encode_audio(self, audio: str | Path | np.ndarray | Tensor) -> Tensor:
        """A sound file, or samples [T] at 16 kHz -> tokens [1, N'].

        Raises:
            ValueError: not readable, or too short for one frame.
        """
        if isinstance(audio, (str, Path)):
            from speech.audio import load_audio

            audio, _ = load_audio(audio, SAMPLE_RATE)
        wav = torch.as_tensor(np.asarray(audio), dtype=torch.float32)
        if wav.dim() != 1 or len(wav) < HOP_SAMPLES:
            raise ValueError(
                f"audio {list(wav.shape)}: expected samples [T] at 16 kHz, {HOP_SAMPLES} or more"
            )
        return self.audio_tokens(wav[None])

    def encode_mel(self, mel: Tensor) -> Tensor:
        """log-mel [B, M, n] of Whisper's kind, cut at 30 s -> tokens [B, n / 2 / frames a token], rounded up."""
        most = 2 * self.whisper.model.config.max_source_positions
        mel = mel[..., :most]
        self.whisper.to(self.bottleneck.padding.device)
        semantic = self.whisper.encode_mel(mel)
        return self.tokens(semantic[..., : math.ceil(mel.shape[-1] / 2)])

    def quantize(self, semantic: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """States of one window -> tokens with the padding code; see the bottleneck."""
        return self.bottleneck.quantize(semantic, n_frames)

    def dequantize(self, tokens: Tensor, n_tokens: Tensor | None = None) -> Tensor:
        """Tokens of one window -> states of the whole window [B, C, window]; see the bottleneck."""
        return self.bottleneck.dequantize(tokens, n_tokens)

    @torch.no_grad()
    def decode_text(self, tokens: Tensor, language: str = "en", max_tokens: int | None = None) -> str:
        """What Whisper understands of one stream of tokens [N'] or [1, N']: the check that they still say something.

        Args:
            language: of a multilingual Whisper. max_tokens: most text tokens a window, None = all it has room for.
        """
        tokens = tokens if tokens.dim() == 2 else tokens[None]
        if len(tokens) != 1:
            raise ValueError(f"tokens {list(tokens.shape)}: expected one stream, [N] or [1, N]")
        most, texts = self.bottleneck.window_tokens, []
        self.whisper.to(self.bottleneck.padding.device)
        for part in tokens.split(most, 1):
            part = F.pad(part, (0, most - part.shape[1]), value=self.bottleneck.padding_code)
            texts.append(
                self.whisper.text(self.whisper.transcribe(self.dequantize(part), language, max_tokens)[0])
            )
        return " ".join(text for text in texts if text)


def check_whisper(whisper: FrozenWhisper, config: WhisperBottleneckConfig) -> None:
    """Refuse a Whisper that a bottleneck was not made for.

    Raises:
        ValueError: another name, width, depth or window.
    """
    if whisper.spec != config.semantic:
        raise ValueError(f"Whisper gives {whisper.spec}, the bottleneck was made for {config.semantic}")
    window = whisper.model.config.max_source_positions
    if window != config.window:
        raise ValueError(
            f"Whisper hears windows of {window} frames, the bottleneck was made for {config.window}"
        )
