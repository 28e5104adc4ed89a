"""The pitch tracker on signals whose pitch is known."""

import numpy as np
import pytest
from tiny_voice import recording

from speech.f0 import extract_f0


def harmonic(f0: np.ndarray, n_harmonics: int = 10, slope: float = 1.0) -> np.ndarray:
    """A sound with the pitch f0 [T] in Hz at every sample."""
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    return sum(np.sin(k * phase) / k**slope * (k * f0 < 7500) for k in range(1, n_harmonics + 1)) * 0.1


def middle(f0: np.ndarray) -> np.ndarray:
    """f0 [T] at the middle of each frame."""
    return f0[40::80][: len(f0) // 80]


@pytest.mark.parametrize("f0", [70, 95, 130, 185, 240, 310, 390])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_steady_pitch(f0, slope):
    found = extract_f0(harmonic(np.full(16000, float(f0)), slope=slope))
    assert found.shape == (200,) and found.dtype == np.float32
    assert (found > 0).all()
    assert np.abs(found[5:-5] / f0 - 1).max() < 0.015


def test_a_glide_is_followed():
    f0 = np.geomspace(90, 350, 32000)
    found = extract_f0(harmonic(f0))
    assert np.abs(np.log2(found[5:-5] / middle(f0)[5:-5])).max() < 0.03


def test_a_missing_fundamental_is_heard():
    time = np.arange(16000) / 16000
    found = extract_f0(0.1 * sum(np.sin(2 * np.pi * 150 * k * time) for k in range(3, 9)))
    assert np.abs(found[5:-5] / 150 - 1).max() < 0.01


def test_noise_and_silence_are_unvoiced():
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000)
    assert (extract_f0(noise) > 0).mean() < 0.02
    assert (extract_f0(np.zeros(16000)) == 0).all()
    assert (extract_f0(np.full(16000, 0.5)) == 0).all()
    assert (extract_f0(1e-6 * recording()) == 0).all()


def test_voicing_changes_where_the_voice_does():
    tone = harmonic(np.full(8000, 150.0))
    noise = 0.02 * np.random.default_rng(1).standard_normal(8000)
    voiced = extract_f0(np.concatenate([noise, tone, noise])) > 0
    expected = np.repeat([False, True, False], 100)
    assert (voiced != expected).mean() < 0.04


def test_noise_does_not_move_the_pitch():
    tone = harmonic(np.full(32000, 120.0))
    noisy = tone + tone.std() * 10**-0.5 * np.random.default_rng(2).standard_normal(32000)  # 10 dB
    found = extract_f0(noisy)
    assert (found > 0).mean() > 0.97 and np.abs(found[found > 0] / 120 - 1).max() < 0.03


def test_level_and_offset_do_not_matter():
    wav = recording()
    found = extract_f0(wav)
    assert (found > 0).mean() > 0.9
    for other in (0.01 * wav, 5 * wav, wav + 0.3):
        assert np.abs(extract_f0(other)[5:-5] - found[5:-5]).max() < 1.0


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 81, 159, 1000, 12345])
def test_one_value_per_80_samples(samples):
    assert extract_f0(recording(1.0)[:samples]).shape == (min(samples, 16000) // 80,)


def test_a_long_recording_is_tracked_in_blocks_without_seams():
    """More frames than one block of work: the pitch on both sides of the border is the same."""
    found = extract_f0(harmonic(np.full(16000 * 11, 200.0)))
    assert len(found) == 2200 and np.abs(found[5:-5] - 200).max() < 1


def test_the_range_is_kept_and_can_be_widened():
    wav = harmonic(np.full(16000, 600.0))
    assert extract_f0(wav).max() <= 400
    assert np.abs(extract_f0(wav, f0_max=1100)[5:-5] - 600).max() < 3


def test_another_sample_rate():
    found = extract_f0(recording(1.0, 150.0, 48000), 48000)
    assert len(found) == 200 and abs(np.median(found) / 150 - 1) < 0.1


def test_bad_input_is_refused():
    for arguments in (dict(f0_min=10.0), dict(f0_min=300.0, f0_max=200.0), dict(f0_max=9000.0)):
        with pytest.raises(ValueError, match="f0"):
            extract_f0(np.zeros(1600), **arguments)
    with pytest.raises(ValueError, match="finite"):
        extract_f0(np.array([np.nan] * 1600))
