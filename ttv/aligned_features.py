"""Features of aligned speech as AlignedTTV would predict them, kept in the pack for training the synthesizer.

The synthesizer then hears in training what it will hear in use: features without the last traces of the speaker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from speech.packs import Pack, SpeakerIndex, write_arrays
from speech.spectrogram import MelSpectrogram
from speech.text.phones import PhoneTokenizer
from ttv.aligned import AlignedTTV
from ttv.transcripts import aligned_language_ids

PROMPT_SAMPLES = 3 * 16000


@torch.inference_mode()
def add_predicted(folder: Path, model: AlignedTTV, seed: int = 0) -> None:
    """Write the array `predicted` ([N, C] float16; empty for utterances without alignment) into the pack."""
    pack, rng = Pack(folder), np.random.default_rng(seed)
    pack.require_semantic(model.config.semantic)
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
