"""Streams of semantic tokens: repeats taken out and put back, how evenly tokens are used, what a tokenizer keeps.

Runs of one token say only how long it lasts; SPEAR-TTS (Kharitonov et al. 2023, section 3.1) takes them out. Here their lengths are kept, so
that tempo can be copied, changed or predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speech.packs import Pack
from speech.semantic.quantizer import SemanticQuantizer, check_tokens

__all__ = [
    "RoundTrip",
    "TokenUse",
    "check_encoder",
    "check_tokens",
    "deduplicate",
    "phone_labels",
    "repeat",
    "round_trip",
    "token_use",
]


def deduplicate(tokens: Tensor, n_tokens: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Take out repeats.

    Args:
        tokens: [B, N]. n_tokens: valid tokens of each row [B], None = all.
    Returns:
        tokens without repeats [B, R], 0 where padded; durations of each in tokens [B, R], 0 where padded; how many are
        valid [B].
    """
    n_tokens = _lengths(tokens, n_tokens)
    rows, durations = [], []
    for row, length in zip(tokens, n_tokens.tolist(), strict=True):
        kept, counts = torch.unique_consecutive(row[:length], return_counts=True)
        rows.append(kept)
        durations.append(counts)
    number = torch.tensor([len(row) for row in rows], device=tokens.device)
    return pad_sequence(rows, batch_first=True), pad_sequence(durations, batch_first=True), number


