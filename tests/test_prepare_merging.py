"""Stretches of speech merged into utterances: raw, eq and max, one speaker in each, the same however a recording is read."""

import importlib.util

import numpy as np
import pytest
from tiny_voice import recording

import prepare
from hierspeech.preparation import cutting, merging
from hierspeech.preparation.cutting import AudioSettings, pieces_of
from hierspeech.preparation.merging import Voices, merge, speaker_encoder
from speech.audio import save_audio
from speech.packs import Pack

# twenty stretches of 4 s with half a second between them, then 5 s of silence and three more
PAUSES = [(4.5 * k + 4.0, 4.5 * k + 4.5) for k in range(19)] + [(89.5, 94.5), (98.5, 99.0), (103.0, 103.5)]
SECONDS = 107.5
A, B = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def lengths(found):
    return [round(b - a, 2) for (a, b), _ in found]


def test_raw_is_every_stretch_alone():
    found = merge(SECONDS, PAUSES, 30.0, "raw", "x")
    assert len(found) == 23 and max(lengths(found)) <= 4.4 + 1e-6
    spans = [span for span, _ in found]
    assert spans[0] == (0.0, 4.2) and spans[1] == pytest.approx((4.3, 8.7))  # up to 0.2 s of the pauses
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


def test_max_fills_up_and_no_utterance_holds_a_long_pause():
    found = merge(SECONDS, PAUSES, 30.0, "max", "x")
    assert max(lengths(found)) <= 30.0 and lengths(found)[:3] == [26.7, 26.9, 26.9]
    assert all(b <= 89.7 + 1e-6 or a >= 94.3 - 1e-6 for (a, b), _ in found)


def test_eq_has_short_and_long_ones_and_draws_the_same_again():
    pauses = [(4.5 * k + 4.0, 4.5 * k + 4.5) for k in range(799)]
    found = merge(3600.0, pauses, 30.0, "eq", "x")
    assert max(lengths(found)) <= 30.0
    share = sum(length < 10 for length in lengths(found)) / len(found)
    longest = merge(3600.0, pauses, 30.0, "max", "x")
    assert 0.1 < share < 0.5 and sum(length < 10 for length in lengths(longest)) / len(longest) < 0.02
    assert merge(3600.0, pauses, 30.0, "eq", "x") == found != merge(3600.0, pauses, 30.0, "eq", "y")


def test_an_utterance_has_one_speaker():
    """Five stretches of one voice, then another's: the border lies between, wherever the limit is."""

    def vector_of(a, b):
        return A if a < 22 else B

    found = merge(40.5, PAUSES[:8], 30.0, "max", "x", vector_of=vector_of)
    assert [round(span[0], 1) for span, _ in found] == [0.0, 22.3] and found[0][0][1] < 22.3
    assert np.allclose(found[0][1], A) and np.allclose(found[1][1], B)
    assert len(merge(40.5, PAUSES[:8], 60.0, "max", "x")) == 1


def test_a_short_stretch_follows_what_it_is_in_unless_it_is_far_off():
    between = np.array([0.7, 0.714])  # cosine 0.7 to A
    pauses = [(4.0, 4.5), (5.5, 6.0)]

    def middle_is(vector):
        return lambda a, b: vector if 4 < a < 5 else A

    assert len(merge(10.0, pauses, 30.0, "max", "x", vector_of=middle_is(between))) == 1
    assert len(merge(10.0, pauses, 30.0, "max", "x", vector_of=middle_is(B))) == 3
    long = [(4.0, 4.5), (7.5, 8.0)]  # the same vector over three seconds is somebody else's
    assert len(merge(12.0, long, 30.0, "max", "x", vector_of=middle_is(between))) == 3


def test_voices_are_known_again():
    voices = Voices()
    assert [voices.place(v, 5.0) for v in (A, B, A, np.array([0.95, 0.312]), B)] == [0, 1, 0, 0, 1]
    between = np.array([0.75, -0.661])  # of cosine 0.75 to A
    for seconds, who in ((1.0, 0), (5.0, 1)):  # a short one is the nearest's
        voices = Voices()
        assert [voices.place(A, 5.0), voices.place(between, seconds)] == [0, who]


def test_a_stretch_without_pauses_is_cut_at_its_quietest_blocks():
    level = np.zeros(5000)
    level[2500] = -30
    assert lengths(merge(50.0, [], 30.0, "max", "x", level)) == [25.0, 25.0]
    assert merge(0.5, [(0.0, 0.5)], 30.0, "max", "x") == []


