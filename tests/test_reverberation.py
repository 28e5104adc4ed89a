"""Rooms are told from dry speech by how sound dies away, and what is late is taken away."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from speech.reverberation import decay_rate, dereverberate

RATE = 16000


def dry_speech(seconds: float = 6.0, sample_rate: int = RATE) -> np.ndarray:
    """Noise in syllables of 0.15 to 0.35 s that stop within 20 ms, over a floor 60 dB below."""
    rng, wav = np.random.default_rng(0), []
    while sum(map(len, wav)) < seconds * sample_rate:
        syllable = rng.standard_normal(int(rng.uniform(0.15, 0.35) * sample_rate))
        pause = np.zeros(int(rng.uniform(0.05, 0.3) * sample_rate))
        fade = int(0.02 * sample_rate)
        syllable[-fade:] *= np.linspace(1, 0, fade)
        wav += [0.1 * rng.uniform(0.5, 1) * syllable, pause]
    whole = np.concatenate(wav)[: int(seconds * sample_rate)]
    return (whole + 1e-4 * rng.standard_normal(len(whole))).astype(np.float32)


def late_part(decay_seconds: float, sample_rate: int = RATE) -> np.ndarray:
    """Noise that falls by 60 dB in so many seconds, from 2 ms on, of energy 1."""
    seconds = np.arange(int(1.5 * decay_seconds * sample_rate)) / sample_rate
    late = np.random.default_rng(1).standard_normal(len(seconds)) * 10 ** (-3 * seconds / decay_seconds)
    late[: sample_rate // 500] = 0
    return late / np.sqrt(np.square(late).sum())


def in_room(wav: np.ndarray, decay_seconds: float, sample_rate: int = RATE) -> np.ndarray:
    """wav, and its late sound as loud as itself."""
    return (wav + fftconvolve(wav, late_part(decay_seconds, sample_rate))[: len(wav)]).astype(np.float32)


def test_the_longer_a_room_sounds_the_slower_sound_falls():
    dry = dry_speech()
    rates = [decay_rate(dry, RATE), *(decay_rate(in_room(dry, seconds), RATE) for seconds in (0.3, 0.6, 1.0))]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 320 and rates[1] < 300 and rates[2] < 220
    assert rates[3] > 60  # dB/s of an even fall


def test_the_rate_does_not_go_with_loudness_or_sample_rate():
    room = in_room(dry_speech(), 0.6)
    assert decay_rate(0.01 * room, RATE) == pytest.approx(decay_rate(room, RATE), rel=0.01)
    wider = in_room(dry_speech(sample_rate=24000), 0.6, 24000)
    assert decay_rate(wider, 24000) == pytest.approx(decay_rate(room, RATE), rel=0.15)


@pytest.mark.parametrize("wav", [np.zeros(RATE, np.float32), dry_speech(0.1), np.ones(40, np.float32)])
def test_too_little_to_tell_is_no_room(wav):
    assert decay_rate(wav, RATE) == np.inf


@pytest.mark.parametrize("decay_seconds", [0.4, 0.8])
def test_what_is_late_gets_quieter_and_what_is_dry_stays(decay_seconds):
    dry = dry_speech()
    room = in_room(dry, decay_seconds)
    heard = dereverberate(room, RATE)
    assert heard.dtype == np.float32 and heard.shape == room.shape
    pauses = np.convolve(np.square(dry), np.ones(800) / 800, "same") < 1e-6
    assert 0.1 < pauses.mean() < 0.6
    before, after = (np.square(x[pauses]).mean() for x in (room, heard))
    assert after < 0.25 * before  # 6 dB
    assert np.square(heard - dry).mean() < 0.6 * np.square(room - dry).mean()
    onset = slice(0, int(0.03 * RATE))  # nothing was before it
    assert np.allclose(heard[onset], room[onset], atol=1e-5)


@pytest.mark.parametrize("samples", [1, 300, 512, 1000])
def test_short_waves_keep_their_length(samples):
    wav = dry_speech(1.0)[:samples]
    assert dereverberate(wav, RATE).shape == (samples,)
