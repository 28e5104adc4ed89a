"""A pack with semantic tokens that follow its aligned phones, for tests of the models from text to tokens."""

import json
from dataclasses import asdict

import numpy as np
from make_pack import make_pack

from speech.packs import Pack, write_arrays
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import TokenSpec

SPEC = TokenSpec(SemanticSpec("phonetic", 1, 8, 50), 16, 25, "kmeans", "abc")


def make_token_pack(folder, n_utterances=6, seconds=1.6, spec=SPEC):
    """`make_pack` with `semantic_tokens`: at every time the aligned phone's id modulo 16, so that text tells the tokens."""
    make_pack(folder, n_utterances=n_utterances, seconds=seconds)
    pack, rows = Pack(folder), []
    for index in range(len(pack)):
        ids, ends = pack.read("token_ids", index), pack.read("token_ends", index)
        times = (np.arange(-(-pack.length("semantic", index) // 2)) + 0.5) * 4
        rows.append(
            ((ids[np.searchsorted(ends, times, "right").clip(0, len(ids) - 1)] % 16).astype(np.int16),)
        )
    write_arrays(folder, ["semantic_tokens"], rows)
    note = {"spec": asdict(spec), "weights": "abc", "made_from": "abc"}
    (folder / "semantic_tokens.spec.json").write_text(json.dumps(note))
    return folder