def fields(path, seconds, text=""):
    return {
        "id": "long", "wav": str(path), "speaker": "s", "language": "en-us", "text": text, "split": "train",
        "source": "test", "where": "list:1", "seconds": seconds,
    }  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Seven stretches of 2 s with 0.6 s between them, the last three an octave lower."""
    path = tmp_path_factory.mktemp("merging") / "long.flac"
    one = recording(2.0)
    low = np.repeat(one, 2)[: len(one)]
    quiet = np.zeros(9600)
    parts = [x for k in range(7) for x in ((low if k > 3 else one), quiet)]
    save_audio(path, np.concatenate(parts).astype(np.float32), 16000)
    return path


def heard(settings, file, monkeypatch, **changes):
    """Pieces with a stand-in for the speaker encoder, that hears the octave."""

    def embed(wav):
        spectrum = np.abs(np.fft.rfft(wav))
        centre = (spectrum * np.arange(len(spectrum))).sum() / spectrum.sum() / len(spectrum)
        return A if centre > changes["border"] else B

    monkeypatch.setattr(cutting, "speaker_encoder", lambda name: embed if name else None)
    return pieces_of(fields(file, 18.2), settings)[0]


def test_pieces_of_a_file_have_a_speaker_each(file, monkeypatch):
    def centre(wav):
        spectrum = np.abs(np.fft.rfft(wav))
        return (spectrum * np.arange(len(spectrum))).sum() / spectrum.sum() / len(spectrum)

    one = recording(2.0)
    border = (centre(one) + centre(np.repeat(one, 2)[: len(one)])) / 2
    settings = AudioSettings(split_seconds=15.0, merge="max", speakers="resemblyzer")
    found = heard(settings, file, monkeypatch, border=border)
    assert [u["speaker"] for u, _ in found] == ["s", "s#2"]
    assert found[0][0]["span_seconds"][1] == pytest.approx(10.1, abs=0.2)
    monkeypatch.setattr(cutting, "STRETCH_SECONDS", 12.0)
    again = heard(settings, file, monkeypatch, border=border)
    assert [u["speaker"] for u, _ in again][:1] == ["s"] and "s#2" in [u["speaker"] for u, _ in again]
    raw = heard(AudioSettings(split_seconds=15.0, merge="raw"), file, monkeypatch, border=border)
    assert len(raw) == 7 and {u["speaker"] for u, _ in raw} == {"s"}


def test_what_has_a_text_and_fits_is_not_cut(file):
    settings = AudioSettings(split_seconds=20.0, merge="raw")
    ((utterance, _),), dropped = pieces_of(fields(file, 18.2, "hello"), settings)
    assert utterance["id"] == "long" and not dropped


def test_the_command_makes_a_pack_of_each_kind(file, tmp_path, capsys):
    hours = {}
    for kind in ("raw", "max"):
        arguments = [str(file.parent), str(tmp_path / kind), "--split-seconds", "15", "--merge", kind]
        assert prepare.main(arguments) == 0
        pack = Pack(tmp_path / kind)
        hours[kind] = (len(pack), round(pack.lengths("wav").sum() / 16000))
    assert hours["raw"][0] == 7 and hours["max"][0] == 2
    assert (
        prepare.main([str(file.parent), str(tmp_path / "raw"), "--split-seconds", "15", "--merge", "eq"]) == 2
    )
    assert "made with merge = raw" in capsys.readouterr().err
    assert prepare.main([str(file.parent), str(tmp_path / "x"), "--merge", "eq"]) == 2
    assert "expected split seconds too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"merge": "min"}, "merge 'min': expected one of"),
        ({"merge": "max", "split_seconds": 9.0, "speakers": "ecapa"}, "speakers 'ecapa': expected one of"),
        ({"split_seconds": 9.0, "speakers": "resemblyzer"}, "expected merge raw, eq or max"),
    ],
)
def test_bad_settings_are_refused_by_name(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        AudioSettings(**values)


@pytest.mark.skipif(importlib.util.find_spec("resemblyzer") is None, reason="resemblyzer is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_resemblyzer_gives_vectors_of_length_one():
    vector = speaker_encoder("resemblyzer")(recording(2.0))
    assert vector.shape == (256,) and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)
    assert merging.SAME_SHORT < merging.SAME_LONG
