"""Distances of spectra: mel-cepstral distortion of two renderings, log-spectral distance of aligned waves."""

from __future__ import annotations

import math

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.alignment import aligned_cepstra
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row

LSD_FFT, LSD_HOP, LSD_FLOOR = 2048, 512, 1e-8
SPLIT_HZ = 8000  # what super-resolution from 16 kHz has to invent lies above
MAX_LENGTH_DIFFERENCE = 0.02  # share of the target's length that models' padding may cost


class MelCepstralDistortion:
    """Along the DTW path, c_1 to c_24."""

    def measure(self, item: Item) -> Row:
        """`mcd` in dB."""
        first, second, one, two = aligned_cepstra(item)
        difference = first[one, 1:] - second[two, 1:]
        return {"mcd": float(np.mean(10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(axis=1))))}


class LogSpectralDistance:
    """Of a wav and its full-band original, at the original's rate."""

    def measure(self, item: Item) -> Row:
        """`lsd`, and `lsd_high` where there is a band above 8 kHz."""
        wav, target, rate = aligned_waves(item, None)
        difference = np.square(log_power(wav) - log_power(target))  # [N, bins]
        row: Row = {"lsd": float(np.sqrt(difference.mean(axis=1)).mean())}
        high = np.fft.rfftfreq(LSD_FFT, 1 / rate) > SPLIT_HZ
        if not high.any():
            return row | {"why": {"lsd_high": f"at {rate} Hz there is no band above {SPLIT_HZ} Hz"}}
        return row | {"lsd_high": float(np.sqrt(difference[:, high].mean(axis=1)).mean())}


def log_power(wav: np.ndarray) -> np.ndarray:
    """wav [T] -> log10 of the power spectrogram, not below 1e-8 [N, 1025]; Hann window of 2048, hop 512, centred frames."""
    padded = np.pad(
        np.asarray(wav, np.float64), LSD_FFT // 2, mode="reflect" if len(wav) > 1024 else "constant"
    )
    frames = np.lib.stride_tricks.sliding_window_view(padded, LSD_FFT)[::LSD_HOP]
    window = np.hanning(LSD_FFT + 1)[:-1]
    return np.log10(np.maximum(np.abs(np.fft.rfft(frames * window, axis=1)) ** 2, LSD_FLOOR))


def aligned_waves(item: Item, sample_rate: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """(wav [T], target [T], rate) of an item whose two waves run alongside; None takes the target's rate.

    Raises:
        NotMeasured: their lengths differ by more than 2 %, so they are different renderings.
    """
    target, rate = item.load("target", sample_rate)
    wav = item.load("wav", rate)[0]
    if abs(len(wav) - len(target)) > MAX_LENGTH_DIFFERENCE * len(target):
        raise NotMeasured(
            f"wav ({len(wav) / rate:.2f} s) and target ({len(target) / rate:.2f} s) differ in length: "
            "only waves that run alongside can be compared"
        )
    length = min(len(wav), len(target))
    return wav[:length], target[:length], rate


MCD = Metric(
    MetricCard(
        name="mcd",
        meaning="Distance of the spectral envelopes from those of recorded speech of the same words, aligned by DTW, silence at both ends cut.",
        scale="0 dB is the same; figures depend on the analysis, so compare within one tool only.",
        source="Kubichek 1993; c_1 to c_24 of 80 mel bands at 16 kHz, 10 ms frames (not WORLD's or SPTK's envelopes)",
        model=None,
        licence="ours, MIT",
        install="nothing to install",
        columns=(Column("mcd", "MCD", "dB", "lower"),),
    ),
    needs=("target",),
    make=lambda model, device: MelCepstralDistortion(),
)

LSD = Metric(
    MetricCard(
        name="lsd",
        meaning="Distance of log power spectra (STFT 2048, hop 512, log10 of the power, floored at 1e-8) from the original, which must run alongside; "
        "also of the band above 8 kHz alone. For super-resolution, codecs and denoising.",
        scale="0 is the same; on VCTK 16 to 48 kHz good systems score 0.6 to 0.9 in this scale (log10 power).",
        source="Gray and Markel 1976, in the form of NU-Wave and AudioSR (floor and bands ours)",
        model=None,
        licence="ours, MIT",
        install="nothing to install",
        columns=(
            Column("lsd", "LSD", "log10", "lower"),
            Column("lsd_high", "LSD above 8 kHz", "log10", "lower"),
        ),
    ),
    needs=("target",),
    make=lambda model, device: LogSpectralDistance(),
)
