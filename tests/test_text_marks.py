"""Marks in a text: what they say, where they stand, and that a text without any is left alone."""

import pytest

from hierspeech.pipelines.sentences import cut_passages
from speech.text.chunking import split_text
from speech.text.marks import read_marks, remove_notation


def pieces(text):
    marked = read_marks(text)
    return [(str(p), p.border, q.speed, q.mix, q.pause) for p, q in cut_passages(marked, split_text)]


def test_marks_are_taken_out():
    text = "I <energy=4>really</energy> mean <pitch = -2.5>it<range=1.5>."
    marked = read_marks(text)
    assert marked.text == "I really mean it."
    assert [(m.place, m.name, m.value) for m in marked.marks] == [
        (2, "energy", 4),
        (8, "energy", None),
        (14, "pitch", -2.5),
        (16, "range", 1.5),
    ]
    assert [marked.value("energy", place) for place in (0, 2, 7, 8)] == [0, 4, 4, 0]
    assert (marked.value("pitch", 13), marked.value("pitch", 15), marked.value("range", 15)) == (0, -2.5, 1)
    for place, character in enumerate(marked.text):
        assert text[marked.given_place(place)] == character


@pytest.mark.parametrize(
    "text", ["a < b > c", "<b>bold</b>", "<pl>tak", "<pitchfork=2>", "5 <3", "", "<speedy>"]
)
def test_other_angles_are_text(text):
    marked = read_marks(text)
    assert marked.text == text and marked.marks == [] and marked.given_place(0) == 0


@pytest.mark.parametrize(
    ("tag", "limits"),
    [
        ("<pitch=13>", "-12 to 12"),
        ("<pitch>", "-12 to 12"),
        ("<speed=0>", "0.25 to 4"),
        ("<energy=loud>", "-20 to 20"),
        ("<mix=nan>", "0 to 1"),
        ("<pause=1e1>", "0 to 10"),
        ("<range=>", "0 to 3"),
    ],
)
def test_wrong_marks_are_refused(tag, limits):
    with pytest.raises(ValueError, match=limits) as caught:
        read_marks(f"Well {tag}then.")
    assert tag in str(caught.value) and "\n" not in str(caught.value)


def test_speed_mix_and_pause_cut():
    assert pieces("One, <speed=0.8>two. Three.</speed> Four.\n\n<mix=0.3>Five.") == [
        ("One,", "comma", 1, None, None),
        ("two. Three.", "sentence", 0.8, None, None),
        ("Four.", "paragraph", 1, None, None),
        ("Five.", "paragraph", 1, 0.3, None),
    ]
    assert pieces("<pause=9>One <pause=1.5> <pause=0.5>two.<pause=3>") == [
        ("One", "word", 1, None, 2.0),
        ("two.", "paragraph", 1, None, 3.0),
    ]
    assert pieces("A <pitch=1>b. C.") == [("A b. C.", "paragraph", 1, None, None)]
    assert pieces("<speed=2>") == []


def test_a_reader_sees_no_notation():
    assert remove_notation("<pl>A <pitch=2>[b](/x/)</pitch> <br> c") == "A b <br> c"
