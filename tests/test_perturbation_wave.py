"""Wave perturbation: pitch and formants move by the drawn ratios, the equaliser is the one of its biquads, the rest stays."""

import numpy as np
import pytest
import torch

from speech.f0 import extract_f0
from speech.psola import change_voice, shifted_f0
from speech.wave_perturbation import (
    WavePerturbationConfig,
    apply,
    band_response,
    draw,
    equalise,
    perturb_wave,
)

FORMANTS_HZ = (700.0, 1800.0, 2900.0)


def vowel(f0: np.ndarray, formants=FORMANTS_HZ, sample_rate=16000) -> torch.Tensor:
    """A voice of band-limited pulses through resonances: f0 [K] at 200 Hz -> wav [80 K], and rough silence where f0 is 0."""
    track = np.repeat(f0, 80)
    phase = 2 * np.pi * np.cumsum(track / sample_rate)
    wav = np.zeros(len(track))
    for k in range(1, 100):
        f = k * track
        gain = sum(1 / (1 + ((f - centre) / 90) ** 2) for centre in formants) * (f < 7500)
        wav += np.sqrt(gain) * np.cos(k * phase)
    wav = np.where(track > 0, 0.05 * wav, 0) + 1e-4 * np.random.default_rng(0).standard_normal(len(track))
    return torch.from_numpy(wav.astype(np.float32))


def sentence(mean_hz: float) -> np.ndarray:
    """A gliding pitch with a pause in the middle, [240] = 1.2 s."""
    f0 = mean_hz * 2 ** (0.25 * np.sin(np.linspace(0, 9, 240)))
    f0[100:130] = 0
    return f0


@pytest.fixture(scope="module")
def voices():
    f0 = np.stack([sentence(110), sentence(190)])
    return torch.stack([vowel(row) for row in f0]), torch.from_numpy(f0.astype(np.float32))


def full(value, batch=2):
    return torch.full((batch,), float(value))


@pytest.mark.parametrize(("pitch", "spread"), [(1.6, 1.0), (0.65, 1.0), (1.0, 1.5), (1.3, 0.67)])
def test_pitch_moves_by_the_drawn_ratios(voices, pitch, spread):
    wav, f0 = voices
    out = change_voice(wav, f0, full(1), full(pitch), full(spread))
    wanted = shifted_f0(f0, full(pitch), full(spread)).numpy()
    assert out.shape == wav.shape
    for row, target, source in zip(out, wanted, f0.numpy(), strict=True):
        tracked = extract_f0(row.numpy(), f0_max=600)
        both = (tracked > 0) & (target > 0)
        cents = 1200 * np.abs(np.log2(tracked[both] / target[both]))
        assert both.sum() > 0.85 * (target > 0).sum() and np.median(cents) < 10
        assert (tracked[105:125] == 0).all()  # the pause stays one
        ratio = np.exp(np.log(tracked[both]).mean() - np.log(source[both]).mean())
        assert ratio == pytest.approx(pitch, rel=0.03)
        assert np.std(np.log(tracked[both])) == pytest.approx(spread * np.std(np.log(source[both])), rel=0.12)


@pytest.mark.parametrize("ratio", [1.35, 1.15, 0.75])
def test_formants_move_by_the_drawn_ratio_and_pitch_stays(ratio):
    f0 = np.full((1, 200), 100.0)
    wav = vowel(f0[0])[None]
    out = change_voice(wav, torch.from_numpy(f0).float(), full(ratio, 1), full(1, 1), full(1, 1))
    spectrum = np.abs(np.fft.rfft(out[0, 1600:-1600].numpy() * np.hanning(12800)))
    harmonics = np.array([spectrum[k * 80 - 8 : k * 80 + 9].max() for k in range(1, 79)])  # 1.25 Hz a bin
    for formant in FORMANTS_HZ:
        moved = formant * ratio
        near = np.arange(int(moved / 100) - 3, int(moved / 100) + 5)
        top = near[np.argmax(harmonics[near - 1])] * 100
        assert abs(top - moved) <= 100, f"{formant} Hz is now at {top} Hz"
    tracked = extract_f0(out[0].numpy())
    assert np.median(tracked[tracked > 0]) == pytest.approx(100, rel=0.005)


def test_a_sinusoid_stays_a_sinusoid():
    """The hardest case for finding the pulses: it has none."""
    wav = 0.3 * torch.sin(2 * torch.pi * 200 * torch.arange(32000) / 16000)[None]
    out = change_voice(wav, torch.full((1, 400), 200.0), full(1, 1), full(1.3, 1), full(1, 1))
    power = np.abs(np.fft.rfft(out[0, 4000:28000].numpy() * np.hanning(24000))) ** 2
    assert power[385:396].sum() / power.sum() > 0.99  # 260 Hz


def test_what_is_unvoiced_passes_unchanged():
    wav = 0.1 * torch.randn(2, 8000)
    out = change_voice(wav, torch.zeros(2, 100), full(1), full(1.7), full(1.3))
    assert torch.allclose(out[:, 200:-200], wav[:, 200:-200], atol=2e-4)
    stretched = change_voice(wav, torch.zeros(2, 100), full(0.8), full(1), full(1))
    level = stretched[:, 200:-200].square().mean() / wav.square().mean()
    assert 0.9 < level < 1.1  # powers of mismatched grains add


