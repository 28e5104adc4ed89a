"""A made-up pack with semantic and acoustic tokens: codes follow from the token and the speaker, so that models can learn them."""

import json
from dataclasses import asdict

import numpy as np
from make_pack import make_pack

from spear.codec.codec import CodecSpec
from speech.packs import Pack, write_arrays
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import TokenSpec

TOKENS = TokenSpec(SemanticSpec("phonetic", 1, 8, 50), n_tokens=24, rate_hz=25, codebook="abc")
CODEC = CodecSpec("compact", n_codebooks=4, codebook_size=16)


def codes_of(tokens, speaker, n_frames):
    """[M, Q]: two frames a token, each codebook another function of the token and the speaker."""
    frames = tokens[np.arange(n_frames) // 2]
    return np.stack(
        [(frames * (q + 1) + 5 * speaker + q) % CODEC.codebook_size for q in range(CODEC.n_codebooks)], 1
    )


def make_token_pack(folder, n_utterances=6, seconds=1.6, tokens=TOKENS, codec=CODEC):
    """`make_pack` with `semantic_tokens` and `acoustic_tokens` and their notes."""
    make_pack(folder, n_utterances, seconds=seconds)
    pack, rng = Pack(folder), np.random.default_rng(1)
    rows = []
    for i in range(len(pack)):
        n_frames = pack.length("semantic", i)
        row = rng.integers(0, tokens.n_tokens, -(-n_frames // 2)).astype(np.int16)
        rows.append((row, codes_of(row, i // 2, n_frames).astype(np.int16)))
    write_arrays(folder, ["semantic_tokens", "acoustic_tokens"], rows)
    for name, spec in (("semantic_tokens", tokens), ("acoustic_tokens", codec)):
        note = {"spec": asdict(spec), "weights": "w", "made_from": "m", "codebooks": codec.n_codebooks}
        (folder / f"{name}.spec.json").write_text(json.dumps(note))
    return folder
