"""What the semantic tokens of a pack look like, as figures in a JSON or as a page of its own to look at: `prepare.py tokens ... --check --report`.

How evenly tokens are used, how long they last, how well one tells the next, which phones they stand for, and whether they still tell who
speaks (halves of each speaker's speech, matched by how often each token occurs; tokens that hold content only match no better than chance).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from spear.tokens import phone_labels
from speech.packs import Pack, write_whole
from speech.semantic.quantizer import TokenSpec

LONGEST_RUN = 12  # longer ones are counted with it
LEAST_TOKENS = 200  # of each half of a speaker who is matched


def statistics(
    pack: Pack,
    spec: TokenSpec,
    indices: Iterable[int],
    read: Callable[[int], np.ndarray],
    phone_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Figures of some utterances.

    Args:
        pack: alignments tell the phones where there are any.
        spec: of the tokens. indices: utterances.
        read: index -> tokens, int [N]; none is none.
        phone_names: of the alignment's `phone_ids`; none = phones are not looked at.
    Raises:
        ValueError: no token at all.
    """
    size = spec.n_tokens
    counts, pairs = np.zeros(size, np.int64), {}
    runs, run_tokens = np.zeros(LONGEST_RUN, np.int64), np.zeros(size, np.int64)
    phones: np.ndarray | None = None
    speakers: dict[str, list[np.ndarray]] = {}
    utterances = 0
    for index in indices:
        tokens = np.asarray(read(index))
        if not len(tokens):
            continue
        utterances += 1
        counts += np.bincount(tokens, minlength=size)
        for a, b in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
            pairs[a, b] = pairs.get((a, b), 0) + 1
        starts = np.flatnonzero(np.concatenate([[True], tokens[1:] != tokens[:-1]]))
        lengths = np.diff(np.concatenate([starts, [len(tokens)]]))
        runs += np.bincount(lengths.clip(max=LONGEST_RUN) - 1, minlength=LONGEST_RUN)
        run_tokens += np.bincount(tokens[starts], minlength=size)
        speakers.setdefault(pack.utterances[index]["speaker"], []).append(tokens)
        every = spec.semantic.rate_hz // spec.rate_hz
        labels = phone_labels(pack, index, len(tokens) * every) if phone_names else None
        if labels is not None:
            phones = np.zeros((size, len(phone_names)), np.int64) if phones is None else phones
            np.add.at(phones, (tokens, labels.numpy()[::every]), 1)
    total = int(counts.sum())
    if not total:
        raise ValueError(f"{pack.folder}: no semantic token to look at")
    entropy, joint = _entropy(counts), _entropy(np.array(list(pairs.values()) or [1]))
    found = {
        "tokens": size, "rate_hz": spec.rate_hz, "kind": spec.kind, "encoder": spec.semantic.name,
        "utterances": utterances, "seconds": round(total / spec.rate_hz, 1), "used": int((counts > 0).sum()),
        "entropy_bits": round(entropy, 3), "entropy_share": round(entropy / math.log2(size), 4),
        # of a token where the one before it is known; of few tokens it comes out too low
        "entropy_of_next_bits": round(max(joint - entropy, 0.0), 3),
        "without_repeats_a_second": round(float(runs.sum()) * spec.rate_hz / total, 2),
        "runs": runs.tolist(), "counts": counts.tolist(),
        "mean_run": [round(float(c) / r, 3) if r else 0.0 for c, r in zip(counts, run_tokens, strict=True)],
        "speakers": _matched(speakers, size),
    }  # fmt: skip
    if phones is not None:
        found["phones"] = _phones(phones, phone_names)
    return found


def write_report(path: Path, figures: dict[str, Any], lines: Iterable[str] = ()) -> None:
    """FILE.json: the figures; FILE.html: a page that needs nothing else, with the figures inside.

    Raises:
        ValueError: another ending.
    """
    if path.suffix == ".json":
        write_whole(path, json.dumps(figures, indent=1) + "\n")
    elif path.suffix == ".html":
        write_whole(path, _page(figures, list(lines)))
    else:
        raise ValueError(f"--report {path}: expected a name that ends with .json or .html")


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _matched(speakers: dict[str, list[np.ndarray]], size: int) -> dict[str, Any]:
    """How many speakers' second halves are nearest to their own first half, by the Jensen-Shannon divergence of unigrams."""
    halves = []
    for rows in speakers.values():
        parts = [np.concatenate(rows[k::2]) if rows[k::2] else np.zeros(0, np.int64) for k in (0, 1)]
        if min(map(len, parts)) >= LEAST_TOKENS:
            halves.append([np.bincount(part, minlength=size) / len(part) for part in parts])
    if len(halves) < 2:
        return {"matched": None, "of": len(halves)}
    first, second = (np.array([h[k] for h in halves]) for k in (0, 1))
    near = [
        int(np.argmin([_divergence(row, other) for other in first])) == place
        for place, row in enumerate(second)
    ]
    return {"matched": sum(near), "of": len(halves)}


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2

    def against(x: np.ndarray) -> float:
        inside = x > 0
        return float((x[inside] * np.log2(x[inside] / middle[inside])).sum())

    return (against(p) + against(q)) / 2


