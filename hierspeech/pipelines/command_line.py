"""What the scripts share: one-sentence errors, options that several of them have, text input, progress.

Nothing heavy is imported at the top: wrong arguments are answered before torch is loaded.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hierspeech.pipelines.arguments import AUTO

DEFAULT_VOICE = "lite"
OUTPUT_RATES = (16000, 24000, 48000)  # Hz
LEVELS = ("loudness", "peak", "prompt")
MAX_TEXT_BYTES = 1_000_000


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence too."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see --help).")


class References(argparse.Action):
    """An option whose value is a text when it is given once, and a list when it is given more often."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        before = getattr(namespace, self.dest)
        several = [] if before is None else [before] if isinstance(before, str) else before
        setattr(namespace, self.dest, [*several, values] if several else values)


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None], argv: list[str] | None
) -> int:
    """Parses and works; returns the exit code: 0, 2 with one sentence on stderr for bad input, 130 if interrupted."""
    try:
        work(parser.parse_args(argv))
    except (ValueError, OSError) as error:  # OSError: a name too long for the file system, for example
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(
            f"{parser.prog}: out of memory ({' '.join(str(error).split()) or 'no size given'}).",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as stop:  # a script that has written something says so itself
        print(f"{parser.prog}: {str(stop) or 'interrupted, nothing written.'}", file=sys.stderr)
        return 130
    return 0


def add_voice_options(parser: argparse.ArgumentParser, synthesis: bool = True) -> None:
    """--voice, --device, --precision and --output-sr; with `synthesis` also what says whose voice, how lively and how loud."""
    if synthesis:
        parser.add_argument(
            "--ref",
            metavar="FILE|NAME",
            action=References,
            help="whose voice: a recording, its URL, or a saved prompt's name (default: the first); of several the average",
        )
        parser.add_argument(
            "--noise-scale", type=float, help="0 even, 0.333 robust, 0.667 lively (default: the voice's)"
        )
        parser.add_argument(
            "--denoise-ratio",
            type=denoise_ratio,
            help="how much of the voice is taken from a cleaned copy of --ref: 0 for clean recordings, "
            "0.6 to 0.8 for noisy ones, 1 at most; auto: by how noisy or reverberant it is (default: the voice's)",
        )
        parser.add_argument(
            "--level",
            choices=LEVELS,
            help="of the output: loudness is -23 dB RMS, peak 0.999 at the highest sample, prompt the peak of --ref "
            "(default: the voice's)",
        )
        parser.add_argument(
            "--watermark",
            metavar="NAME",
            help="a mark hidden in the sound: perth, of the extra watermark (default: none)",
        )
        parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal sound (default: 0)")
    add_model_options(parser)
    parser.add_argument(
        "--output-sr",
        type=int,
        choices=OUTPUT_RATES,
        default=16000,
        help="sample rate in Hz (default: %(default)s)",
    )


def denoise_ratio(text: str) -> float | str:
    """The argument of --denoise-ratio: a number, whose range the voice checks, or auto."""
    if text == AUTO:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, or {AUTO}, got {text!r}") from None


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--voice, --device and --precision."""
    parser.add_argument(
        "--voice", default=DEFAULT_VOICE, help="name, folder or hub id (default: %(default)s)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="bf16 is faster for full-size voices, with a little noise; lite is the same in both; token models also in fp16 (default: %(default)s)",
    )


def check_paths(output: str, *inputs: str | list[str] | None) -> None:
    """Refuses an unwritable output, and one that would replace an input, before any work is done for it."""
    from speech.audio import check_writable

    path = check_writable(output)
    for name in (one for given in inputs for one in (given if isinstance(given, list) else [given])):
        if name is not None and path.exists() and Path(name).exists() and path.samefile(name):
            raise ValueError(f"{output}: the output would replace the input.")


def check_tensor_file(name: str) -> Path:
    """Refuses a name under which no safetensors file could be written, before any work is done for it."""
    out = Path(name)
    if out.suffix != ".safetensors" or out.is_dir():
        raise ValueError(f"{out}: expected the name of a file to write that ends in .safetensors.")
    if not out.parent.is_dir():
        raise ValueError(f"{out}: the folder {out.parent} does not exist.")
    return out


def check_input(name: str) -> None:
    """Refuses a sound file that is not there, before any work is done for it."""
    if not Path(name).is_file():
        raise ValueError(
            f"{name}: {'is a folder, not a sound file' if Path(name).is_dir() else 'no such sound file'}."
        )


def read_text(text: str | None, text_file: str | None) -> str:
    """The text of the command line, of a UTF-8 file, or of standard input ("-" for either)."""
    if text is not None and text != "-":
        return text
    name = "standard input" if "-" in (text, text_file) else str(text_file)
    try:
        if name == "standard input":
            content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        else:
            with open(name, "rb") as file:
                content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{name}: the text cannot be read ({error.strerror}).") from error
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"{name}: the text is longer than {MAX_TEXT_BYTES} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: not a text in UTF-8 (byte {error.start} is {content[error.start]:#04x})."
        ) from error


def say(message: str) -> None:
    """Prints to standard output at once, whatever its encoding: a log that is a pipe must not wait for a full buffer."""
    encoding = sys.stdout.encoding or "utf-8"
    print(message.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def progress_line(what: str) -> Callable[[int, int], None] | None:
    """Counts up on one line of a terminal; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if total > 1:
            print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show
