"""Corpus -> pack: audio, phonemes with forced alignment, F0. Restartable; see docs/training.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hierspeech.preparation.corpora import LAYOUTS, read_corpus, with_splits
from hierspeech.preparation.features import prepare
from hierspeech.preparation.records import CorpusOptions
from hierspeech.preparation.semantic import add_semantic


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpus, or a filelist")
    parser.add_argument("out", type=Path, help="folder of the pack to make or go on with")
    parser.add_argument(
        "--layout", choices=sorted(LAYOUTS), default="folder", help="how the corpus is laid out"
    )
    parser.add_argument("--language", default="en-us", help="language of the texts")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--semantic",
        metavar="NAME[=FOLDER]",
        help="also add semantic features: phonetic=FOLDER, mms-300m, xls-r-300m, ...",
    )
    parser.add_argument(
        "--semantic-layer", type=int, default=7, help="layer of a transformer encoder (default 7)"
    )
    parser.add_argument("--semantic-dim", type=int, default=1024, help="its width (default 1024)")
    parser.add_argument(
        "--predicted", metavar="FOLDER", help="also add the features that this AlignedTTV predicts"
    )
    args = parser.parse_args(argv)
    try:
        found, _ = read_corpus(args.corpus, args.layout, CorpusOptions(language=args.language))
        utterances = list(with_splits(found, 0.0, "speakers"))
        counts = prepare(utterances, args.out, args.processes)
        if args.semantic:
            add_semantic(args.out, _encoder(args.semantic, args.semantic_layer, args.semantic_dim))
        if args.predicted:
            from ttv.aligned import AlignedTTV
            from ttv.aligned_features import add_predicted

            add_predicted(args.out, AlignedTTV.from_pretrained(args.predicted))
    except (ValueError, OSError) as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 2
    print("  ".join(f"{name}: {count}" for name, count in counts.items()))
    return 0


def _encoder(wanted: str, layer: int, dim: int):
    name, _, folder = wanted.partition("=")
    if name == "phonetic" and folder:
        from speech.semantic.phonetic import PhoneticEncoder

        return PhoneticEncoder.from_pretrained(folder)  # its spec is in its own config
    from speech.semantic.encoder import SemanticSpec, load_encoder

    return load_encoder(SemanticSpec(name, layer, dim), folder or None)


if __name__ == "__main__":
    sys.exit(main())
