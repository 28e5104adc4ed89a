"""Trained runs -> a voice folder that ships: half-precision weights, a model card each, saved prompts.

python -m hierspeech.pipelines.publish OUT --ttv RUN --synthesizer RUN --phonetic RUN [--speechsr RUN] [--prompt NAME=WAV ...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch


def publish(out: Path, parts: dict[str, Path], cards: Path | None = None) -> None:
    """Write each part's weights in float16 under its name; a card `cards/NAME.md` becomes its README.md."""
    from hierspeech.synthesizer.model import HierSpeech
    from speech.semantic.phonetic import PhoneticEncoder
    from speechsr.model import SpeechSR
    from ttv.aligned import AlignedTTV

    classes = {
        "ttv": AlignedTTV,
        "synthesizer": HierSpeech,
        "phonetic": PhoneticEncoder,
        "speechsr": SpeechSR,
    }
    for name, source in parts.items():
        model = classes[name].from_pretrained(source)
        card = (cards / f"{name}.md").read_text(encoding="utf-8") if cards else None
        model.save_pretrained(out / name, card=card, dtype=torch.float16)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    for part in ("ttv", "synthesizer", "phonetic", "speechsr"):
        parser.add_argument(f"--{part}", type=Path)
    parser.add_argument("--cards", type=Path, help="folder with a NAME.md for every part")
    parser.add_argument(
        "--version", type=int, default=1, help="counts trainings: saved prompts fit one version only"
    )
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="NAME=WAV", help="a saved voice prompt"
    )
    args = parser.parse_args(argv)
    parts = {p: getattr(args, p) for p in ("ttv", "synthesizer", "phonetic", "speechsr") if getattr(args, p)}
    publish(args.out, parts, args.cards)
    prompts = dict(prompt.split("=", 1) for prompt in args.prompt)
    values = {
        "format": 1,
        "name": args.out.name,
        "version": args.version,
        "language": "en-us",
        "ttv": "ttv",
        "synthesizer": "synthesizer",
        "semantic_encoder": "phonetic",
        "speechsr": {"48000": "speechsr"} if "speechsr" in parts else {},
        "prompts": list(prompts),
        "noise_scale": 0.0,
    }
    (args.out / "voice.json").write_text(json.dumps(values, indent=2) + "\n")
    _save_prompts(args.out, prompts)
    return 0


def _save_prompts(out: Path, prompts: dict[str, str]) -> None:
    from hierspeech.pipelines.prompt import VoicePrompt
    from hierspeech.pipelines.voice import load_voice

    shutil.rmtree(out / "prompts", ignore_errors=True)
    if prompts:
        (out / "prompts").mkdir()
        voice = load_voice(out, "cpu")
        for name, wav in prompts.items():
            VoicePrompt.from_audio(wav, voice).save(out / "prompts" / f"{name}.safetensors")


if __name__ == "__main__":
    sys.exit(main())
