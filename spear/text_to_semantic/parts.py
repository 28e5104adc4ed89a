"""Parts of TextToSemantic: token tables with tied heads, rate and language, durations, runs, the early exit.

Shapes: batch B, source tokens S, target tokens N, width W, tokens of a vocabulary V.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.transformer import RMSNorm

EOS, START, MASK = 0, 1, 2
"""Places of the special tokens behind a vocabulary's own: its id n_tokens + EOS ends a sequence, and so on."""
SPECIALS = 3


class TokenTable(nn.Module):
    """Vectors of a vocabulary, going in, and the logits of its tokens and its end, coming out, of the same table.

    Args:
        n_tokens: V; ids V, V + 1 and V + 2 are end, start and mask.
        width: W.
        codebook_dim: not None: the vectors are a tokenizer's codebook [V, codebook_dim], which is not trained, behind a projection each
            way (WhisperSpeech); the special tokens have rows of their own.
        std: of the rows at the start.
        in_scale, out_scale: of the vectors going in and of the logits.
    """

    def __init__(
        self,
        n_tokens: int,
        width: int,
        codebook_dim: int | None = None,
        std: float | None = None,
        in_scale: float = 1.0,
        out_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.n_tokens, self.in_scale, self.out_scale = n_tokens, in_scale, out_scale
        std = width**-0.5 if std is None else std
        self.frozen = codebook_dim is not None
        if self.frozen:
            self.register_buffer("codebook", torch.randn(n_tokens, codebook_dim))
            self.special = nn.Parameter(torch.randn(SPECIALS, width) * std)
            self.project_in = nn.Linear(codebook_dim, width, bias=False)
            self.project_out = nn.Linear(width, codebook_dim, bias=False)
        else:
            self.rows = nn.Parameter(torch.randn(n_tokens + SPECIALS, width) * std)

    @property
    def eos(self) -> int:
        return self.n_tokens + EOS

    @property
    def start(self) -> int:
        return self.n_tokens + START

    @property
    def mask(self) -> int:
        return self.n_tokens + MASK

    @torch.no_grad()
    def set_codebook(self, codebook: Tensor) -> None:
        """Take a tokenizer's codebook [V, codebook_dim], of zero mean and unit deviation.

        Raises:
            ValueError: another shape, or a table that is trained.
        """
        if not self.frozen or codebook.shape != self.codebook.shape:
            wanted = list(self.codebook.shape) if self.frozen else "none (codebook_dim is not set)"
            raise ValueError(f"codebook of shape {list(codebook.shape)}, the model expects {wanted}")
        self.codebook.copy_((codebook - codebook.mean()) / codebook.std())

    def forward(self, ids: Tensor) -> Tensor:
        """ids [..] -> [.., W]."""
        if self.frozen:
            table = torch.cat([self.project_in(self.codebook), self.special.to(self.codebook.dtype)])
            return F.embedding(ids, table) * self.in_scale
        return F.embedding(ids, self.rows) * self.in_scale

    def logits(self, x: Tensor) -> Tensor:
        """[.., W] -> [.., V + 1], the last column of the end."""
        if self.frozen:
            tokens = self.project_out(x) @ self.codebook.T * self.codebook.shape[1] ** -0.5
            return torch.cat([tokens, x @ self.special[EOS : EOS + 1].T], -1) * self.out_scale
        return F.linear(x, self.rows[: self.n_tokens + 1]) * self.out_scale


class RateTable(nn.Module):
    """A vector for every bin of speaking rate (text tokens a second of speech), and one for a rate that is not given."""

    def __init__(self, bins: int, highest: float, width: int) -> None:
        super().__init__()
        self.bins, self.highest = bins, highest
        self.rows = nn.Embedding(bins + 1, width)
        nn.init.normal_(self.rows.weight, std=0.02)

    def bin(self, rate: Tensor) -> Tensor:
        """Rates [B] -> bins [B]; the last stands for NaN (not given), rates above the highest are in the one before."""
        place = (rate.nan_to_num() / self.highest * self.bins).long().clamp(0, self.bins - 1)
        return torch.where(rate.isnan(), self.bins, place)

    def forward(self, rate: Tensor) -> Tensor:
        """Rates [B] -> [B, W]."""
        return self.rows(self.bin(rate))


class DurationPredictor(nn.Module):
    """How many semantic tokens each token of the text lasts, as log(1 + duration)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, context: Tensor, condition: Tensor | None) -> Tensor:
        """context [B, S, W], condition [B, W] -> [B, S]."""
        x = self.norm(context)
        if condition is not None:
            x = x + condition[:, None]
        return self.out(F.gelu(self.hidden(x)))[..., 0]


class RunHead(nn.Module):
    """How often a token is repeated, of its hidden state and itself: logits of 1, 2, ..., `longest`."""

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.longest = longest
        self.rows = nn.Embedding(longest + 1, width)  # going in: 0 stands for "not known"
        nn.init.normal_(self.rows.weight, std=0.02)
        self.norm = RMSNorm(width)
        self.hidden, self.out = nn.Linear(2 * width, width), nn.Linear(width, longest)

    def forward(self, hidden: Tensor, token: Tensor) -> Tensor:
        """hidden [.., W], the vectors of the tokens [.., W] -> [.., longest]."""
        return self.out(F.gelu(self.hidden(torch.cat([hidden, self.norm(token)], -1))))


class EarlyExit(nn.Module):
    """Logits from a layer inside: a feed-forward of its own before the shared table (lucidrains' early exit)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.last = RMSNorm(width), RMSNorm(width)
        self.ff_in, self.ff_out = (
            nn.Linear(width, 4 * width, bias=False),
            nn.Linear(2 * width, width, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[.., W] -> [.., W], what the table makes logits of."""
        value, gate = self.ff_in(self.norm(x)).chunk(2, -1)
        return self.last(x + self.ff_out(value * F.gelu(gate)))


def append_eos(tokens: Tensor, n_tokens: Tensor, eos: int) -> Tensor:
    """Tokens [B, N] with the end behind each row's last one, [B, N + 1]; what follows stays 0."""
    longer = F.pad(tokens, (0, 1))
    past = torch.arange(longer.shape[1], device=tokens.device) >= n_tokens[:, None]
    return longer.masked_fill(past, 0).scatter(1, n_tokens[:, None], eos)


def cut_after_eos(tokens: Tensor, eos: int) -> tuple[Tensor, Tensor]:
    """Rows [B, N] up to their first end: tokens (0 from there on), how many [B]."""
    ended = (tokens == eos).int().cumsum(1) > 0
    return tokens.masked_fill(ended, 0), (~ended).sum(1)
