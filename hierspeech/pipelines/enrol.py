"""Save a voice once, for any number of texts: python -m hierspeech.pipelines.enrol someone.wav --adapt 60 --out someone.safetensors

What is saved is a voice prompt of a kilobyte or two, for `--ref` of infer.py and convert.py; no recording is in it.
"""

import argparse
import sys
from pathlib import Path

from hierspeech.pipelines.arguments import MAX_ADAPT_STEPS
from hierspeech.pipelines.command_line import (
    Parser,
    add_model_options,
    check_tensor_file,
    denoise_ratio,
    run,
    say,
)
from hierspeech.pipelines.progress_bar import ProgressBar


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and saves the prompt; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.enrol", description="Save the voice of a recording for --ref."
    )
    parser.add_argument(
        "reference", metavar="FILE", nargs="+", help="recording of the voice; of several the average"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help=".safetensors file to write")
    parser.add_argument(
        "--adapt",
        type=int,
        default=0,
        metavar="STEPS",
        help="of gradient descent that bring the voice nearer to each recording, 0 to 1000; about a "
        "third of a second each on one core (default: %(default)s; 30 to 60 help)",
    )
    parser.add_argument(
        "--denoise-ratio",
        type=denoise_ratio,
        help="as in infer.py: 0 for clean recordings, or auto (default: the voice's)",
    )
    add_model_options(parser)
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Saves as the arguments say; ValueError with one sentence where they cannot be followed."""
    check_tensor_file(arguments.out)
    if not 0 <= arguments.adapt <= MAX_ADAPT_STEPS:
        raise ValueError(f"--adapt {arguments.adapt}: expected 0 to {MAX_ADAPT_STEPS} steps.")

    from hierspeech.pipelines.prompt import VoicePrompt
    from hierspeech.pipelines.tts import TextToSpeech  # after the cheap checks: it loads torch

    tts, bar = (
        TextToSpeech.from_pretrained(arguments.voice, arguments.device, arguments.precision),
        ProgressBar(),
    )
    prompts = [
        tts.prompt(
            name,
            denoise_ratio=arguments.denoise_ratio,
            adapt_steps=arguments.adapt,
            progress=lambda done, total, name=name: bar(Path(name).name, done, total),
        )
        for name in arguments.reference
    ]
    VoicePrompt.average(prompts).save(arguments.out)
    say(f"{arguments.out}: try it with `python infer.py --ref {arguments.out} --text Hello`")


if __name__ == "__main__":
    sys.exit(main())
