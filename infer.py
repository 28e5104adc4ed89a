"""Text + reference recording -> speech: python infer.py --text "Good morning." --ref someone.wav --out speech.wav"""

import argparse
import sys

from hierspeech.pipelines.command_line import (
    Parser,
    add_voice_options,
    check_paths,
    progress_line,
    read_text,
    run,
    say,
)
from hierspeech.pipelines.stream_files import add_stream_option, check_stream_output, write_stream


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and speaks; returns the exit code."""
    parser = Parser(prog="infer.py", description="Speak a text in the voice of a reference recording.")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", help="what to say; - reads standard input")
    text.add_argument("--text-file", metavar="FILE", help="a UTF-8 text file; - reads standard input")
    parser.add_argument(
        "--out", default="speech.wav", help=".wav, .flac or .ogg file to write (default: %(default)s)"
    )
    parser.add_argument("--language", help="of the text: en-us or any espeak language (default: the voice's)")
    parser.add_argument("--speed", type=float, default=1.0, help="2 is twice as fast (default: %(default)s)")
    add_voice_options(parser)
    parser.add_argument(
        "--noise-scale-vc",
        type=float,
        help="the same for the waveform alone, --noise-scale then being that of rhythm and melody (default: as --noise-scale)",
    )
    add_stream_option(parser)
    parser.add_argument(
        "--list-voices", action="store_true", help="list the shipped voices and their prompts, and stop"
    )
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Speaks as the arguments say; ValueError with one sentence where they cannot be followed."""
    if arguments.list_voices:
        return list_voices()
    if arguments.text is None and arguments.text_file is None:
        raise ValueError("expected --text or --text-file (see --help).")
    if arguments.stream:
        check_stream_output(arguments.out, arguments.stream, arguments.ref, arguments.text_file)
    else:
        check_paths(arguments.out, arguments.ref, arguments.text_file)
    text = read_text(arguments.text, arguments.text_file)
    if not text.strip():
        raise ValueError("the text is empty, expected something to say.")

    from hierspeech.pipelines.tts import TextToSpeech  # after the cheap checks: it loads torch

    tts = TextToSpeech.from_pretrained(arguments.voice, arguments.device)
    options = {
        "language": arguments.language,
        "speed": arguments.speed,
        "noise_scale": arguments.noise_scale,
        "seed": arguments.seed,
        "output_sample_rate": arguments.output_sr,
        "noise_scale_vc": arguments.noise_scale_vc,
        "denoise_ratio": arguments.denoise_ratio,
        "level": arguments.level,
    }
    if arguments.stream:
        chunks = tts.stream(text, arguments.ref, **options)
        return warn(write_stream(chunks, arguments.out, arguments.stream))
    speech = tts(text, arguments.ref, **options, progress=progress_line("sentence"))
    speech.save(arguments.out)
    warn(speech.unknown)
    say(f"{arguments.out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


def warn(unknown: list[str]) -> None:
    """Says which symbols of the text were left out."""
    if unknown:
        print(f"infer.py: left out, the voice has no sound for: {' '.join(unknown)}", file=sys.stderr)


def list_voices() -> None:
    """Prints every shipped voice with its language and prompts."""
    from hierspeech.pipelines.voice import find_voice, read_description, shipped_voices

    for name in shipped_voices():
        description = read_description(find_voice(name))
        say(f"{name} ({description.language}), prompts: {', '.join(description.prompts) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
