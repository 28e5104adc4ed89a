"""Semantic tokenizers: the one contract they keep, and the table of those there are.

tokenizer.spec                                      TokenSpec; models store it and refuse another
tokenizer.tokens(semantic [B, C, N], n_frames)  ->  tokens long [B, N']
tokenizer.features(tokens [B, N'])              ->  semantic [B, C, N' * 50 / rate]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from torch import nn

from speech.semantic.quantizer import SemanticQuantizer

Loader = Callable[["str | Path", "str | Path | None", str], nn.Module]


def _quantizer(folder: str | Path, encoder: str | Path | None, device: str) -> nn.Module:
    return SemanticQuantizer.from_pretrained(folder, device=device)


def _whisper(folder: str | Path, encoder: str | Path | None, device: str) -> nn.Module:
    from spear.whisper_tokens import WhisperTokenizer

    return WhisperTokenizer.from_pretrained(folder, whisper=encoder, device=device)


TOKENIZERS: dict[str, Loader] = {"SemanticQuantizer": _quantizer, "WhisperBottleneck": _whisper}
"""Class in `config.json` -> loader (folder, folder or hub id of the frozen encoder or None for the usual one, device)."""


def load_tokenizer(folder: str | Path, encoder: str | Path | None = None, device: str = "cpu") -> nn.Module:
    """The tokenizer in a folder (or of a hub id, a `SemanticQuantizer` then), frozen and in eval mode.

    Args:
        folder: what `save_pretrained` wrote.
        encoder: frozen Whisper of a tokenizer that hears with it: folder or hub id; None = the one it was trained with.
    Raises:
        ValueError: no such folder, or another model in it.
    """
    kind = "SemanticQuantizer"
    path = Path(folder) / "config.json"
    if path.is_file():
        try:
            kind = json.loads(path.read_text(encoding="utf-8")).get("model")
        except ValueError as error:
            raise ValueError(f"cannot read {path}: {error}") from error
    if kind not in TOKENIZERS:
        raise ValueError(f"{folder} holds a {kind}, expected a tokenizer: {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind](folder, encoder, device).requires_grad_(False).eval()
