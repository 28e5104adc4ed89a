"""`python -m hierspeech.official convert COMPONENT IN.pth OUT_DIR`."""

import argparse
import sys

from hierspeech.official.components import CONVERTIBLE
from hierspeech.official.convert import convert


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after one line on stderr if the file was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m hierspeech.official", description="Import published weights."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("convert", help="checkpoint file -> model folder")
    command.add_argument("component", choices=CONVERTIBLE)
    command.add_argument("checkpoint", metavar="IN.pth")
    command.add_argument("folder", metavar="OUT_DIR")
    options = parser.parse_args(arguments)
    try:
        convert(options.component, options.checkpoint, options.folder)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
