"""`python -m hierspeech.pipelines.push VOICE OWNER/NAME [--private]`: a voice folder to the Hugging Face hub.

From there every script takes it with `--voice OWNER/NAME`. Log in first: `huggingface-cli login`, or the variable HF_TOKEN.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from hierspeech.pipelines.command_line import Parser, run, say
from hierspeech.pipelines.voice import Voice, find_voice
from speech.hub import MODEL_FILES, is_hub_id, upload


def push(voice: str | Path, name: str, private: bool = False) -> str:
    """Check a voice and push its files; returns the address.

    Args:
        voice: folder, or name of a shipped voice.
        name: hub id "owner/name".
        private: of a repository that has to be made.
    Raises:
        ValueError: no voice there, a part or the model card missing, or the hub refuses it.
    """
    if not is_hub_id(name):
        raise ValueError(f"{name!r} is no hub id, expected OWNER/NAME.")
    if not Path(voice).is_dir() and is_hub_id(str(voice)):
        raise ValueError(f"{voice}: no such voice folder.")
    folder = find_voice(voice)
    return upload(folder, name, check_complete(folder), private)


def check_complete(folder: Path) -> list[str]:
    """The files that make up the voice; one-sentence ValueError for one that would not work once it is fetched.

    Nothing else is pushed that may lie in the folder: training states, recordings, prompts of people that voice.json
    does not name.
    """
    description = Voice(folder, torch.device("cpu")).description  # the parts fit each other
    parts = [description.ttv, description.synthesizer, *dict.fromkeys(description.speechsr.values())]
    if (folder / description.semantic_encoder).is_dir():  # without one there is no conversion, but speech
        parts.append(description.semantic_encoder)
    if description.denoiser is not None:
        parts.append(description.denoiser)
    wanted = [f"{part}/{name}" for part in parts for name in MODEL_FILES if name != "README.md"]
    wanted += [f"prompts/{prompt}.safetensors" for prompt in description.prompts]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: {missing[0]} is missing ({len(missing)} of {len(wanted)} files).")
    for weights in wanted:
        if weights.endswith(".safetensors"):
            _check_weights(folder / weights)
    card = folder / "README.md"
    if not card.is_file() or not card.read_text(encoding="utf-8").startswith("---\n"):
        raise ValueError(
            f"{card}: no model card with front matter, which says on the hub what this is and whose work."
        )
    cards = [f"{part}/README.md" for part in parts]
    return ["voice.json", "README.md", *wanted, *(c for c in cards if (folder / c).is_file())]


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, "pt") as file:  # reads the header, which knows how long the file has to be
            file.keys()
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged ({error}).") from error


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and pushes; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.push", description="Push a voice to the Hugging Face hub."
    )
    parser.add_argument("voice", metavar="VOICE", help="voice folder")
    parser.add_argument("name", metavar="OWNER/NAME", help="where to")
    parser.add_argument("--private", action="store_true", help="if the repository has to be made")
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Pushes as the arguments say."""
    say(push(arguments.voice, arguments.name, arguments.private))


if __name__ == "__main__":
    sys.exit(main())
