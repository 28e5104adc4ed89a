"""Masked filling: all tokens of an utterance in a few steps, the surest first (MaskGIT, Chang et al. 2022).

Every step predicts all tokens from those settled so far, settles as many of them as a cosine schedule says, and masks the least
confident again. The length is the sum of the text's predicted durations, or given.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spear.sampling import cosine_schedule, guide, gumbel, keep_likely, least_confident, row_generators
from spear.text_to_semantic.request import Generated, Request


def fill(
    model, source: Tensor, n_source: Tensor, given: dict, prompt, n_prompt, request: Request
) -> Generated:
    """Semantic tokens of text; `n_tokens` of what is handed over counts without the prompt."""
    config, table, sampling = model.config, model.tables["semantic"], request.sampling
    rows, device = len(source), source.device
    rate, languages, durations = given["rate"], given["languages"], given.get("durations")
    if durations is None:
        predicted = model.encode(source, n_source, "text", languages, rate).log_durations
        durations = torch.expm1(predicted.float()).clamp(min=0)
    durations = durations * (torch.arange(source.shape[1], device=device) < n_source[:, None])
    known = torch.zeros(rows, dtype=torch.long, device=device) if prompt is None else n_prompt
    length, finished = _lengths(durations, known, request, config.max_semantic)
    # the text is laid along the length that was decided on
    durations = durations * (length / durations.sum(1).clamp(min=1e-3))[:, None]
    encoded = model.encode(source, n_source, "text", languages, rate, durations)
    places = torch.arange(int(length.max()), device=device)
    valid = places < length[:, None]
    settled = ~valid | (places < known[:, None])
    ids = torch.where(valid, table.mask, 0)
    if prompt is not None:
        wide = F.pad(prompt, (0, max(len(places) - prompt.shape[1], 0)))[:, : len(places)]
        ids = torch.where(places < known[:, None], wide, ids)
    noise = row_generators(request.seed, rows)
    free, scores = (~settled).sum(1), torch.zeros(ids.shape, device=device)
    for step in range(1, request.steps + 1):
        logits = _predict(model, ids, valid, encoded, rate, sampling.guidance)
        masked = ids == table.mask
        likely = keep_likely(logits, sampling)
        drawn = likely.argmax(-1)
        if sampling.temperature > 0:
            drawn = (likely + _noise(likely, length, noise)).argmax(-1)
        scores = torch.where(masked, logits.log_softmax(-1).gather(2, drawn[..., None])[..., 0], scores)
        ids = torch.where(masked & valid, drawn, ids)
        if request.callback is not None:
            request.callback(step - 1, ids)
        if step == request.steps:
            break
        progress = step / request.steps
        # how sure a token is has some chance in it, less and less, so that not all rows settle from the same places
        shaken = scores
        if sampling.temperature > 0:
            wobble = _noise(scores[..., None], length, noise)[..., 0]
            shaken = scores + sampling.temperature * (1 - progress) * wobble
        confidence = torch.where(masked & ~settled, shaken, torch.inf)
        n_masked = (free * cosine_schedule(progress)).long()
        ids = ids.masked_fill(least_confident(confidence, n_masked), table.mask)
    ids, n_tokens = _without_prompt(ids * valid, length, known)
    mean = (scores * ~settled).sum(1) / free.clamp(min=1)
    return Generated(ids, n_tokens, mean, finished, request.steps)


def _lengths(durations: Tensor, known: Tensor, request, window: int) -> tuple[Tensor, Tensor]:
    """Tokens of each row [B], the prompt included, and whether that is all of them."""
    if request.n_tokens is not None:
        length = request.n_tokens.to(durations.device).long()
        if length.shape != known.shape or bool((length <= known).any()) or int(length.max()) > window:
            raise ValueError(
                f"n_tokens {length.tolist()}: expected a number for each row, above the prompt's {known.tolist()} and up to {window}"
            )
        return length, torch.ones_like(length, dtype=torch.bool)
    wanted = durations.sum(1).round().long()
    longest = window if request.max_tokens is None else known + request.max_tokens
    length = torch.minimum(torch.maximum(wanted, known + 1), torch.as_tensor(longest, device=known.device))
    return length.clamp(max=window), wanted <= length


def _predict(model, ids: Tensor, valid: Tensor, encoded, rate: Tensor | None, guidance: float) -> Tensor:
    """Logits [B, N, V] of all places; with guidance from two passes in one."""

    def logits(ids, valid, context, mask, positions, rate):
        x = model.embed(ids, "semantic", rate)
        hidden = model.decoder(x, valid, context, mask, context_positions=positions)
        return model.tables["semantic"].logits(hidden)[..., :-1].float()

    if guidance == 1:
        return logits(ids, valid, encoded.context, encoded.mask, encoded.positions, rate)
    twice = [None if x is None else torch.cat([x, x]) for x in (ids, valid, encoded.context, rate)]
    mask = torch.cat([encoded.mask, torch.zeros_like(encoded.mask)])
    positions = torch.cat([encoded.positions] * 2)
    return guide(*logits(*twice[:3], mask, positions, twice[3]).chunk(2), guidance)


def _noise(like: Tensor, length: Tensor, generators) -> Tensor:
    """Gumbel noise [B, N, ..]; with a generator for each row it depends on the row's own length only."""
    if generators is None:
        return gumbel(like)
    out = torch.zeros_like(like, dtype=torch.float32)
    for row, (n, generator) in enumerate(zip(length.tolist(), generators, strict=True)):
        out[row, :n] = gumbel(like[row, :n], generator)
    return out


def _without_prompt(ids: Tensor, length: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Rows from behind their prompts on, 0 where padded, and how many tokens [B]."""
    n_tokens = length - known
    rows = [row[k : k + n] for row, k, n in zip(ids, known.tolist(), n_tokens.tolist(), strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), n_tokens
