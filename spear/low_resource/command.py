"""`prepare.py pseudo`: text for the semantic tokens of a pack, into a store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spear.low_resource.labels import PseudoStore, Selection
from spear.low_resource.store import generate


def label(argv: list[str]) -> None:
    """Write the store and say what is in it."""
    args = parser().parse_args(argv)
    store = generate(
        args.model,
        args.pack,
        args.out,
        beams=args.beams,
        splits=tuple(args.splits.split(",")),
        max_seconds=args.max_seconds,
        batch_size=args.batch_size,
        shard_items=args.shard_items,
        limit=args.limit,
        device=args.device,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(summary(store))


def summary(store: PseudoStore) -> str:
    """How many labels, how long, how sure."""
    kept, hours = store.select(Selection()), store.n_tokens.sum() / store.rate_hz / 3600
    scores = store.scores[kept]
    quartiles = ", ".join(f"{q:.3f}" for q in _quantiles(scores)) if len(scores) else "none"
    return (
        f"{store.folder}: {len(store)} labels of {hours:.2f} h, {len(kept)} of them ended by themselves; "
        f"scores at 10, 50 and 90 %: {quartiles}; {store.manifest['too_long']} utterances were too long"
    )


def _quantiles(scores) -> list[float]:
    import numpy as np

    return np.quantile(scores, [0.1, 0.5, 0.9]).tolist()


def parser() -> argparse.ArgumentParser:
    """Arguments of `prepare.py pseudo`."""
    found = argparse.ArgumentParser(
        prog="prepare.py pseudo",
        description="Text that a back-translation model writes for the semantic tokens of a pack; goes on where it was stopped.",
    )
    found.add_argument("pack", type=Path, help="folder of the pack, with semantic_tokens")
    found.add_argument(
        "--model",
        type=Path,
        required=True,
        help="step folder of configs/spear/low_resource_backtranslate.yaml",
    )
    found.add_argument("--out", type=Path, required=True, help="folder of the store")
    found.add_argument("--beams", type=int, default=4, help="of the search (default 4)")
    found.add_argument("--splits", default="train", help="of the pack, by commas (default train)")
    found.add_argument(
        "--max-seconds", type=float, default=12.0, help="longer utterances are left out (default 12)"
    )
    found.add_argument("--limit", type=int, help="utterances at most")
    found.add_argument("--batch-size", type=int, default=16)
    found.add_argument("--shard-items", type=int, default=512)
    found.add_argument("--device", default="cpu")
    return found
