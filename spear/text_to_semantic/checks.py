"""What generation refuses, by name: sources and prompts that are empty, too long, or of tokens that there are not."""

from __future__ import annotations

from torch import Tensor


def check_source(model, source: Tensor, n_source: Tensor, kind: str) -> None:
    """Refuse a source that is empty, too long for the window or of tokens that there are not (ValueError, by name)."""
    if kind not in model.tables:
        raise ValueError(f"source_kind: expected one of {sorted(model.tables)}, got {kind!r}")
    config = model.config
    window = config.max_text if kind == "text" else config.max_semantic
    if source.dim() != 2 or n_source.shape != (len(source),):
        raise ValueError(
            f"expected a source [B, S] and n_source [B], got {list(source.shape)} and {list(n_source.shape)}"
        )
    if not source.numel() or int(n_source.min()) < 1:
        raise ValueError(f"the {kind} source is empty: expected one token or more")
    if int(n_source.max()) > window:
        raise ValueError(
            f"the {kind} source has {int(n_source.max())} tokens, the model takes up to {window}: split it into shorter pieces"
        )
    if int(n_source.max()) > source.shape[1]:
        raise ValueError(f"n_source {int(n_source.max())}: the source holds {source.shape[1]} tokens")
    check_ids(source, model.tables[kind].n_tokens, kind)


def check_prompt(model, prompt: Tensor, n_prompt: Tensor, rows: int, window: int) -> int:
    """Refuse a prompt that leaves nothing of the window, or does not fit the rows; returns its longest row."""
    if prompt.dim() != 2 or len(prompt) != rows or n_prompt.shape != (rows,):
        raise ValueError(
            f"expected a prompt [{rows}, P] and n_prompt [{rows}], got {list(prompt.shape)} and {list(n_prompt.shape)}"
        )
    longest = int(n_prompt.max())
    if longest > prompt.shape[1] or int(n_prompt.min()) < 0:
        raise ValueError(f"n_prompt {n_prompt.tolist()}: the prompt holds {prompt.shape[1]} tokens")
    if longest >= window:
        raise ValueError(
            f"the prompt has {longest} semantic tokens: expected fewer than the model's window of {window}"
        )
    check_ids(prompt, model.tables["semantic"].n_tokens, "semantic prompt")
    return longest


def check_ids(ids: Tensor, n_tokens: int, what: str) -> None:
    """Refuse ids outside a vocabulary."""
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= n_tokens):
        wrong = ids[(ids < 0) | (ids >= n_tokens)][0]
        raise ValueError(f"{what} token {int(wrong)}: expected 0 to {n_tokens - 1}")
