"""Trained token models -> a token voice that ships: half-precision weights, a model card each, saved prompts.

python -m hierspeech.pipelines.publish_spear OUT --tokenizer FOLDER --t2s RUN [--s2a RUN] [--soundstorm RUN] [--codec RUN] [--bridge RUN]
    [--base lite] [--cards FOLDER] [--prompt NAME=WAV ...]

A RUN is what training leaves: runs/NAME/step_N. OUT, which must not be there, becomes a folder with spear.json (`spear_voice.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hierspeech.pipelines.command_line import Parser, run, say
from hierspeech.pipelines.publish import read_card
from speech.new_folder import new_folder

PARTS = {
    "tokenizer": "tokenizer",
    "t2s": "text_to_semantic",
    "s2a": "semantic_to_acoustic",
    "soundstorm": "masked",
    "codec": "codec",
    "bridge": "bridge",
}
"""Folder in the voice, and option here -> field of spear.json."""


def publish_spear(
    out: Path,
    parts: Mapping[str, Path],
    base: str = "lite",
    cards: Path | None = None,
    prompts: Mapping[str, Path] | None = None,
    **settings: Any,
) -> None:
    """Write a token voice, in float16; it appears whole or not at all.

    Args:
        out: folder to create; its name becomes the voice's.
        parts: trained models by their names in PARTS; tokenizer and t2s, and what makes sound.
        base: voice whose encoder, synthesizer and super-resolution it shares: a shipped name, or a folder beside OUT.
        cards: folder with the model cards, `NAME.md` for each part and `voice.md` for the whole.
        prompts: name -> recording, listened to once and kept; the first one is the voice's default speaker.
        settings: further fields of spear.json (version, language, temperature, ...); None is its default.
    Raises:
        ValueError: a model is missing, models do not fit each other, a recording cannot be read, or `out` exists.
    """
    from hierspeech.pipelines.spear import SpearTTS
    from hierspeech.pipelines.spear_prompt import SpearPrompt
    from spear.bridge.model import Bridge
    from spear.codec.model import CompactCodec
    from spear.semantic_to_acoustic.masked import MaskedSemanticToAcoustic
    from spear.semantic_to_acoustic.model import SemanticToAcoustic
    from spear.text_to_semantic.model import TextToSemantic
    from speech.semantic.quantizer import SemanticQuantizer

    kinds = {
        "tokenizer": SemanticQuantizer,
        "t2s": TextToSemantic,
        "s2a": SemanticToAcoustic,
        "soundstorm": MaskedSemanticToAcoustic,
        "codec": CompactCodec,
        "bridge": Bridge,
    }
    if missing := [f"--{name}" for name in ("tokenizer", "t2s") if parts.get(name) is None]:
        raise ValueError(f"{', '.join(missing)} not given: expected both.")
    with new_folder(out) as folder:
        description: dict[str, Any] = {"format": 1, "name": out.absolute().name, "base": base}
        for name, source in parts.items():
            if source is None:
                continue
            model = kinds[name].from_pretrained(source)
            model.save_pretrained(folder / name, card=read_card(cards, name, source), dtype=torch.float16)
            description[PARTS[name]] = name
        if card := read_card(cards, "voice"):
            (folder / "README.md").write_text(card, encoding="utf-8")
        description |= {name: value for name, value in settings.items() if value is not None}
        description["prompts"] = list(prompts or {})
        (folder / "spear.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        voice = SpearTTS.from_pretrained(folder, "cpu").voice
        for part in (voice.semantic_to_acoustic, voice.masked):
            if part is not None:
                part.check_codec(voice.codec.spec)
        for name, recording in (prompts or {}).items():
            (folder / "prompts").mkdir(exist_ok=True)
            SpearPrompt.from_audio(recording, voice).save(folder / "prompts" / f"{name}.safetensors")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and publishes; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.publish_spear",
        description="Make a token voice of trained models.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, metavar="RUN", help="folder of the model")
    parser.add_argument(
        "--base", default="lite", help="voice that it shares parts with (default: %(default)s)"
    )
    parser.add_argument(
        "--cards", type=Path, metavar="FOLDER", help="with NAME.md for every part, and voice.md"
    )
    parser.add_argument("--version", type=int, help="counts trainings (default: 1)")
    parser.add_argument("--language", help="of the voice (default: en-us)")
    parser.add_argument(
        "--decoder", choices=("ar", "nar", "bridge"), help="by default (default: the first there is)"
    )
    parser.add_argument("--temperature", type=float, help="of text to semantic by default")
    parser.add_argument("--acoustic-temperature", type=float, help="of the codes by default")
    parser.add_argument("--guidance", type=float, help="of text to semantic by default (default: 1)")
    parser.add_argument("--acoustic-guidance", type=float, help="of the codes by default (default: 1)")
    parser.add_argument("--top-k", type=int, help="of the semantic tokens by default")
    parser.add_argument("--prompt", action="append", default=[], metavar="NAME=WAV", help="a speaker to save")
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Publishes as the arguments say."""
    values = dict(vars(arguments))
    prompts = {}
    for pair in values.pop("prompt"):
        name, equals, recording = pair.partition("=")
        if not name or not equals or not recording:
            raise ValueError(f"prompt {pair!r}: expected NAME=WAV.")
        prompts[name] = Path(recording)
    parts = {name: values.pop(name) for name in PARTS}
    publish_spear(values.pop("out"), parts, prompts=prompts, **values)
    say(f"{arguments.out}: try it with `python infer.py --mode spear --voice {arguments.out} --text Hello`")


if __name__ == "__main__":
    sys.exit(main())
