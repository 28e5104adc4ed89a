"""Beam search over batches: beams that have ended stay as they are and stay in the race, ranked by their mean log-probability."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spear.sampling import Sampling
from spear.text_to_semantic.request import Generated, Request, finish
from spear.text_to_semantic.session import Session

GREEDY = Sampling(temperature=0)


def search(session: Session, limit: int, request: Request) -> Generated:
    """The best of `request.beams` for every source."""
    batch, beams, device, eos = session.batch, session.beams, session.device, session.eos
    logits, hidden = session.prefill()
    total = torch.full((batch, beams), -math.inf, device=device)
    total[:, 0] = 0  # all beams are alike at first: one of them counts
    length = torch.zeros(batch, beams, device=device)
    time = torch.zeros(batch, beams, device=device)
    done = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    ended = done.clone()
    tokens = torch.zeros(batch, beams, 0, dtype=torch.long, device=device)
    repeats = tokens.clone()
    first_row = torch.arange(batch, device=device)[:, None] * beams
    for place in range(limit):
        step = logits.float().log_softmax(-1).view(batch, beams, -1)
        # an ended beam goes on in one way only, which costs nothing: it is frozen
        frozen = torch.full_like(step, -math.inf)
        frozen[..., eos] = 0
        step = torch.where(done[..., None], frozen, step)
        sums = total[..., None] + step
        lengths = (length + ~done)[..., None]
        ranked = (sums / lengths.clamp(min=1) ** request.length_penalty).flatten(1).topk(beams).indices
        parent, token = ranked // step.shape[-1], ranked % step.shape[-1]
        total = sums.flatten(1).gather(1, ranked)
        length = (length + ~done).gather(1, parent)
        done, ended, time = done.gather(1, parent), ended.gather(1, parent), time.gather(1, parent)
        rows = (first_row + parent).flatten()
        tokens = _follow(tokens, parent, token)
        ended = ended | (token == eos) & ~done
        done = done | ended
        runs = session.draw_runs(hidden[rows], token.flatten(), GREEDY)
        if runs is not None:
            repeats = _follow(repeats, parent, runs.view(batch, beams))
            time = time + runs.view(batch, beams).where(~done, 0)
            done = done | (time >= limit)
        if request.callback is not None:
            request.callback(place, token[:, 0])
        if place + 1 == limit or _settled(total, length, done, limit, request.length_penalty):
            break
        session.reorder(rows)
        logits, hidden = session.step(token.flatten(), runs)
    score = total / length.clamp(min=1) ** request.length_penalty
    best = score.argmax(1)
    pick = best[:, None, None].expand(-1, 1, tokens.shape[-1])
    chosen = tokens.gather(1, pick)[:, 0]
    kept = list(repeats.gather(1, pick)[:, 0].unbind(1)) if repeats.shape[-1] else []
    total, length = total.gather(1, best[:, None])[:, 0], length.gather(1, best[:, None])[:, 0]
    ended = ended.gather(1, best[:, None])[:, 0]
    return finish(chosen, kept, session, total / length.clamp(min=1), ended, limit)


def _follow(history: Tensor, parent: Tensor, latest: Tensor) -> Tensor:
    """Histories [B, K, T] of the parents [B, K] with their latest value [B, K] behind: [B, K, T + 1]."""
    history = history.gather(1, parent[..., None].expand(-1, -1, history.shape[-1]))
    return torch.cat([history, latest[..., None]], -1)


def _settled(total: Tensor, length: Tensor, done: Tensor, limit: int, penalty: float) -> bool:
    """Whether no open beam can still overtake the best ended one: what is added to a sum is never positive."""
    ended = torch.where(done, total / length.clamp(min=1) ** penalty, -math.inf).amax(1)
    reachable = total / torch.full_like(length, limit).clamp(min=1) ** penalty
    best_open = torch.where(done, -math.inf, reachable).amax(1)
    return bool((ended >= best_open).all())
