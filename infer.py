"""Text + reference recording -> speech: python infer.py --text "Good morning." --ref someone.wav --out speech.wav"""

import argparse
import sys
import time
import warnings
from typing import TYPE_CHECKING

from hierspeech.pipelines import spear_command
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
from hierspeech.pipelines.subtitles import check_timestamps, write_timestamps

if TYPE_CHECKING:
    from hierspeech.pipelines.options import SpeakingOptions

DEFAULT_OUT = "speech.wav"


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and speaks; returns the exit code."""
    parser = Parser(prog="infer.py", description="Speak a text in the voice of a reference recording.")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", help="what to say; - reads standard input")
    text.add_argument("--text-file", metavar="FILE", help="a UTF-8 text file; - reads standard input")
    text.add_argument(
        "--batch",
        metavar="TABLE",
        help="a .csv or .jsonl table with columns text, out and, where they differ, ref, language, speed, seed, pitch_shift, "
        "pitch_range, energy",
    )
    parser.add_argument(
        "--out", "--output", help=f".wav, .flac or .ogg file to write (default: {DEFAULT_OUT})"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=8,
        help="sentences of --batch spoken together (default: %(default)s)",
    )
    parser.add_argument("--language", help="of the text: en-us or any espeak language (default: the voice's)")
    parser.add_argument("--speed", type=float, default=1.0, help="2 is twice as fast (default: %(default)s)")
    add_voice_options(parser)
    parser.add_argument(
        "--noise-scale-vc",
        type=float,
        help="the same for the waveform alone, --noise-scale then being that of rhythm and melody (default: as --noise-scale)",
    )
    add_prosody_options(parser)
    parser.add_argument(
        "--timestamps",
        metavar="FILE",
        help="write when each word is heard: .srt or .vtt subtitles, Praat's .TextGrid, or .json",
    )
    add_stream_option(parser)
    spear_command.add_spear_options(parser)
    parser.add_argument(
        "--list-voices", action="store_true", help="list the shipped voices and their prompts, and stop"
    )
    return run(parser, with_warnings, argv)


def with_warnings(arguments: argparse.Namespace) -> None:
    """`work`; what the front end wonders about a text is told in a line on standard error, the same only once."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *others, **named: complain(str(message))
        work(arguments)


def add_prosody_options(parser: argparse.ArgumentParser) -> None:
    """What of the voice is changed; marks such as <pitch=2> in the text say the same of parts of it."""
    group = parser.add_argument_group("prosody")
    group.add_argument("--pitch-shift", type=float, help="semitones, -12 to 12 (default: 0)")
    group.add_argument(
        "--pitch-range",
        type=float,
        help="factor on how far the melody moves, 0 monotonous to 3 (default: 1)",
    )
    group.add_argument(
        "--energy", type=float, help="dB louder or softer than --level, -20 to 20 (default: 0)"
    )
    group.add_argument("--mix-with", metavar="FILE|NAME", help="a second voice, mixed into that of --ref")
    group.add_argument("--mix", type=float, help="share of the second voice, 0 to 1 (default: 0.5)")


