"""Generation with TextToSemantic: which way to go, and the plain way, one token after the other.

The other ways are files of their own: beam search (`beam.py`), speculative decoding (`speculative.py`), masked filling (`masked.py`).
All hand over a `Generated`, and in all of them a row of a batch gets what it would get alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spear.sampling import row_generators, sample
from spear.text_to_semantic.beam import search
from spear.text_to_semantic.checks import check_prompt, check_source
from spear.text_to_semantic.masked import fill
from spear.text_to_semantic.request import Generated, Request, finish
from spear.text_to_semantic.session import Session
from spear.text_to_semantic.speculative import speculate

LOOK_EVERY = 8  # steps between two questions to a GPU whether all rows have ended; a CPU is asked at each


@torch.inference_mode()
def generate(
    model,
    source: Tensor,
    n_source: Tensor,
    source_kind: str,
    target_kind: str,
    given: dict,
    prompt: Tensor | None,
    n_prompt: Tensor | None,
    request: Request,
) -> Generated:
    """See `TextToSemantic.generate`."""
    config = model.config
    check_source(model, source, n_source, source_kind)
    if target_kind not in model.tables:
        raise ValueError(f"target_kind: expected one of {sorted(model.tables)}, got {target_kind!r}")
    window = config.max_semantic if target_kind == "semantic" else config.max_text
    longest = 0
    if prompt is not None:
        if target_kind != "semantic":
            raise ValueError("a prompt is of semantic tokens, expected none for a text target")
        longest = check_prompt(model, prompt, n_prompt, len(source), window)
        if request.n_prompt_text is not None and model.durations is not None and source_kind == "text":
            durations = model.durations_behind(source, n_source, given, n_prompt, request.n_prompt_text)
            given = given | {"durations": durations}
    room = window - longest
    if (request.max_tokens or 1) > room:
        raise ValueError(
            f"max_tokens {request.max_tokens} and the prompt of {longest}: the model's window has {window}"
        )
    if config.kind == "masked":
        if (source_kind, target_kind) != ("text", "semantic") or request.beams > 1 or request.speculate:
            raise ValueError("a masked model makes semantic tokens of text, without beams and speculation")
        return fill(model, source, n_source, given, prompt, n_prompt, request)
    if request.n_tokens is not None:
        raise ValueError("n_tokens: an autoregressive model ends where it will, expected none")
    if request.speculate and (config.early_exit_layer is None or target_kind != "semantic"):
        raise ValueError(
            "speculate: expected a model with an early exit (early_exit_layer), and semantic tokens to make"
        )
    limit = request.max_tokens or room
    encoded = model.encode(source, n_source, source_kind, **given)
    session = Session(
        model, encoded, target_kind, given["rate"], limit, prompt, n_prompt, request.beams,
        request.sampling.guidance, request.compiled, spare=request.speculate,
    )  # fmt: skip
    if request.beams > 1:
        return search(session, limit, request)
    if request.speculate:
        return speculate(session, limit, request)
    return draw_tokens(session, limit, request)


def draw_tokens(session: Session, limit: int, request: Request) -> Generated:
    """One token after the other."""
    sampling, rows = request.sampling, session.rows
    noise = row_generators(request.seed, rows)
    device = session.device
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    ended = done.clone()
    score, counted, length = (torch.zeros(rows, device=device) for _ in range(3))
    logits, hidden = session.prefill()
    tokens, repeats = [], []
    for place in range(limit):
        token = torch.where(done, session.eos, sample(logits, sampling, noise))
        chosen = logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0]
        score, counted = score + chosen.where(~done, 0), counted + ~done
        ended = ended | (token == session.eos) & ~done
        done = done | ended
        tokens.append(token)
        runs = session.draw_runs(hidden, token, sampling, noise)
        if runs is not None:
            repeats.append(runs)
            length = length + runs.where(~done, 0)
            done = done | (length >= limit)
        if request.callback is not None:
            request.callback(place, token)
        look = device.type == "cpu" or place % LOOK_EVERY == LOOK_EVERY - 1
        if place + 1 == limit or look and bool(done.all()):
            break
        logits, hidden = session.step(token, runs)
    return finish(torch.stack(tokens, 1), repeats, session, score / counted, ended, limit)
