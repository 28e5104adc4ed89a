"""Questions that end high: the rule itself, and that every way of speaking follows it where the voice asks for it."""

import json
import shutil

import numpy as np
import pytest
from tiny_voice import recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import questions
from hierspeech.pipelines.questions import rises
from hierspeech.pipelines.voice import find_voice
from speech.f0 import extract_f0

QUESTION = "Are you coming with us?"


@pytest.mark.parametrize(
    ("sentence", "high"),
    [
        ("Are you coming?", True),
        ('Is it "him?"', True),
        ("And is that all?", True),
        ("You’re leaving, aren’t you?", True),
        ("You know where he lives?", True),
        ("Did he say why?", True),
        ("Where are you?", False),
        ("What's the matter?", False),
        ("But, well, who was it?", False),
        ("In which house?", False),
        ("Tea or coffee?", False),
        ("You are coming.", False),
        ("?", False),
        ("", False),
    ],
)
def test_which_questions_end_high(sentence, high):
    assert rises(sentence) is high


@pytest.fixture(scope="module")
def voice_of(tmp_path_factory):
    """A function: the shipped voice with another `question_rise`."""

    def make(semitones):
        folder = tmp_path_factory.mktemp("rise") / "lite"
        shutil.copytree(find_voice("lite"), folder)
        values = json.loads((folder / "voice.json").read_text())
        (folder / "voice.json").write_text(json.dumps(values | {"question_rise": semitones}))
        return TextToSpeech.from_pretrained(str(folder), "cpu")

    return make


@pytest.fixture(scope="module")
def rising(voice_of):
    return voice_of(5.0)  # as it ships


@pytest.fixture(scope="module")
def level(voice_of):
    return voice_of(0.0)


def end_above_median(speech):
    """Semitones of the last voiced 40 ms above the median of the whole."""
    f0 = extract_f0(speech.audio, 16000, f0_max=600.0)
    f0 = f0[f0 > 0]
    return 12 * np.log2(np.mean(f0[-8:]) / np.median(f0))


def test_the_last_word_of_a_question_rises(rising, level):
    high, low = end_above_median(rising(QUESTION, seed=0)), end_above_median(level(QUESTION, seed=0))
    assert high > low + 3 and high > 1


@pytest.mark.parametrize("text", ["Where are you coming from?", "You are coming with us."])
def test_other_sentences_stay_as_they_are(rising, level, text):
    np.testing.assert_array_equal(rising(text, seed=0).audio, level(text, seed=0).audio)


def test_streams_and_batches_rise_as_calls_do(rising):
    call = rising(QUESTION, seed=0)
    streamed = np.concatenate([chunk.audio for chunk in rising.stream(QUESTION, seed=0)])
    (batch,) = rising.batch([QUESTION], seed=0)
    assert end_above_median(batch.speech) == pytest.approx(end_above_median(call), abs=0.5)
    f0 = extract_f0(streamed, 16000, f0_max=600.0)
    f0 = f0[f0 > 0]
    assert 12 * np.log2(np.mean(f0[-8:]) / np.median(f0)) == pytest.approx(end_above_median(call), abs=0.5)


def test_the_first_word_counts_though_it_was_said_in_a_piece_before(rising, level):
    text = "What did the man say to you, when all of them had left the house in the evening, and nobody was there?"
    for tts in (rising, level):
        tts.reader.max_chars = 60
    try:
        pieces, _ = rising.encode(text)
        assert len(pieces) > 1
        np.testing.assert_array_equal(rising(text, seed=0).audio, level(text, seed=0).audio)
    finally:
        for tts in (rising, level):
            tts.reader.max_chars = tts.voice.description.max_chars


def test_only_english_questions(rising, level):
    text = "Vienes con nosotros?"
    with pytest.warns(UserWarning, match="was trained on"):
        own = rising(text, recording(2.0), language="es", seed=0)
    with pytest.warns(UserWarning, match="was trained on"):
        plain = level(text, recording(2.0), language="es", seed=0)
    np.testing.assert_array_equal(own.audio, plain.audio)


def test_a_wrong_value_is_refused(voice_of):
    with pytest.raises(ValueError, match="question_rise is 40"):
        voice_of(40.0)


@pytest.mark.parametrize("spread", [1.0, 2.0])
@pytest.mark.parametrize("aim", [3.0, 6.0])
def test_a_fall_is_turned_into_the_rise_that_is_asked_for(spread, aim):
    hz = np.full(400, 200.0)
    hz[280:360] = np.geomspace(200, 150, 80)  # the last word falls, and its end is voiceless
    hz[360:] = 0
    climb = questions._climb(np.log1p(hz), 70, 95, aim, spread, 50.0)
    assert climb.shape == (100,) and not climb[:70].any() and (np.diff(climb) >= 0).all()
    height = 12 * spread * np.log2(hz[:360] / 200) + np.repeat(climb, 4)[:360]
    assert height[340:].mean() - np.median(height[:280]) == pytest.approx(aim, abs=0.3)


def test_what_ends_high_already_or_is_never_voiced_is_left():
    hz = np.geomspace(100, 300, 400)
    assert questions._climb(np.log1p(hz), 70, 100, 6.0, 1.0, 50.0) is None
    hz[280:] = 0
    assert questions._climb(np.log1p(hz), 70, 100, 6.0, 1.0, 50.0) is None


def test_no_climb_leaves_the_voice():
    hz = np.full(400, 200.0)
    hz[300:] = 50.0  # creaks
    assert questions._climb(np.log1p(hz), 75, 100, 6.0, 1.0, 50.0).max() == pytest.approx(questions.MOST_SEMITONES, abs=1)
