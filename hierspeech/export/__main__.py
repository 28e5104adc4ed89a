"""`python -m hierspeech.export`: a voice without torch (docs/export.md).

--voice lite --format onnx OUT                      every inference part of a voice -> a folder of ONNX graphs
quantise FOLDER OUT --to int8                       a smaller copy of such a folder
speak FOLDER --text "Good morning." --out x.wav     speaks with such a folder, by onnxruntime and numpy
"""

import argparse
import sys

from hierspeech.pipelines.command_line import DEFAULT_VOICE, OUTPUT_RATES, Parser, check_paths, run, say

PROGRAM = "python -m hierspeech.export"
FORMATS = ("onnx",)
SMALLER = ("int8", "fp16")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 0, or 2 after one line on stderr if something was refused."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    if command is not None:
        parser, work = COMMANDS[command]()
        return run(parser, work, arguments[1:])
    parser = Parser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--voice", default=DEFAULT_VOICE, help="name, folder or hub id (default: %(default)s)"
    )
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: %(default)s")
    parser.add_argument("out", metavar="OUT", help="the folder to create")
    return run(parser, _export, arguments)


def _export(options: argparse.Namespace) -> None:
    from hierspeech.export.graphs import export_voice  # after the cheap checks: it loads torch

    export_voice(options.voice, options.out, _report)
    say(f'wrote {options.out}: {PROGRAM} speak {options.out} --text "Good morning." --out speech.wav')


def _quantiser():
    parser = Parser(prog=f"{PROGRAM} quantise", description="A smaller copy of an exported voice.")
    parser.add_argument("folder", metavar="FOLDER", help="what the export wrote")
    parser.add_argument("out", metavar="OUT", help="the folder to create")
    parser.add_argument(
        "--to", choices=SMALLER, default="int8", help="type of weights (default: %(default)s)"
    )

    def work(options: argparse.Namespace) -> None:
        from hierspeech.export.quantise import quantise_folder

        quantise_folder(options.folder, options.out, options.to, _report)
        say(f"wrote {options.out}")

    return parser, work


def _speaker():
    parser = Parser(prog=f"{PROGRAM} speak", description="Speak with an exported voice, without torch.")
    parser.add_argument("folder", metavar="FOLDER", help="what the export wrote")
    parser.add_argument("--text", required=True, help="what to say")
    parser.add_argument(
        "--ref-prompt", "--ref", metavar="FILE|NAME", help="recording or prompt (default: the first)"
    )
    parser.add_argument("--out", default="speech.wav", help=".wav, .flac or .ogg (default: %(default)s)")
    parser.add_argument("--language", help="of the text: en-us or any espeak language (default: the voice's)")
    parser.add_argument("--speed", type=float, default=1.0, help="2 is twice as fast (default: %(default)s)")
    parser.add_argument(
        "--pitch-shift", type=float, default=0.0, metavar="SEMITONES", help="higher or lower (default: 0)"
    )
    parser.add_argument(
        "--pitch-range",
        type=float,
        default=1.0,
        help="0 monotonous, 1 as it is, 2 twice as wide (default: 1)",
    )
    parser.add_argument("--noise-scale", type=float, help="0 even, 0.333 robust, 0.667 lively")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal sound (default: 0)")
    parser.add_argument("--output-sr", type=int, choices=OUTPUT_RATES, default=16000, help="in Hz")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime (default: its own choice)")
    return parser, _speak


def _speak(options: argparse.Namespace) -> None:
    check_paths(options.out, options.ref_prompt)
    if not options.text.strip():
        raise ValueError("the text is empty, expected something to say.")
    if options.seed < 0:
        raise ValueError(f"seed {options.seed}: expected a whole number from 0 on.")
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError("speaking needs the package onnxruntime: pip install onnxruntime.") from error
    from hierspeech.export.runtime import OnnxTextToSpeech
    from speech.audio import save_audio

    wav, rate = OnnxTextToSpeech(options.folder, options.threads)(
        options.text,
        options.ref_prompt,
        options.language,
        options.speed,
        options.noise_scale,
        options.seed,
        options.output_sr,
        options.pitch_shift,
        options.pitch_range,
    )
    save_audio(options.out, wav, rate)
    say(f"{options.out}: {len(wav) / rate:.2f} s at {rate} Hz")


def _report(line: str) -> None:
    say(line)
    sys.stdout.flush()


COMMANDS = {"speak": _speaker, "quantise": _quantiser}

if __name__ == "__main__":
    sys.exit(main())
