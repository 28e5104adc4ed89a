"""`python -m hierspeech.official`: what makes the published checkpoints ours (docs/official.md).

import DIR OUT                 a whole download folder -> a voice folder for `--voice`
encoder VOICE SOURCE           adds the semantic encoder (MMS-300M) to such a voice
convert COMPONENT FILE OUT     one checkpoint -> a model folder
start COMPONENT RUN_FOLDER     training files -> a run folder from which train.py goes on
extend VOICE_OR_TTV OUT        a copy whose text-to-vec can learn more languages and symbols
"""

import argparse
import sys
from shlex import quote

from hierspeech.official.components import CONVERTIBLE
from hierspeech.official.convert import convert
from hierspeech.official.download import LAYOUT, OPTIONAL
from hierspeech.official.extend import extend
from hierspeech.official.fine_tuning import STARTABLE, start
from hierspeech.official.semantic import install_encoder
from hierspeech.official.voice_folder import import_download
from hierspeech.pipelines.command_line import Parser, run, say

PROGRAM = "python -m hierspeech.official"
UNVERIFIED = "take files that have the name of a published one and another size or sha256"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after one line on stderr if something was refused."""
    parser = Parser(prog=PROGRAM, description="Make the published HierSpeech++ checkpoints ours.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_import(commands)
    command = commands.add_parser("encoder", help="add the semantic encoder to an imported voice")
    command.add_argument("voice", metavar="VOICE", help="the voice's folder")
    command.add_argument("source", metavar="FOLDER_OR_HUB_ID", help="of MMS-300M, e.g. facebook/mms-300m")
    command.set_defaults(work=_encoder)
    command = commands.add_parser("convert", help="one checkpoint file -> model folder")
    command.add_argument("component", choices=CONVERTIBLE)
    command.add_argument("checkpoint", metavar="IN.pth")
    command.add_argument("folder", metavar="OUT_DIR")
    command.add_argument("--unverified", action="store_true", help=UNVERIFIED)
    command.set_defaults(work=_convert)
    command = commands.add_parser("start", help="training files -> a run folder to fine-tune from")
    command.add_argument("component", choices=STARTABLE)
    command.add_argument("run_folder", metavar="RUN_FOLDER")
    command.add_argument("--generator", required=True, metavar="G.pth")
    command.add_argument("--discriminator", metavar="D.pth", help="without it a new one starts")
    command.add_argument("--unverified", action="store_true", help=UNVERIFIED)
    command.add_argument(
        "--fresh-moments", action="store_true", help="parameters without optimizer state start without"
    )
    command.set_defaults(work=_start)
    command = commands.add_parser("extend", help="a copy that can learn more languages and symbols")
    command.add_argument("source", metavar="VOICE_OR_TTV", help="folder of a voice or of its text-to-vec")
    command.add_argument("out", metavar="OUT", help="the folder to create")
    command.add_argument("--languages", default="", metavar="pl,de", help="codes of languages to gain")
    command.add_argument(
        "--symbols", default="", metavar="SYMBOLS", help="phoneme symbols to gain, e.g. 123456"
    )
    command.set_defaults(work=_extend)
    return run(parser, lambda options: options.work(options), arguments)


def _add_import(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("import", help="a whole download folder -> voice folder")
    command.add_argument("download", metavar="DIR", help="laid out as the published README says")
    command.add_argument("out", metavar="OUT", help="the voice folder to create")
    for component in LAYOUT:
        command.add_argument(f"--{component}", metavar="FILE", help="which of several files it is")
    command.add_argument(
        "--without", action="append", default=[], choices=OPTIONAL, help="go on without it (repeatable)"
    )
    command.add_argument(
        "--semantic-encoder",
        metavar="FOLDER_OR_HUB_ID",
        help="MMS-300M, which voice conversion needs, e.g. facebook/mms-300m",
    )
    command.add_argument("--unverified", action="store_true", help=UNVERIFIED)
    command.set_defaults(work=_import)


def _import(options: argparse.Namespace) -> None:
    named = {component: getattr(options, component.replace("-", "_")) for component in LAYOUT}
    chosen = {component: name for component, name in named.items() if name is not None}
    without = list(dict.fromkeys(options.without))
    if both := [component for component in without if component in chosen]:
        raise ValueError(f"--without {both[0]} and --{both[0]} {chosen[both[0]]}: expected one of them")
    import_download(
        options.download, options.out, chosen, without, options.semantic_encoder, options.unverified, _report
    )
    say(f"wrote {options.out}")
    if options.semantic_encoder is None:
        say(
            f"voice conversion needs an encoder too: {PROGRAM} encoder {quote(options.out)} facebook/mms-300m"
        )


def _encoder(options: argparse.Namespace) -> None:
    say(f"wrote {install_encoder(options.voice, options.source)}")


def _convert(options: argparse.Namespace) -> None:
    source = convert(options.component, options.checkpoint, options.folder, options.unverified)
    say(f"wrote {options.folder} ({source.finding})")


def _start(options: argparse.Namespace) -> None:
    folder = start(
        options.component,
        options.run_folder,
        options.generator,
        options.discriminator,
        options.unverified,
        options.fresh_moments,
        _report,
    )
    say(f"wrote {folder}")
    parent, name = folder.parent.parent, folder.parent.name
    names = f"{quote(f'train.runs_folder={parent}')} {quote(f'train.run={name}')}"
    say(f"python train.py CONFIG.yaml {names} goes on from it")


def _extend(options: argparse.Namespace) -> None:
    languages = [code.strip() for code in options.languages.split(",") if code.strip()]
    extend(options.source, options.out, languages, list(options.symbols))
    say(f"wrote {options.out}: train it with init={options.out}")


def _report(message: str) -> None:
    say(message)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
