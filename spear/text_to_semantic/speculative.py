"""Speculative decoding: the early exit drafts some tokens, the whole network checks them in one pass (Leviathan et al. 2023).

What is drawn has the distribution of plain sampling: a drafted token of probability q is kept with min(1, p / q), the first that is
not is drawn anew from max(p - q, 0). Rows of a batch keep different numbers of tokens: each has its own position in the cache and goes back
by lowering it. The lower layers run once for a token: their outputs are kept for the check.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spear.sampling import draw, probabilities, row_generators, sample, uniform
from spear.text_to_semantic.request import Generated, Request, finish
from spear.text_to_semantic.session import Session


def speculate(session: Session, limit: int, request: Request) -> Generated:
    """Draft `request.speculate` tokens, check, keep, again."""
    rows, device, eos, sampling = session.rows, session.device, session.eos, request.sampling
    noise = row_generators(request.seed, rows)
    index = torch.arange(rows, device=device)
    logits, _ = session.prefill()
    latest = sample(logits, sampling, noise)
    tokens = torch.full((rows, limit + request.speculate + 1), eos, dtype=torch.long, device=device)
    tokens[:, 0] = latest
    score = logits.float().log_softmax(-1)[index, latest]
    number = torch.ones(rows, dtype=torch.long, device=device)
    done = latest == eos
    drafted = kept = place = 0
    while not bool((done | (number >= limit)).all()):
        active = ~done & (number < limit)
        draft, q, p_logits = _draft_and_check(session, latest, request, noise)
        p = probabilities(p_logits, sampling)  # [rows, gamma + 1, V + 1]
        accepted = torch.zeros(rows, dtype=torch.long, device=device)
        going = active.clone()
        for i in range(request.speculate):
            token = draft[:, i]
            ratio = request.lenience * p[index, i, token] / q[index, i, token].clamp(min=1e-20)
            going = going & (uniform(rows, device, noise) < ratio)
            accepted = accepted + going
        drafted, kept = drafted + int(active.sum()) * request.speculate, kept + int(accepted.sum())
        # the first rejected place, or the one behind all drafts: q is 0 there and p is drawn from as it is
        at = torch.cat([q, torch.zeros_like(q[:, :1])], 1)[index, accepted]
        rest = (p[index, accepted] - at).clamp(min=0)
        # rounding can leave nothing of p - q; then p was q
        rest = torch.where(rest.sum(-1, keepdim=True) > 0, rest, p[index, accepted])
        last = draw(rest, noise)
        new = torch.cat([draft, torch.zeros_like(draft[:, :1])], 1).scatter(
            1, accepted[:, None], last[:, None]
        )
        logp = p_logits.float().log_softmax(-1).gather(2, new[..., None])[..., 0]
        fresh, open_ = accepted + 1, active.clone()
        for i in range(request.speculate + 1):
            write = open_ & (i < fresh) & (number + i < limit)
            tokens[index[write], (number + i)[write]] = new[write, i]
            score = score + logp[:, i].where(write, 0)
            open_ = write & (new[:, i] != eos)
            done = done | (write & (new[:, i] == eos))
        number = number + torch.where(active, fresh, 0)
        # rows that are through go on drafting, at the front, where there is room
        going = ~done & (number < limit)
        session.cache.rewind(torch.where(going, session.cache.position + fresh, 0))
        latest = torch.where(active, last, latest)
        if request.callback is not None:
            request.callback(place, latest)
        place += 1
    counted = ((tokens[:, :limit] == eos).int().cumsum(1) <= 1).sum(1)
    out = finish(tokens[:, :limit], [], session, score / torch.minimum(counted, number), done, limit)
    out.accepted = kept / max(drafted, 1)
    return out


def _draft_and_check(session: Session, latest: Tensor, request, noise) -> tuple[Tensor, Tensor, Tensor]:
    """Drafted tokens [rows, g], what they were drawn from [rows, g, V + 1], the whole network's logits [rows, g + 1, V + 1].

    The cache's position is where it was; the slots behind it hold the draft.
    """
    model, cache, sampling = session.model, session.cache, request.sampling
    exit_layer, gamma = model.config.early_exit_layer, request.speculate
    start = cache.position.clone()
    cache.reach = min(int(start.max()) + gamma + 1, cache.max_len)
    token, drafts, shares, middles = latest, [], [], []
    for i in range(gamma + 1):
        x = model.embed(token[:, None], session.kind, session.rate)
        around, crossed = model.decoder.surroundings(x, cache=cache)
        middle = model.decoder.run(x, around, crossed, 0, exit_layer, cache)
        cache.advance(1)
        middles.append(middle)
        if i < gamma:
            logits = session.table.logits(model.early_exit(middle[:, 0]))
            shares.append(probabilities(logits, sampling))
            token = sample(logits, sampling, noise)
            drafts.append(token)
    cache.rewind(start)
    x = torch.cat(middles, 1)
    around, crossed = model.decoder.surroundings(x, cache=cache)
    hidden = model.decoder.norm(model.decoder.run(x, around, crossed, exit_layer, cache=cache))
    session.steps += 1
    return torch.stack(drafts, 1), torch.stack(shares, 1), session.table.logits(hidden)
