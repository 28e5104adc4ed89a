"""Text for streaming: pieces one after another, each found without reading what lies far behind it.

The first piece is short, so that sound begins early; later ones grow to the length that the voice speaks best, since they are
computed while earlier ones are heard. What is cut, and where, never depends on text behind the next sentence.
"""

import re
from collections.abc import Iterator

from speech.text.chunking import split_sentences, split_text

FIRST_CHARS = (
    80  # limit of the first piece; the next may be twice as long, and so on up to the voice's own limit
)
SPAN_CHARS = 2000  # read ahead of the place reached, at most
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_CLAUSE = re.compile(r"[,;:—][\"'”’»)]*(?=\s)|\s[–—-](?=\s)")


def stream_pieces(text: str, max_chars: int) -> Iterator[str]:
    """Pieces of at most `max_chars` characters in the order of the text; only white space is lost.

    The first one is a whole sentence. A sentence over FIRST_CHARS gives its beginning up to the last clause border within them
    instead; without one it stays whole, since a pause inside a phrase sounds worse than a later beginning.
    """
    limit = min(FIRST_CHARS, max_chars)
    first = True
    for paragraph in _paragraphs(text):
        current = ""
        for sentence in lazy_sentences(paragraph):
            if first:
                first = False
                head, sentence = _first_piece(sentence, limit, max_chars)
                yield head
                limit = min(2 * limit, max_chars)
                if not sentence:
                    continue
            for part in split_text(sentence, max_chars):
                if current and len(current) + 1 + len(part) > limit:
                    yield current
                    limit, current = min(2 * limit, max_chars), ""
                current = f"{current} {part}" if current else part
        if current:
            yield current
            limit = min(2 * limit, max_chars)


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


def _paragraphs(text: str) -> Iterator[str]:
    start = 0
    for border in _PARAGRAPH.finditer(text):
        yield text[start : border.start()]
        start = border.end()
    yield text[start:]


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
