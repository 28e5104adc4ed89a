"""`speaker_vectors` into a pack: what a public speaker encoder hears of each utterance, for `data.style_array` of semantic to acoustic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hierspeech.preparation.stages import SAMPLE_RATE, as_wav
from hierspeech.preparation.tokens import write_noted
from speech.packs import Pack

SPEAKERS = "speaker_vectors"
ECAPA = "speechbrain/spkrec-ecapa-voxceleb"
Embed = Callable[[np.ndarray], np.ndarray]  # wav [T] at 16 kHz -> vector [D]


def add_speaker_vectors(folder: Path, embed: Embed, name: str, redo: bool = False) -> bool:
    """Write `speaker_vectors` (float16 [1, D]) of an encoder into a pack.

    Args:
        folder: plain or sharded pack.
        embed: the encoder. name: what it is called in the pack's note; vectors of another one are refused.
        redo: vectors of another encoder are replaced.
    Returns: False if all are there already.
    Raises:
        ValueError: vectors of another encoder, or a recording that this one gives no finite vector for.
    """

    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for index in range(len(shard)):
            vector = np.asarray(embed(as_wav(shard.read("wav", index))), np.float32)
            if vector.ndim != 1 or not np.isfinite(vector).all():
                utterance = shard.utterances[index]["id"]
                raise ValueError(f"{utterance}: the speaker encoder {name} gave no finite vector of it")
            yield (vector[None].astype(np.float16),)

    note = {"spec": {"encoder": name, "sample_rate": SAMPLE_RATE}, "weights": name}
    return write_noted(folder, SPEAKERS, note, "wav", rows, redo)


def load_ecapa(place: str | None = None) -> Embed:
    """ECAPA-TDNN of speechbrain, 192 numbers (Desplanques et al. 2020).

    Args:
        place: a local folder, or None for the public one, which speechbrain fetches from its hub.
    Raises:
        ValueError: speechbrain is not installed, or there is no such folder.
    """
    try:
        from speechbrain.inference.speaker import EncoderClassifier
    except ImportError as error:
        raise ValueError(f"ecapa: needs speechbrain: pip install speechbrain ({error})") from error
    if place is not None and not Path(place).is_dir():
        raise ValueError(f"{place}: no such folder of an ECAPA model")
    import torch

    encoder = EncoderClassifier.from_hparams(source=place or ECAPA)

    def embed(wav: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return encoder.encode_batch(torch.from_numpy(np.array(wav, np.float32))[None])[0, 0].cpu().numpy()

    return embed
