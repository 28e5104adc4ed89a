"""The stage that makes semantic features, by any encoder of `speech.semantic`; on a GPU in batches where there is one."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from hierspeech.preparation.stages import Arrays, Stage, as_wav
from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec, load_encoder


def describe_encoder(name: str, source: str | None, layer: int, dim: int) -> dict:
    """What a stage needs to know of an encoder, and what features of two runs must share.

    Args:
        name: key of `ENCODERS`.
        source: folder or hub id; None = the usual one.
        layer, dim: of a transformer encoder; the phonetic encoder's own config says its own.
    Returns:
        `source`; `spec`, the encoder's; `weights`, a digest of all of its numbers: encoders that were trained differently
        give features that do not fit together, whatever their spec says.
    Raises:
        ValueError: unknown encoder, or no such weights.
    """
    if name == "phonetic" and source:
        from speech.semantic.phonetic import PhoneticEncoder

        spec = PhoneticEncoder.from_pretrained(source).spec
    else:
        spec = SemanticSpec(name, layer, dim)
    if source and Path(source).is_dir():
        source = str(Path(source).absolute())  # workers may run elsewhere
    encoder = _encoder(json.dumps(vars(spec)), source, "cpu")
    digest = hashlib.sha256()
    for key, value in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {"source": source, "spec": vars(spec), "weights": digest.hexdigest()[:16]}


def semantic_stage(encoder: dict) -> Stage:
    """`semantic`: float16 [T // 320, dim]."""
    spec, source = json.dumps(encoder["spec"]), encoder["source"]

    def run_many(utterances: list[dict], arrays: list[Arrays]) -> list[tuple[Arrays, str]]:
        return _features([as_wav(a["wav"]) for a in arrays], _encoder(spec, source, device()))

    def run(utterance: dict, arrays: Arrays) -> tuple[Arrays, str]:
        return run_many([utterance], [arrays])[0]

    empty = {"semantic": np.zeros((0, encoder["spec"]["dim"]), np.float16)}
    return Stage("semantic", empty, ("wav",), run, run_many if device() != "cpu" else None)


def device() -> str:
    """Where encoders run: this process's GPU if there is one."""
    if not torch.cuda.is_available():
        return "cpu"
    import multiprocessing

    # the workers of a pool share the GPUs of the machine in turn; Ray shows each worker its own only
    worker = multiprocessing.current_process()._identity or (0,)
    return f"cuda:{worker[0] % torch.cuda.device_count()}"


@torch.inference_mode()
def _features(wavs: list[np.ndarray], encoder: torch.nn.Module) -> list[tuple[Arrays, str]]:
    place = next(encoder.parameters()).device
    lengths = [len(wav) for wav in wavs]
    batch = torch.zeros(len(wavs), max(lengths))
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = torch.from_numpy(wav)
    threads = torch.get_num_threads()
    if place.type == "cpu":
        # sums must not depend on how many cores a machine has; several recordings at once use them better
        torch.set_num_threads(1)
    try:
        several = torch.tensor(lengths, device=place) if len(wavs) > 1 else None
        semantic = encoder(batch.to(place), several)  # [B, dim, N]
    finally:
        torch.set_num_threads(threads)
    rows = semantic.transpose(1, 2).half().cpu().numpy()
    return [({"semantic": row[: n // HOP_SAMPLES]}, "") for row, n in zip(rows, lengths, strict=True)]


@functools.lru_cache(maxsize=2)
def _encoder(spec: str, source: str | None, place: str) -> torch.nn.Module:
    return load_encoder(SemanticSpec(**json.loads(spec)), source, place).eval()
