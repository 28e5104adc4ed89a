"""Metrics of the signal against known values: the same sound gives 0 (or 1), known changes their known figures, worse is worse."""

import math

import numpy as np
import pytest
from tiny_voice import recording

from hierspeech.evaluation import METRICS, Item, evaluate
from hierspeech.evaluation.metrics.alignment import HOP_LENGTH, N_MELS, align, mel_cepstrum, trim
from hierspeech.evaluation.metrics.card import NotMeasured
from hierspeech.evaluation.metrics.prosody import pause_lengths
from hierspeech.evaluation.metrics.spectral import log_power
from speech.audio import save_audio


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(wav, target) -> Item."""
    folder = tmp_path_factory.mktemp("signals")
    numbers = iter(range(1000))

    def item(wav, target=None, rate=16000, **more):
        paths = []
        for one in (wav, target):
            if one is None:
                paths.append(None)
                continue
            paths.append(folder / f"{next(numbers)}.wav")
            save_audio(paths[-1], one, rate)
        return Item(paths[0].stem, paths[0], target=paths[1], **more)

    return item


def measure(name, item):
    return METRICS[name].make(None, "cpu").measure(item)


def noisy(wav, snr_db, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(wav))
    noise *= np.sqrt(np.mean(wav**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (wav + noise).astype(np.float32)


def test_the_same_sound_is_at_no_distance(make):
    wav = recording(2.0)
    item = make(wav, wav)
    assert measure("lsd", item)["lsd"] == 0
    assert measure("mcd", item)["mcd"] == 0
    pitch = measure("f0", item)
    assert pitch["f0_rmse_cents"] == pitch["f0_rmse_hz"] == pitch["f0_voicing_error"] == 0
    assert pitch["f0_correlation"] == pytest.approx(1)
    assert measure("timing", item)["duration_ratio"] == 1


def test_pesq_and_stoi_of_the_same_sound_are_the_highest(make):
    pytest.importorskip("pystoi")  # of the extra `evaluate`
    wav = recording(2.0)
    stoi = measure("stoi", make(wav, wav))
    assert stoi["stoi"] == pytest.approx(100, abs=0.01)
    assert stoi["estoi"] == pytest.approx(100, abs=0.01)
    pytest.importorskip("pesq")  # has no wheels: left out where there is no compiler
    assert measure("pesq", make(wav, wav))["pesq"] == pytest.approx(4.64, abs=0.01)


@pytest.mark.parametrize("name", ["lsd", "mcd", "pesq", "stoi"])
def test_more_noise_is_worse(make, name):
    for package in METRICS[name].packages:
        pytest.importorskip(package)
    wav = recording(2.0)
    column = METRICS[name].card.columns[0]
    values = [measure(name, make(noisy(wav, snr), wav))[column.name] for snr in (30, 15, 0)]
    assert values == sorted(values, reverse=column.better == "higher")
    assert len(set(values)) == 3


def test_lsd_of_a_known_gain(make):
    """A tenth of the amplitude is two decades less of power everywhere above the floor."""
    noise = 0.3 * np.random.default_rng(0).standard_normal(48000).clip(-3, 3).astype(np.float32)
    found = measure("lsd", make(0.1 * noise, noise, rate=48000))
    assert found["lsd"] == pytest.approx(2, abs=0.01)
    assert found["lsd_high"] == pytest.approx(2, abs=0.01)
    assert log_power(np.zeros(4096)).max() == -8  # the floor


def test_lsd_of_a_missing_high_band_lies_in_that_band(make):
    rate, rng = 48000, np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(2 * rate)).astype(np.float32)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / rate) > 8000] *= 0.01  # not all: the floor would count
    found = measure("lsd", make(np.fft.irfft(spectrum).astype(np.float32), noise, rate=rate))
    high = 16000 / 24000
    assert found["lsd_high"] == pytest.approx(4, abs=0.1)
    assert found["lsd"] == pytest.approx(4 * math.sqrt(high), abs=0.1)


def test_lsd_has_no_high_band_at_16_khz(make):
    wav = recording(1.0)
    found = evaluate([make(wav, wav)], ["lsd"])
    assert found.summary["lsd"].mean == 0
    assert "lsd_high" not in found.summary
    assert "8000" in found.missing["lsd_high"]


@pytest.mark.parametrize("name", ["lsd", "pesq", "stoi"])
def test_what_compares_sample_by_sample_refuses_another_rendering(make, name):
    for package in METRICS[name].packages:
        pytest.importorskip(package)
    with pytest.raises(NotMeasured, match="length"):
        measure(name, make(recording(2.0), recording(1.5)))


def test_mcd_is_the_distance_of_the_log_spectra_in_db():
    """Two mel spectra that differ by a cosine of A dB are A / sqrt(2) dB apart, whatever the number of bands."""
    from hierspeech.evaluation.metrics import alignment

    ripple_db, k = 6.0, 3
    filters = alignment._mel_filters()
    assert filters.shape[0] == N_MELS
    assert np.allclose(filters.sum(axis=1), 1)
    wav = recording(1.0)
    cepstrum = mel_cepstrum(wav, N_MELS)
    m = np.arange(N_MELS)
    log_mel = cepstrum @ np.cos(np.pi * np.outer(np.arange(N_MELS), m + 0.5) / N_MELS)
    other = log_mel + ripple_db * math.log(10) / 20 * np.cos(np.pi * k * (m + 0.5) / N_MELS)
    basis = np.cos(np.pi * np.outer(m + 0.5, np.arange(N_MELS)) / N_MELS) * np.where(m == 0, 1, 2) / N_MELS
    difference = (other @ basis - cepstrum)[:, 1:25]
    distance = 10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(axis=1))
    assert distance == pytest.approx(ripple_db / math.sqrt(2), rel=1e-6)


def test_warping_finds_the_path_that_a_table_finds():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((7, 3)), rng.standard_normal((5, 3))
    distance = np.linalg.norm(first[:, None] - second[None], axis=2)
    table = np.full((8, 6), np.inf)
    table[0, 0] = 0
    for i in range(7):
        for j in range(5):
            table[i + 1, j + 1] = distance[i, j] + min(table[i, j], table[i, j + 1], table[i + 1, j])
    one, two = align(first, second)
    assert (one[0], two[0], one[-1], two[-1]) == (0, 0, 6, 4)
    assert set(zip(np.diff(one), np.diff(two), strict=True)) <= {(1, 1), (1, 0), (0, 1)}
    assert distance[one, two].sum() == pytest.approx(table[7, 5], rel=1e-5)


def test_warping_undoes_a_repetition():
    frames = np.random.default_rng(0).standard_normal((20, 4))
    slow = np.repeat(frames, 2, axis=0)
    one, two = align(slow, frames)
    assert (two == one // 2).all()


def test_mcd_hears_envelopes_not_length(make):
    target = recording(2.0, 120.0)
    slower = recording(2.3, 120.0)
    same, other = (
        measure("mcd", make(slower, target))["mcd"],
        measure("mcd", make(noisy(target, 0), target))["mcd"],
    )
    assert same < other


def test_a_third_higher_is_four_hundred_cents(make):
    low, high = recording(2.0, 120.0), recording(2.0, 120.0 * 2 ** (4 / 12))
    found = measure("f0", make(high, low))
    assert found["f0_rmse_cents"] == pytest.approx(400, abs=40)
    assert found["f0_rmse_hz"] == pytest.approx(120 * (2 ** (4 / 12) - 1), rel=0.15)


def test_a_voice_against_noise_is_a_voicing_error(make):
    wav = recording(2.0)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    found = evaluate([make(hiss, wav)], ["f0"])
    assert found.summary["f0_voicing_error"].mean > 50
    assert "f0_rmse_cents" not in found.summary  # no voiced frame to compare is no error of 0 Hz
    assert "voiced" in found.missing["f0_rmse_cents"]


def test_pauses_and_rates_are_counted(make):
    tone, rest = recording(1.0), np.zeros(8000, np.float32)
    wav = np.concatenate(
        [rest, tone, rest, tone, rest[:2000], tone, rest]
    )  # 0.5 s is a pause, 0.125 s is none
    spoken = trim(wav)
    assert len(spoken) == pytest.approx(3.625 * 16000, abs=2 * HOP_LENGTH)
    assert pause_lengths(spoken) == pytest.approx([0.5], abs=0.021)
    found = measure("timing", make(wav, tone, text="Abc, d e."))
    assert found["seconds"] == pytest.approx(4.625)
    assert found["letters_per_second"] == pytest.approx(5 / 3.625, rel=0.01)
    assert found["duration_ratio"] == pytest.approx(3.625, rel=0.02)
    assert found["pauses"] == pytest.approx(60 / 3.625, rel=0.01)
    assert found["pause_share"] == pytest.approx(100 * 0.5 / 3.625, rel=0.05)


@pytest.mark.parametrize("name", ["timing", "f0", "mcd", "dnsmos"])
def test_silence_is_not_measured(make, name):
    for package in METRICS[name].packages:
        pytest.importorskip(package)
    silent = np.zeros(16000, np.float32)
    with pytest.raises(NotMeasured, match="silent"):
        measure(name, make(silent, recording(1.0)))


def test_dnsmos_hears_hiss(make):
    pytest.importorskip("speechmos")  # of the extra `evaluate`
    wav = recording(9.5)  # the networks look at 9 s at a time
    clean, hiss = (measure("dnsmos", make(one)) for one in (wav, noisy(wav, 0)))
    assert clean["dnsmos_background"] > hiss["dnsmos_background"]
    assert all(1 <= value <= 5 for value in clean.values())
    quiet = measure("dnsmos", make(0.1 * wav))
    assert quiet["dnsmos"] == pytest.approx(clean["dnsmos"], abs=0.05)  # the level is no quality


def test_the_real_time_factor_is_the_systems_own_seconds(make):
    item = make(recording(2.0), seconds=0.5)
    assert measure("rtf", item)["rtf"] == pytest.approx(0.25)
    found = evaluate([make(recording(1.0))], ["rtf"])
    assert found.missing == {"rtf": "no item says how long it took to make"}
