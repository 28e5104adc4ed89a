"""Training data of the bridge: pieces of a pack's utterances as tokens, features and pitch contours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from speech.packs import Pack, SpeakerIndex

MIN_VOICED = 20  # f0 frames (0.1 s): fewer say nothing about a speaker's range


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py with F0, semantic features and semantic tokens
    seconds: float = 6.0  # of random pieces
    prompt_seconds: float = 3.0  # of a model with a style encoder
    token_noise: float = (
        0.0  # share of tokens replaced by any other: those a model generates are not all right
    )


@dataclass
class Batch:
    """N' tokens, N frames, P prompt samples; targets are 0 where padded."""

    tokens: Tensor  # [B, N']
    n_tokens: Tensor  # [B]
    semantic: Tensor  # [B, C, N]
    n_frames: Tensor  # [B]
    contour: Tensor  # [B, 4N]
    voiced: Tensor  # [B, 4N]
    prompt: Tensor  # [B, P]
    n_prompt: Tensor  # [B]


class Pieces:
    """Random pieces of utterances.

    Args:
        pack: the pack. data: see there.
        frames: of a token. n_tokens: tokens there are, for noise.
        styled: whether prompts are read.
    """

    def __init__(self, pack: Pack, data: DataConfig, frames: int, n_tokens: int, styled: bool) -> None:
        self.pack, self.data, self.frames, self.n_tokens = pack, data, frames, n_tokens
        self.speakers = SpeakerIndex(pack) if styled else None
        self.longest = max(int(data.seconds * 50) // frames, 1)  # tokens

    def read(self, index: int, rng: np.random.Generator, noisy: bool = True) -> dict[str, np.ndarray]:
        """One piece of utterance `index`."""
        total = self.pack.length("semantic_tokens", index)
        start = int(rng.integers(0, max(total - self.longest, 0) + 1))
        tokens = self.pack.read("semantic_tokens", index, start, start + self.longest).astype(np.int64)
        if noisy and self.data.token_noise:
            wrong = rng.random(len(tokens)) < self.data.token_noise
            tokens = np.where(wrong, rng.integers(0, self.n_tokens, len(tokens)), tokens)
        low = start * self.frames
        semantic = self.pack.read("semantic", index, low, low + len(tokens) * self.frames)
        contour, voiced = self._pitch(index, low, len(semantic))
        prompt = np.zeros(0, np.float32)
        if self.speakers is not None:
            prompt = self.speakers.prompt(index, int(self.data.prompt_seconds * 16000), rng)
        return {
            "tokens": tokens,
            "semantic": semantic.astype(np.float32).T.copy(),
            "contour": contour,
            "voiced": voiced,
            "prompt": prompt,
        }

    def _pitch(self, index: int, low: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Contour in the utterance's own deviations from its mean, and which values are voiced, [4N] each."""
        f0 = self.pack.read("f0", index).astype(np.float32)
        there = f0 > 0
        contour = np.zeros_like(f0)
        if there.sum() >= MIN_VOICED:
            log_f0 = np.log(f0[there])
            contour[there] = (log_f0 - log_f0.mean()) / max(float(log_f0.std()), 0.03)
        else:
            there = np.zeros_like(there)
        rows = np.zeros((2, frames * 4), np.float32)
        piece = slice(low * 4, (low + frames) * 4)
        rows[0, : len(contour[piece])], rows[1, : len(contour[piece])] = contour[piece], there[piece]
        return rows[0], rows[1]


def collate(examples: list[dict[str, np.ndarray]]) -> Batch:
    """Pad examples to the longest of each kind."""

    def pad(name: str, longest: int | None = None) -> Tensor:
        rows = [torch.from_numpy(e[name]) for e in examples]
        longest = longest or max(row.shape[-1] for row in rows)
        return torch.stack([F.pad(row, (0, longest - row.shape[-1])) for row in rows])

    def count(name: str) -> Tensor:
        return torch.tensor([e[name].shape[-1] for e in examples])

    return Batch(
        pad("tokens"), count("tokens"), pad("semantic"), count("semantic"), pad("contour"), pad("voiced"),
        pad("prompt"), count("prompt"),
    )  # fmt: skip
