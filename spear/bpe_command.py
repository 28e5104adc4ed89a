"""`prepare.py bpe`: byte pairs fitted on the texts of packs or of text files, into a JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from spear.bpe import BpeTokenizer, train_bpe
from speech.packs import Pack, write_whole


def fit(argv: list[str]) -> None:
    """Fit, write, and say what it does to the texts."""
    args = parser().parse_args(argv)
    if args.out.suffix != ".json":
        raise ValueError(f"{args.out}: expected a name that ends with .json")
    said = [text for source in args.source for text in texts(source)]
    if not said:
        raise ValueError(f"{', '.join(map(str, args.source))}: no text to learn from")
    found = train_bpe(said, args.size, args.lowercase)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, found + "\n")
    tokenizer = BpeTokenizer(found)
    n_tokens = sum(len(tokenizer.encode(text).ids) for text in said)
    n_bytes = sum(len(text.strip().encode("utf-8")) for text in said)
    print(
        f"{args.out}: {tokenizer.n_tokens} tokens of {len(said)} texts; {n_bytes / max(n_tokens, 1):.2f} bytes a token",
        file=sys.stderr,
    )


def texts(source: Path) -> Iterator[str]:
    """Texts of a pack's training utterances as the recipes read them, or the lines of a text file.

    Raises:
        ValueError: neither of the two.
    """
    if source.is_file():
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read the texts {source}: {error}") from error
        yield from (line for line in lines if line.strip())
        return
    pack = Pack(source)
    for place, split in enumerate(pack.utterances.column("split")):
        text = pack.utterances[place]["text"]
        if split == "train" and text.strip():
            yield text.lower() if text.isupper() else text


def parser() -> argparse.ArgumentParser:
    """Arguments of `prepare.py bpe`."""
    found = argparse.ArgumentParser(
        prog="prepare.py bpe",
        description="Byte pairs of text for token models: `train.py ... model.tokenizer=OUT.json` reads them.",
    )
    found.add_argument("source", type=Path, nargs="+", help="packs, or text files with a sentence a line")
    found.add_argument(
        "out", type=Path, metavar="OUT.json", help="the tokenizer, as tokenizers and transformers read it"
    )
    found.add_argument(
        "--size", type=int, default=1000, help="tokens, the 256 bytes among them (default 1000)"
    )
    found.add_argument(
        "--lowercase", action="store_true", help="write capitals small, here and when speaking"
    )
    return found
