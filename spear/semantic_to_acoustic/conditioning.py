"""Who speaks and how, as one vector: a style from a log-mel prompt or from elsewhere, and named conditions, any of them missing.

Named conditions (language, and recording quality: snr and c50) follow WhisperSpeech's conditioned variant (spec section 3.2): a value that is missing,
or left out in training so that it may be missing, has a row of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.masks import lengths_to_mask
from speech.modules.style_pooling import StylePooling, StylePoolingConfig
from speech.spectrogram import AudioConfig, MelSpectrogram

Values = Mapping[str, Sequence[str | float | None] | Tensor | str | float | None]
"""Condition -> a value for each row, or one for all; None or NaN is missing."""


@dataclass
class NamedCondition:
    """Either names, or numbers in bins of equal width from `low` to `high` (those outside go into the last ones)."""

    names: list[str] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0
    bins: int = 0

    def __post_init__(self):
        if bool(self.names) == bool(self.bins) or (self.bins and not self.low < self.high):
            raise ValueError(
                f"a condition has names, or bins between low and high, got {self.names}, {self.bins} and {self.low:g} to {self.high:g}"
            )

    @property
    def n_values(self) -> int:
        """Values there are, the missing one not counted."""
        return len(self.names) or self.bins

    def row(self, value: str | float | None) -> int:
        """Table row of a value; 0 = missing.

        Raises:
            ValueError: a name that is not known.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return 0
        if self.names:
            if value not in self.names:
                raise ValueError(f"{value!r}: expected one of {self.names}")
            return 1 + self.names.index(value)
        place = (float(value) - self.low) / (self.high - self.low) * self.bins
        return 1 + min(max(int(place), 0), self.bins - 1)


@dataclass
class ConditioningConfig:
    """Where the voice comes from, and which conditions there are.

    Args:
        audio: of the log-mel prompt.
        style: encoder of the prompt inside the model; None = vectors come from elsewhere.
        style_channels: width of those vectors; with an encoder inside, that of its output.
        normalize_style: scale vectors to length 1 (speaker vectors of verification networks).
        named: e.g. {"language": {"names": ["en-us"]}, "snr": {"low": -10, "high": 70, "bins": 10}}.
    """

    audio: AudioConfig = field(default_factory=AudioConfig)
    style: StylePoolingConfig | None = field(default_factory=StylePoolingConfig)
    style_channels: int | None = None
    normalize_style: bool = False
    named: dict[str, NamedCondition] = field(default_factory=dict)

    def __post_init__(self):
        if self.style is None and not self.style_channels:
            raise ValueError(
                "style_channels: expected the width of style vectors where no style encoder is inside"
            )
        if self.style is not None and self.style_channels not in (None, self.style.out):
            raise ValueError(
                f"style_channels: the style encoder gives {self.style.out}, got {self.style_channels}"
            )
        if self.style is not None and self.style.n_mels != self.audio.n_mels:
            raise ValueError(f"style.n_mels: expected {self.audio.n_mels} of audio, got {self.style.n_mels}")

    @property
    def channels(self) -> int:
        """Width of a style vector."""
        return self.style.out if self.style is not None else int(self.style_channels or 0)