def repeat(tokens: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `deduplicate`.

    Args:
        tokens, durations: [B, R]; a token of duration 0 is left out.
    Returns:
        tokens [B, N], 0 where padded; how many are valid [B].
    Raises:
        ValueError: shapes that differ, or a negative duration.
    """
    if tokens.shape != durations.shape:
        raise ValueError(
            f"tokens {list(tokens.shape)} and durations {list(durations.shape)}: expected one shape"
        )
    if durations.numel() and int(durations.min()) < 0:
        raise ValueError(f"duration {int(durations.min())}: expected 0 or more tokens")
    rows = [row.repeat_interleave(times) for row, times in zip(tokens, durations, strict=True)]
    return pad_sequence(rows, batch_first=True), durations.sum(1)


@dataclass
class TokenUse:
    """How often the tokens of a vocabulary occur."""

    n_tokens: int  # of the vocabulary
    counted: int  # tokens seen
    used: int  # different ones
    entropy_bits: float  # of one token, the others not known

    @property
    def entropy_share(self) -> float:
        """Entropy over that of tokens used evenly; near 1 is healthy, a collapsed codebook is far below."""
        return self.entropy_bits / math.log2(self.n_tokens)


def token_use(streams: Iterable[Tensor], n_tokens: int) -> TokenUse:
    """Unigram statistics of streams of tokens, each of any shape and without padding.

    Raises:
        ValueError: a token outside the vocabulary.
    """
    counts = torch.zeros(n_tokens, dtype=torch.long)
    for stream in streams:
        stream = stream.flatten().long().cpu()
        wrong = stream[(stream < 0) | (stream >= n_tokens)]
        if len(wrong):
            raise ValueError(f"token {int(wrong[0])}: expected 0 to {n_tokens - 1} of this vocabulary")
        counts += torch.bincount(stream, minlength=n_tokens)
    share = counts[counts > 0].double() / max(int(counts.sum()), 1)
    entropy = max(float(-(share * share.log2()).sum()), 0.0)
    return TokenUse(n_tokens, int(counts.sum()), int((counts > 0).sum()), entropy)


@dataclass
class RoundTrip:
    """What is left of features after they were tokens."""

    use: TokenUse
    tokens_a_second: float  # repeats taken out
    distortion: float  # mean squared error over the variance of the features: 0 nothing lost, 1 nothing kept
    phones_kept: (
        float | None
    )  # share of frames which the encoder's classifier calls what it called them before
    phone_accuracy: float | None  # share of aligned frames called what the alignment says, after
    phone_accuracy_before: float | None  # and before

    def lines(self) -> list[str]:
        """For people."""
        use = self.use
        found = [
            f"tokens: {use.used} of {use.n_tokens} used, {use.counted} counted",
            f"entropy: {use.entropy_bits:.2f} of {math.log2(use.n_tokens):.2f} bits ({use.entropy_share:.1%})",
            f"without repeats: {self.tokens_a_second:.1f} a second",
            f"distortion: {self.distortion:.3f} of the features' variance",
        ]
        if self.phones_kept is not None:
            found.append(f"phones kept: {self.phones_kept:.1%} of frames")
        if self.phone_accuracy is not None:
            found.append(
                f"phones right by the alignment: {self.phone_accuracy:.1%} (features: {self.phone_accuracy_before:.1%})"
            )
        return found


@torch.inference_mode()
def round_trip(
    pack: Pack, quantizer: SemanticQuantizer, indices: Iterable[int], encoder: nn.Module | None = None
) -> RoundTrip:
    """Quantise the pack's features of some utterances and compare.

    Args:
        pack: with the array `semantic`; alignments are used where there are any.
        quantizer: on features of the pack's encoder.
        indices: utterances that are looked at.
        encoder: with a `classify` (the phonetic encoder), to say which phones are kept.
    Raises:
        ValueError: features of another encoder, or no frame at all.
    """
    pack.require_semantic(quantizer.spec.semantic)
    streams, runs, frames = [], 0, 0
    error, total, squares = 0.0, 0.0, 0.0
    kept = right = right_before = labelled = 0
    for index in indices:
        before = torch.from_numpy(pack.read("semantic", index).astype(np.float32)).T[None]  # [1, C, N]
        if not before.shape[-1]:
            continue
        tokens = quantizer.tokens(before)
        streams.append(tokens)
        runs += len(torch.unique_consecutive(tokens[0]))
        after = quantizer.features(tokens)[..., : before.shape[-1]]
        error = error + (after - before).square().sum(-1)[0].double()
        total, squares = total + before.sum(-1)[0].double(), squares + before.square().sum(-1)[0].double()
        frames += before.shape[-1]
        if encoder is None:
            continue
        heard, heard_after = (encoder.classify(x)[0].argmax(-1) for x in (before, after))
        kept += int((heard == heard_after).sum())
        labels = phone_labels(pack, index, before.shape[-1])
        if labels is not None:
            labelled += len(labels)
            right += int((heard_after == labels).sum())
            right_before += int((heard == labels).sum())
    if not frames:
        raise ValueError(f"{pack.folder}: no frame of semantic features to look at")
    variance = (squares - total.square() / frames).sum()
    return RoundTrip(
        token_use(streams, quantizer.spec.n_tokens),
        runs * quantizer.spec.semantic.rate_hz / frames,
        float(error.sum() / variance.clamp(min=1e-12)),
        kept / frames if encoder is not None else None,
        right / labelled if labelled else None,
        right_before / labelled if labelled else None,
    )


@torch.inference_mode()
def check_encoder(pack: Pack, encoder: nn.Module) -> None:
    """Refuse an encoder whose features are not those of the pack, told by hearing its first utterance.

    Raises:
        ValueError: another spec, or the same spec with other weights.
    """
    pack.require_semantic(encoder.spec)
    index = int(np.argmax(pack.lengths("semantic") > 0))
    wav = torch.from_numpy(pack.read("wav", index).astype(np.float32) / 32768)[None]
    heard = encoder(wav)[0].T
    there = torch.from_numpy(pack.read("semantic", index).astype(np.float32))
    if heard.shape != there.shape or float((heard - there).abs().max()) > 0.05:  # they were kept in 16 bits
        raise ValueError(
            f"{pack.folder}: its features were made by a {encoder.spec.name} encoder of other weights"
        )


def phone_labels(pack: Pack, index: int, frames: int) -> Tensor | None:
    """The phone that the alignment puts at the middle of every frame [N], None where there is no alignment."""
    if not pack.has("phone_ids") or not pack.length("phone_ids", index):
        return None
    ids = torch.from_numpy(pack.read("phone_ids", index).astype("int64"))
    ends = torch.from_numpy(pack.read("phone_ends", index).astype("int64"))  # in 10 ms
    centres = torch.arange(frames) * 2 + 1
    return ids[torch.searchsorted(ends, centres, right=True).clamp(max=len(ids) - 1)]


def _lengths(tokens: Tensor, n_tokens: Tensor | None) -> Tensor:
    if n_tokens is None:
        return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
    return n_tokens
