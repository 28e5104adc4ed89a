"""A pack of generated sound with invented alignments, for tests of the recipes that train on packs."""

import json

import numpy as np

from speech.packs import write_arrays, write_utterances
from speech.text.phones import PhoneTokenizer


def make_pack(folder, n_utterances=6, semantic_dim=8, seconds=1.6):
    """Write a pack whose utterances are tones and noise, two for each speaker; the last two are the `dev` split."""
    rng = np.random.default_rng(0)
    ids = PhoneTokenizer().encode("həlˈoʊ wˈɜːld").ids
    samples = int(seconds * 50) * 320
    frames = samples // 320
    write_utterances(
        folder,
        [
            {"id": f"u{i}", "speaker": f"s{i // 2}", "split": "dev" if i >= n_utterances - 2 else "train",
             "source": "made", "language": "en-us", "text": "hello world"}
            for i in range(n_utterances)
        ],
    )  # fmt: skip
    names = ["wav", "f0", "token_ids", "token_ends", "phone_ids", "phone_ends", "semantic", "predicted"]
    rows = []
    for i in range(n_utterances):
        f0 = np.full(frames * 4, 120.0 + 20 * i)
        f0[: frames // 2] = 0
        tone = np.sin(2 * np.pi * (120 + 20 * i) * np.arange(samples) / 16000)
        wav = 0.2 * tone + 0.02 * rng.standard_normal(samples)
        ends = np.linspace(frames * 2 / len(ids), frames * 2, len(ids)).astype(np.int32)
        semantic = rng.standard_normal((frames, semantic_dim)).astype(np.float16)
        rows.append(
            (
                (wav * 32767).astype(np.int16),
                f0.astype(np.float16),
                np.array(ids, np.int16),
                ends,
                rng.integers(0, 40, len(ids)).astype(np.int16),
                ends,
                semantic,
                semantic,
            )
        )
    write_arrays(folder, names, rows)
    spec = {"name": "phonetic", "layer": 1, "dim": semantic_dim, "rate_hz": 50}
    (folder / "semantic.spec.json").write_text(json.dumps(spec))
    return folder
