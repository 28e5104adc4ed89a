"""Features of aligned speech as AlignedTTV would predict them, kept in the pack for training the synthesizer.

The synthesizer then hears in training what it will hear in use: features without the last traces of the speaker.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from speech.packs import Pack, SpeakerIndex, write_arrays, write_whole
from speech.spectrogram import MelSpectrogram
from speech.text.phones import PhoneTokenizer
from ttv.aligned import AlignedTTV
from ttv.transcripts import aligned_language_ids

PROMPT_SAMPLES = 3 * 16000


@torch.inference_mode()
def add_predicted(folder: Path, model: AlignedTTV, seed: int = 0) -> bool:
    """Write the array `predicted` ([N, C] float16; empty for utterances without alignment) into the pack.

    Returns: False if the pack has it already, by this model from the same utterances and alignments.
    """
    pack, rng = Pack(folder), np.random.default_rng(seed)
    pack.require_semantic(model.config.semantic)
    note, made_from = Path(folder) / "predicted.made.json", _made_from(pack, model, seed)
    if len(pack) and pack.has("predicted") and note.is_file() and json.loads(note.read_text()) == made_from:
        return False
    note.unlink(missing_ok=True)
    speakers, mel = SpeakerIndex(pack), MelSpectrogram(model.config.audio)
    tokenizer = PhoneTokenizer()

    def rows() -> Iterator[tuple[np.ndarray]]:
        for index in range(len(pack)):
            ids = pack.read("token_ids", index)
            if len(ids) == 0:
                yield (np.zeros((0, model.config.semantic.dim), np.float16),)
                continue
            ends = torch.from_numpy(pack.read("token_ends", index).astype(np.float32) / 2)[None]
            frames = torch.ones(1, pack.length("semantic", index), dtype=torch.bool)
            tokens = torch.from_numpy(ids.astype(np.int64))[None]
            prompt = mel(torch.from_numpy(speakers.prompt(index, PROMPT_SAMPLES, rng))[None])
            prompt_mask = torch.ones(1, prompt.shape[-1], dtype=torch.bool)
            languages = aligned_language_ids(pack, index, tokenizer, model.config.languages)
            out = model(
                tokens,
                torch.ones_like(tokens, dtype=torch.bool),
                ends,
                frames,
                prompt,
                prompt_mask,
                None if languages is None else torch.tensor([languages]),
            )
            yield (out.semantic[0].T.half().numpy(),)
            if index % 500 == 499:
                print(f"predicted: {index + 1}/{len(pack)}", file=sys.stderr)

    write_arrays(folder, ["predicted"], rows())
    write_whole(note, json.dumps(made_from))
    return True


def _made_from(pack: Pack, model: AlignedTTV, seed: int) -> dict[str, str]:
    """What the array depends on, in short."""
    weights, read = hashlib.sha256(str(model.config).encode()), hashlib.sha256(str(seed).encode())
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for index in range(len(pack)):
        read.update(f"{pack.utterances[index]['id']} {pack.length('semantic', index)}".encode())
        for name in ("token_ids", "token_ends"):
            read.update(pack.read(name, index).tobytes())
    return {"model": weights.hexdigest(), "utterances": read.hexdigest()}
