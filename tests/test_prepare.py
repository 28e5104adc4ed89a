"""prepare.py: recordings to a pack, what is dropped and why, going on where it stopped, and what it refuses."""

import numpy as np
import pytest
from tiny_voice import recording

import prepare
from speech.audio import save_audio
from speech.packs import Pack, SpeakerIndex, write_arrays, write_utterances
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for speaker, f0 in (("ann", 200.0), ("bob", 100.0)):
        (folder / speaker).mkdir()
        save_audio(folder / speaker / "one.wav", recording(1.5, f0, 22050), 22050)
        save_audio(folder / speaker / "two.flac", recording(2.0, f0), 16000)
    save_audio(folder / "bob" / "short.wav", recording(0.3), 16000)
    (folder / "bob" / "broken.wav").write_text("no sound at all")
    return folder


def test_a_folder_becomes_a_pack_and_stays_one(corpus, tmp_path, capsys):
    out = tmp_path / "pack"
    assert prepare.main([str(corpus), str(out)]) == 0
    report = capsys.readouterr().out
    assert "too short: 1" in report and "unreadable: 1" in report and "utterances: 4" in report
    pack = Pack(out)
    assert [u["speaker"] for u in pack.utterances] == ["ann", "ann", "bob", "bob"]
    for index, f0 in enumerate((200, 200, 100, 100)):
        assert pack.length("f0", index) == pack.length("wav", index) // 80
        tracked = pack.read("f0", index).astype(float)
        assert np.median(tracked[tracked > 0]) == pytest.approx(f0, rel=0.1)
        assert pack.length("token_ids", index) == 0  # there is no text

    before = (out / "wav.bin").stat().st_mtime_ns
    encoder = PhoneticEncoder(PhoneticEncoderConfig(width=16, layers=1, dim=8))
    encoder.save_pretrained(tmp_path / "phonetic")
    assert prepare.main([str(corpus), str(out), "--semantic", f"phonetic={tmp_path / 'phonetic'}"]) == 0
    assert (out / "wav.bin").stat().st_mtime_ns == before  # finished stages are not done again
    pack = Pack(out)
    pack.require_semantic(encoder.spec)
    assert pack.read("semantic", 0).shape == (pack.length("wav", 0) // 320, 8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["nowhere", "out"], "nowhere: no such corpus"), (["EMPTY", "out"], "no recordings found")],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    assert prepare.main(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_interrupted_stage_leaves_nothing_under_its_name(tmp_path):
    write_utterances(tmp_path, [{"id": "a", "speaker": "s"}, {"id": "b", "speaker": "s"}])

    def rows():
        yield (np.zeros((3, 2), np.float32),)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path, ["x"], rows())
    assert not Pack(tmp_path).has("x")
    with pytest.raises(ValueError, match="run prepare.py"):
        Pack(tmp_path).read("x", 0)
    write_arrays(tmp_path, ["x"], iter([(np.ones((3, 2), np.float32),), (np.zeros((1, 2), np.float32),)]))
    pack = Pack(tmp_path)
    assert pack.read("x", 0, 1).shape == (2, 2) and pack.read("x", 1).sum() == 0 and pack.length("x", 0) == 3


def test_a_prompt_is_another_recording_of_the_speaker(tmp_path):
    write_utterances(tmp_path, [{"id": str(i), "speaker": s} for i, s in enumerate("aab")])
    write_arrays(tmp_path, ["wav"], [(np.full(1000, value, np.int16),) for value in (3277, 6554, 9830)])
    index, rng = SpeakerIndex(Pack(tmp_path)), np.random.default_rng(0)
    assert index.prompt(0, 400, rng) == pytest.approx(0.2, abs=1e-3)
    assert index.prompt(1, 400, rng) == pytest.approx(0.1, abs=1e-3)
    assert index.prompt(2, 4000, rng).shape == (1000,)  # alone: a piece of itself
