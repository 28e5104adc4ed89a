"""The wavelet analysis against its definition, and the discriminators that listen to its bands and to log-mels."""

import math

import numpy as np
import pytest
import torch

from speech.adversarial import discriminator_loss, feature_matching_loss, generator_loss, judge_both
from speech.modules.discriminators import (
    DiscriminatorConfig,
    WaveDiscriminator,
    WaveletDiscriminator,
    WaveletDiscriminatorConfig,
)
from speech.modules.wavelet import WaveletPacket, daubechies


def test_filters_of_the_textbook():
    root2, root3 = math.sqrt(2), math.sqrt(3)
    np.testing.assert_allclose(daubechies(1), [1 / root2, 1 / root2], atol=1e-15)
    # Daubechies 1988, equation 1.4 of the table's second row, in closed form
    expected = np.array([1 + root3, 3 + root3, 3 - root3, 1 - root3]) / (4 * root2)
    np.testing.assert_allclose(daubechies(2), expected, atol=1e-14)


@pytest.mark.parametrize("moments", [1, 2, 4, 8, 16])
def test_filters_are_orthogonal_to_their_even_shifts_and_flat_at_nyquist(moments):
    taps = daubechies(moments)
    assert len(taps) == 2 * moments
    for shift in range(moments):
        product = taps[2 * shift :] @ taps[: len(taps) - 2 * shift]
        assert product == pytest.approx(float(shift == 0), abs=1e-7)
    place = np.arange(len(taps)) / len(taps)
    for power in range(moments):  # vanishing moments of the high-pass filter
        assert abs((place**power * taps * (-1.0) ** np.arange(len(taps))).sum()) < 1e-7


