"""Lazy pieces of a text: nothing lost, the first one short and independent of what follows far behind, nothing read early."""

import pytest

from hierspeech.pipelines import stream_text
from hierspeech.pipelines.stream_text import FIRST_CHARS, SPAN_CHARS, lazy_sentences, stream_pieces
from speech.text.chunking import split_sentences

LONG = (
    "When the morning light came over the hills, the people of the village, who had waited through the whole of that "
    "night, opened their doors and looked out to the sea."
)
TEXT = f"{LONG} Nobody spoke. Dr. Smith said: no, not yet! " * 30 + f"\n\n{LONG} The end.\n \nReally."


def words(text):
    return text.split()


@pytest.mark.parametrize("max_chars", [20, 80, 200, 400])
@pytest.mark.parametrize("text", ["Hello.", LONG, TEXT, "word " * 1000, "x" * 5000, "\n\n a \n\n\n\nb"])
def test_no_word_is_lost_and_no_piece_is_too_long(text, max_chars):
    pieces = list(stream_pieces(text, max_chars))
    joined = "".join(words(" ".join(pieces)))
    assert joined == "".join(words(text))
    assert all(pieces) and max(map(len, pieces)) <= max_chars


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello. How are you?", "Hello."),
        (LONG, "When the morning light came over the hills, the people of the village,"),
        (LONG.replace(",", ""), LONG.replace(",", "")),  # no clause border: the sentence stays whole
        ("Dr. Smith came.\n\nGood.", "Dr. Smith came."),
        ("It is 1,000 [word, here](/wɜːd, h/) " + "x " * 50 + ".", None),
    ],
)
def test_the_first_piece_is_one_sentence_or_its_beginning(text, first):
    pieces = list(stream_pieces(text, 200))
    assert pieces[0] == (first or pieces[0]) and pieces[0].count("[") == pieces[0].count("]")


@pytest.mark.parametrize("more", ["", " More.", " " + TEXT, "\n\nNew paragraph. " + TEXT])
def test_the_first_piece_does_not_depend_on_later_sentences(more):
    assert next(stream_pieces("This is it." + more, 200)) == "This is it."
    assert next(stream_pieces(LONG + more, 200)) == next(stream_pieces(LONG, 200))


def test_pieces_grow_to_the_limit():
    lengths = [len(piece) for piece in stream_pieces("Short one here. " * 100, 200)]
    assert lengths[0] <= FIRST_CHARS and lengths[1] <= 2 * FIRST_CHARS
    assert lengths[1] > lengths[0] and min(lengths[2:-1]) > 170


def test_lazy_sentences_are_those_of_the_splitter():
    paragraph = TEXT.split("\n")[0]
    assert len(paragraph) > 3 * SPAN_CHARS and list(lazy_sentences(paragraph)) == split_sentences(paragraph)


def test_a_long_text_is_read_in_spans(monkeypatch):
    read = []
    monkeypatch.setattr(
        stream_text, "split_sentences", lambda text: (read.append(len(text)), split_sentences(text))[1]
    )
    pieces = stream_pieces("A short sentence. " * 20000, 200)
    next(pieces)
    assert read == [SPAN_CHARS]
