"""The carrier: noise without a hum at the frame rate, upper bands in step with the pitch, own phases below."""

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


def carrier_of(hertz):
    """Carrier and source for FRAMES frames of one pitch, 0 = unvoiced."""
    made = source()
    log_f0 = torch.full((1, 1, 2 * FRAMES), math.log1p(hertz))
    with torch.inference_mode():
        return made, made(None, None, log_f0)[0][:, 8:]


def above(wav, hertz):
    spectrum = torch.fft.rfft(wav)
    spectrum[..., : int(hertz * wav.shape[-1] / 16000)] = 0
    return torch.fft.irfft(spectrum, wav.shape[-1])[..., 1600:-1600]


def likeness(wav, lag):
    """Normalised autocorrelation of wav [T]."""
    first, second = wav[:-lag] - wav[:-lag].mean(), wav[lag:] - wav[lag:].mean()
    return float((first * second).sum() / (first.square().sum() * second.square().sum()).sqrt())


def flat(carried=None):
    """The wave of flat magnitudes whose phases stand still, as a network that cannot hear phases makes them; or carried."""
    torch.manual_seed(0)
    magnitude, angle = torch.ones(1, 321, FRAMES), (6.3 * torch.rand(1, 321, 1)).expand(-1, -1, FRAMES)
    if carried is None:
        return overlap_add(torch.polar(magnitude, angle), WINDOW, 160)[0]
    made, carrier = carried
    own, carried = made.carrier.carried(magnitude, angle, carrier)
    return (overlap_add(own, WINDOW, 160) + made.carrier.overlap_add(carried))[0]


def test_noise_has_no_hum_at_the_frame_rate():
    assert likeness(above(flat(), 3000), 160) > 0.99
    carried = above(flat(carrier_of(0.0)), 3000)
    assert abs(likeness(carried, 160)) < 0.05
    assert abs(likeness(carried, 163)) < 0.05


def test_power_is_what_the_magnitudes_say():
    power = above(flat(carrier_of(0.0)), 1000).square().mean() / (7 / 8)
    assert 0.9 < power * WINDOW.square().sum() < 1.1  # a spectrum of ones is that of noise with this power
    for hertz in (0.0, 120.0):
        spectrum = carrier_of(hertz)[1]
        power = (spectrum[:, :161].square() + spectrum[:, 161:-1].square())[0, 100:, 10:-10].mean()
        assert 0.85 < power < 1.15
        size = (spectrum[:, :161].square() + spectrum[:, 161:-1].square())[0, 100:, 10:-10]
        assert (size.std() < 1e-4) == (hertz == 0), "unvoiced noise is even"
        assert (spectrum[:, -1] == (hertz > 0)).all()


def test_upper_bands_of_voices_follow_the_pitch():
    period = 16000 / 125
    wave = above(flat(carrier_of(125.0)), 3000)
    at_pitch = likeness(wave, round(period))
    assert 0.25 < at_pitch < 0.6  # pulses and noise
    assert abs(likeness(wave, 160)) < 0.15
    swells = likeness(wave.abs(), round(period))
    assert swells > at_pitch
    assert swells > likeness(wave.abs(), round(1.5 * period)) + 0.2


def test_the_generators_own_phases_below():
    made, carrier = carrier_of(125.0)
    torch.manual_seed(0)
    magnitude, angle = torch.rand(1, 321, FRAMES), 6 * torch.rand(1, 321, FRAMES)
    low = int(1750 / 25) + 1
    own, carried = made.carrier.carried(magnitude, angle, carrier)
    torch.testing.assert_close(own[:, :low], torch.polar(magnitude, angle)[:, :low])
    assert carried[:, : low // 2].abs().max() < 1e-8
    assert (own[:, 2 * low :] == 0).all()
    assert carried[:, low:].abs().mean() > 0.2


def test_bursts_stay_short():
    made, carrier = carrier_of(0.0)
    magnitude = torch.zeros(1, 321, FRAMES)
    magnitude[..., 200] = 1
    wave = above(made.carrier.overlap_add(made.carrier.carried(magnitude, magnitude, carrier)[1])[0], 500)
    power = wave.square()
    middle = 200 * 160 + 80 - 1600
    assert power[middle - 160 : middle + 160].sum() > 0.99 * power.sum()


def test_ripple_of_the_magnitudes_at_the_frame_rate_is_not_carried():
    made, carrier = carrier_of(0.0)
    magnitude = 1 + torch.cos(math.pi / 2 * torch.arange(321.0))[None, :, None].expand(1, 321, FRAMES)
    spectrum = made.carrier.carried(magnitude, torch.zeros_like(magnitude), carrier)[1]
    shape = (spectrum / torch.complex(carrier[:, :161], carrier[:, 161:-1])).abs()[0, 20:-20]
    assert shape.std() / shape.mean() < 0.01


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
        CarrierConfig(from_hz=3500.0)
    with pytest.raises(ValueError, match="shares of pulses"):
        CarrierConfig(pulses_low=1.5)
    with pytest.raises(ValueError, match="even number of hops"):
        Carrier(CarrierConfig(), 480, 160, 16000)
    for size in (160, 400, 1280):
        with pytest.raises(ValueError, match=f"carrier.n_fft {size}: expected an even number of hops of 160"):
            Carrier(CarrierConfig(n_fft=size), 640, 160, 16000)
    with pytest.raises(
        ValueError, match="carrier.full_hz 9000: expected half of the sample rate 16000 at most"
    ):
        Carrier(CarrierConfig(from_hz=8000.0, full_hz=9000.0), 640, 160, 16000)
    harmonic = HarmonicSourceConfig(carrier=CarrierConfig())
    with pytest.raises(ValueError, match="harmonic.carrier is shaped by the generator istft, got amp"):
        HierSpeechConfig(source=None, harmonic=harmonic)
    carrier = Carrier(CarrierConfig(n_fft=640), 1280, 320, 16000)
    with pytest.raises(
        ValueError, match="a carrier for n_fft 1280 and hop_length 320 needs an istft of the same"
    ):
        ISTFTGenerator(ISTFTGeneratorConfig(width=8, layers=1), 4, 4, 8, AudioConfig(), carrier)
