"""Super-resolution: python upsample.py speech.wav speech48.wav --output-sr 48000"""

import argparse
import sys

from hierspeech.pipelines.command_line import Parser, add_voice_options, check_input, check_paths, run, say


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and converts; returns the exit code."""
    parser = Parser(prog="upsample.py", description="Raise the sample rate of a recording of speech.")
    parser.add_argument("input", help="a sound file")
    parser.add_argument("output", help=".wav, .flac or .ogg file to write")
    add_voice_options(parser, synthesis=False)
    parser.set_defaults(output_sr=48000)
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Converts as the arguments say; ValueError with one sentence where they cannot be followed."""
    check_input(arguments.input)
    check_paths(arguments.output, arguments.input)

    from hierspeech.pipelines.superresolution import SuperResolution  # after the cheap checks: it loads torch

    upsample = SuperResolution.from_pretrained(arguments.voice, arguments.device, arguments.precision)
    speech = upsample(arguments.input, arguments.output_sr)
    speech.save(arguments.output)
    say(f"{arguments.output}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


if __name__ == "__main__":
    sys.exit(main())
