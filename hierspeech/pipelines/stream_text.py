"""Text for streaming: pieces one after another, each found without reading what lies far behind it.

The first piece is short, so that sound begins early; later ones grow to the length that the voice speaks best, since they are
computed while earlier ones are heard. What is cut, and where, never depends on text behind the next sentence.
"""

import re
from collections.abc import Iterator

from speech.text.chunking import Piece, is_divider, split_paragraphs, split_sentences, split_text

FIRST_CHARS = (
    80  # limit of the first piece; the next may be twice as long, and so on up to the voice's own limit
)
SPAN_CHARS = 2000  # read ahead of the place reached, at most
_CLAUSE = re.compile(r"[,;:—][\"'”’»)]*(?=\s)|\s[–—-](?=\s)")


def stream_pieces(text: str, max_chars: int) -> Iterator[Piece]:
    """Pieces of at most `max_chars` characters in the order of the text; only white space is lost.

    The first one is a whole sentence. A sentence over FIRST_CHARS gives its beginning up to the last clause border within them
    instead; without one it stays whole, since a pause inside a phrase sounds worse than a later beginning. Lines that only divide
    sections are left out, unless there is nothing else.
    """
    limit, first = min(FIRST_CHARS, max_chars), True
    paragraphs = split_paragraphs(text)
    spoken = [pair for pair in paragraphs if not is_divider(pair[0])]
    for paragraph, border in spoken or paragraphs:
        held: Piece | None = None  # what follows it is known when the next part is
        for part in _parts(paragraph, first, max_chars):
            if held is None:
                held = part
            elif first or len(held) + 1 + len(part) > limit:
                yield held
                limit, first, held = min(2 * limit, max_chars), False, part
            else:
                held = Piece(f"{held} {part}", part.border)
        if held is not None:
            held.border = border
            yield held
            limit, first = min(2 * limit, max_chars), False


def _parts(paragraph: str, first: bool, max_chars: int) -> Iterator[Piece]:
    """The sentences of a paragraph, long ones in parts; the first sentence of all gives a short beginning first."""
    for sentence in lazy_sentences(paragraph):
        if first:
            first = False
            head, sentence = _first_piece(sentence, min(FIRST_CHARS, max_chars), max_chars)
            clause = "colon" if head.rstrip("\"'”’»)")[-1:] in ";:—–-" else "comma"
            yield Piece(head, clause if sentence else "sentence")
        parts = split_text(sentence, max_chars)
        for part in parts[-1:]:
            part.border = "sentence"
        yield from parts


def lazy_sentences(paragraph: str) -> Iterator[str]:
    """`split_sentences`, read ahead no further than SPAN_CHARS; what has no end within them is cut where `split_text` would."""
    start = 0
    while start < len(paragraph):
        span = paragraph[start : start + SPAN_CHARS]
        sentences = split_sentences(span)
        if start + len(span) < len(paragraph) and sentences:
            # the last one may go on behind the span
            sentences = sentences[:-1] or split_text(span, SPAN_CHARS // 2)[:1]
        yield from sentences
        for sentence in sentences:
            start = paragraph.index(sentence, start) + len(sentence)
        if not sentences:
            start += len(span)


def _first_piece(sentence: str, limit: int, max_chars: int) -> tuple[str, str]:
    """The beginning of a sentence, to be spoken first, and the rest of it (may be empty)."""
    if len(sentence) > limit:
        cuts = [match.end() for match in _CLAUSE.finditer(sentence, 0, limit + 1)]
        # split_text knows what must not be cut: the override of a pronunciation
        cuts = [cut for cut in cuts if sentence[:cut].count("[") == sentence[:cut].count("]")]
        cut = cuts[-1] if cuts else len(sentence)
        if cut > max_chars:
            cut = len(split_text(sentence, max_chars)[0])
        return sentence[:cut].strip(), sentence[cut:].strip()
    return sentence, ""
