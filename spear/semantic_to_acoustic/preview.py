"""What previews of both models make heard: dev utterances spoken again from their tokens, beside the codec's own round trip."""

from __future__ import annotations

import numpy as np
import torch

from spear.codec.codec import load_codec
from spear.semantic_to_acoustic.data import Pieces
from speech.spectrogram import MelSpectrogram

NUMBER = 2


def add_speech(writer, step: int, model, pieces: Pieces, mel: MelSpectrogram, codec: str | None) -> None:
    """Write the codes as pictures [Q, M], and with a codec (name or folder) the sound of both, for `NUMBER` dev utterances."""
    device = next(model.parameters()).device
    decoder = load_codec(codec, device=device) if codec is not None else None
    rng = np.random.default_rng(0)
    for place, index in enumerate(pieces.dev[:NUMBER]):
        example = pieces.example(index, rng, plain=True)
        tokens = torch.from_numpy(example["tokens"])[None].to(device)
        prompt = torch.from_numpy(example["prompt"])[None].to(device)
        style = prompt if model.config.conditioning.style is None else mel.to(device)(prompt)
        recorded = torch.from_numpy(example["codes"])[None].to(device)
        spoken = model.generate(tokens, style=style, seed=0)
        for name, codes in (("recorded", recorded), ("spoken", spoken)):
            picture = codes[0].float() / model.config.codec.codebook_size
            writer.add_image(f"codes_{name}/{place}", picture.cpu(), step, dataformats="HW")
            if decoder is not None:
                wav = decoder.decode(codes)[0].cpu().float()
                writer.add_audio(f"{name}/{place}", wav, step, decoder.spec.sample_rate)
