"""Corpus -> pack: audio, phonemes, forced alignment, F0, semantic features. Restartable; see docs/prepare.md.

`prepare.py download ljspeech FOLDER` fetches a corpus, `prepare.py clean PACK` adds recordings without their noise as targets, `prepare.py tables PACK` the colours of a voice's equalizer, `prepare.py tokens PACK ...` adds semantic and acoustic tokens to a pack, `prepare.py pseudo PACK ...` has a back-translation model write
text for them, `prepare.py bpe PACK OUT.json` fits byte pairs on its texts; each explains itself with --help.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hierspeech.preparation.corpora import LAYOUTS, read_corpus
from hierspeech.preparation.cutting import AudioSettings
from hierspeech.preparation.engines import ENGINES
from hierspeech.preparation.merging import ENCODERS, MERGES
from hierspeech.preparation.packing import STAGES, PackOptions, prepare
from hierspeech.preparation.records import CorpusOptions
from hierspeech.preparation.reporting import table

STOPPED = 130  # what shells expect of a command ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    commands = {
        "download": _download,
        "clean": _add_clean,
        "tables": _add_tables,
        "tokens": _add_tokens,
        "pseudo": _add_labels,
        "bpe": _fit_bpe,
    }
    further = commands.get(argv[0] if argv else "")
    try:
        further(argv[1:]) if further else _make_pack(argv)
    except (ValueError, OSError) as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nprepare.py: stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    return 0


def _make_pack(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    corpus = CorpusOptions(args.language, _names(args.subsets), args.mic, _delimiter(args.delimiter))
    options = PackOptions(
        audio=AudioSettings(
            args.min_seconds, args.max_seconds, args.split_seconds, merge=args.merge, speakers=args.speakers
        ),
        dev_share=args.dev_share,
        dev_by=args.dev_by,
        shard_hours=args.shard_hours,
        align=args.align,
        redo=tuple(args.redo),
        strict=args.strict,
    )
    recordings, dropped = read_corpus(args.corpus, args.layout, corpus)
    if args.semantic:
        from hierspeech.preparation.semantic import describe_encoder

        name, _, source = args.semantic.partition("=")
        options.encoder = describe_encoder(name, source or None, args.semantic_layer, args.semantic_dim)
    elif "semantic" in options.redo:
        raise ValueError("--redo semantic: expected --semantic too, which says by what encoder")
    with ENGINES[args.engine](args.processes) as engine:
        summary = prepare(args.out, recordings, dropped, options, engine)
    if args.predicted:
        from ttv.aligned import AlignedTTV
        from ttv.aligned_features import add_predicted

        if not add_predicted(args.out, AlignedTTV.from_pretrained(args.predicted)):
            print("predicted: there already, nothing to do", file=sys.stderr)
    print(table(summary))


def _download(argv: list[str]) -> None:
    from hierspeech.preparation.download import ARCHIVES, download

    parser = argparse.ArgumentParser(
        prog="prepare.py download", description="A public corpus from its authors' page."
    )
    parser.add_argument("corpus", choices=tuple(ARCHIVES))
    parser.add_argument("folder", type=Path, help="the corpus becomes a folder in it")
    parser.add_argument("--url", help="of a mirror")
    args = parser.parse_args(argv)
    place = download(args.corpus, args.folder, args.url)
    print(f"{place}: python prepare.py {place} PACK --layout {ARCHIVES[args.corpus].layout}")


def _add_clean(argv: list[str]) -> None:
    import torch

    from denoiser import DENOISERS, denoise
    from hierspeech.pipelines.voice import find_voice, model_class, shipped_voices
    from hierspeech.preparation.cleaning import add_clean
    from speech.semantic.quantizer import digest
    from speech.starting import find_published

    parser = argparse.ArgumentParser(
        prog="prepare.py clean",
        description="Adds cleaned recordings to a pack, for `data.target: clean` of the synthesizer.",
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument(
        "--denoiser",
        default="lite",
        help="folder of one, or a voice: name or folder (default: %(default)s)",
    )
    parser.add_argument(
        "--rnnoise", help="sources, as SOURCE,SOURCE, that RNNoise cleans first (needs pyrnnoise)"
    )
    parser.add_argument("--redo", action="store_true", help="make it anew where it is there")
    args = parser.parse_args(argv)
    of_voice = args.denoiser in shipped_voices()
    folder = find_published(DENOISERS.values(), find_voice(args.denoiser) if of_voice else args.denoiser)
    noisy = _names(args.rnnoise) if args.rnnoise else ()
    model = model_class(folder, DENOISERS).from_pretrained(folder)

    @torch.inference_mode()
    def clean(wav):
        return denoise(model, torch.from_numpy(wav)).numpy()

    if not add_clean(args.pack, clean, str(args.denoiser), digest(model), noisy, args.redo):
        print("clean: there already, nothing to do", file=sys.stderr)


def _add_tables(argv: list[str]) -> None:
    import torch

    from hierspeech.pipelines.voice import Voice, find_voice
    from hierspeech.preparation.colours import add_tables
    from hierspeech.synthesizer.colours import table_measure
    from speech.semantic.quantizer import digest

    parser = argparse.ArgumentParser(
        prog="prepare.py tables",
        description="Adds the tables of a voice's equalizer to a pack, for `data.table_rate` of the synthesizer.",
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--voice", default="lite", help="name or folder (default: %(default)s)")
    parser.add_argument(
        "--speeds",
        default="1",
        help="as SPEED,SPEED: all that `data.speeds` of the training names (default: %(default)s)",
    )
    parser.add_argument("--redo", action="store_true", help="make them anew where they are there")
    args = parser.parse_args(argv)
    try:
        speeds = [float(speed) for speed in args.speeds.split(",")]
    except ValueError:
        raise ValueError(f"--speeds {args.speeds}: expected numbers, as 1,0.9,1.1") from None
    voice = Voice(find_voice(args.voice), torch.device("cpu"))
    if not voice.hears:
        raise ValueError(
            f"--voice {args.voice}: expected one with its semantic encoder, which makes features"
        )
    measure = table_measure(voice.synthesizer, voice.semantic_encoder)
    weights = f"{digest(voice.synthesizer)} {digest(voice.semantic_encoder)}"
    if not add_tables(args.pack, measure, weights, speeds, args.redo):
        print("table: there already, nothing to do", file=sys.stderr)


def _add_tokens(argv: list[str]) -> None:
    from hierspeech.preparation.tokens import (
        add_acoustic_tokens,
        add_predicted_tokens,
        add_semantic_tokens,
        fit_tokenizer,
    )
    from spear.tokenizers import load_tokenizer

    args = _tokens_parser().parse_args(argv)
    if not (args.tokenizer or args.codec or args.transcribe or args.speakers):
        raise ValueError("tokens: expected --tokenizer FOLDER or --codec NAME, which say by what")
    if args.speakers:
        _add_speakers(args)
    if args.transcribe:
        from hierspeech.preparation.tokens import add_transcripts
        from spear.whisper_tokens.frozen import FrozenWhisper

        if not args.whisper:
            raise ValueError("tokens: --transcribe expects --whisper FOLDER, which says by what")
        if not add_transcripts(args.pack, FrozenWhisper.from_pretrained(args.whisper), args.redo):
            print("whisper_text: there already, nothing to do", file=sys.stderr)
    if args.report and (not args.check or args.report.suffix not in (".html", ".json")):
        raise ValueError(f"tokens: --report {args.report}: expected --check too, and FILE.html or FILE.json")
    if (args.fit or args.check) and not args.tokenizer:
        raise ValueError("tokens: --fit and --check expect --tokenizer FOLDER too")
    if args.tokenizer:
        if args.fit and not (Path(args.tokenizer) / "config.json").is_file():
            quantizer = fit_tokenizer(args.pack, args.fit, args.rate, args.levels, args.passes)
            quantizer.save_pretrained(args.tokenizer)
        tokenizer = load_tokenizer(args.tokenizer, args.whisper)
        wanted = (args.fit, args.rate) if args.fit else None
        if wanted not in (None, (tokenizer.spec.n_tokens, tokenizer.spec.rate_hz)):
            raise ValueError(
                f"{args.tokenizer}: holds a tokenizer of {tokenizer.spec.n_tokens} tokens at "
                f"{tokenizer.spec.rate_hz}/s, --fit asks for {args.fit} at {args.rate}/s; name another folder"
            )
        if args.check:
            _check_tokens(args, tokenizer)
        elif not add_semantic_tokens(args.pack, tokenizer, args.redo):
            print("semantic_tokens: there already, nothing to do", file=sys.stderr)
        if not args.check:
            add_predicted_tokens(args.pack, tokenizer, args.redo)
    if args.codec:
        from spear.codec.codec import load_codec

        if not add_acoustic_tokens(args.pack, load_codec(args.codec), args.codebooks, args.redo):
            print("acoustic_tokens: there already, nothing to do", file=sys.stderr)


def _add_speakers(args: argparse.Namespace) -> None:
    from hierspeech.preparation.speakers import add_speaker_vectors, load_ecapa

    name, _, place = args.speakers.partition("=")
    if name != "ecapa":
        raise ValueError(f"tokens: --speakers {args.speakers}: expected ecapa or ecapa=FOLDER")
    if not add_speaker_vectors(args.pack, load_ecapa(place or None), args.speakers, args.redo):
        print("speaker_vectors: there already, nothing to do", file=sys.stderr)


def _fit_bpe(argv: list[str]) -> None:
    from spear.bpe_command import fit

    fit(argv)


def _add_labels(argv: list[str]) -> None:
    from spear.low_resource.command import label

    label(argv)


def _check_tokens(args: argparse.Namespace, tokenizer) -> None:
    from spear.tokens import check_encoder, round_trip
    from speech.packs import Pack

    pack, encoder = Pack(args.pack), None
    split = pack.utterances.column("split")
    dev = [index for index, name in enumerate(split) if name == "dev"] or range(len(pack))
    if hasattr(tokenizer, "whisper"):
        lines = _whisper_health(pack, tokenizer, dev)
        print("\n".join(lines))
        _report(args, pack, tokenizer, dev, lines)
        return
    if args.phonetic:
        from speech.semantic.phonetic import PhoneticEncoder

        encoder = PhoneticEncoder.from_pretrained(args.phonetic)
        check_encoder(pack, encoder)
    lines = round_trip(pack, tokenizer, dev, encoder).lines()
    print("\n".join(lines))
    _report(args, pack, tokenizer, dev, lines)


def _report(args: argparse.Namespace, pack, tokenizer, indices, lines: list[str]) -> None:
    if not args.report:
        return
    from hierspeech.preparation.alignment import PHONES
    from hierspeech.preparation.tokens import token_reader
    from spear.token_report import statistics, write_report

    figures = statistics(pack, tokenizer.spec, indices, token_reader(pack, tokenizer), PHONES)
    write_report(args.report, figures, lines)


def _whisper_health(pack, tokenizer, indices) -> list[str]:
    from hierspeech.preparation.stages import as_wav
    from spear.whisper_tokens.health import health

    window = tokenizer.whisper.extractor.n_samples
    said = [(i, pack.utterances[i]) for i in indices if pack.length("wav", i) <= window]
    recordings = (
        (as_wav(pack.read("wav", i)), u["text"], u["language"]) for i, u in said if u["text"].strip()
    )
    return health(tokenizer, recordings).lines()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpus; for csv and filelist, the list")
    parser.add_argument("out", type=Path, help="folder of the pack to make, to go on with or to add to")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="folder", help="default: folder")
    parser.add_argument("--language", help="of the texts (default: what the corpus says, else en-us)")
    parser.add_argument("--subsets", default="", help="parts of libritts or commonvoice, with commas between")
    parser.add_argument("--mic", type=int, choices=(1, 2), default=1, help="of vctk")
    parser.add_argument("--delimiter", default=",", help="of a csv; 'tab' is one too")

    parser.add_argument("--min-seconds", type=float, default=0.8)
    parser.add_argument("--max-seconds", type=float, default=35.0)
    parser.add_argument(
        "--split-seconds", type=float, metavar="MAX", help="cut longer recordings at their pauses"
    )
    parser.add_argument(
        "--merge",
        choices=MERGES,
        default="pauses",
        help="of --split-seconds: how long pieces are (default: pauses)",
    )
    parser.add_argument(
        "--speakers",
        choices=sorted(ENCODERS),
        help="of --merge: one speaker in a piece, told apart by it",
    )
    parser.add_argument(
        "--dev-share", type=float, default=0.02, help="for validation, where the corpus says nothing"
    )
    parser.add_argument("--dev-by", choices=("auto", "speakers", "utterances"), default="auto")
    parser.add_argument("--strict", action="store_true", help="refuse what would be dropped")

    parser.add_argument(
        "--no-align", dest="align", action="store_false", help="no forced alignment of English texts"
    )
    parser.add_argument(
        "--semantic",
        metavar="NAME[=FOLDER]",
        help="also make semantic features: phonetic=FOLDER, mms-300m, hubert-base, ...",
    )
    parser.add_argument(
        "--semantic-layer", type=int, default=7, help="layer of a transformer encoder (default 7)"
    )
    parser.add_argument("--semantic-dim", type=int, default=1024, help="its width (default 1024)")
    parser.add_argument(
        "--predicted", metavar="FOLDER", help="also make the features that this AlignedTTV predicts"
    )
    parser.add_argument(
        "--redo", choices=STAGES, action="append", default=[], help="do a stage again that is there"
    )

    parser.add_argument("--engine", choices=sorted(ENGINES), default="pool", help="default: pool")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--shard-hours", type=float, default=1.0, help="most speech in a shard of the pack (default 1)"
    )
    return parser


def _tokens_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare.py tokens", description="Semantic and acoustic tokens into a pack that is there."
    )
    parser.add_argument("pack", type=Path, help="folder of the pack, with `semantic` for --tokenizer")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="write `semantic_tokens` by this tokenizer")
    parser.add_argument(
        "--fit", type=int, metavar="N", help="fit a k-means one of N tokens first, into FOLDER"
    )
    parser.add_argument(
        "--rate", type=int, choices=(25, 50), default=25, help="of --fit, a second (default 25)"
    )
    parser.add_argument("--levels", type=int, default=1, help="of --fit: residual levels (default 1)")
    parser.add_argument(
        "--passes", type=int, default=10, help="of --fit: most passes over the pack (default 10)"
    )
    parser.add_argument(
        "--whisper",
        metavar="FOLDER",
        help="of --transcribe or of a Whisper tokenizer (default: the one it names)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing: entropy, distortion and phones kept on `dev`"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="of --check: statistics of the tokens, FILE.html or FILE.json",
    )
    parser.add_argument(
        "--phonetic", metavar="FOLDER", help="of --check: the phonetic encoder that made the features"
    )
    parser.add_argument(
        "--transcribe",
        action="store_true",
        help="write `whisper_text`, what --whisper hears: to train a tokenizer on",
    )
    parser.add_argument(
        "--codec", metavar="NAME", help="write `acoustic_tokens`: a codec's folder, encodec-24khz"
    )
    parser.add_argument(
        "--speakers",
        metavar="ecapa[=FOLDER]",
        help="write `speaker_vectors` of a public encoder, for data.style_array",
    )
    parser.add_argument("--codebooks", type=int, metavar="Q", help="of --codec (default: all)")
    parser.add_argument("--redo", action="store_true", help="replace tokens of another tokenizer or codec")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _delimiter(text: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(delimiter) != 1:
        raise ValueError(f"--delimiter {text!r}: expected one character, or tab")
    return delimiter


if __name__ == "__main__":
    sys.exit(main())
