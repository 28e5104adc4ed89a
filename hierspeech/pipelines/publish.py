"""Trained runs -> a voice folder that ships: half-precision weights, a model card each, saved prompts.

python -m hierspeech.pipelines.publish OUT --ttv RUN --synthesizer RUN --phonetic RUN [--speechsr RUN ...] [--denoiser RUN]
    [--cards FOLDER] [--prompt NAME=WAV ...]

A RUN is what training leaves: runs/NAME/step_N. `python -m hierspeech.pipelines.push OUT OWNER/NAME` takes it to the hub.
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
from speech.new_folder import new_folder


def publish(
    out: Path,
    ttv: Path,
    synthesizer: Path,
    phonetic: Path,
    speechsr: list[Path] | None = None,
    denoiser: Path | None = None,
    cards: Path | None = None,
    prompts: Mapping[str, Path] | None = None,
    version: int = 1,
    language: str = "en-us",
    noise_scale: float = 0.0,
) -> None:
    """Write a voice folder of trained models, in float16; it appears whole or not at all.

    Args:
        out: folder to create; its name becomes the voice's.
        ttv, synthesizer, phonetic, denoiser: folders of trained models.
        speechsr: the same, one for each output rate.
        cards: folder with the model cards, `NAME.md` for each part and `voice.md` for the whole.
        prompts: name -> recording, listened to once and kept; the first one is the voice's default reference.
        version: counts trainings, so that prompts saved with one are refused by the next.
    Raises:
        ValueError: a model or recording cannot be read, the models do not fit each other, or `out` exists.
    """
    from denoiser.model import Denoiser
    from hierspeech.pipelines.prompt import VoicePrompt
    from hierspeech.pipelines.voice import load_voice, model_class
    from hierspeech.synthesizer.model import HierSpeech
    from speech.semantic.phonetic import PhoneticEncoder
    from speechsr import SPEECHSR_MODELS
    from ttv.aligned import AlignedTTV

    with new_folder(out) as folder:

        def add(name: str, model_class: Any, source: Path) -> Any:
            return write(name, model_class.from_pretrained(source))

        def write(name: str, model: Any) -> Any:
            model.save_pretrained(folder / name, card=_card(cards, name), dtype=torch.float16)
            return model

        add("ttv", AlignedTTV, ttv)
        add("phonetic", PhoneticEncoder, phonetic)
        rate = add("synthesizer", HierSpeech, synthesizer).config.audio.sample_rate
        rates = {}
        for source in speechsr or []:
            model = model_class(source, SPEECHSR_MODELS).from_pretrained(source)
            output_rate = round(model.config.scale * rate)
            if str(output_rate) in rates:
                raise ValueError(
                    f"{source}: a second model for {output_rate} Hz, expected one for each rate."
                )
            rates[str(output_rate)] = f"speechsr-{output_rate // 1000}k"
            write(rates[str(output_rate)], model)
        if denoiser is not None:
            add("denoiser", Denoiser, denoiser)
        if card := _card(cards, "voice"):
            (folder / "README.md").write_text(card, encoding="utf-8")
        description = {
            "format": 1,
            "name": out.absolute().name,
            "version": version,
            "language": language,
            "ttv": "ttv",
            "synthesizer": "synthesizer",
            "semantic_encoder": "phonetic",
            "speechsr": rates,
            "denoiser": None if denoiser is None else "denoiser",
            "prompts": list(prompts or {}),
            "noise_scale": noise_scale,
        }
        (folder / "voice.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        voice = load_voice(folder, "cpu")
        _ = voice.semantic_encoder, voice.denoiser  # the parts that nothing else has looked at yet
        for name, recording in (prompts or {}).items():
            (folder / "prompts").mkdir(exist_ok=True)
            VoicePrompt.from_audio(recording, voice).save(folder / "prompts" / f"{name}.safetensors")


def _card(cards: Path | None, name: str) -> str | None:
    """The text of a card; None without a folder of them, or for a part that has none."""
    if cards is None:
        return None
    if not cards.is_dir():
        raise ValueError(f"{cards}: no such folder of model cards.")
    path = cards / f"{name}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and publishes; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.publish", description="Make a voice folder of trained models."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    for part in ("ttv", "synthesizer", "phonetic"):
        parser.add_argument(f"--{part}", type=Path, required=True, metavar="RUN", help="folder of the model")
    parser.add_argument("--speechsr", type=Path, metavar="RUN", action="append", help="may be given twice")
    parser.add_argument("--denoiser", type=Path, metavar="RUN")
    parser.add_argument(
        "--cards",
        type=Path,
        metavar="FOLDER",
        help="with NAME.md for every part, and voice.md for the whole, which the hub wants",
    )
    parser.add_argument("--version", type=int, default=1, help="counts trainings (default: %(default)s)")
    parser.add_argument("--language", default="en-us", help="of the voice (default: %(default)s)")
    parser.add_argument("--noise-scale", type=float, default=0.0, help="its default (default: %(default)s)")
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="NAME=WAV", help="a voice prompt to save"
    )
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
    publish(**values, prompts=prompts)
    say(f"{arguments.out}: try it with `python infer.py --voice {arguments.out} --text Hello`")


if __name__ == "__main__":
    sys.exit(main())
