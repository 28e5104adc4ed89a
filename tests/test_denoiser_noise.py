"""The noises, rooms and mixtures that the denoiser is trained on, and the measures it is judged by."""

import numpy as np
import pytest
import torch

from denoiser import noise
from denoiser.quality import log_spectral_distance_db, segmental_snr_score, si_sdr_db

RATE = 16000


def voice(samples: int = 2 * RATE, seed: int = 0) -> np.ndarray:
    """A buzz that comes and goes four times a second, with a pause at its end."""
    time = np.arange(samples) / RATE
    wav = sum(np.sin(2 * np.pi * 130 * k * time + k * k + seed) / k for k in range(1, 30))
    return 0.1 * wav * np.sin(2 * np.pi * 2 * time) ** 2 * (time < 0.8 * samples / RATE)


def band_db(wav: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Mean power density between two frequencies."""
    frequency = np.fft.rfftfreq(len(wav), 1 / RATE)
    return 10 * np.log10(
        np.square(np.abs(np.fft.rfft(wav)))[(frequency >= low_hz) & (frequency < high_hz)].mean()
    )


@pytest.mark.parametrize("kind", noise.GENERATORS)
def test_a_generator_gives_unit_rms_repeats_itself_and_varies(kind):
    make = noise.GENERATORS[kind]
    first, again, other = (make(8001, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (8001,) and np.isfinite(first).all()
    assert np.sqrt(np.square(first).mean()) == pytest.approx(1)
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.9


def test_coloured_noises_spread_from_rumble_to_hiss():
    tilts = []
    for seed in range(40):
        wav = noise.coloured(RATE, RATE, np.random.default_rng(seed))
        tilts.append((band_db(wav, 2000, 6000) - band_db(wav, 125, 375)) / 4)  # dB per octave
    assert min(tilts) < -7 and max(tilts) > 0 and -6 < np.mean(tilts) < -1


def test_hum_sits_on_mains_harmonics():
    found = set()
    for seed in range(10):
        wav = noise.hum(RATE, RATE, np.random.default_rng(seed))
        power = np.square(np.abs(np.fft.rfft(wav)))[:1000]  # a bin a hertz
        peak = power.argmax()
        found.add(min((50, 60), key=lambda base: abs(peak / base - round(peak / base))))
        assert (
            power[[i for i in range(1000) if min(i % 50, -i % 50, i % 60, -i % 60) <= 6]].sum()
            > 0.5 * power.sum()
        )
    assert found == {50, 60}


def test_clicks_are_impulsive_and_a_fan_is_not():
    def kurtosis(make):
        waves = [make(RATE, RATE, np.random.default_rng(seed)) for seed in range(10)]
        return np.median([(wav**4).mean() for wav in waves])

    assert kurtosis(noise.clicks) > 15
    assert kurtosis(noise.fan) < 6


def test_tones_stand_out_of_their_hiss_and_drops_do_not():
    def peaks(make):  # how far the strongest hundredth of the bins stands above the median, dB
        found = []
        for seed in range(12):
            power = np.square(np.abs(np.fft.rfft(make(RATE, RATE, np.random.default_rng(seed)))))[50:7900]
            found.append(10 * np.log10(np.quantile(power, 0.99) / np.median(power)))
        return np.median(found)

    assert peaks(noise.tones) > 20
    assert peaks(noise.drops) < 20


def test_some_drops_are_sparse_and_some_are_dense():
    waves = [noise.drops(RATE, RATE, np.random.default_rng(seed)) for seed in range(20)]
    kurtosis = [float((wav**4).mean()) for wav in waves]
    assert max(kurtosis) > 8 and min(kurtosis) < 4


def test_rooms_lose_high_frequencies_first():
    falls = []
    for seed in range(40):
        tail = noise.room(RATE, np.random.default_rng(seed), (0.6, 0.6))
        early, late = tail[400:2000], tail[4000:5600]
        falls.append(
            [
                band_db(early, low, high) - band_db(late, low, high)
                for low, high in ((200, 1500), (5000, 7500))
            ]
        )
    low, high = np.mean(falls, axis=0)
    assert high > low + 1.5 and abs(low - 60 * 0.225 / 0.6) < 3  # 60 dB in 0.6 s


def test_babble_holds_every_voice():
    voices = [voice(seed=i) * 10**-i for i in range(3)]
    mixed = noise.babble(voices)
    assert np.sqrt(np.square(mixed).mean()) == pytest.approx(1)
    weights = np.linalg.lstsq(np.stack([v / v.std() for v in voices], 1), mixed, rcond=None)[0]
    assert (np.abs(weights) > 0.1).all()


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 13.0])
def test_a_mixture_has_the_ratio_asked_for(snr_db):
    speech, interference = voice(), noise.coloured(2 * RATE, RATE, np.random.default_rng(3))
    added = noise.mix(speech, interference, snr_db) - speech
    np.testing.assert_allclose(added / np.std(added), interference / np.std(interference), atol=1e-2)
    ratio = noise.active_level(speech) / np.sqrt(np.square(added).mean())
    assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-6)
    # pauses do not make speech quieter: the same sound with a second of silence gets the same noise
    paused = np.pad(speech, (0, RATE))
    louder = noise.mix(paused, np.pad(interference, (0, RATE), mode="wrap"), snr_db) - paused
    assert np.std(louder[: len(added)]) == pytest.approx(np.std(added), rel=0.05)


def test_noise_over_silence_stays_finite():
    wav = noise.mix(np.zeros(1000), np.ones(1000), 0.0)
    assert np.isfinite(wav).all() and 0 < np.abs(wav).max() < 0.01


def test_a_room_decays_as_its_rt60_says_and_keeps_the_direct_sound():
    response = noise.room(RATE, np.random.default_rng(0), (0.5, 0.5))
    assert response[0] == 1 and len(response) == 0.5 * RATE
    energy = np.cumsum(np.square(response[::-1]))[::-1]  # Schroeder's backward integration
    level_db = 10 * np.log10(energy / energy[200])
    times = [np.argmax(level_db < -5) / RATE, np.argmax(level_db < -25) / RATE]
    assert 3 * (times[1] - times[0]) == pytest.approx(0.5, rel=0.15)
    speech = voice()
    everything, early = noise.reverberate(speech, response, 480)
    assert everything.shape == early.shape == speech.shape
    # the tail alone sounds where the speech has ended
    silent = slice(int(1.65 * RATE), None)
    assert np.square(early[silent]).sum() < 1e-3 * np.square(everything[silent]).sum()
    dry, _ = noise.reverberate(speech, np.array([1.0]), 1)
    np.testing.assert_allclose(dry, speech, atol=1e-9)


def test_clipping_and_band_limits():
    rng = np.random.default_rng(0)
    wav = noise.clip(voice(), rng)
    assert 0.15 < np.abs(wav).max() / np.abs(voice()).max() < 0.75
    gain = noise.narrow_band(RATE, RATE, rng)  # a bin a hertz
    assert gain[1000] > 0.9 and gain[7900] < 0.3 and gain[5] < 0.1


def test_si_sdr_is_the_ratio_of_orthogonal_noise_and_ignores_scale():
    torch.manual_seed(0)
    clean, rest = torch.randn(2, 1, 16000)
    rest -= (rest * clean).sum() / clean.square().sum() * clean
    rest *= clean.norm() / rest.norm() * 0.1
    assert si_sdr_db(clean + rest, clean).item() == pytest.approx(20, abs=0.1)
    assert si_sdr_db(3 * (clean + rest), clean).item() == pytest.approx(20, abs=0.1)


def test_measures_rank_levels_of_noise():
    clean = torch.from_numpy(voice()).float()[None].repeat(4, 1)
    hiss = torch.randn(32000, generator=torch.Generator().manual_seed(0))
    noisy = clean + torch.tensor([0.0, 0.001, 0.01, 0.1])[:, None] * hiss
    score = segmental_snr_score(noisy, clean, RATE)
    assert score[0] == pytest.approx(1) and (score.diff() < -0.02).all() and (score >= 0).all()
    distance = log_spectral_distance_db(noisy, clean, RATE)
    assert distance[0] == 0 and (distance.diff() > 1).all()
