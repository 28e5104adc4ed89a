"""The carrier: noise without a hum at the frame rate, upper bands in step with the pitch, the wave's own phases below."""

import math

import pytest
import torch

from hierspeech.synthesizer.carrier import Carrier, CarrierConfig
from hierspeech.synthesizer.harmonic import HarmonicSource, HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGenerator, ISTFTGeneratorConfig
from hierspeech.synthesizer.model import HierSpeechConfig
from speech.modules.istft import overlap_add
from speech.spectrogram import AudioConfig

FRAMES = 400  # of 10 ms
WINDOW = torch.hann_window(640)


def source(carrier=True):
    torch.manual_seed(0)
    config = HarmonicSourceConfig(channels=8, carrier=CarrierConfig() if carrier else None)
    return HarmonicSource(config, 4, 4, AudioConfig()).eval()


def carrier_of(*hertz):
    """Carrier and what it makes for FRAMES frames, a like share of them at each pitch, 0 = unvoiced."""
    made = source()
    log_f0 = torch.tensor(hertz).log1p().repeat_interleave(2 * FRAMES // len(hertz))[None, None]
    with torch.inference_mode():
        return made.carrier, made(None, None, log_f0)[0][:, 8:]


def carry(wav, *hertz):
    made, carrier = carrier_of(*hertz)
    with torch.inference_mode():
        return made.carry(wav, carrier)


def still():
    """The wave [1, T] of flat magnitudes whose phases stand still, as a network that cannot hear phases makes them."""
    torch.manual_seed(0)
    angle = (6.3 * torch.rand(1, 321, 1)).expand(-1, -1, FRAMES)
    return overlap_add(torch.polar(torch.ones_like(angle), angle), WINDOW, 160)


def noise():
    return torch.randn(1, 160 * FRAMES, generator=torch.Generator().manual_seed(1))


def between(wav, low, high):
    spectrum = torch.fft.rfft(wav[0])
    bins = torch.arange(len(spectrum)) * 16000 / wav.shape[-1]
    return torch.fft.irfft(spectrum * ((bins >= low) & (bins < high)), wav.shape[-1])[1600:-1600]


def above(wav, hertz):
    return between(wav, hertz, 8001)


def likeness(wav, lag):
    """Normalised autocorrelation of wav [T]."""
    first, second = wav[:-lag] - wav[:-lag].mean(), wav[lag:] - wav[lag:].mean()
    return float((first * second).sum() / (first.square().sum() * second.square().sum()).sqrt())


def test_noise_has_no_hum_at_the_frame_rate():
    assert likeness(above(still(), 3000), 160) > 0.99
    carried = above(carry(still(), 0.0), 3000)
    assert abs(likeness(carried, 160)) < 0.05
    assert abs(likeness(carried, 163)) < 0.05


@pytest.mark.parametrize("hertz", [0.0, 125.0])
def test_power_of_the_wave_is_kept(hertz):
    torch.manual_seed(0)
    tilted = torch.fft.irfft(torch.fft.rfft(noise()) * torch.linspace(2, 0.1, 80 * FRAMES + 1))
    made = carry(tilted, hertz)
    for low in (4000, 5000, 6000, 7000):
        power = (
            between(made, low, low + 1000).square().mean() / between(tilted, low, low + 1000).square().mean()
        )
        assert 0.93 < power < 1.07, f"{low} Hz"


def test_upper_bands_of_voices_follow_the_pitch():
    period = 16000 / 125
    wave = above(carry(still(), 125.0), 4000)
    at_pitch = likeness(wave, round(period))
    assert 0.25 < at_pitch < 0.6  # pulses and noise
    assert abs(likeness(wave, 160)) < 0.15
    swells = likeness(wave.abs(), round(period))
    assert swells > at_pitch
    assert swells > likeness(wave.abs(), round(1.5 * period)) + 0.2


@pytest.mark.parametrize(("hertz", "untouched"), [(0.0, 2400), (125.0, 2900)])
def test_the_wave_is_left_alone_below(hertz, untouched):
    wav = noise()
    made = carry(wav, hertz)
    torch.testing.assert_close(
        between(made, 0, untouched), between(wav, 0, untouched), atol=0.05, rtol=0
    )  # what leaks from above, where all changes:
    difference = above(made, 4100) - above(wav, 4100)
    assert difference.square().mean() > above(wav, 4100).square().mean()


def test_voiced_and_unvoiced_frames_are_told_apart():
    wav = noise()
    made = carry(wav, 125.0, 0.0)
    half = 80 * FRAMES
    kept = [likeness_of(between(made, 2600, 2900), between(wav, 2600, 2900), part) for part in (0, half)]
    assert kept[0] > 0.98  # voiced: from 3,000 Hz on
    assert abs(kept[1]) < 0.15


def likeness_of(first, second, start):
    first, second = first[start : start + 28000], second[start : start + 28000]
    return float((first * second).sum() / (first.square().sum() * second.square().sum()).sqrt())


def test_bursts_stay_short():
    wav = torch.zeros(1, 160 * FRAMES)
    wav[:, 32000:32016] = noise()[:, :16]
    power = above(carry(wav, 0.0), 2600).square()
    middle = 32000 - 1600
    assert power[middle - 160 : middle + 176].sum() > 0.99 * power.sum()


def test_lines_of_a_hum_are_not_carried():
    """Lines 100 Hz apart, as a hum at the frame rate has them: what takes their place has as much power between them."""
    time = torch.arange(160 * FRAMES) / 16000
    buzz = torch.cos(2 * math.pi * torch.arange(30, 78)[:, None] * 100 * time).sum(0)[None]

    def on_lines(wav):
        power = torch.fft.rfft(above(wav, 3500)[:48000]).abs().square()[10500:22500].view(-1, 300).sum(0)
        return power[(torch.arange(300) < 75) | (torch.arange(300) >= 225)].sum() / power.sum()

    assert on_lines(buzz) > 0.95
    assert on_lines(carry(buzz, 0.0)) < 0.6


def test_padding_is_silent_and_changes_nothing_before_it():
    made, carrier = carrier_of(125.0)
    mask = torch.ones(1, 1, FRAMES)
    mask[..., 300:] = 0
    with torch.inference_mode():
        padded = made.carry(noise(), carrier, mask)
        alone = made.carry(noise()[:, : 300 * 160], carrier[..., :300])
    torch.testing.assert_close(padded[:, : 300 * 160], alone)
    assert not padded[:, 300 * 160 + 320 :].any()


def test_without_a_carrier_nothing_changes_and_no_weight_is_new():
    plain, carrying = source(False), source()
    log_f0 = torch.full((1, 1, 40), 5.0)
    with torch.inference_mode():
        features = plain(None, None, log_f0)[0]
        assert features.shape[1] == 8
        torch.testing.assert_close(carrying(None, None, log_f0)[0][:, :8], features)
    assert plain.state_dict().keys() == carrying.state_dict().keys()


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="from_hz < full_hz"):
        CarrierConfig(from_hz=4500.0)
    with pytest.raises(ValueError, match="shares of pulses"):
        CarrierConfig(pulses_low=1.5)
    for size in (0, 160, 324, 480):
        carrier = CarrierConfig(n_fft=size)
        if size == 160:
            Carrier(carrier, 160, 16000)
            continue
        with pytest.raises(ValueError, match=f"carrier.n_fft {size}: expected a multiple of 8 of which"):
            Carrier(carrier, 160, 16000)
    with pytest.raises(
        ValueError, match="carrier.full_hz 9000: expected half of the sample rate 16000 at most"
    ):
        Carrier(CarrierConfig(from_hz=8000.0, full_hz=9000.0), 160, 16000)
    harmonic = HarmonicSourceConfig(carrier=CarrierConfig())
    with pytest.raises(
        ValueError, match="harmonic.carrier is put under the wave of the generator istft, got amp"
    ):
        HierSpeechConfig(source=None, harmonic=harmonic)
    carrier = Carrier(CarrierConfig(), 320, 16000)
    with pytest.raises(
        ValueError, match="a carrier in frames of 320 samples needs an istft of the same hop_length"
    ):
        ISTFTGenerator(ISTFTGeneratorConfig(width=8, layers=1), 4, 4, 8, AudioConfig(), carrier)
