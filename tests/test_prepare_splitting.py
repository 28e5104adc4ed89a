"""Long recordings: where somebody speaks, where they are cut, that their text follows the pieces, and what cannot be cut."""

from pathlib import Path

import numpy as np
import pytest
from tiny_voice import recording

import prepare
from hierspeech.preparation import cutting
from hierspeech.preparation.cutting import AudioSettings, pieces_of
from hierspeech.preparation.voice_activity import choose_pieces, find_pauses, find_speech
from speech.audio import AudioError, audio_seconds, load_audio, save_audio
from speech.packs import Pack


def speech(*lengths: float, noise_db: float = -75.0) -> np.ndarray:
    """Sound and silence in turn, of the given lengths in seconds, in noise."""
    rng = np.random.default_rng(0)
    parts = [recording(s) if k % 2 == 0 else np.zeros(int(s * 16000)) for k, s in enumerate(lengths)]
    wav = np.concatenate(parts)
    return (wav + 10 ** (noise_db / 20) * rng.standard_normal(len(wav))).astype(np.float32)


@pytest.mark.parametrize("noise_db", [-90.0, -60.0, -40.0])
def test_pauses_are_found_at_any_noise_level(noise_db):
    wav = speech(2.0, 0.5, 1.5, 0.1, 1.0, 1.2, 2.0, noise_db=noise_db)  # speech is at about -20 dB
    found = find_pauses(wav, 16000)
    assert len(found) == 2  # a tenth of a second is no pause
    assert found[0] == pytest.approx((2.0, 2.5), abs=0.12)
    assert found[1] == pytest.approx((5.1, 6.3), abs=0.12)


def test_noise_that_grows_is_not_taken_for_speech():
    wav = speech(3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0)
    rise = np.linspace(-60, -50, len(wav))
    wav = wav + 10 ** (rise / 20) * np.random.default_rng(1).standard_normal(len(wav))
    assert len(find_pauses(wav, 16000)) == 5


def test_nothing_to_tell_apart_is_speech_and_silence_is_none():
    assert find_speech(0.1 * np.random.default_rng(0).standard_normal(48000), 16000).all()
    assert not find_speech(np.zeros(48000), 16000).any()
    assert len(find_speech(np.zeros(100), 16000)) == 0


def test_pieces_end_in_pauses_and_are_short_enough():
    pauses = [(4.0, 4.3), (7.0, 7.8), (9.0, 9.2), (14.0, 17.0), (22.0, 22.5)]
    pieces = choose_pieces(27.0, pauses, 10.0)
    assert pieces[0] == pytest.approx((0.0, 7.2))  # the longest pause of the later half
    assert pieces[1] == pytest.approx((7.6, 14.2))  # the three seconds of silence are cut out
    assert pieces[2] == pytest.approx((16.8, 22.2)) and pieces[3] == pytest.approx((22.3, 27.0))
    assert choose_pieces(8.0, [(4.0, 4.3)], 10.0) == [(0.0, 8.0)]  # short enough as it is


def test_without_pauses_the_quietest_block_is_cut_or_none():
    level = np.zeros(2500)
    level[[710, 1650]] = -30
    assert choose_pieces(25.0, [], 10.0, level) == [(0.0, 7.1), (7.1, 16.5), (16.5, 25.0)]
    assert choose_pieces(25.0, [], 10.0) == [(0.0, 25.0)]


def test_random_pieces_are_in_order_and_never_too_long():
    rng = np.random.default_rng(0)
    for _ in range(300):
        edges = np.sort(rng.uniform(0, 100, 2 * rng.integers(0, 30)))
        pauses = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 0.2]
        pieces = choose_pieces(100.0, pauses, 8.0, rng.standard_normal(10000))
        assert all(0 <= a < b <= 100 and b - a <= 8.0 + 1e-9 for a, b in pieces)
        assert all(p[1] <= q[0] + 1e-9 for p, q in zip(pieces, pieces[1:], strict=False))
        inside = sum(b - a for a, b in pieces) + sum(b - a for a, b in pauses)
        assert inside >= 100 - 1e-6  # nothing but pauses is lost


def made(tmp_path, wav, text="", language="en-us", **settings):
    path = tmp_path / "long.wav"
    save_audio(path, wav, 16000)
    fields = {
        "id": "long",
        "wav": str(path),
        "speaker": "s",
        "language": language,
        "text": text,
        "split": "train",
    }
    fields |= {"source": "made", "where": "list.txt:7", "seconds": len(wav) / 16000}
    return pieces_of(fields, AudioSettings(**settings))


LENGTHS = (4.0, 0.5, 3.0, 0.4, 4.0, 3.0, 5.0, 0.6, 4.0)


