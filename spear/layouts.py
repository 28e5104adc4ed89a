"""The codes of a batch of clips in one container, and the orders in which models read them.

    frames       [B, Q, N]              what a codec gives; parallel (SoundStorm): all codebooks of a frame at once
    delayed      [B, Q, lead + N + Q-1] codebook i shifted right by i + lead (MusicGen; WhisperSpeech has lead = 1): one step of a
                                        model makes one code of every codebook, each of which has seen the coarser ones of its frame
    flattened    [B, Q*N (+ 1)]         frame after frame, its codebooks in turn, then the end (toktts)

All three hold the same codes: `Codes.from_X(codes.X())` is `codes`, whatever Q, N and the lengths. Two ids stand beside the K codes of
a codebook: K is the start (what is not yet there), K + 1 the end (what no longer is). Spec sections 3.1, 3.3, 3.4 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from speech.masks import lengths_to_mask


@dataclass(frozen=True)
class Codes:
    """Codes of B clips; 0 behind the end of a clip.

    Args:
        frames: long [B, Q, N], coarsest codebook first.
        n_frames: frames of each clip, long [B].
        codebook_size: K.
    """

    frames: Tensor
    n_frames: Tensor
    codebook_size: int

    def __post_init__(self):
        if self.frames.dim() != 3 or self.n_frames.shape != self.frames.shape[:1]:
            raise ValueError(
                f"expected codes [B, Q, N] and their lengths [B], got {list(self.frames.shape)} and {list(self.n_frames.shape)}"
            )
        if self.n_frames.numel() and int(self.n_frames.max()) > self.frames.shape[-1]:
            raise ValueError(
                f"expected lengths up to {self.frames.shape[-1]} frames, got {int(self.n_frames.max())}"
            )

    @classmethod
    def of(cls, frames: Tensor, codebook_size: int, n_frames: Tensor | None = None) -> Codes:
        """Codes [B, Q, N] of clips of `n_frames` [B] (None = all N); codes behind the end become 0.

        Raises:
            ValueError: a code outside 0..codebook_size-1 within a clip, or another shape.
        """
        if n_frames is None:
            n_frames = torch.full(frames.shape[:1], frames.shape[-1], device=frames.device)
        codes = cls(frames, n_frames, codebook_size)
        frames = frames * codes.mask[:, None]
        if frames.numel() and not 0 <= int(frames.min()) <= int(frames.max()) < codebook_size:
            wrong = int(frames.min()) if int(frames.min()) < 0 else int(frames.max())
            raise ValueError(f"code {wrong}: expected 0 to {codebook_size - 1}")
        return cls(frames, n_frames, codebook_size)

    @property
    def mask(self) -> Tensor:
        """[B, N], True = a frame of the clip."""
        return lengths_to_mask(self.n_frames, self.frames.shape[-1])

    def delayed(self, lead: int = 0) -> Tensor:
        """-> [B, Q, lead + N + Q - 1]: start ids before a codebook's first code, end ids behind its last."""
        start, end = special_ids(self.codebook_size)
        batch, levels, n_frames = self.frames.shape
        rows = self.frames.masked_fill(~self.mask[:, None], end)
        out = rows.new_full((batch, levels, lead + n_frames + levels - 1), end)
        for level in range(levels):
            first = level + lead
            out[:, level, :first] = start
            out[:, level, first : first + n_frames] = rows[:, level]
        return out

    @classmethod
    def from_delayed(cls, tokens: Tensor, codebook_size: int, lead: int = 0) -> Codes:
        """[B, Q, L] as `delayed` gives them -> codes; a clip ends before the first frame that lacks a code.

        Raises:
            ValueError: too few steps for the delay.
        """
        levels, n_steps = tokens.shape[1:]
        n_frames = n_steps - lead - levels + 1
        if n_frames < 0:
            raise ValueError(
                f"expected {levels + lead - 1} delayed steps of {levels} codebooks or more, got {n_steps}"
            )
        rows = [tokens[:, level, level + lead : level + lead + n_frames] for level in range(levels)]
        frames = torch.stack(rows, 1)
        whole = ((frames >= 0) & (frames < codebook_size)).all(1)  # [B, N]
        return cls.of(frames, codebook_size, _leading(whole))

    def flattened(self, end: bool = True) -> Tensor:
        """-> [B, Q * N + end]: t0c0 t0c1 .. t1c0 ..; with `end`, the end id behind each clip and in what is padded; else 0."""
        stop = special_ids(self.codebook_size)[1]
        tokens = self.frames.transpose(1, 2).flatten(1)
        if not end:
            return tokens
        tokens = torch.cat([tokens, tokens.new_zeros(len(tokens), 1)], 1)
        inside = lengths_to_mask(self.n_frames * self.frames.shape[1], tokens.shape[1])
        return tokens.masked_fill(~inside, stop)

    @classmethod
    def from_flattened(cls, tokens: Tensor, n_codebooks: int, codebook_size: int) -> Codes:
        """[B, L] -> codes up to the first id that is no code (an early end); codes of a frame that is not whole are dropped."""
        plain = (tokens >= 0) & (tokens < codebook_size)
        n_frames = _leading(plain) // n_codebooks
        whole = tokens.shape[1] // n_codebooks
        frames = tokens[:, : whole * n_codebooks].unflatten(1, (whole, n_codebooks)).transpose(1, 2)
        return cls.of(frames.contiguous(), codebook_size, n_frames)

    def parallel(self, mask_id: int | None = None) -> Tensor:
        """-> [B, Q, N] with `mask_id` (None = the start id) behind the end of a clip."""
        fill = special_ids(self.codebook_size)[0] if mask_id is None else mask_id
        return self.frames.masked_fill(~self.mask[:, None], fill)

    @classmethod
    def from_parallel(cls, tokens: Tensor, codebook_size: int) -> Codes:
        """[B, Q, N] -> codes; a clip ends before the first frame with an id that is no code."""
        whole = ((tokens >= 0) & (tokens < codebook_size)).all(1)
        return cls.of(tokens, codebook_size, _leading(whole))


def special_ids(codebook_size: int) -> tuple[int, int]:
    """(start, end) beside the codes 0..codebook_size-1."""
    return codebook_size, codebook_size + 1


def _leading(valid: Tensor) -> Tensor:
    """bool [B, L] -> how many of each row are True before the first False, long [B]."""
    return valid.long().cumprod(1).sum(1)
