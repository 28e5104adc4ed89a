"""Decoding of TokTTS: drawing code after code, and beams, drawn or best, whose ended histories stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spear.layouts import Codes
from spear.sampling import Generators, Sampling, gumbel, keep_likely, sample
from speech.modules.kv_cache import KVCache
from speech.modules.one_token import OneToken

if TYPE_CHECKING:
    from spear.toktts.model import TokTTS


def draw_tokens(
    model: TokTTS,
    cache: KVCache,
    batch: int,
    length: int,
    sampling: Sampling,
    generator: Generators,
    callback: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Up to `length` codes [B, L], rows that have ended going on with ends."""
    config = model.config
    tokens = torch.full((batch, 1), model.start, device=cache.position.device)
    done = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
    decode = OneToken(model.decoder, cache, 0)
    for place in range(length):
        drawn = sample(model.step(tokens[:, -1], place, decode), sampling, generator)
        drawn = drawn.masked_fill(done, model.end)
        done = done | (drawn == model.end)
        tokens = torch.cat([tokens, drawn[:, None]], 1)
        if bool(done.all()):
            break
        if callback is not None and (place + 1) % config.n_codebooks == 0:
            said = Codes.from_flattened(tokens[:, 1:], config.n_codebooks, config.codec.codebook_size)
            callback(said.frames)
    return tokens[:, 1:]


def beam_search(
    model: TokTTS,
    cache: KVCache,
    batch: int,
    beams: int,
    length: int,
    sampling: Sampling,
    generator: Generators,
) -> Tensor:
    """The history of the highest mean log-probability among `beams`, [B, L].

    With a temperature, a step's histories are drawn without replacement in proportion to their probability (Gumbel top-k).
    """
    device = cache.position.device
    total = torch.full((batch, beams), -math.inf, device=device)
    total[:, 0] = 0  # all are alike at first: one counts
    number = torch.zeros(batch, beams, device=device)
    done = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    tokens = torch.full((batch, beams, 1), model.start, device=device)
    first_row = torch.arange(batch, device=device)[:, None] * beams
    decode = OneToken(model.decoder, cache, 0)
    for place in range(length):
        logits = model.step(tokens[..., -1].flatten(), place, decode)
        step = logits.log_softmax(-1).view(batch, beams, -1)
        if (
            sampling.temperature > 0
        ):  # top-k, top-p and temperature change what is drawn, not how it is judged
            likely = keep_likely(logits, sampling).log_softmax(-1).view_as(step)
        else:
            likely = step
        # an ended history goes on in one way, which costs nothing
        frozen = torch.full_like(step, -math.inf)
        frozen[..., model.end] = 0
        step, likely = (torch.where(done[..., None], frozen, x) for x in (step, likely))
        lengths = (number + ~done).clamp(min=1)
        if sampling.temperature > 0:
            rank = (total[..., None] + likely).flatten(1)
            rank = rank + gumbel(rank, generator)
        else:
            rank = ((total[..., None] + step) / lengths[..., None]).flatten(1)
        chosen = rank.topk(beams).indices
        parent, token = chosen // step.shape[-1], chosen % step.shape[-1]
        total = (total[..., None] + step).flatten(1).gather(1, chosen)
        number = (number + ~done).gather(1, parent)
        done = done.gather(1, parent) | (token == model.end)
        history = tokens.gather(1, parent[..., None].expand(-1, -1, tokens.shape[-1]))
        tokens = torch.cat([history, token[..., None]], -1)
        cache.reorder((first_row + parent).flatten())
        if bool(done.all()):
            break
    best = (total / number.clamp(min=1)).argmax(1)
    return tokens[torch.arange(batch, device=device), best, 1:]
