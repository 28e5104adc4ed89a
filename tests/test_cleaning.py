"""How noisy a reference is, and how long its room sounds, decides how much of its cleaned copy counts."""

import json

import numpy as np
import pytest
import torch
from tiny_voice import build_voice, recording

from hierspeech.pipelines.cleaning import MOST, needed_cleaning
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.voice import load_voice
from speech.reverberation import dereverberate


def speech(seconds: float = 3.0) -> np.ndarray:
    """Tones of 0.4 s with pauses of 0.1 s, which hold next to nothing."""
    time = np.arange(int(16000 * seconds)) / 16000
    return (0.2 * np.sin(2 * np.pi * 220 * time) * (time % 0.5 < 0.4)).astype(np.float32)


def hiss(like: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(like))
    return (noise * np.sqrt(np.square(like).mean() / np.square(noise).mean()) * 10 ** (-snr_db / 20)).astype(
        np.float32
    )


@pytest.fixture
def no_room(monkeypatch):
    monkeypatch.setattr("hierspeech.pipelines.cleaning.decay_rate", lambda wav, sample_rate: np.inf)


@pytest.mark.parametrize(("snr_db", "ratio"), [(0.0, MOST), (9.0, MOST), (13.0, MOST / 2), (17.0, 0.0)])
def test_the_more_noise_the_more_is_cleaned(no_room, snr_db, ratio):
    clean = speech()
    found, cleaned = needed_cleaning(
        clean + hiss(clean, snr_db), 16000, lambda wav: clean
    )  # a denoiser that knows
    assert found == pytest.approx(ratio, abs=0.02)
    assert (cleaned is None) == (found == 0) and (cleaned is None or np.array_equal(cleaned, clean))


def test_a_recording_with_silent_pauses_is_not_denoised_at_all(no_room):
    def never(wav):
        raise AssertionError("a clean recording needs no denoiser")

    assert needed_cleaning(speech(), 16000, never) == (0.0, None)


def test_what_a_denoiser_takes_away_whole_is_noise(no_room):
    wav = hiss(np.ones(16000, np.float32), 20.0)
    ratio, cleaned = needed_cleaning(wav, 16000, np.zeros_like)
    assert ratio == MOST and not cleaned.any()


@pytest.mark.parametrize(
    ("rate", "share"), [(400.0, 0.0), (320.0, 0.0), (285.0, 0.5), (250.0, 1.0), (100.0, 1.0)]
)
def test_the_longer_a_room_sounds_the_more_of_it_is_taken_away(monkeypatch, rate, share):
    wav = speech()
    monkeypatch.setattr("hierspeech.pipelines.cleaning.decay_rate", lambda wav, sample_rate: rate)
    ratio, cleaned = needed_cleaning(wav, 16000, np.zeros_like)  # silent pauses: no denoiser
    assert ratio == pytest.approx(MOST * share)
    if share:
        assert np.allclose(cleaned, dereverberate(wav, 16000), atol=1e-6)
    else:
        assert cleaned is None


def test_noise_goes_first_and_a_room_by_its_share(monkeypatch):
    clean = speech()
    heard = []

    def rate(wav, sample_rate):
        heard.append(wav)
        return 285.0

    monkeypatch.setattr("hierspeech.pipelines.cleaning.decay_rate", rate)
    ratio, cleaned = needed_cleaning(clean + hiss(clean, 9.0), 16000, lambda wav: clean)
    assert ratio == pytest.approx(MOST, abs=0.02) and np.array_equal(heard[0], clean)
    half = clean + 0.5 * (dereverberate(clean, 16000) - clean)
    assert cleaned.dtype == np.float32 and np.allclose(cleaned, half, atol=2e-3)


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return load_voice(build_voice(tmp_path_factory.mktemp("voice") / "v", "lite", denoiser=True), "cpu")


@pytest.mark.parametrize("found", [0.0, 0.3])
def test_auto_is_the_ratio_that_is_found(voice, monkeypatch, found):
    def ratio(wav, rate, denoise):
        return found, denoise(wav) if found else None

    monkeypatch.setattr("hierspeech.pipelines.prompt.needed_cleaning", ratio)
    wav = recording()
    asked, said = (VoicePrompt.from_audio(wav, voice, denoise_ratio=r) for r in ("auto", found))
    other = VoicePrompt.from_audio(wav, voice, denoise_ratio=0.9)
    for name in ("ttv_style", "synthesizer_style"):
        assert torch.equal(getattr(asked, name), getattr(said, name))
        assert not torch.equal(getattr(asked, name), getattr(other, name))


def test_auto_may_be_a_voices_default(tmp_path, monkeypatch):
    folder = build_voice(tmp_path / "v", "lite", denoiser=True)
    description = json.loads((folder / "voice.json").read_text())
    (folder / "voice.json").write_text(json.dumps(description | {"denoise_ratio": "auto"}))
    monkeypatch.setattr(
        "hierspeech.pipelines.prompt.needed_cleaning", lambda wav, rate, denoise: (0.5, denoise(wav))
    )
    voice = load_voice(folder, "cpu")
    default, half = (VoicePrompt.from_audio(recording(), voice, denoise_ratio=r) for r in (None, 0.5))
    assert torch.equal(default.synthesizer_style, half.synthesizer_style)


def test_auto_needs_a_denoiser(tmp_path):
    folder = build_voice(tmp_path / "v", "lite")
    voice = load_voice(folder, "cpu")
    with pytest.raises(ValueError, match="denoise ratio auto: the voice .* has no denoiser"):
        VoicePrompt.from_audio(recording(), voice, denoise_ratio="auto")
    with pytest.raises(ValueError, match="denoise ratio 'often': expected a number from 0 to 1, or auto"):
        VoicePrompt.from_audio(recording(), voice, denoise_ratio="often")
    description = json.loads((folder / "voice.json").read_text())
    for value, message in (("auto", "a voice without a denoiser"), ("often", "0 to 1, or auto")):
        (folder / "voice.json").write_text(json.dumps(description | {"denoise_ratio": value}))
        with pytest.raises(ValueError, match=message):
            load_voice(folder, "cpu")