def test_a_long_recording_without_text_becomes_pieces(tmp_path, monkeypatch):
    found, dropped = made(tmp_path, speech(*LENGTHS), split_seconds=8.0)
    assert not dropped and [u["id"] for u, _ in found] == [f"long-{k:04d}" for k in range(4)]
    seconds = [len(a["wav"]) / 16000 for _, a in found]
    assert seconds == pytest.approx([4.2, 7.8, 5.4, 4.2], abs=0.2)
    assert all(u["of"] == "long" and u["text"] == "" for u, _ in found)
    assert found[1][0]["span_seconds"] == pytest.approx([4.3, 12.1], abs=0.2)
    monkeypatch.setattr(cutting, "STRETCH_SECONDS", 14.0)  # read in two goes, cut at the same places
    again, _ = made(tmp_path, speech(*LENGTHS), split_seconds=8.0)
    spans = [[u["span_seconds"] for u, _ in pieces] for pieces in (found, again)]
    assert np.array(spans[1]) == pytest.approx(np.array(spans[0]), abs=0.1)


def test_what_fits_without_its_silence_is_not_cut(tmp_path):
    ((utterance, arrays),), dropped = made(tmp_path, speech(7.0, 2.5), split_seconds=8.0)
    assert (
        utterance["id"] == "long"
        and not dropped
        and len(arrays["wav"]) / 16000 == pytest.approx(7.2, abs=0.1)
    )


def test_the_text_follows_the_pieces(tmp_path, monkeypatch):
    text = 'One two, "three" - four five six. Seven eight!'

    class Aligner:
        def word_times(self, wav, words):
            assert len(words) == 8  # the dash has no sound
            times = [0.5, 2.0, 4.6, 6.0, 8.0, 10.0, 15.0, 17.0]
            return [(t, t + 0.9) for t in times]

    monkeypatch.setattr(cutting, "once", lambda make: Aligner())
    found, dropped = made(tmp_path, speech(*LENGTHS), text, split_seconds=8.0)
    assert [u["text"] for u, _ in found] == ['One two, "three" - four', "five six.", "Seven eight!"]
    assert not dropped
    for utterance, arrays in found:
        assert arrays["phonemes"].tobytes().decode() and utterance["split"] == "train"


@pytest.mark.parametrize(
    ("text", "language", "settings", "detail"),
    [
        ("Hello.", "de", {"split_seconds": 8.0}, "no aligner to split 'de'"),
        ("Hello.", "xx-none", {"split_seconds": 8.0}, "xx-none"),
        ("?!", "en-us", {"split_seconds": 8.0}, "nothing can be spoken"),
        ("Hello.", "en-us", {"max_seconds": 10.0}, "--split-seconds cuts it"),
        ("", "en-us", {"max_seconds": 20.0}, "expected at most 20 s"),
    ],
)
def test_what_cannot_be_cut_is_too_long(tmp_path, text, language, settings, detail):
    found, (dropped,) = made(tmp_path, speech(*LENGTHS), text, language, **settings)
    assert not found and dropped.reason == "too long" and detail in dropped.detail
    assert dropped.where == "list.txt:7"


def test_hours_of_transcribed_speech_are_not_aligned(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "ALIGNABLE_SECONDS", 20.0)
    _, (dropped,) = made(tmp_path, speech(*LENGTHS), "Hello.", split_seconds=8.0)
    assert dropped.reason == "too long" and "longer ones are not aligned" in dropped.detail


SHARED = next(
    (p / "shared/corpus" for p in Path(__file__).resolve().parents if (p / "shared/corpus/ljspeech").is_dir()), None
)  # fmt: skip


@pytest.mark.skipif(SHARED is None, reason="no real speech to align")
def test_real_speech_is_cut_with_its_text(tmp_path):
    pytest.importorskip("pocketsphinx")
    rows = [line.split("|") for line in (SHARED / "manifest.csv").read_text().splitlines()[1:]]
    rows = [row for row in rows if row[0].startswith("ljspeech/") and row[-1]][1:3]
    wavs = [load_audio(SHARED / row[0], 16000)[0] for row in rows]
    save_audio(tmp_path / "long.wav", np.concatenate(wavs), 16000)
    (tmp_path / "long.txt").write_text(" ".join(row[-1] for row in rows))
    arguments = [str(tmp_path), str(tmp_path / "pack"), "--split-seconds", "10"]
    assert prepare.main(arguments) == 0
    pack = Pack(tmp_path / "pack")
    texts = [u["text"] for u in pack.utterances]
    assert len(pack) == 2 and max(pack.lengths("wav")) <= 10 * 16000
    assert (tmp_path / "pack" / "dropped.jsonl").read_text() == ""
    assert " ".join(texts) == " ".join((tmp_path / "long.txt").read_text().split())
    assert sum(pack.lengths("token_ids") > 0) == len(pack)  # every piece fits its text


def test_a_part_of_a_file_can_be_read_and_a_header_measured(tmp_path):
    wav = recording(2.0)
    save_audio(tmp_path / "a.flac", wav, 16000)
    assert audio_seconds(tmp_path / "a.flac") == pytest.approx(2.0)
    part, _ = load_audio(tmp_path / "a.flac", max_seconds=0.5, start_seconds=1.0)
    assert part == pytest.approx(wav[16000:24000], abs=1e-4)
    with pytest.raises(AudioError, match="no such"):
        audio_seconds(tmp_path / "b.flac")
    with pytest.raises(AudioError, match="no samples"):
        load_audio(tmp_path / "a.flac", start_seconds=9.0)
