"""The level of a stream: constant within a piece, towards the wanted one between pieces, never above the highest allowed."""

import numpy as np
import pytest

from hierspeech.pipelines.output import FULL_PEAK, PEAK
from hierspeech.pipelines.stream_output import Leveller
from speech.audio import set_loudness

RATE = 16000


def noise(seconds, rms, seed=0):
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * rms).astype(np.float32)


def run(leveller, pieces, chunk=3000):
    """Gains of the pieces, each measured in its middle."""
    gains, position = [], 0
    for index, piece in enumerate(pieces):
        if index:
            leveller.begin_piece(position)
        out = np.concatenate([leveller(piece[at : at + chunk]) for at in range(0, len(piece), chunk)])
        assert out.shape == piece.shape
        middle = np.abs(piece).argmax()
        gains.append(float(out[middle] / piece[middle]))
        position += len(piece)
    return gains


def test_the_gain_begins_at_one_and_reaches_the_loudness_of_a_call_in_small_steps():
    pieces = [noise(2.0, 0.03, seed) for seed in range(8)]
    gains = run(Leveller("loudness", None, RATE), pieces)
    whole = np.concatenate(pieces)
    wanted = float(np.abs(set_loudness(whole)).max() / np.abs(whole).max())
    assert gains[0] == 1 and gains[-1] == pytest.approx(wanted, rel=0.02)
    assert all(after / before < 10 ** (2.01 / 20) for before, after in zip(gains, gains[1:], strict=False))


def test_pauses_do_not_count_as_loudness():
    pieces = [np.concatenate([noise(1.0, 0.05, seed), np.zeros(RATE, np.float32)]) for seed in range(6)]
    whole = np.concatenate(pieces)
    wanted = float(np.abs(set_loudness(whole)).max() / np.abs(whole).max())
    assert run(Leveller("loudness", None, RATE), pieces)[-1] == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize(
    ("level", "peak", "limit"), [("loudness", None, PEAK), ("peak", None, FULL_PEAK), ("prompt", 0.5, 0.5)]
)
def test_no_sample_is_above_the_limit(level, peak, limit):
    leveller = Leveller(level, peak, RATE)
    wav = noise(2.0, 0.6)
    out = np.concatenate([leveller(wav[at : at + 1000]) for at in range(0, len(wav), 1000)])
    assert np.abs(out).max() <= limit + 1e-6
    assert np.abs(out).max() > 0.9 * limit


def test_a_joint_may_be_announced_before_its_samples_come_and_chunks_do_not_matter():
    pieces = [noise(1.0, 0.03, seed) for seed in range(3)]
    expected = run(Leveller("peak", None, RATE), pieces)
    leveller = Leveller("peak", None, RATE)
    leveller.begin_piece(RATE)
    leveller.begin_piece(2 * RATE)
    out = leveller(np.concatenate(pieces))
    gains = [
        float(out[at] / wav[np.abs(wav).argmax()])
        for wav, at in ((p, i * RATE + np.abs(p).argmax()) for i, p in enumerate(pieces))
    ]
    assert gains == pytest.approx(expected, rel=1e-5)


def test_silence_stays_silence():
    leveller = Leveller("peak", None, RATE)
    leveller.begin_piece(100)
    assert not leveller(np.zeros(1000, np.float32)).any() and leveller.gain == 1
