"""Deletion for pretraining: a network that puts tokens back has learnt what speech is like (SPEAR-TTS, Kharitonov et al. 2023, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Deleted:
    """A source made of tokens, and what is to be made of it."""

    source: Tensor  # [B, S] survivors in order; of kind "mask" all places
    n_source: Tensor  # [B]
    target: Tensor  # [B, N]
    n_target: Tensor  # [B]
    removed: Tensor  # bool [B, N] of the tokens handed in


def choose(n_tokens: Tensor, length: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Exactly ceil(share * n) random places of each row [B] -> bool [B, length]; padding is never among them."""
    device = n_tokens.device
    places = torch.arange(length, device=device)
    order = torch.rand(len(n_tokens), length, generator=generator, device=device)
    order = order.masked_fill(places >= n_tokens[:, None], 2.0)
    # float64: in float32 0.6 * 5 is a little above 3, and 4 would be removed
    count = (n_tokens.double() * share - 1e-9).ceil().clamp(min=0)
    return order.argsort(1).argsort(1) < count[:, None]


def delete(
    tokens: Tensor,
    n_tokens: Tensor,
    share: float = 0.6,
    kind: str = "remove",
    target: str = "full",
    mask_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Deleted:
    """Corrupt rows of tokens, each by its own length.

    Args:
        tokens: [B, N], n_tokens: [B].
        share: of each row's tokens, rounded up.
        kind: "remove", the survivors move together; "mask", `mask_id` stands in their places.
        target: "full", the row as it was; "deleted", only what was removed, in order.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"deletion: expected a share from 0 to 1, got {share}")
    if kind not in ("remove", "mask") or target not in ("full", "deleted"):
        raise ValueError(
            f"expected a deletion of kind remove or mask with the target full or deleted, got {kind} and {target}"
        )
    if kind == "mask" and (target == "deleted" or mask_id is None):
        raise ValueError("a deletion of kind mask has the full target, and needs a mask_id")
    removed = choose(n_tokens, tokens.shape[1], share, generator)
    if kind == "mask":
        return Deleted(tokens.masked_fill(removed, mask_id), n_tokens, tokens, n_tokens, removed)
    valid = torch.arange(tokens.shape[1], device=tokens.device) < n_tokens[:, None]
    source, n_source = compact(tokens, valid & ~removed)
    if target == "full":
        return Deleted(source, n_source, tokens, n_tokens, removed)
    return Deleted(source, n_source, *compact(tokens, removed), removed)


def compact(tokens: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens [B, N] where `keep` is True, moved together in order, 0 behind them; and how many."""
    number = keep.sum(1)
    order = torch.argsort((~keep).int(), stable=True, dim=1)
    moved = tokens.gather(1, order)[:, : int(number.max())]
    inside = torch.arange(moved.shape[1], device=tokens.device) < number[:, None]
    return moved * inside, number
