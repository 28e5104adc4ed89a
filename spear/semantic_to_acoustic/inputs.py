"""What both semantic-to-acoustic models are given: checked, and a prompt's tokens and codes joined in front of what is to be spoken."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from spear.codec.codec import CodecSpec
from speech.semantic.quantizer import TokenSpec

Prompt = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]
"""(tokens [B, P], codes [B, Q, R]) of a few seconds of a voice, or with a third, the tokens of each row [B]; one row serves all."""


@dataclass
class Joined:
    """A batch with its prompts in front, every row from the left: N tokens, M frames."""

    tokens: Tensor  # [B, N], 0 where padded
    n_tokens: Tensor  # [B]
    codes: Tensor  # [B, Q, M], the prompt's, 0 from there on
    n_known: Tensor  # [B] frames of the prompt
    n_frames: Tensor  # [B] frames in all

    @property
    def n_new(self) -> Tensor:
        """Frames to be made, [B]."""
        return self.n_frames - self.n_known

    def cut(self, codes: Tensor, length: int | None = None) -> Tensor:
        """codes [B, Q, M] of all frames -> [B, Q, length] behind the prompts (None = the longest row), 0 where padded."""
        length = int(self.n_new.max()) if length is None else length
        places = self.n_known[:, None] + torch.arange(length, device=codes.device)  # [B, length]
        inside = places < self.n_frames[:, None]
        places = places.clamp(max=codes.shape[-1] - 1)[:, None].expand(-1, codes.shape[1], -1)
        return codes.gather(2, places) * inside[:, None]


def frames_of(n_tokens: Tensor | int, tokens: TokenSpec, codec: CodecSpec) -> Tensor | int:
    """Frames of codes that last as long as so many tokens."""
    return (n_tokens * codec.rate_hz * 2 + tokens.rate_hz) // (2 * tokens.rate_hz)


def check_tokens(tokens: Tensor, n_tokens: Tensor | None, spec: TokenSpec) -> Tensor:
    """Refuse semantic tokens that are not of this kind; returns the length of each row [B] (None = all are whole).

    Raises:
        ValueError: another shape than [B, N], a length that does not fit, or a token out of range.
    """
    if tokens.dim() != 2 or not tokens.shape[1] or tokens.is_floating_point():
        raise ValueError(
            f"expected semantic tokens [B, N] as whole numbers, got {list(tokens.shape)} of {tokens.dtype}"
        )
    if n_tokens is None:
        n_tokens = torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
    if (
        n_tokens.shape != tokens.shape[:1]
        or not 1 <= int(n_tokens.min()) <= int(n_tokens.max()) <= tokens.shape[1]
    ):
        raise ValueError(
            f"n_tokens: expected a length of 1 to {tokens.shape[1]} for each of {len(tokens)} rows, got {n_tokens.tolist()}"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= spec.n_tokens:
        raise ValueError(
            f"semantic token {low if low < 0 else high}: expected 0 to {spec.n_tokens - 1} ({spec.kind}, {spec.rate_hz} Hz)"
        )
    return n_tokens


def check_codec(ours: CodecSpec, other: CodecSpec, n_codebooks: int) -> None:
    """Refuse a codec whose codes a model of `ours` neither reads nor makes.

    Raises:
        ValueError: the differences by name.
    """
    theirs = asdict(other)
    differing = [
        f"{key} {theirs[key]}, expected {value}"
        for key, value in asdict(ours).items()
        if theirs[key] != value and key != "n_codebooks"
    ]
    if other.n_codebooks < n_codebooks:
        differing.append(f"n_codebooks {other.n_codebooks}, expected {n_codebooks} or more")
    if differing:
        raise ValueError(f"the codec does not fit this model: {'; '.join(differing)}")


def join(
    tokens: Tensor,
    n_tokens: Tensor | None,
    prompt: Prompt | None,
    spec: TokenSpec,
    codec: CodecSpec,
    n_codebooks: int,
    max_frames: int,
) -> Joined:
    """Check the input of `generate` and put the prompt in front.

    Raises:
        ValueError: tokens or codes out of range, a prompt whose codes are of another length or number of codebooks than its tokens
            and the model say, or more frames than the model's context holds.
    """
    n_tokens = check_tokens(tokens, n_tokens, spec)
    batch, device = len(tokens), tokens.device
    if prompt is None:
        empty = torch.zeros(1, dtype=torch.long, device=device)
        shown, known, n_shown = tokens.new_zeros(1, 0), tokens.new_zeros(1, n_codebooks, 0), empty
    else:
        shown, known, n_shown = _check_prompt(prompt, spec, codec, n_codebooks)
    if len(shown) not in (1, batch):
        raise ValueError(f"prompt: expected 1 or {batch} rows, got {len(shown)}")
    shown, known = shown.to(device).expand(batch, -1), known.to(device).expand(batch, -1, -1)
    n_shown = n_shown.to(device).expand(batch)
    n_known = frames_of(n_shown, spec, codec).clamp(max=known.shape[-1])
    n_all = n_shown + n_tokens
    # the frames to be made are as many as without a prompt, wherever it ends
    n_frames = n_known + frames_of(n_tokens, spec, codec)
    longest = int(n_frames.argmax())
    if int(n_frames[longest]) > max_frames:
        raise ValueError(
            f"prompt of {int(n_known[longest])} frames and {int(n_frames[longest] - n_known[longest])} to be made: the context "
            f"holds {max_frames} ({max_frames / codec.rate_hz:g} s)"
        )
    joined = tokens.new_zeros(batch, int(n_all.max()))
    codes = known.new_zeros(batch, n_codebooks, int(n_frames.max()))
    for row in range(batch):
        p, n, r = int(n_shown[row]), int(n_tokens[row]), int(n_known[row])
        joined[row, :p], joined[row, p : p + n] = shown[row, :p], tokens[row, :n]
        codes[row, :, :r] = known[row, :, :r]
    return Joined(joined, n_all, codes, n_known, n_frames)


def _check_prompt(
    prompt: Prompt, spec: TokenSpec, codec: CodecSpec, n_codebooks: int
) -> tuple[Tensor, Tensor, Tensor]:
    shown, codes = prompt[0], prompt[1]
    n_shown = check_tokens(shown, prompt[2] if len(prompt) > 2 else None, spec)
    if codes.dim() != 3 or len(codes) != len(shown) or codes.shape[1] < n_codebooks:
        raise ValueError(
            f"prompt: expected codes [{len(shown)}, {n_codebooks} codebooks or more, R], got {list(codes.shape)}"
        )
    wanted = frames_of(int(n_shown.max()), spec, codec)
    # the last token of an odd number of feature frames lasts half as long
    if abs(codes.shape[-1] - wanted) > max(1, codec.rate_hz // spec.rate_hz):
        raise ValueError(
            f"prompt: {int(n_shown.max())} tokens last {wanted} frames of codes at {codec.rate_hz} Hz, got {codes.shape[-1]}"
        )
    codes = codes[:, :n_codebooks]
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= codec.codebook_size:
        raise ValueError(
            f"prompt: code {low if low < 0 else high}, expected 0 to {codec.codebook_size - 1} of the codec {codec.name}"
        )
    return shown, codes, n_shown