@pytest.mark.parametrize(("levels", "moments"), [(1, 1), (1, 8), (2, 1), (2, 8), (3, 4)])
def test_perfect_reconstruction(levels, moments):
    """The analysis as a matrix: its transpose is its inverse, so that no band loses or repeats anything."""
    size = 128
    analysis = WaveletPacket(levels, moments)
    matrix = analysis(torch.eye(size)[:, None]).flatten(1).T  # columns: what each unit sample becomes
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(size), atol=2e-6, rtol=0)
    wav = torch.randn(3, 1, size)
    bands = analysis(wav)
    assert bands.shape == (3, 2**levels, size >> levels)
    torch.testing.assert_close(bands.flatten(1) @ matrix, wav[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("levels", "rate"), [(1, 24000), (2, 48000)])
def test_a_sine_lands_in_the_band_of_its_frequency(levels, rate):
    analysis, n_bands = WaveletPacket(levels, moments=8), 2**levels
    width = rate / 2 / n_bands
    time = torch.arange(4800) / rate
    for k in range(n_bands):
        for place, share in ((0.25, 0.75), (0.5, 0.94), (0.75, 0.75)):  # the edges belong to both neighbours
            wav = torch.sin(2 * math.pi * width * (k + place) * time)[None, None]
            energy = analysis(wav)[0].square().sum(-1)
            assert energy.argmax() == k and energy[k] / energy.sum() > share
    assert rate * analysis(wav).shape[-1] / wav.shape[-1] == 12000  # the bands' rate that the paper speaks of


def test_haar_separates_worse_than_the_default():
    """What `moments` is for: the share of a sine in the second band that leaks into others."""
    wav = torch.sin(2 * math.pi * 8000 * torch.arange(4800) / 48000)[None, None]
    leaks = []
    for moments in (1, 8):
        energy = WaveletPacket(2, moments)(wav)[0].square().sum(-1)
        leaks.append(float(1 - energy[1] / energy.sum()))
    assert leaks[0] > 10 * leaks[1]


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 4 samples, at least 28, got 30"):
        WaveletPacket(2, 8)(torch.zeros(1, 1, 30))
    with pytest.raises(ValueError, match="got 24"):
        WaveletPacket(2, 8)(torch.zeros(1, 1, 24))
    with pytest.raises(ValueError, match="vanishing moments, got 17"):
        daubechies(17)
    with pytest.raises(ValueError, match="as many channels as strides"):
        WaveletDiscriminatorConfig(channels=[4], strides=[1, 2])


TINY = WaveletDiscriminatorConfig(moments=2, channels=[4, 8], strides=[1, 4], kernel_size=5)


def test_documented_shapes_of_the_wavelet_discriminator():
    discriminator = WaveletDiscriminator(TINY)
    for batch, samples, length in ((1, 402, 101), (2, 400, 100)):
        outputs = discriminator(torch.randn(batch, 1, samples))
        assert len(outputs) == 4
        for output in outputs:
            last = -(-length // 4)
            assert output.logits.shape == (batch, last)
            shapes = [tuple(f.shape) for f in output.features]
            assert shapes == [(batch, 4, length), *[(batch, 8, last)] * 2, (batch, 1, last)]
    assert not any("filters" in key for key in discriminator.state_dict())  # a formula, not a weight


def test_each_part_hears_its_band_only():
    torch.manual_seed(0)
    discriminator = WaveletDiscriminator(WaveletDiscriminatorConfig(channels=[4], strides=[2]))
    time = torch.arange(4800) / 48000
    quiet = torch.zeros(1, 1, 4800)
    high = torch.sin(2 * math.pi * 21000 * time)[None, None]  # the fourth band's centre
    changes = [
        float((a.features[0] - b.features[0]).detach().square().mean())
        for a, b in zip(discriminator(high), discriminator(quiet), strict=True)
    ]
    assert changes[3] > 100 * max(changes[:3])
    # the amplification: a band k is heard 2**k times louder than its coefficients are
    louder = WaveletDiscriminator(WaveletDiscriminatorConfig(channels=[4], strides=[2], band_gain=1.0))
    louder.load_state_dict(discriminator.state_dict())
    torch.testing.assert_close(discriminator(high)[3].logits, louder(8 * high)[3].logits)


def test_the_losses_take_it_and_it_learns_to_tell_apart():
    """A 48 kHz noise from one without its highest quarter, of which only the last band knows."""
    torch.manual_seed(0)
    discriminator = WaveletDiscriminator(TINY)
    spectrum = torch.fft.rfft(torch.randn(4, 1, 480))
    real = torch.fft.irfft(spectrum)
    spectrum[..., 180:] = 0
    fake = torch.fft.irfft(spectrum)
    optimizer = torch.optim.AdamW(discriminator.parameters(), 1e-2)
    seen = []
    for _ in range(60):
        outputs = judge_both(discriminator, real, fake)
        loss = discriminator_loss(*outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.5 * seen[0]
    outputs = judge_both(discriminator, real, fake)
    assert generator_loss(outputs[1]) > 2 * generator_loss(outputs[0])
    assert feature_matching_loss(*outputs) > 0


def test_log_mels_show_a_discriminator_what_is_faint():
    """Noise 45 dB under a tone: told from silence under it by log-mels, not by the linear STFT in as many steps."""
    found = {}
    for name, config in {
        "mel": DiscriminatorConfig(stft_sizes=[], periods=[], mel_sizes=[256], mel_channels=8),
        "stft": DiscriminatorConfig(stft_sizes=[256], stft_channels=8, periods=[]),
    }.items():
        torch.manual_seed(0)
        discriminator = WaveDiscriminator(config)
        optimizer = torch.optim.AdamW(discriminator.parameters(), 2e-3)
        tone = 5 * torch.sin(2 * math.pi * 200 * torch.arange(3200) / 16000).expand(8, 1, -1)
        for _ in range(50):
            outputs = judge_both(discriminator, tone + 0.02 * torch.randn(tone.shape), tone)
            loss = discriminator_loss(*outputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[name] = loss.item()
    assert found["mel"] < 0.2 < 0.4 < found["stft"]


def test_shapes_and_sizes_of_the_mel_discriminator():
    config = DiscriminatorConfig(stft_sizes=[], periods=[], mel_sizes=[256, 1024], mel_channels=4)
    outputs = WaveDiscriminator(config)(torch.randn(2, 1, 4096))
    # bins are halved, rounded up, by three of the layers: 32 -> 4, 128 -> 16
    assert [tuple(o.logits.shape) for o in outputs] == [(2, 64 * 4), (2, 16 * 16)]
    assert all(o.features[0].shape[1] == 4 and len(o.features) == 6 for o in outputs)
    with pytest.raises(ValueError, match=r"mel_sizes must be multiples of 4.*\[250\]"):
        DiscriminatorConfig(mel_sizes=[250])
    with pytest.raises(ValueError, match="mel_sizes, got none"):
        DiscriminatorConfig(stft_sizes=[], periods=[])
