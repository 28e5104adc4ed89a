"""Arrays of tokens in packs, `semantic_tokens` and `acoustic_tokens`, and the note beside each that says whose they are.

    PACK/semantic_tokens.spec.json    {"spec": TokenSpec, "weights": digest, "made_from": digest}
    PACK/acoustic_tokens.spec.json    {"spec": CodecSpec, "codebooks": Q, "weights": digest, "made_from": digest}

Tokens of two tokenizers are whole numbers alike; only the note tells them apart, so recipes ask for it here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from speech.config import build
from speech.packs import Pack
from speech.semantic.quantizer import TokenSpec

SEMANTIC, ACOUSTIC = "semantic_tokens", "acoustic_tokens"
PREDICTED = "predicted_tokens"  # of what text-to-vec predicts for the same words (`predicted`)


def token_note(folder: str | Path, name: str) -> dict | None:
    """The note of the array `name` of a pack or shard; None where there is none."""
    path = note_path(folder, name)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def note_path(folder: str | Path, name: str) -> Path:
    """Where the note of the array `name` lies."""
    return Path(folder) / f"{name}.spec.json"


def require_semantic_tokens(pack: Pack, spec: TokenSpec) -> TokenSpec:
    """Refuse semantic tokens of another tokenizer than `spec` names -> the pack's own spec, which names the codebook too.

    Raises:
        ValueError: no such tokens, or others.
    """
    note = _note(pack, SEMANTIC)
    found = build(TokenSpec, note["spec"])
    if not spec.accepts(found):
        raise ValueError(f"{pack.folder}: holds semantic tokens of {found}, the model wants {spec}")
    frames = pack.semantic_spec is not None and pack.semantic_spec == asdict(found.semantic)
    if frames and pack.has("semantic"):
        step = found.semantic.rate_hz // found.rate_hz
        if not np.array_equal(pack.lengths(SEMANTIC), -(-pack.lengths("semantic") // step)):
            raise ValueError(
                f"{pack.folder}: the semantic tokens do not belong to these features; run prepare.py tokens --redo"
            )
    return found


def require_predicted_tokens(pack: Pack, spec: TokenSpec) -> None:
    """Refuse tokens of predicted features by another tokenizer than `spec` names.

    Raises:
        ValueError: no such tokens, or others.
    """
    found = build(TokenSpec, _note(pack, PREDICTED)["spec"])
    if not spec.accepts(found):
        raise ValueError(f"{pack.folder}: holds predicted tokens of {found}, the model wants {spec}")


def require_acoustic_tokens(pack: Pack, spec: object, n_codebooks: int) -> None:
    """Refuse codes of another codec than `spec` (a CodecSpec), or of fewer codebooks than `n_codebooks`.

    Raises:
        ValueError: no such codes, others, or too few.
    """
    note = _note(pack, ACOUSTIC)
    if note["spec"] != asdict(spec):
        raise ValueError(
            f"{pack.folder}: holds acoustic tokens of {note['spec']}, the model wants {asdict(spec)}"
        )
    if note["codebooks"] < n_codebooks:
        raise ValueError(
            f"{pack.folder}: holds acoustic tokens of {note['codebooks']} codebooks, the model wants {n_codebooks}"
        )


def array_digest(pack: Pack, name: str) -> str:
    """Digest of which utterances there are, how long their arrays `name` are and of the first and last row of each."""
    found = hashlib.sha256()
    for index, length in enumerate(pack.lengths(name).tolist()):
        found.update(f"{pack.utterances[index]['id']} {length} ".encode())
        for row in {0, length - 1} if length else ():
            found.update(pack.read(name, index, row, row + 1).tobytes())
    return found.hexdigest()[:16]


def _note(pack: Pack, name: str) -> dict:
    note = token_note(pack.folder, name)
    if note is None or not pack.has(name):
        option = "--codec" if name == ACOUSTIC else "--tokenizer"
        raise ValueError(
            f"{pack.folder}: the pack has no {name!r}; run prepare.py tokens {pack.folder} {option} ... first"
        )
    return note
