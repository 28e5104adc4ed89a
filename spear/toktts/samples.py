"""Sound files of a trained TokTTS beside the codec's round trip of the recordings:

    python -m spear.toktts.samples MODEL --codec CODEC [--pack PACK] [--text "..."] [--out samples] [--number 4] [--beams 4]

writes OUT/{train,dev,custom}/ID.txt, ID.wav and, where there is a recording, ID_ref.wav.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import numpy as np
import torch

from spear.codec.codec import load_codec
from spear.sampling import Sampling
from spear.semantic_to_acoustic.inputs import check_codec
from spear.toktts.data import Clips, DataConfig
from spear.toktts.model import TokTTS
from speech.training import TrainConfig


def speak(
    model: TokTTS,
    codec: torch.nn.Module,
    text: str,
    sampling: Sampling | None = None,
    beams: int = 1,
    seed: int | None = None,
) -> np.ndarray:
    """text -> wav [T] at the codec's rate; empty where the model ends at once.

    Raises:
        ValueError: a codec of another kind than the model's, or a text that does not fit.
    """
    check_codec(model.config.codec, codec.spec, model.config.n_codebooks)
    said = model.generate([text], sampling, beams=beams, seed=seed)
    frames = said.frames[..., : int(said.n_frames)]
    return codec.decode(frames)[0, 0].float().cpu().numpy() if frames.shape[-1] else np.zeros(0, np.float32)


def write_samples(
    model: TokTTS,
    codec: torch.nn.Module,
    out: Path,
    clips: Clips | None,
    texts: list[str],
    number: int = 4,
    sampling: Sampling | None = None,
    beams: int = 1,
) -> int:
    """Write the samples that this file's docstring names; returns how many."""
    jobs = [("custom", f"{place:03d}", text, None) for place, text in enumerate(texts)]
    if clips is not None:
        for split, indices in (("train", clips.indices), ("dev", clips.dev)):
            for index in indices[:number]:
                name = re.sub(r"[^\w.-]+", "_", clips.pack.utterances[index]["id"])
                jobs.append((split, name, *clips.example(index)))
    for split, name, text, codes in jobs:
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        _write(folder / f"{name}.wav", speak(model, codec, text, sampling, beams, seed=0), codec)
        if codes is not None:
            wav = codec.decode(torch.from_numpy(codes)[None])[0, 0].float().numpy()
            _write(folder / f"{name}_ref.wav", wav, codec)
    return len(jobs)


def _write(path: Path, wav: np.ndarray, codec: torch.nn.Module) -> None:
    import soundfile

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(temporary, wav, codec.spec.sample_rate, format="WAV")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Command line; bad input is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m spear.toktts.samples",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("--codec", required=True, help="name or folder")
    parser.add_argument("--pack")
    parser.add_argument("--text", action="append", default=[])
    parser.add_argument("--out", default="samples")
    parser.add_argument("--number", type=int, default=4)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--clip-seconds", type=float, default=2.0)
    args = parser.parse_args(arguments)
    try:
        if args.pack is None and not args.text:
            raise ValueError("nothing to say: expected --text or --pack")
        model, codec = TokTTS.from_pretrained(args.model), load_codec(args.codec)
        clips = None
        if args.pack is not None:
            data = DataConfig(args.pack, clip_seconds=args.clip_seconds, codec=args.codec)
            clips = Clips(data, TrainConfig(), model.config)
        sampling = Sampling(args.temperature)
        count = write_samples(
            model, codec, Path(args.out), clips, args.text, args.number, sampling, args.beams
        )
    except ValueError as error:
        print(f"samples: {error}", file=sys.stderr)
        return 2
    print(f"{count} samples in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
