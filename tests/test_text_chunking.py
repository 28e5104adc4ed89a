"""Long text into pieces: nothing lost, sentences whole, limits kept."""

import random

import pytest

from speech.text.chunking import split_sentences, split_text


def letters(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith met J. R. R. Tolkien in St. Louis.", "They talked."],
        ['"Stop!" he said.', '"Why?"', "She left... and so on."],
        ["He paid $3.50.", "It is No. 5 of ten."],
        ["He said no.", "Then he left."],
        ["So did I.", 'Then "it ended."', "A new one (in brackets.)", "Another."],
        ["Version 3.11.7 is out!", "See example.com for more…", "Really?!"],
        ["你好。", "世界！", "再见"],
        ["It happened in Jan. 5 and again in Feb.", "Then it stopped."],
        ["Say [St. Ives](/snt ˈaɪvz. x/) now.", "Go."],
        ["One without an end"],
    ],
)
def test_sentences(sentences):
    joined = " ".join(sentences) if sentences[0].isascii() else "".join(sentences)
    if "/snt" in sentences[0]:
        joined = " ".join(sentences)
    assert split_sentences(joined) == sentences


def test_short_sentences_share_a_piece():
    assert split_text("One. Two. Three.", 400) == ["One. Two. Three."]
    assert split_text("One. Two. Three.", 9) == ["One. Two.", "Three."]


def test_paragraphs_do_not():
    assert split_text("One.\n\nTwo.\n \nThree.") == ["One.", "Two.", "Three."]
    assert split_text("A line\nwraps here.") == ["A line\nwraps here."]


def test_long_sentences_are_cut_at_clauses():
    text = "When the sun had gone down behind the hills, the lamps were lit; and everybody, even the oldest, came out to dance."
    assert split_text(text, 80) == [
        "When the sun had gone down behind the hills, the lamps were lit;",
        "and everybody, even the oldest, came out to dance.",
    ]
    assert split_text(text, 50)[0] == "When the sun had gone down behind the hills,"


def test_words_stay_whole_where_they_can():
    assert split_text("aaaa bbbb cccc", 5) == ["aaaa", "bbbb", "cccc"]
    assert split_text("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


def test_overrides_stay_whole():
    override = "[a b. c, d](/very long, thing/)"
    assert override in split_text("x" * 20 + f" {override} y. z", 12)
    assert override in split_text(f"xx{override}yy", 5)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\n \n"])
def test_nothing(text):
    assert split_text(text) == []


def test_bad_limit():
    with pytest.raises(ValueError, match="max_chars is 0"):
        split_text("a", 0)


def test_no_character_is_lost():
    chance = random.Random(0)
    alphabet = list("ab .,;:!?…—-'\"”’()[]\n\t5A") + [
        "Dr.",
        " and ",
        "\n\n",
        "。",
        "é",
        "😀",
        "[w](/x/)",
        "e.g. ",
    ]
    for _ in range(400):
        text = "".join(chance.choices(alphabet, k=chance.randint(0, 120)))
        for limit in (1, 7, 30, 400):
            pieces = split_text(text, limit)
            assert letters("".join(pieces)) == letters(text)
            assert all(piece == piece.strip() and piece for piece in pieces)
            assert all(len(piece) <= limit or "](/" in piece for piece in pieces)


def test_a_book_is_quick():
    chapter = "It was the best of times, it was the worst of times. " * 4000
    pieces = split_text(chapter, 300)
    assert max(map(len, pieces)) <= 300 and letters("".join(pieces)) == letters(chapter)
