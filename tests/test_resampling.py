"""The Kaiser-windowed sinc resampler: its formula summed directly in float64, tones, lengths, awkward rates, memory."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from speech.resampling import resample_kaiser

PAIRS = [
    (44100, 16000),
    (48000, 16000),
    (22050, 16000),
    (24000, 16000),
    (8000, 16000),
    (11025, 16000),
    (16000, 48000),
    (44099, 16000),
    (15999, 16000),
    (7, 3),
]


def direct(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The sum over the whole input for every output sample, in float64 and in seconds, as the formula is written."""
    cutoff_hz = 0.99 * min(from_rate, to_rate)  # twice the cutoff: zero crossings a second
    length = math.ceil(len(wav) * to_rate / from_rate - 1e-9)
    moments = np.arange(length)[:, None] / to_rate - np.arange(len(wav)) / from_rate
    crossings = torch.from_numpy(moments * cutoff_hz)
    window = torch.special.i0(14.769656459379492 * (1 - (crossings / 6).clamp(-1, 1) ** 2).sqrt())
    window = window / torch.special.i0(torch.tensor(14.769656459379492, dtype=torch.float64))
    taps = torch.sinc(crossings) * window * (crossings.abs() < 6) * cutoff_hz / from_rate
    return (taps @ torch.from_numpy(wav.astype(np.float64))).numpy()


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
@pytest.mark.parametrize("n_samples", [1, 7, 400, 1500])
def test_it_is_the_sum_of_windowed_sincs(from_rate, to_rate, n_samples):
    wav = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    expected = direct(wav, from_rate, to_rate)
    got = resample_kaiser(wav, from_rate, to_rate)
    assert got.dtype == np.float32 and got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize("from_rate", [44100, 48000, 22050, 8000, 44099, 15999])
def test_a_low_tone_keeps_its_height_and_its_place(from_rate):
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 500.0 * np.arange(rate // 2) / rate + 0.3).astype(np.float32)

    got = resample_kaiser(tone(from_rate), from_rate, 16000)
    n_samples = min(len(got), 8000)
    assert np.abs(got - tone(16000)[:n_samples])[100 : n_samples - 100].max() < 2e-5


def test_what_the_new_rate_cannot_hold_vanishes():
    high = np.sin(2 * np.pi * 15000.0 * np.arange(44100) / 44100).astype(np.float32)
    assert np.abs(resample_kaiser(high, 44100, 16000)[100:-100]).max() < 2e-5
    # Half the height is left at the cutoff: this filter is a gentle one, and models have heard through it.
    edge = np.sin(2 * np.pi * 0.99 * 8000.0 * np.arange(44100) / 44100).astype(np.float32)
    assert np.sqrt(2 * np.square(resample_kaiser(edge, 44100, 16000)[100:-100]).mean()) == pytest.approx(
        0.5, abs=0.01
    )


@pytest.mark.parametrize("rate", [44100, 22050, 48000])
def test_the_resampler_is_that_of_the_published_front_end(rate):
    """There it is a convolution with a stride, whose channels are the phases."""
    wav = np.random.default_rng(0).uniform(-1, 1, rate // 2).astype(np.float32)
    old, new = rate // math.gcd(rate, 16000), 16000 // math.gcd(rate, 16000)
    cutoff = 0.99 * min(old, new)
    width = math.ceil(6 * old / cutoff)
    time = torch.arange(-width, width + old).double() / old - torch.arange(new).double()[:, None] / new
    crossings = (time * cutoff).clamp(-6, 6)
    beta = torch.tensor(14.769656459379492, dtype=torch.float64)
    window = torch.special.i0(beta * (1 - (crossings / 6) ** 2).sqrt()) / torch.special.i0(beta)
    kernel = (torch.sinc(crossings) * window * cutoff / old)[:, None]
    padded = F.pad(torch.from_numpy(wav.astype(np.float64))[None, None], (width, width + old))
    expected = F.conv1d(padded, kernel, stride=old)[0].T.reshape(-1)[: math.ceil(new * len(wav) / old)]
    got = resample_kaiser(wav, rate, 16000)
    assert got.shape == expected.shape and np.abs(got - expected.numpy()).max() < 5e-7


def test_equal_rates_and_empty_recordings_pass():
    wav = np.arange(5, dtype=np.float32)
    assert np.array_equal(resample_kaiser(wav, 16000, 16000), wav)
    assert resample_kaiser(wav[:0], 44100, 16000).shape == (0,)


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1), (44100.5, 16000)])
def test_rates_that_are_none(rates):
    with pytest.raises(ValueError, match="sample rate"):
        resample_kaiser(np.zeros(10), *rates)


@pytest.mark.parametrize("from_rate", [44100, 44099, 192001])
def test_memory_is_that_of_the_recording(from_rate):
    wav = np.zeros(20 * from_rate, np.float32)
    tracemalloc.start()
    try:
        resample_kaiser(wav, from_rate, 16000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One padded copy of the input, the output, and the taps of some phases.
    assert peak < wav.nbytes + 20 * 16000 * 4 + 12e6
