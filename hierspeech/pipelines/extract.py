"""One module of a training run as a file: python -m hierspeech.pipelines.extract runs/NAME/step_N discriminator OUT.safetensors

A voice folder holds no discriminators. With `train.init_modules={discriminator: OUT.safetensors}` a run that starts from the voice has
those that taught it, instead of new ones that know nothing.
"""

import argparse
import sys
from pathlib import Path

from hierspeech.pipelines.command_line import Parser, check_tensor_file, run, say


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and writes the file; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.extract",
        description="Write one module of a run, such as its discriminators, as a file that other runs start from.",
    )
    parser.add_argument("step", type=Path, metavar="STEP", help="step folder of a run, with its training.pt")
    parser.add_argument("module", metavar="MODULE", help="its name in the recipe, such as discriminator")
    parser.add_argument("out", metavar="OUT.safetensors")
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Writes as the arguments say; ValueError with one sentence where they cannot be followed."""
    from speech.starting import save_module

    check_tensor_file(arguments.out)
    weights = save_module(arguments.step, arguments.module, arguments.out)
    say(f"{arguments.out}: {weights} weights; train.init_modules={{{arguments.module}: {arguments.out}}}")


if __name__ == "__main__":
    sys.exit(main())