def test_rows_of_a_batch_do_not_touch_each_other(voices):
    wav, f0 = voices
    factors = [torch.tensor(pair) for pair in ([1.2, 0.8], [0.7, 1.5], [1.3, 0.9])]
    together = change_voice(wav, f0, *factors)
    for row in range(2):
        alone = change_voice(wav[row : row + 1], f0[row : row + 1], *(x[row : row + 1] for x in factors))
        assert torch.allclose(together[row], alone[0], atol=1e-5)


def cookbook(kind, corner_hz, gain_db, q, rate=16000):
    """One biquad of the Audio EQ Cookbook as scipy wants it, written out term by term."""
    a, w = 10 ** (gain_db / 40), 2 * np.pi * corner_hz / rate
    c, alpha = np.cos(w), np.sin(w) / (2 * q)
    r = 2 * np.sqrt(a) * alpha
    if kind == "peak":
        return [1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]
    s = 1 if kind == "low" else -1
    b = [
        a * ((a + 1) - s * (a - 1) * c + r),
        s * 2 * a * ((a - 1) - s * (a + 1) * c),
        a * ((a + 1) - s * (a - 1) * c - r),
    ]
    den = [
        (a + 1) + s * (a - 1) * c + r,
        -s * 2 * ((a - 1) + s * (a + 1) * c),
        (a + 1) + s * (a - 1) * c - r,
    ]
    return b, den


def test_the_equaliser_is_that_of_its_biquads():
    torch.manual_seed(0)
    config = WavePerturbationConfig()
    drawn = draw(3, config)
    impulse = torch.zeros(3, 16000)
    impulse[:, 0] = 1
    ours = np.fft.rfft(equalise(impulse, drawn.gains_db, drawn.q, config).numpy(), axis=1)
    frequencies = np.fft.rfftfreq(16000, 1 / 16000)
    corners = 60 * (7600 / 60) ** (np.arange(10) / 9)  # 10 kHz is limited to 95 % of 8 kHz
    for row in range(3):
        expected = np.ones(len(frequencies), complex)
        for band, kind in enumerate(["low", *["peak"] * 8, "high"]):
            sections = cookbook(
                kind, corners[band], float(drawn.gains_db[row, band]), float(drawn.q[row, band])
            )
            numerator, denominator = (
                np.polyval(c[::-1], np.exp(-2j * np.pi * frequencies / 16000)) for c in sections
            )
            expected *= numerator / denominator
        decibels = 20 * np.abs(np.log10(np.abs(ours[row]) / np.abs(expected)))
        assert decibels.max() < 0.3 and np.median(decibels) < 0.01
    responses = band_response(torch.zeros(1, 10), torch.full((1, 10), 3.0), config, 16000)
    assert torch.allclose(responses, torch.ones_like(responses), atol=1e-4)  # no gain, no change


def test_ranges_of_what_is_drawn():
    torch.manual_seed(0)
    drawn = draw(4000, WavePerturbationConfig())
    for values, largest in ((drawn.formants, 1.4), (drawn.pitch, 2.0), (drawn.pitch_range, 1.5)):
        assert 1 / largest <= values.min() < 1.02 / largest and 0.98 * largest < values.max() <= largest
        assert (values > 1).float().mean() == pytest.approx(0.5, abs=0.04)
        up = values[values > 1]
        assert up.mean() == pytest.approx((1 + largest) / 2, rel=0.02)
    assert drawn.gains_db.abs().max() <= 12 and drawn.gains_db.mean().abs() < 0.3
    assert drawn.q.min() >= 2 and drawn.q.max() <= 5
    some = draw(4000, WavePerturbationConfig(rate=0.25))
    assert (some.formants != 1).float().mean() == pytest.approx(0.25, abs=0.03)


def test_length_level_and_silence(voices):
    wav, f0 = voices
    torch.manual_seed(0)
    config = WavePerturbationConfig()
    out = perturb_wave(wav, f0, config)
    assert out.shape == wav.shape and out.isfinite().all() and out.abs().max() <= 1
    level = out.square().mean(1) / wav.square().mean(1)
    assert ((level > 0.2) & (level < 1.01)).all()
    other = perturb_wave(wav, f0, config)
    assert not torch.allclose(out, other)
    torch.manual_seed(0)
    assert torch.equal(out, perturb_wave(wav, f0, config))
    silence = perturb_wave(torch.zeros(2, 4000), torch.zeros(2, 50), config)
    assert not silence.any() and silence.isfinite().all()


def test_changes_can_be_switched_off(voices):
    wav, f0 = voices
    nothing = WavePerturbationConfig(formants=1, pitch=1, pitch_range=1, gain_db=0, keep_level=False)
    assert torch.equal(perturb_wave(wav, f0, nothing), wav)
    never = WavePerturbationConfig(rate=0.0)
    assert torch.allclose(perturb_wave(wav, f0, never), wav, atol=1e-4)
    only_pitch = WavePerturbationConfig(formants=1, pitch_range=1, gain_db=0)
    drawn = draw(2, only_pitch)
    assert (drawn.formants == 1).all() and (drawn.pitch_range == 1).all() and (drawn.gains_db == 0).all()
    apply(wav, f0, drawn, only_pitch)


@pytest.mark.parametrize("changes", [{"rate": 1.5}, {"formants": 0.5}, {"gain_db": -1.0}, {"q_low": 6.0}])
def test_wrong_ranges_are_refused(changes):
    with pytest.raises(ValueError, match="expected"):
        WavePerturbationConfig(**changes)
    with pytest.raises(ValueError, match="expected a divisor"):
        change_voice(torch.zeros(1, 100), torch.zeros(1, 7), *(full(1, 1),) * 3)
