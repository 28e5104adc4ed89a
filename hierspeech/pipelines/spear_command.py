"""The token way on the command line of infer.py and convert.py: its options, and what it does with them.

Nothing heavy is imported at the top: wrong arguments are answered before torch is loaded.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from hierspeech.pipelines.command_line import DEFAULT_VOICE, progress_line, say
from hierspeech.pipelines.stream_files import write_stream

DEFAULT_SPEAR_VOICE = "lite-spear"
MODES = ("hierspeech", "spear")
DECODERS = ("ar", "nar", "bridge")
PROMPTINGS = ("style", "continue", "both")
OPTIONS = (
    "decoder", "prompting", "temperature", "acoustic_temperature", "top_k", "top_p", "guidance", "acoustic_guidance",
    "beams", "speaking_rate",
)  # fmt: skip
READING_ONLY = (
    "temperature",
    "top_k",
    "guidance",
    "beams",
    "speaking_rate",
)  # what conversion has no text for
HIERARCHICAL = ("noise_scale", "noise_scale_vc", "denoise_ratio", "articulation", "batch", "watermark")


def add_spear_options(parser: argparse.ArgumentParser, reading: bool = True) -> None:
    """--mode and what only its value spear takes; `reading`: also how text becomes tokens."""
    parser.add_argument(
        "--mode",
        choices=MODES,
        help=f"hierspeech, or spear: by way of discrete tokens, with --voice {DEFAULT_SPEAR_VOICE} (default: what --voice is)",
    )
    group = parser.add_argument_group("with --mode spear")
    group.add_argument(
        "--decoder",
        choices=DECODERS,
        help="tokens become sound by ar, one frame after another, nar, all in a few passes, or bridge, the hierarchical "
        "synthesizer (default: the voice's)",
    )
    group.add_argument(
        "--prompting",
        choices=PROMPTINGS,
        help="the voice as a style vector, by going on from the recording's tokens, or both (default: style)",
    )
    group.add_argument(
        "--acoustic-temperature",
        type=float,
        help="spread of acoustic tokens, 0 the likeliest (default: the voice's)",
    )
    group.add_argument("--top-p", type=float, help="draw from the likeliest tokens of this probability only")
    group.add_argument(
        "--acoustic-guidance",
        type=float,
        help="above 1 acoustic tokens follow words and voice more closely (default: the voice's)",
    )
    if reading:
        group.add_argument(
            "--temperature",
            type=float,
            help="spread of semantic tokens, 0 the likeliest (default: the voice's)",
        )
        group.add_argument(
            "--guidance",
            type=float,
            help="above 1 semantic tokens follow the text more closely (default: the voice's)",
        )
        group.add_argument("--top-k", type=int, help="draw from so many likeliest semantic tokens only")
        group.add_argument(
            "--beams", type=int, help="beam search for the semantic tokens (default: 1, which draws)"
        )
        group.add_argument("--speaking-rate", type=float, help="phonemes a second (default: the voice's own)")


def wants_spear(arguments: argparse.Namespace) -> bool:
    """Whether these arguments ask for the token way; options of the other way are refused.

    Raises:
        ValueError: an option that this way does not have.
    """
    from hierspeech.pipelines.spear_names import is_spear_voice

    spear = arguments.mode == "spear" or arguments.mode is None and is_spear_voice(arguments.voice)
    refused = HIERARCHICAL if spear else OPTIONS
    for name in refused:
        if getattr(arguments, name, None) is not None:
            where = "without" if spear else "with"
            raise ValueError(f"--{name.replace('_', '-')}: expected {where} --mode spear only.")
    if spear and arguments.voice == DEFAULT_VOICE:
        arguments.voice = DEFAULT_SPEAR_VOICE
    if spear and arguments.level == "prompt":
        raise ValueError("--level prompt: expected loudness or peak with --mode spear.")
    return spear


def speak(arguments: argparse.Namespace, text: str) -> None:
    """Speaks a text as infer.py's arguments say."""
    from hierspeech.pipelines.spear import SpearTTS
    from hierspeech.pipelines.spear_text import Reading

    tts = SpearTTS.from_pretrained(arguments.voice, arguments.device, arguments.precision)
    reading = Reading(
        speaking_rate=arguments.speaking_rate,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        guidance=arguments.guidance,
        beams=1 if arguments.beams is None else arguments.beams,
    )
    options = {
        "language": arguments.language,
        "speed": arguments.speed,
        "reading": reading,
        "acoustics": acoustics(arguments),
        "seed": arguments.seed,
        "output_sample_rate": arguments.output_sr,
        "level": arguments.level or "loudness",
    }
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always", UserWarning)
        if arguments.stream:
            write_stream(tts.stream(text, arguments.ref, **options), arguments.out, arguments.stream)
        else:
            speech = tts.synthesize(text, arguments.ref, **options, progress=progress_line("sentence"))
            speech.save(arguments.out)
    for warning in met:
        print(f"infer.py: {warning.message}", file=sys.stderr)
    if arguments.stream:
        return
    say(f"{arguments.out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


def convert(arguments: argparse.Namespace) -> None:
    """Converts a recording as convert.py's arguments say."""
    from hierspeech.pipelines.spear import SpearTTS

    if arguments.stream:
        raise ValueError("--stream: expected without --mode spear.")
    tts = SpearTTS.from_pretrained(arguments.voice, arguments.device, arguments.precision)
    speech = tts.resynthesize(
        Path(arguments.source),
        arguments.ref,
        acoustics=acoustics(arguments),
        seed=arguments.seed,
        output_sample_rate=arguments.output_sr,
        level=arguments.level or "loudness",
    )
    speech.save(arguments.out)
    say(f"{arguments.out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz")


def acoustics(arguments: argparse.Namespace):
    """How tokens become sound, as the arguments say it."""
    from hierspeech.pipelines.spear_sound import Acoustics

    return Acoustics(
        way=arguments.decoder,
        prompting=arguments.prompting or "style",
        temperature=arguments.acoustic_temperature,
        top_p=arguments.top_p,
        guidance=arguments.acoustic_guidance,
    )
