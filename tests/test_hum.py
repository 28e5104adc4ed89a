"""Mains hum: found where it is and nowhere else, taken off without touching the voice, and no pitch of anybody."""

import numpy as np
import pytest
import soundfile
from tiny_voice import recording

from hierspeech.pipelines.recording import prepare_reference, prepare_source
from hierspeech.pipelines.source_reader import SourceReader
from hierspeech.pipelines.voice_pitch import pitch_range
from hierspeech.preparation.cutting import AudioSettings, pieces_of
from speech.audio import AudioError, set_loudness
from speech.f0 import extract_f0, pitch_statistics
from speech.hum import HumRemover, find_hum, remove_hum

RATE = 16000


def with_pauses(seconds: float = 12.0, f0: float = 120.0, rate: int = RATE) -> np.ndarray:
    """A voice that is silent, but for some noise, in half of the time."""
    wav = recording(seconds, f0, rate)
    speaks = (np.arange(len(wav)) / rate) % 2 < 1.0
    return np.where(speaks, wav, 0) + 3e-4 * np.random.default_rng(1).standard_normal(len(wav)).astype(
        np.float32
    )


def hum(length: int, mains: float = 60.03, rate: int = RATE, third: float = 0.3) -> np.ndarray:
    time = np.arange(length) / rate
    line = np.sin(2 * np.pi * mains * time + 1) + third * np.sin(2 * np.pi * 3 * mains * time)
    return (0.01 * line).astype(np.float32)


@pytest.mark.parametrize("mains", [49.95, 60.03])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_lines_are_found_in_a_voice(mains, rate):
    voice = with_pauses(rate=rate)
    found = find_hum(voice + hum(len(voice), mains, rate), rate)
    assert found == pytest.approx([mains, 3 * mains], abs=0.05)


@pytest.mark.parametrize("f0", [60, 100, 120, 180, 240])
def test_a_voice_has_no_hum(f0):
    for wav in (with_pauses(f0=f0), recording(4.0, f0), np.zeros(RATE, np.float32), recording(0.3, f0)):
        assert find_hum(wav, RATE) == []
        assert remove_hum(wav, RATE) is wav


def test_the_voice_is_left_as_it_is():
    voice = with_pauses()
    cleaned = remove_hum(voice + hum(len(voice)), RATE)
    error = cleaned - voice
    assert cleaned.dtype == np.float32 and len(cleaned) == len(voice)
    assert np.square(error).mean() < 0.01 * np.square(hum(len(voice))).mean()  # 20 dB of it are gone


def test_blocks_give_what_the_whole_gives(monkeypatch):
    voice = with_pauses(21.3)
    noisy = voice + hum(len(voice))
    lines = find_hum(noisy, RATE)
    whole = remove_hum(noisy, RATE, lines)
    remover, out = HumRemover(RATE, lines), []
    borders = [0, 100, 20000, 21000, 160000, 160001, len(noisy)]
    for start, stop in zip(borders[:-1], borders[1:], strict=True):
        out.append(remover.push(noisy[start:stop], last=stop == len(noisy)))
        assert stop == len(noisy) or sum(map(len, out)) > stop - 1.01 * RATE
    assert np.abs(np.concatenate(out) - whole).max() < 1e-5
    monkeypatch.setattr("speech.hum.BLOCK_SECONDS", 5)
    assert np.abs(remove_hum(noisy, RATE, lines) - whole).max() < 1e-5


def test_hum_is_nobodys_pitch():
    voice = with_pauses()
    noisy = voice + 3 * hum(len(voice), third=0.0)
    truth = extract_f0(voice)
    voiced, tracked = truth > 0, extract_f0(noisy)
    assert (tracked[~voiced] > 0).mean() > 0.3  # what this is for
    cleaned = extract_f0(prepare_reference(noisy, RATE)[0])[: len(truth)]
    assert (cleaned[~voiced[: len(cleaned)]] > 0).mean() < 0.05
    assert pitch_range(cleaned) == pytest.approx(pitch_range(truth), abs=0.02)


def test_sources_lose_it_whole_and_in_a_stream(tmp_path):
    voice = with_pauses(23.0)
    noisy = voice + hum(len(voice))
    expected = set_loudness(voice)
    soundfile.write(tmp_path / "source.wav", noisy, RATE, subtype="FLOAT")
    for recording_ in (noisy, tmp_path / "source.wav"):
        whole = prepare_source(recording_, RATE)
        assert np.abs(whole - expected).max() < 0.02
        reader, pieces = SourceReader(recording_, RATE, RATE, "levelled", 0.1), []
        while len(piece := reader.take(33333)):
            pieces.append(piece)
        streamed = np.concatenate(pieces)
        assert len(streamed) == len(whole)
        assert np.abs(streamed / np.abs(streamed).max() - whole / np.abs(whole).max()).max() < 0.02
    published = prepare_source(noisy, RATE, recordings="as_recorded")
    assert np.array_equal(published, noisy)  # the published pipelines hear recordings as they are


def test_packs_hold_none(tmp_path):
    voice = with_pauses(6.0)
    soundfile.write(tmp_path / "a.wav", voice + hum(len(voice)), RATE)
    fields = {"id": "a", "wav": str(tmp_path / "a.wav"), "text": "", "language": "en-us", "speaker": "s", "where": "", "seconds": 6.0}  # fmt: skip
    (_, arrays), *_ = pieces_of(fields, AudioSettings())[0]
    assert find_hum(arrays["wav"] / np.float32(32768), RATE) == []


def test_wrong_octaves_do_not_count():
    rng = np.random.default_rng(0)
    log_f0 = rng.normal(np.log(240), 0.15, 1000)
    mistaken = np.concatenate([np.exp(log_f0), np.exp(log_f0[:200]) / 2.2, np.zeros(300)])
    assert np.log(mistaken[mistaken > 0]).std() > 2 * log_f0.std()
    assert pitch_statistics(mistaken) == pytest.approx((log_f0.mean(), log_f0.std()), abs=0.04)
    lively = np.exp(
        rng.normal(np.log(200), 0.3, 1000)
    )  # no mistake: all of it counts but what lies beyond 3 deviations
    assert pitch_statistics(lively) == pytest.approx((np.log(200), 0.3), abs=0.015)


def test_hum_alone_is_no_recording():
    alone = 20 * hum(4 * RATE, third=0.0)
    for listen in (
        lambda: prepare_reference(alone, RATE),
        lambda: prepare_source(alone, RATE),
        lambda: SourceReader(alone, RATE, RATE, "levelled", 0.1),
    ):
        with pytest.raises(AudioError, match="recording: the recording holds nothing but mains hum"):
            listen()


def test_a_rate_without_room_for_the_lines():
    assert find_hum(np.ones(4000, np.float32), 500) == []
