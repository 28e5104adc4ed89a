"""What can be asked of TextToSemantic's generation, and what it hands over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spear.sampling import Sampling
from spear.text_to_semantic.parts import cut_after_eos
from spear.tokens import repeat


@dataclass
class Request:
    """How to generate.

    Args:
        sampling: how a token is drawn.
        seed: of the first row, or of each.
        max_tokens: tokens at most, the prompt not counted; None = what the window leaves.
        beams: above 1: beam search, which draws nothing.
        length_penalty: beams are ranked by log-probability / length ** this.
        speculate: above 0: so many tokens are drafted by the early exit and then checked at once; what is drawn has the same distribution.
        lenience: drafted tokens are kept with min(1, lenience * p / q); above 1 is quicker and no longer exact.
        steps: of a masked model.
        n_tokens: of a masked model: length of each row [B] (prompt included), instead of the predicted one.
        callback: called with (step, tokens of the rows [B]) at every step; what it raises ends the generation.
        compiled: the step goes through torch.compile, in sizes that are those of the model's windows.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int | Sequence[int] | None = None
    max_tokens: int | None = None
    beams: int = 1
    length_penalty: float = 1.0
    speculate: int = 0
    lenience: float = 1.0
    steps: int = 12
    n_tokens: Tensor | None = None
    callback: Callable[[int, Tensor], None] | None = None
    compiled: bool = False
    n_prompt_text: Tensor | None = None  # set by `TextToSemantic.generate`

    def __post_init__(self) -> None:
        for name in ("beams", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens: expected 1 or more, got {self.max_tokens}")
        if self.speculate < 0 or self.lenience < 1:
            raise ValueError(
                f"expected speculate of 0 or more and lenience of 1 or more, got {self.speculate} and {self.lenience}"
            )
        if self.speculate and (self.beams > 1 or self.sampling.guidance != 1):
            raise ValueError("speculate goes neither with beams nor with guidance")


@dataclass
class Generated:
    """What was generated; rows are padded with 0."""

    tokens: Tensor  # long [B, N], repeats included
    n_tokens: Tensor  # [B]
    scores: Tensor  # [B] mean log-probability of what was drawn, the end included
    finished: Tensor  # bool [B], False where max_tokens came before the end
    steps: int  # passes through the decoder, the one over the prompt included
    accepted: float | None = None  # share of drafted tokens that were kept

    def rows(self) -> list[Tensor]:
        """The rows without padding."""
        return [row[:n] for row, n in zip(self.tokens, self.n_tokens.tolist(), strict=True)]


def finish(
    tokens: Tensor, repeats: list[Tensor], session, scores: Tensor, finished: Tensor, limit: int
) -> Generated:
    """Tokens [B, T] as drawn -> what is handed over: without the end and what follows, repeats put back."""
    tokens, n_tokens = cut_after_eos(tokens, session.eos)
    if repeats:
        valid = torch.arange(tokens.shape[1], device=tokens.device) < n_tokens[:, None]
        tokens, n_tokens = repeat(tokens, torch.stack(repeats, 1) * valid)
        n_tokens = n_tokens.clamp(max=limit)
    tokens = tokens[:, : int(n_tokens.max())]
    inside = torch.arange(tokens.shape[1], device=tokens.device) < n_tokens[:, None]
    return Generated(tokens * inside, n_tokens, scores, finished, session.steps)
