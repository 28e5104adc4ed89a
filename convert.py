"""Voice conversion: python convert.py --source words.wav --ref voice.wav --out converted.wav"""

import argparse
import sys

from hierspeech.pipelines import spear_command
from hierspeech.pipelines.command_line import (
    Parser,
    add_voice_options,
    check_input,
    check_paths,
    progress_line,
    run,
    say,
)
from hierspeech.pipelines.stream_files import add_stream_option, check_stream_output, write_stream


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and converts; returns the exit code."""
    parser = Parser(prog="convert.py", description="Speak a recording again in the voice of another.")
    parser.add_argument("--source", required=True, metavar="FILE", help="the recording whose words are kept")
    parser.add_argument(
        "--out",
        "--output",
        default="converted.wav",
        help=".wav, .flac or .ogg file to write (default: %(default)s)",
    )
    add_voice_options(parser)
    parser.add_argument(
        "--articulation",
        type=float,
        metavar="SHARE",
        help="of the source's own articulation that is kept: 0 is most like the reference, 1 keeps most words "
        "(default: the voice's, the more, the more alike the two voices are)",
    )
    add_stream_option(parser)
    spear_command.add_spear_options(parser, reading=False)
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Converts as the arguments say; ValueError with one sentence where they cannot be followed."""
    spear = spear_command.wants_spear(arguments)
    if spear and isinstance(arguments.ref, list):
        raise ValueError("--ref: expected one reference with --mode spear.")
    check_input(arguments.source)
    if arguments.stream:
        check_stream_output(arguments.out, arguments.stream, arguments.source, arguments.ref)
    else:
        check_paths(arguments.out, arguments.source, arguments.ref)
    if spear:
        return spear_command.convert(arguments)

    from hierspeech.pipelines.conversion import VoiceConversion  # after the cheap checks: it loads torch

    conversion = VoiceConversion.from_pretrained(
        arguments.voice, arguments.device, arguments.precision, watermark=arguments.watermark
    )
    options = {
        "noise_scale": arguments.noise_scale,
        "seed": arguments.seed,
        "output_sample_rate": arguments.output_sr,
        "denoise_ratio": arguments.denoise_ratio,
        "level": arguments.level,
        "articulation": arguments.articulation,
    }
    if arguments.stream:
        chunks = conversion.stream(arguments.source, arguments.ref, **options)
        write_stream(chunks, arguments.out, arguments.stream)
        return
    speech = conversion(arguments.source, arguments.ref, **options, progress=progress_line("piece"))
    speech.save(arguments.out)
    say(f"{arguments.out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


if __name__ == "__main__":
    sys.exit(main())
