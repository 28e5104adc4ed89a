"""Pseudo-labels: text that a back-translation model writes for speech, kept in shards with scores.

    STORE/manifest.json          format, whose tokens and text they are, settings, and the shards that are complete
    STORE/shard-00000.npz        tokens, text (int16, all items one after another), where each begins, scores, finished
    STORE/shard-00000.jsonl      an item a line, for people and their tools: id, language, seconds, score, text

Every item has its own length, so no id stands for a border. A shard is written whole or not at all, and what is complete is not made
again. `labels.py` reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from spear.low_resource.labels import FORMAT, Pseudo, PseudoStore, read_manifest
from spear.sampling import Sampling
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from spear.text_tokens import text_tokenizer
from speech.packs import Pack, write_whole
from speech.semantic.quantizer import TokenSpec, digest
from speech.token_arrays import SEMANTIC, require_semantic_tokens


def generate(
    model: TextToSemantic | str | Path,
    pack: str | Path,
    folder: str | Path,
    *,
    beams: int = 4,
    splits: Sequence[str] = ("train",),
    max_seconds: float = 12.0,
    batch_size: int = 16,
    shard_items: int = 512,
    limit: int | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> PseudoStore:
    """Write text for the semantic tokens of a pack; an interrupted run goes on after its last complete shard.

    Args:
        model: back-translation model, or the folder of one.
        pack: folder with `semantic_tokens` of the model's tokenizer; its own text is not looked at.
        folder: of the store, made if missing.
        beams: of the search; 1 draws the likeliest token each time.
        splits: of the pack. max_seconds: longer utterances are left out, and counted.
        batch_size: utterances at once, of like lengths. shard_items: in a shard. limit: utterances at most.
        say: is told of every shard.

    Raises:
        ValueError: tokens of another tokenizer, or a store that was made with other settings.
    """
    settings = {
        "beams": beams,
        "splits": list(splits),
        "max_seconds": max_seconds,
        "shard_items": shard_items,
    }
    if not isinstance(model, TextToSemantic):
        model = TextToSemantic.from_pretrained(model, device=device)
    settings |= {"pack": str(Path(pack).resolve()), "weights": digest(model), "limit": limit}
    source, folder = Pack(pack), Path(folder)
    spec = require_semantic_tokens(source, model.config.tokens)
    work, long = _work(source, spec, splits, max_seconds, model.config.max_semantic)
    work = work if limit is None else work[:limit]
    manifest = _begin(folder, spec, model.config.tokenizer, settings, long)
    done = len(manifest["shards"])
    for first in range(done * shard_items, len(work), shard_items):
        items = _label(model, source, work[first : first + shard_items], beams, batch_size)
        name = f"shard-{len(manifest['shards']):05d}"
        _write_shard(folder, name, items, spec.rate_hz, model.config.tokenizer)
        manifest["shards"].append(name)
        _write_manifest(folder, manifest)
        scores = np.array([item.score for item in items])
        say(
            f"{name}: {len(items)} labels, mean score {scores.mean():.3f} ({first + len(items)} of {len(work)})"
        )
    return PseudoStore(folder)


def _work(
    pack: Pack, spec: TokenSpec, splits: Sequence[str], max_seconds: float, window: int
) -> tuple[list[int], int]:
    """Utterances to label, and how many are too long."""
    lengths = pack.lengths(SEMANTIC)
    chosen = np.array([split in splits for split in pack.utterances.column("split")]) & (lengths > 0)
    fits = lengths <= min(max_seconds * spec.rate_hz, window)
    return np.flatnonzero(chosen & fits).tolist(), int((chosen & ~fits).sum())


@torch.inference_mode()
def _label(
    model: TextToSemantic, pack: Pack, indices: list[int], beams: int, batch_size: int
) -> list[Pseudo]:
    device = next(model.parameters()).device
    order = sorted(indices, key=lambda i: pack.length(SEMANTIC, i))
    found: dict[int, Pseudo] = {}
    for first in range(0, len(order), batch_size):
        group = order[first : first + batch_size]
        rows = [torch.from_numpy(pack.read(SEMANTIC, i).astype(np.int64)) for i in group]
        source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        n_source = torch.tensor([len(row) for row in rows], device=device)
        # 30 phonemes or letters a second are more than anyone says
        limit = min(model.config.max_text, int(len(rows[-1]) / model.config.tokens.rate_hz * 30) + 10)
        out = model.generate(
            source, n_source, source_kind="semantic", target_kind="text", beams=beams, max_tokens=limit,
            sampling=Sampling(temperature=0), stretch=stretch_to_text(model.config),
        )  # fmt: skip
        for index, row, text, score, ended in zip(
            group, rows, out.rows(), out.scores.tolist(), out.finished.tolist(), strict=True
        ):
            utterance = pack.utterances[index]
            language = utterance.get("language", "en-us")
            found[index] = Pseudo(utterance["id"], language, row.numpy(), text.cpu().numpy(), score, ended)
    return [found[i] for i in indices]


def stretch_to_text(config: TextToSemanticConfig) -> float:
    """Text tokens for each semantic token, where cross-attention is told how the two run side by side."""
    return config.typical_rate / config.tokens.rate_hz


def _begin(folder: Path, spec: TokenSpec, tokenizer: str, settings: dict, long: int) -> dict:
    """The manifest: a new one, or that of a run with the same settings."""
    folder.mkdir(parents=True, exist_ok=True)
    new = {"format": FORMAT, "tokens": asdict(spec), "tokenizer": tokenizer, "settings": settings}
    if (folder / "manifest.json").is_file():
        old = read_manifest(folder)
        if differing := [k for k in new if json.loads(json.dumps(new[k])) != old[k]]:
            raise ValueError(
                f"{folder}: labels made with other {', '.join(differing)} ({ {k: old[k] for k in differing} }); "
                "expected the same, or another folder"
            )
        return old
    manifest = new | {"too_long": long, "shards": []}
    _write_manifest(folder, manifest)
    return manifest


def _write_shard(folder: Path, name: str, items: list[Pseudo], rate_hz: int, tokenizer: str) -> None:
    reader = text_tokenizer(tokenizer)
    arrays = {"scores": np.array([i.score for i in items], np.float32)}
    arrays["finished"] = np.array([i.finished for i in items])
    for key, rows in (("token", [i.tokens for i in items]), ("text", [i.text for i in items])):
        arrays[f"{key}_starts"] = np.cumsum([0, *map(len, rows)])
        arrays["tokens" if key == "token" else "text"] = np.concatenate(rows).astype(np.int16)
    lines = [
        {"id": i.id, "language": i.language, "seconds": round(len(i.tokens) / rate_hz, 2), "score": round(i.score, 4),
         "finished": i.finished, "text": reader.decode(i.text.tolist())}
        for i in items
    ]  # fmt: skip
    write_whole(folder / f"{name}.jsonl", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines))
    temporary = folder / f"{name}.npz.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        temporary.replace(folder / f"{name}.npz")
    finally:
        temporary.unlink(missing_ok=True)


def _write_manifest(folder: Path, manifest: dict) -> None:
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