def work(arguments: argparse.Namespace) -> None:
    """Speaks as the arguments say; ValueError with one sentence where they cannot be followed."""
    if arguments.list_voices:
        return list_voices()
    spear = spear_command.wants_spear(arguments)
    refuse_together(arguments, spear)
    if arguments.batch is not None:
        return speak_batch(arguments)
    if arguments.text is None and arguments.text_file is None:
        raise ValueError("expected --text, --text-file or --batch (see --help).")
    arguments.out = DEFAULT_OUT if arguments.out is None else arguments.out
    if arguments.stream:
        check_stream_output(
            arguments.out, arguments.stream, arguments.ref, arguments.text_file, arguments.mix_with
        )
    else:
        check_paths(arguments.out, arguments.ref, arguments.text_file, arguments.mix_with)
    if arguments.timestamps is not None:
        check_timestamps(arguments.timestamps, arguments.out, arguments.ref, arguments.text_file)
    text = read_text(arguments.text, arguments.text_file)
    if not text.strip():
        raise ValueError("the text is empty, expected something to say.")
    if spear:
        refuse_marks(text)
        return spear_command.speak(arguments, text)

    from hierspeech.pipelines.tts import TextToSpeech  # after the cheap checks: it loads torch

    tts = TextToSpeech.from_pretrained(
        arguments.voice, arguments.device, arguments.precision, watermark=arguments.watermark
    )
    options = speaking_options(arguments)
    if arguments.stream:
        chunks = tts.stream(text, arguments.ref, **vars(options))
        return speak_stream(chunks, text, arguments)
    if arguments.text_file is None:
        speech = tts(text, arguments.ref, progress=progress_line("sentence"), **vars(options))
        speech.save(arguments.out)
        if arguments.timestamps is not None:
            speech.save_timestamps(arguments.timestamps, text)
    else:
        from hierspeech.pipelines.long_text import speak_to_file
        from hierspeech.pipelines.progress_bar import ProgressBar

        speech = speak_to_file(
            tts, text, arguments.out, arguments.ref, options, ProgressBar(), complain, arguments.timestamps
        )
    warn(speech.unknown)
    say(f"{arguments.out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


def refuse_together(arguments: argparse.Namespace, spear: bool) -> None:
    """ValueError for options that say nothing together."""
    if spear:
        for name in ("pitch_shift", "pitch_range", "energy", "mix_with", "mix"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')}: expected without --mode spear only.")
        if isinstance(arguments.ref, list):
            raise ValueError("--ref: expected one reference with --mode spear.")
    if arguments.timestamps is not None:
        if spear:
            raise ValueError(
                "--timestamps: expected without --mode spear, whose tokens do not know their words."
            )
        if arguments.batch is not None:
            raise ValueError("--timestamps: expected without --batch, which writes many files.")


def refuse_marks(text: str) -> None:
    """ValueError for marks that the token way would read out."""
    from speech.text.marks import read_marks

    if read_marks(text).marks:
        raise ValueError("marks such as <pitch=2> in the text: expected without --mode spear only.")


def speak_stream(chunks, text: str, arguments: argparse.Namespace) -> None:
    """Writes a stream, and when its words are heard once it has come to its end."""
    from hierspeech.pipelines.timings import Timings

    timings, seconds = Timings([], []), 0.0

    def keep(chunk) -> None:
        nonlocal seconds
        timings.words.extend(chunk.words)
        timings.phonemes.extend(chunk.phonemes)
        seconds += chunk.seconds

    kept = keep if arguments.timestamps is not None else None
    warn(write_stream(chunks, arguments.out, arguments.stream, kept))
    if kept:
        write_timestamps(arguments.timestamps, timings, text, seconds)


def speak_batch(arguments: argparse.Namespace) -> None:
    """Speaks a table; ValueError at the end where rows of it were bad."""
    if arguments.out is not None:
        raise ValueError(f"--out {arguments.out}: expected none with --batch, whose table names the outputs.")

    from hierspeech.pipelines.batch_table import speak_table
    from hierspeech.pipelines.progress_bar import ProgressBar
    from hierspeech.pipelines.tts import TextToSpeech

    tts, options = (
        TextToSpeech.from_pretrained(
            arguments.voice, arguments.device, arguments.precision, watermark=arguments.watermark
        ),
        speaking_options(arguments),
    )
    since = time.monotonic()
    report = speak_table(
        tts, arguments.batch, arguments.ref, options, arguments.batch_size, ProgressBar(), complain
    )
    took = time.monotonic() - since
    say(
        f"{arguments.batch}: {report.written} written, {report.skipped} done before, {report.bad} bad; "
        f"{report.seconds:.2f} s of speech in {took:.2f} s ({report.seconds / took:.1f} times as fast as it is spoken)"
    )
    if report.bad:
        raise ValueError(f"{arguments.batch}: {report.bad} of its rows could not be spoken, see above.")


def speaking_options(arguments: argparse.Namespace) -> "SpeakingOptions":
    """How to speak, as the arguments say it."""
    from hierspeech.pipelines.options import SpeakingOptions

    changes = ("pitch_shift", "pitch_range", "energy")
    return SpeakingOptions(
        language=arguments.language,
        speed=arguments.speed,
        noise_scale=arguments.noise_scale,
        noise_scale_vc=arguments.noise_scale_vc,
        seed=arguments.seed,
        output_sample_rate=arguments.output_sr,
        denoise_ratio=arguments.denoise_ratio,
        level=arguments.level,
        mix_with=arguments.mix_with,
        mix=arguments.mix,
        **{name: value for name in changes if (value := getattr(arguments, name)) is not None},
    )


def complain(message: str) -> None:
    """One line on standard error."""
    print(f"infer.py: {message}", file=sys.stderr)


def warn(unknown: list[str]) -> None:
    """Says which symbols of the text were left out."""
    if unknown:
        complain(f"left out, the voice has no sound for: {' '.join(unknown)}")


def list_voices() -> None:
    """Prints every shipped voice with its language and prompts."""
    from hierspeech.pipelines.spear_names import shipped_spear_voices
    from hierspeech.pipelines.spear_voice import find_spear_voice, read_spear_description
    from hierspeech.pipelines.voice import find_voice, read_description, shipped_voices

    for name in shipped_voices():
        description = read_description(find_voice(name))
        say(f"{name} ({description.language}), prompts: {', '.join(description.prompts) or 'none'}")
    for name in shipped_spear_voices():
        described = read_spear_description(find_spear_voice(name))
        prompts = ", ".join(described.prompts) or "none"
        say(f"{name} ({described.language}, by way of tokens), prompts: {prompts}")


if __name__ == "__main__":
    sys.exit(main())
