"""Protocols of comparisons: strict files, the corpora's layouts on disk, and one sentence where a corpus is absent."""

from pathlib import Path

import numpy as np
import pytest

from hierspeech.benchmarking.protocols import list_utterances, read_protocol, shipped_protocols
from hierspeech.evaluation import METRICS
from speech.audio import save_audio

SHIPPED = shipped_protocols()


def write(path: Path, seconds: float, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, np.zeros(int(seconds * rate), np.float32), rate)
    return path


def test_the_protocols_of_the_issue_are_there():
    assert {"offline", "libritts_test_clean", "vctk_vc", "seed_tts_eval_en", "speechsr_vctk"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_protocol_reads_and_names_metrics_that_exist(name):
    protocol = read_protocol(name)
    assert protocol.name == name and protocol.about
    assert set(protocol.metrics) <= set(METRICS)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "offline"])
def test_a_missing_corpus_is_named_with_where_to_get_it(name):
    protocol = read_protocol(name, ["root=/nowhere/at/all"])
    with pytest.raises(ValueError, match=r"/nowhere/at/all is not there. Download .*https://.*root="):
        list_utterances(protocol)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sentences=3", "unknown keys"),
        ("task=sing", "expected one of"),
        ("layout=wild", "layout 'wild'"),
        ("limit=0", "limit is 0"),
        ("voices=[]", "needs voices"),
        ("source_seconds=[3, 2]", "shortest and longest"),
    ],
)
def test_a_wrong_protocol_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        read_protocol("offline", [change])


def test_an_unknown_protocol_names_those_there_are():
    with pytest.raises(ValueError, match="libritts_test_clean, offline"):
        read_protocol("online")


def test_offline_needs_nothing_but_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    utterances = list_utterances(read_protocol("offline", ["limit=25"]))
    assert len(utterances) == 25
    assert [u.voice for u in utterances[:7]] == ["anna", "beth", "carl", "dan", "emma", "finn", "anna"]
    assert utterances[20].words.startswith("The museum opens at nine thirty")
    assert "9:30" in utterances[20].text and utterances[0].words is None
    protocol = read_protocol("offline")
    assert protocol.reference_text not in {u.text for u in utterances}  # the reference says other words


def libritts(root: Path) -> Path:
    for speaker, chapter, count in (("10", "1", 3), ("10", "2", 2), ("11", "7", 2), ("12", "9", 1)):
        for number in range(count):
            wav = write(root / speaker / chapter / f"{speaker}_{chapter}_{number}.wav", 5 + number, 24000)
            wav.with_suffix(".normalized.txt").write_text(f"Words {speaker} {chapter} {number}.\n")
    write(root / "10" / "1" / "10_1_long.wav", 30, 24000).with_suffix(".normalized.txt").write_text("Long.")
    return root


def test_libritts_takes_another_utterance_of_the_speaker(tmp_path):
    protocol = read_protocol("libritts_test_clean", [f"root={libritts(tmp_path / 'test-clean')}"])
    utterances = list_utterances(protocol)
    assert len(utterances) == 7  # the speaker of one utterance has no reference; the long one fits nowhere
    for u in utterances:
        assert u.reference != u.target and u.reference.parent.parent == u.target.parent.parent
        assert u.text == f"Words {u.id.replace('_', ' ')}." and u.reference_text.startswith(
            f"Words {u.speaker}"
        )
        if u.speaker == "10":
            assert u.reference.parent != u.target.parent  # another chapter where there is one
    assert list_utterances(protocol) == utterances
    fewer = read_protocol("libritts_test_clean", [f"root={tmp_path / 'test-clean'}", "per_speaker=1"])
    assert len(list_utterances(fewer)) == 2


def test_the_lists_of_seed_tts_eval(tmp_path):
    write(tmp_path / "prompt-wavs" / "a.wav", 1)
    write(tmp_path / "wavs" / "u2.wav", 1)
    meta = tmp_path / "meta.lst"
    meta.write_text(
        "u1|Said before.|prompt-wavs/a.wav|To be said.\n\nu2|Said before.|prompt-wavs/a.wav|Also.|wavs/u2.wav\n"
    )
    one, two = list_utterances(read_protocol("seed_tts_eval_en", [f"root={meta}"]))
    assert (one.id, one.text, one.reference_text, one.target) == ("u1", "To be said.", "Said before.", None)
    assert one.reference == tmp_path / "prompt-wavs" / "a.wav" and two.target == tmp_path / "wavs" / "u2.wav"
    meta.write_text("u1|Said before.|prompt-wavs/a.wav\n")
    with pytest.raises(ValueError, match="line 1: expected utt"):
        list_utterances(read_protocol("seed_tts_eval_en", [f"root={meta}"]))
    meta.write_text("u1|Said before.|prompt-wavs/b.wav|Text.\n")
    with pytest.raises(ValueError, match="there is no prompt"):
        list_utterances(read_protocol("seed_tts_eval_en", [f"root={meta}"]))


def vctk(root: Path) -> Path:
    for speaker in ("p225", "p226", "s5"):
        for number in (1, 2, 30, 31):
            wav = root / "wav48_silence_trimmed" / speaker / f"{speaker}_{number:03d}_mic1.flac"
            write(wav, 2.5, 48000)
            if speaker != "s5":
                text = root / "txt" / speaker / f"{speaker}_{number:03d}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text(f"Text {number}\n")
    return root


def test_vctk_conversion_and_upsampling(tmp_path):
    root = vctk(tmp_path / "vctk")
    (root / "wav48_silence_trimmed" / "s5").rename(tmp_path / "s5")
    utterances = list_utterances(read_protocol("vctk_vc", [f"root={root}"]))
    assert len(utterances) == 8
    for u in utterances:
        assert u.source.parent.name != u.speaker and u.reference.parent.name == u.speaker
        assert u.reference.stem[5:8] in ("030", "031")  # never a text that both read
        shared = u.source.stem[5:8] in ("001", "002")
        assert (u.target is not None) == shared
        if shared:
            assert u.target.stem[4:] == u.source.stem[4:] and u.target.parent.name == u.speaker
    up = list_utterances(read_protocol("speechsr_vctk", [f"root={root}", "per_speaker=2", "seed=3"]))
    assert len(up) == 4 and all(u.source == u.target for u in up)
    assert up == list_utterances(read_protocol("speechsr_vctk", [f"root={root}", "per_speaker=2", "seed=3"]))
