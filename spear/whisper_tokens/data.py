"""Training data of the Whisper bottleneck: utterances of a pack as log-mel windows, and transcripts as Whisper's text tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spear.whisper_tokens.frozen import FrozenWhisper
from speech.packs import Pack
from speech.semantic.encoder import HOP_SAMPLES

TRANSCRIPTS = "whisper_text"
"""The array of Whisper's own transcripts, made by `prepare.py tokens --transcribe`: int32 [S]."""
IGNORED = -100
"""Target where nothing is asked."""


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py
    transcripts: str = "whisper"  # Whisper's own, or "given": the pack's texts
    max_text: int = 200  # text tokens; utterances with more are left out, as are those longer than a window


@dataclass
class Batch:
    """S tokens of prefix and text; targets are those that follow, `IGNORED` in prefix and padding."""

    mel: Tensor  # [B, M, 2 * window]
    n_frames: Tensor  # [B], at 50 Hz
    ids: Tensor  # [B, S]
    targets: Tensor  # [B, S]


class Utterances:
    """The utterances that fit a window, with transcripts.

    Args:
        pack: with `wav`. data: see there. whisper: gives mel, prefix and text tokens; its weights are not used here.
    Raises:
        ValueError: no transcripts of the kind asked for.
    """

    def __init__(self, pack: Pack, data: DataConfig, whisper: FrozenWhisper) -> None:
        if data.transcripts not in ("whisper", "given"):
            raise ValueError(f"data.transcripts {data.transcripts!r}: expected 'whisper' or 'given'")
        if data.transcripts == "whisper" and not pack.has(TRANSCRIPTS):
            raise ValueError(
                f"{pack.folder}: the pack has no {TRANSCRIPTS!r}; run prepare.py tokens --whisper ... --transcribe first"
            )
        self.pack, self.data, self.whisper = pack, data, whisper
        fits = pack.lengths("wav") <= whisper.extractor.n_samples
        self.usable = [i for i in range(len(pack)) if fits[i] and 0 < len(self.text_ids(i)) <= data.max_text]

    def text_ids(self, index: int) -> list[int]:
        """Text tokens of utterance `index`, none where it has no text."""
        if self.data.transcripts == "whisper":
            return self.pack.read(TRANSCRIPTS, index).tolist()
        text = self.pack.utterances[index]["text"].strip()
        # corpora in capitals are no text that Whisper would write
        return self.whisper.text_ids(text.lower() if text.isupper() else text) if text else []

    def read(self, index: int) -> dict[str, np.ndarray | int]:
        """Mel, frames, prefix and text of utterance `index`."""
        wav = self.pack.read("wav", index).astype(np.float32) / 32768
        prefix = self.whisper.prefix(self.pack.utterances[index]["language"])
        ids = [*prefix, *self.text_ids(index)]
        targets = [*[IGNORED] * (len(prefix) - 1), *ids[len(prefix) :], self.whisper.end]
        return {
            "mel": self.whisper.mel(wav).numpy(),
            "n_frames": max(len(wav) // HOP_SAMPLES, 1),
            "ids": np.array(ids, np.int64),
            "targets": np.array(targets, np.int64),
            "end": self.whisper.end,
        }


def collate(examples: list[dict]) -> Batch:
    """Pad texts to the longest: inputs with the end of a text, targets with nothing."""
    longest = max(len(e["ids"]) for e in examples)

    def pad(name: str, value: int) -> Tensor:
        rows = [torch.from_numpy(e[name]) for e in examples]
        return torch.stack([F.pad(row, (0, longest - len(row)), value=value) for row in rows])

    return Batch(
        torch.stack([torch.from_numpy(e["mel"]) for e in examples]),
        torch.tensor([e["n_frames"] for e in examples]),
        pad("ids", examples[0]["end"]),
        pad("targets", IGNORED),
    )
