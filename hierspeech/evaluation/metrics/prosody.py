"""Melody and timing: F0 against a recording of the same words, durations and pauses."""

from __future__ import annotations

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.alignment import HOP_LENGTH, SAMPLE_RATE, aligned_cepstra, levels_db, trim
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, Row
from speech.f0 import HOP_LENGTH as F0_HOP
from speech.f0 import extract_f0

F0_RANGE_HZ = (60.0, 500.0)
MIN_VOICED_FRAMES = 10  # 100 ms voiced in both, or there is nothing to compare
PAUSE_DB = -35.0  # under the loudest 10 ms
PAUSE_MS = 200


def f0_track(wav: np.ndarray, n_frames: int) -> np.ndarray:
    """F0 in Hz at the mel-cepstrum's frames (10 ms) [N], 0 = unvoiced."""
    f0 = extract_f0(wav, SAMPLE_RATE, *F0_RANGE_HZ)[:: HOP_LENGTH // F0_HOP]
    return np.pad(f0, (0, max(0, n_frames - len(f0))))[:n_frames]


class Pitch:
    """Compares the tracks of wav and target along the path on which their mel-cepstra fit best."""

    def measure(self, item: Item) -> Row:
        """The card's columns."""
        first, second, one, two = aligned_cepstra(item)
        wav, target = (trim(item.load(role, SAMPLE_RATE)[0]) for role in ("wav", "target"))
        own, true = f0_track(wav, len(first))[one], f0_track(target, len(second))[two]
        row: Row = {"f0_voicing_error": 100 * float(np.mean((own > 0) != (true > 0)))}
        both = (own > 0) & (true > 0)
        names = ("f0_rmse_cents", "f0_rmse_hz", "f0_correlation")
        if both.sum() < MIN_VOICED_FRAMES:
            return row | {"why": dict.fromkeys(names, "hardly any frame is voiced in wav and target")}
        own, true = own[both].astype(float), true[both].astype(float)
        cents = 1200 * np.log2(own / true)
        row |= {
            "f0_rmse_cents": float(np.sqrt(np.mean(cents**2))),
            "f0_rmse_hz": float(np.sqrt(np.mean((own - true) ** 2))),
        }
        if min(np.log2(own).std(), np.log2(true).std()) < 1e-6:
            return row | {"why": {"f0_correlation": "a melody that does not move has no correlation"}}
        return row | {"f0_correlation": float(np.corrcoef(np.log2(own), np.log2(true))[0, 1])}


class Timing:
    """Length, rate and pauses by level; with a target also the ratio of lengths."""

    def measure(self, item: Item) -> Row:
        """The card's columns."""
        wav = item.load("wav", SAMPLE_RATE)[0]
        spoken = trim(wav)
        seconds = len(spoken) / SAMPLE_RATE
        pauses = pause_lengths(spoken)
        row: Row = {
            "seconds": len(wav) / SAMPLE_RATE,
            "pauses": 60 * len(pauses) / seconds,
            "pause_share": 100 * sum(pauses) / seconds,
            "longest_pause": max(pauses, default=0.0),
        }
        why = {}
        if item.text and any(map(str.isalnum, item.text)):
            row["letters_per_second"] = sum(map(str.isalnum, item.text)) / seconds
        else:
            why["letters_per_second"] = "no item has a text"
        if item.target is None:
            why["duration_ratio"] = "no item has a target recording"
        else:
            row["duration_ratio"] = seconds / (len(trim(item.load("target", SAMPLE_RATE)[0])) / SAMPLE_RATE)
        return row | ({"why": why} if why else {})


def pause_lengths(wav: np.ndarray) -> list[float]:
    """Lengths in seconds of the stretches of at least 200 ms, each 10 ms of which is 35 dB under the loudest; wav at 16 kHz."""
    quiet = np.concatenate([[False], levels_db(wav) < PAUSE_DB, [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
    lengths = (edges[1::2] - edges[::2]) * HOP_LENGTH / SAMPLE_RATE
    return [float(length) for length in lengths if length >= PAUSE_MS / 1000 - 1e-9]


PITCH = Metric(
    MetricCard(
        name="f0",
        meaning="How far the melody is from that of recorded speech of the same words: root mean square of the F0 difference where both "
        "are voiced, correlation of log F0, and the share of frames that one has voiced and the other not. Aligned by DTW.",
        scale="100 cents are a semitone. Correlation -1 to 1. Another melody may be as good as the target's.",
        source="usual definitions; F0 by speech/f0.py (autocorrelation after Boersma 1993), 60 to 500 Hz; DTW on c_1 to c_24",
        model=None,
        licence="ours, MIT",
        install="nothing to install",
        columns=(
            Column("f0_rmse_cents", "F0 RMSE", "cents", "lower", 0),
            Column("f0_rmse_hz", "F0 RMSE", "Hz", "lower", 1),
            Column("f0_correlation", "F0 correlation", "r", "higher"),
            Column("f0_voicing_error", "Voicing error", "%", "lower", 1),
        ),
    ),
    needs=("target",),
    make=lambda model, device: Pitch(),
)

TIMING = Metric(
    MetricCard(
        name="timing",
        meaning="Length, letters per second, pauses within the speech (at least 200 ms, 35 dB under the loudest 10 ms), and the length over "
        "that of the target; silence at both ends is left out of all but the length.",
        scale="English is read at some 12 to 15 letters per second. A ratio of 1 is the target's pace. Noise hides pauses.",
        source="definition",
        model=None,
        licence="ours, MIT",
        install="nothing to install",
        columns=(
            Column("letters_per_second", "Letters per second", "1/s", None, 1),
            Column("seconds", "Length", "s", None),
            Column("duration_ratio", "Length over target's", "ratio", None),
            Column("pauses", "Pauses", "1/min", None, 1),
            Column("pause_share", "Pauses, share", "%", None, 1),
            Column("longest_pause", "Longest pause", "s", None),
        ),
    ),
    needs=(),
    make=lambda model, device: Timing(),
)