def _phones(table: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Of counts [tokens, phones]: the phone of each token and its share, and what a token tells of the phone in bits."""
    total = table.sum()
    tells = _entropy(table.sum(0)) + _entropy(table.sum(1)) - _entropy(table.ravel())
    best = table.argmax(1)
    return {
        "of_token": [names[b] if n else "" for b, n in zip(best, table.sum(1), strict=True)],
        "purity": round(float(table.max(1).sum() / total), 4),
        "mutual_bits": round(tells, 3),
        "phone_bits": round(_entropy(table.sum(0)), 3),
    }


def _page(figures: dict[str, Any], lines: list[str]) -> str:
    counts = np.array(figures["counts"])
    order = np.argsort(-counts, kind="stable")
    use = _bars(counts[order] / counts.sum(), "share of each token, the most used first")
    runs = np.array(figures["runs"])
    lasting = _bars(runs / runs.sum(), f"share of runs of 1, 2, ... {LONGEST_RUN} and more tokens")
    of_token = figures.get("phones", {}).get("of_token")
    rows = "".join(
        f"<tr><td>{i}</td><td>{counts[i]}</td><td>{figures['mean_run'][i]:.2f}</td>"
        f"<td>{escape(of_token[i]) if of_token else ''}</td></tr>"
        for i in order[:60].tolist()
    )
    who = figures["speakers"]
    said = [
        f"{figures['used']} of {figures['tokens']} tokens used in {figures['seconds']:g} s of {figures['utterances']} utterances",
        f"entropy {figures['entropy_bits']:.2f} bits ({figures['entropy_share']:.1%} of the possible), "
        f"of a token after a known one {figures['entropy_of_next_bits']:.2f} bits",
        f"{figures['without_repeats_a_second']:.1f} tokens a second without repeats, {figures['rate_hz']} with them",
    ]
    if "phones" in figures:
        p = figures["phones"]
        said.append(
            f"a token tells {p['mutual_bits']:.2f} of {p['phone_bits']:.2f} bits of its phone; purity {p['purity']:.1%}"
        )
    if who["matched"] is not None:
        said.append(
            f"speakers matched by their tokens: {who['matched']} of {who['of']} (chance: {1 / who['of']:.0%})"
        )
    items = "".join(f"<li>{escape(line)}</li>" for line in [*said, *lines])
    data = json.dumps(figures).replace("</", "<\\/")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Semantic tokens</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;background:#fff;color:#222}}
svg{{width:100%;height:9rem;display:block}}rect{{fill:#357}}td,th{{text-align:right;padding:0 .8rem}}figure{{margin:1.5rem 0}}
figcaption{{color:#555}}</style>
<h1>Semantic tokens: {escape(figures["encoder"])}, {figures["tokens"]} of {figures["rate_hz"]} a second</h1>
<ul>{items}</ul>{use}{lasting}
<table><caption>The most used tokens</caption><tr><th>token</th><th>times</th><th>mean run</th><th>phone</th></tr>{rows}</table>
<script type="application/json" id="figures">{data}</script></html>
"""


def _bars(values: np.ndarray, caption: str) -> str:
    top = float(values.max()) or 1.0
    width = 1000 / len(values)
    bars = "".join(
        f'<rect x="{i * width:.2f}" y="{100 - 100 * v / top:.2f}" width="{width * 0.9:.2f}" height="{100 * v / top:.2f}"/>'
        for i, v in enumerate(values.tolist())
    )
    return (
        f'<figure><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{escape(caption)}">{bars}</svg>'
        f"<figcaption>{escape(caption)}; the highest is {top:.2%}</figcaption></figure>"
    )
