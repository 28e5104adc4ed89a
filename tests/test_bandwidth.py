"""References of a narrow band: where it ends is found, and what lies beyond comes from the voice's own prompts."""

import numpy as np
import pytest
import soxr
import torch
from scipy.signal import butter, sosfilt
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import prompt as prompts
from hierspeech.pipelines.bandwidth import fill_bands, occupied_band
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.voice import load_voice

RATE = 16000


def speechlike(seconds: float = 3.0, tilt_db: float = -6.0) -> np.ndarray:
    """Noise that falls by so much an octave above 500 Hz, in syllables of 0.2 s."""
    samples = int(RATE * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 500) / 500)
    wav = np.fft.irfft(spectrum * 10 ** (tilt_db * octaves / 20), samples)
    return (0.1 * wav * (np.arange(samples) // 1600 % 3 > 0)).astype(np.float32)


def at_8_khz(wav: np.ndarray) -> np.ndarray:
    return soxr.resample(soxr.resample(wav, RATE, 8000), 8000, RATE)[: len(wav)]


def telephone(wav: np.ndarray) -> np.ndarray:
    narrow = sosfilt(
        butter(4, [300, 3400], "bandpass", fs=8000, output="sos"), soxr.resample(wav, RATE, 8000)
    )
    return soxr.resample(narrow.astype(np.float32), 8000, RATE)[: len(wav)]


@pytest.mark.parametrize("tilt_db", [0.0, -6.0, -10.0])
def test_a_wide_recording_is_wide(tilt_db):
    assert occupied_band(speechlike(tilt_db=tilt_db), RATE) == (0.0, 8000.0)


def test_the_edges_of_narrow_recordings_are_found():
    wav = speechlike()
    low, high = occupied_band(at_8_khz(wav), RATE)
    assert low == 0 and high == pytest.approx(3900, abs=100)
    low, high = occupied_band(telephone(wav), RATE)
    assert low == pytest.approx(220, abs=60) and high == pytest.approx(3700, abs=200)
    noisy = at_8_khz(wav + 0.01 * np.random.default_rng(1).standard_normal(len(wav)).astype(np.float32))
    assert occupied_band(noisy, RATE)[1] == pytest.approx(3900, abs=100)


def test_missing_low_bands_alone_are_a_matter_of_the_voice():
    wav = sosfilt(butter(8, 400, "highpass", fs=RATE, output="sos"), speechlike()).astype(np.float32)
    assert occupied_band(wav, RATE) == (0.0, 8000.0)


def test_what_is_there_stays_and_what_is_not_is_as_loud_as_at_the_edge():
    wav, copy = speechlike(tilt_db=0.0), np.random.default_rng(2).standard_normal(3 * RATE).astype(np.float32)
    filled = fill_bands(wav, 20 * copy, 300.0, 4000.0, RATE)
    assert filled.dtype == np.float32 and filled.shape == wav.shape
    hz = np.fft.rfftfreq(len(wav), 1 / RATE)
    ours, theirs, both = (np.fft.rfft(x) for x in (wav, copy, filled))
    inside = (hz >= 300) & (hz <= 4000)
    assert np.allclose(both[inside], ours[inside], atol=1e-3)
    for beyond in (hz > 4100, (hz > 20) & (hz < 290)):
        gains = np.abs(both[beyond] / theirs[beyond])
        assert gains.max() == pytest.approx(gains.min(), rel=1e-2)
        level = np.square(np.abs(both[beyond])).mean() / np.square(np.abs(ours[inside])).mean()
        assert level == pytest.approx(1.0, abs=0.15)
    silent = np.fft.rfft(fill_bands(wav, np.zeros_like(wav), 0.0, 4000.0, RATE))
    assert np.abs(silent[hz > 4100]).max() < 1e-3 and np.allclose(silent[inside], ours[inside], atol=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny voice with one prompt."""
    folder = build_voice(tmp_path_factory.mktemp("voice") / "v", "lite", prompts=["one"])
    (folder / "prompts").mkdir()
    prompt = VoicePrompt.from_audio(
        recording(f0=200.0), load_voice(build_voice(folder / "plain", "lite"), "cpu")
    )
    prompt.save(folder / "prompts" / "one.safetensors")
    return folder


def test_a_narrow_reference_is_filled_before_anything_hears_it(folder, monkeypatch):
    voice, wav = load_voice(folder, "cpu"), recording()
    given = []

    def filled(*arguments):
        given.append(arguments)
        return recording(seconds=len(wav) / RATE, f0=140.0)

    monkeypatch.setattr(prompts, "occupied_band", lambda wav, rate: (100.0, 4000.0))
    monkeypatch.setattr(prompts, "fill_bands", filled)
    heard, f0, _ = prompts.hear(wav, voice)
    ((narrow, copy, low, high, rate),) = given
    assert (low, high, rate) == (100.0, 4000.0, RATE) and np.array_equal(heard, filled())
    assert copy.shape == narrow.shape and np.abs(copy).max() > 0
    assert np.median(f0[f0 > 0]) == pytest.approx(120, abs=8)  # the pitch is the recording's own
    prompt = VoicePrompt.from_audio(wav, voice)
    monkeypatch.setattr(prompts, "occupied_band", lambda wav, rate: (0.0, 8000.0))
    plain = VoicePrompt.from_audio(wav, voice)
    for name in ("ttv_style", "synthesizer_style"):
        assert not torch.equal(getattr(prompt, name), getattr(plain, name))
    assert (prompt.log_f0_mean, prompt.peak) == (plain.log_f0_mean, plain.peak)


@pytest.mark.parametrize("kind", ["wide", "no prompts", "as recorded"])
def test_others_are_heard_as_they_are(folder, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(
        prompts, "occupied_band", lambda wav, rate: (0.0, 8000.0 if kind == "wide" else 4000.0)
    )
    monkeypatch.setattr(prompts, "fill_bands", lambda *arguments: pytest.fail("there is nothing to fill"))
    if kind == "no prompts":
        folder = build_voice(tmp_path / "v", "lite")
    if kind == "as recorded":
        folder = build_voice(tmp_path / "v", "lite", prompts=["one"], recordings="as_recorded")
    assert len(prompts.hear(recording(), load_voice(folder, "cpu"))[0]) == len(recording())


def test_the_shipped_voice_takes_an_8_khz_recording_for_a_clearer_one(monkeypatch):
    tts = TextToSpeech.from_pretrained("lite")
    wav = np.asarray(tts("The boat that came last was full of good things to eat.", "carl").audio).reshape(-1)

    def style(wav):
        return VoicePrompt.from_audio(wav, tts.voice).synthesizer_style

    whole, filled = style(wav), style(at_8_khz(wav))
    monkeypatch.setattr(prompts, "occupied_band", lambda wav, rate: (0.0, 8000.0))
    narrow = style(at_8_khz(wav))
    assert torch.equal(style(wav), whole)  # which is wide
    assert (filled - whole).square().mean() < 0.5 * (narrow - whole).square().mean()
