"""Streams speak as calls do: the same numbers for each piece, the same pauses."""

import numpy as np
import pytest
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import output, tts
from hierspeech.pipelines.stream_output import Leveller
from hierspeech.pipelines.stream_text import stream_pieces
from speech.text.chunking import is_divider, split_text

TEXT = "Chapter one\n\nHello, world; how are you?\n\n* * *\n\n\ue000\n\nGood bye, all of you."


@pytest.mark.parametrize("family", ["lite", "official"])
def test_a_stream_has_the_pauses_and_the_noise_of_a_call(tmp_path, monkeypatch, family):
    pipeline = TextToSpeech.from_pretrained(build_voice(tmp_path / family, family, max_chars=20), "cpu")
    pieces_of_a_call = [piece for piece in split_text(TEXT, 20) if not is_divider(piece)]
    monkeypatch.setattr(tts, "stream_pieces", lambda text, max_chars: pieces_of_a_call)
    monkeypatch.setattr(output, "set_level", lambda wav, *others: wav)
    monkeypatch.setattr(Leveller, "__call__", lambda self, wav: wav)
    options = {"seed": 4, "noise_scale": 0.6, "speed": 1.25}
    whole = pipeline(TEXT, recording(), **options).audio
    stream = np.concatenate([chunk.audio for chunk in pipeline.stream(TEXT, recording(), **options)])
    assert stream.shape == whole.shape and np.abs(stream - whole).max() < 1e-4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.", [("One.", "paragraph")]),
        ("One.\n\nTwo.", [("One.", "paragraph"), ("Two.", "paragraph")]),
        ("One. Two.\n\n\nThree.", [("One.", "sentence"), ("Two.", "section"), ("Three.", "paragraph")]),
        (
            "When all was said and done, and everybody had gone home to sleep; the cat came out of its basket again.",
            [
                ("When all was said and done, and everybody had gone home to sleep;", "colon"),
                ("the cat came out of its basket again.", "paragraph"),
            ],
        ),
    ],
)
def test_pieces_of_a_stream_know_what_follows_them(text, expected):
    assert [(str(piece), piece.border) for piece in stream_pieces(text, 200)] == expected


def test_a_text_of_nothing_but_dividers_is_read_out(tmp_path):
    pipeline = TextToSpeech.from_pretrained(build_voice(tmp_path / "lite", "lite"), "cpu")
    assert len(pipeline.encode("* * *")[0]) == 1
    assert sum(len(chunk.audio) for chunk in pipeline.stream("* * *", recording())) > 0