class Conditioning(nn.Module):
    """style and named conditions -> [B, width]."""

    def __init__(self, config: ConditioningConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.style_encoder = StylePooling(config.style) if config.style is not None else None
        self.mel = MelSpectrogram(config.audio) if config.style is not None else None
        self.missing_style = nn.Parameter(torch.zeros(config.channels))
        self.project = nn.Linear(config.channels, width)
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(1 + c.n_values, width) for name, c in config.named.items()}
        )
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, style: Tensor, rows: Mapping[str, Tensor] | None = None) -> Tensor:
        """style [B, C] (NaN = missing), rows of the named conditions (each long [B]; left out = missing) -> [B, width]."""
        out = self.project(torch.where(style.isnan().any(1, keepdim=True), self.missing_style, style))
        for name, table in self.tables.items():
            row = None if rows is None else rows.get(name)
            row = torch.zeros(len(style), dtype=torch.long, device=style.device) if row is None else row
            out = out + table(row)
        return out

    def vectors(self, style: Tensor | None, batch: int, mask: Tensor | None = None) -> Tensor:
        """What a caller names as the style -> vectors [B, C], NaN where there is none.

        Args:
            style: None, vectors [B, C] (a row with a NaN is missing), or log-mel prompts [B, n_mels, F]; one row serves all.
            mask: [B, F] valid frames of the prompts.
        Raises:
            ValueError: another width, number of mel bands or number of rows; a prompt where there is no style encoder.
        """
        channels = self.config.channels
        if style is None:
            return self.project.weight.new_full((batch, channels), torch.nan)
        if style.dim() == 3:
            if self.style_encoder is None:
                raise ValueError(
                    f"style: this model has no style encoder, expected vectors [B, {channels}], got {list(style.shape)}"
                )
            if style.shape[1] != self.config.audio.n_mels:
                raise ValueError(
                    f"style: expected a prompt of {self.config.audio.n_mels} mel bands, got {style.shape[1]}"
                )
            style = self.style_encoder(style, mask)
        if style.dim() != 2 or style.shape[1] != channels:
            raise ValueError(f"style: expected vectors of {channels} numbers, got {list(style.shape)}")
        if len(style) not in (1, batch):
            raise ValueError(f"style: expected 1 or {batch} rows, got {len(style)}")
        if self.config.normalize_style:
            style = F.normalize(style, dim=1)
        return style.expand(batch, -1)

    def hear(self, wav: Tensor, n_samples: Tensor | None = None) -> Tensor:
        """wav [B, T] at the rate of `audio` -> vectors [B, C].

        Raises:
            ValueError: there is no style encoder, or less than a frame of sound.
        """
        if self.mel is None:
            raise ValueError(
                f"this model has no style encoder, expected vectors of {self.config.channels} numbers made elsewhere"
            )
        mel = self.mel(wav)
        if not mel.shape[-1]:
            raise ValueError(
                f"style: expected {self.config.audio.hop_length} samples or more, got {wav.shape[-1]}"
            )
        lengths = None if n_samples is None else n_samples // self.config.audio.hop_length
        return self.vectors(
            mel, len(wav), None if lengths is None else lengths_to_mask(lengths, mel.shape[-1])
        )

    def rows(self, values: Values | None, batch: int) -> dict[str, Tensor]:
        """Values by name -> rows of the tables, each long [B].

        Raises:
            ValueError: a condition or a name that the model does not have, or another number of values than rows.
        """
        values = values or {}
        if unknown := values.keys() - self.config.named.keys():
            raise ValueError(
                f"conditions {sorted(unknown)}: this model has {sorted(self.config.named) or 'none'}"
            )
        out = {}
        for name, given in values.items():
            if given is None or isinstance(given, (str, float, int)):
                given = [given] * batch
            listed = given.tolist() if isinstance(given, Tensor) else list(given)
            if len(listed) != batch:
                raise ValueError(f"condition {name}: expected {batch} values, got {len(listed)}")
            try:
                rows = [self.config.named[name].row(value) for value in listed]
            except ValueError as error:
                raise ValueError(f"condition {name}: {error}") from None
            out[name] = torch.tensor(rows, device=self.project.weight.device)
        return out


def load_style(style: Tensor | str | Path | None) -> Tensor | None:
    """A style vector from a file (`.safetensors` with one tensor, or `style` among several), as [1, C]; tensors and None as they are.

    Raises:
        ValueError: no such file, or no vector in it.
    """
    if style is None or isinstance(style, Tensor):
        return style[None] if isinstance(style, Tensor) and style.dim() == 1 else style
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(style)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{style}: no readable style vector ({error})") from error
    found = tensors.get("style", next(iter(tensors.values()), None) if len(tensors) == 1 else None)
    if found is None or found.dim() not in (1, 2):
        raise ValueError(f"{style}: expected a tensor named style, got {sorted(tensors)}")
    return found.float().reshape(-1, found.shape[-1])
