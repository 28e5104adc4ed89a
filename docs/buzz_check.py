"""Hum at a generator's frame rate, and pitch in the upper bands: what mel losses and DNSMOS do not hear (docs/lite.md, 40).

    python docs/buzz_check.py WAV ...

Prints, as means over the files: of unvoiced sounds above 3 kHz the autocorrelation at 10 ms (people: 0; 1 is a hum of 100 Hz); of voiced
ones, in three bands, the autocorrelation at 10 ms, at the pitch (how much of the band is pulses), and that of its envelope at the pitch.
"""

import argparse

import numpy as np
from scipy.signal import butter, hilbert, sosfiltfilt

from speech.audio import load_audio
from speech.f0 import extract_f0

RATE, FRAME, PIECE = 16000, 160, 640
BANDS = ((2000, 3500), (3500, 5000), (5000, 7500))
STEADY = 0.04  # deviation of the pitch over a piece, as a share


def unvoiced_hum(wav: np.ndarray, f0: np.ndarray) -> float:
    """Of wav [T] with pitch f0 [T // 80] in Hz, 0 where unvoiced; pieces count by their energy; nan if there are none."""
    high = sosfiltfilt(butter(6, 3000, "high", fs=RATE, output="sos"), wav)
    found = [
        (likeness(high, start, FRAME), float(high[start : start + PIECE] @ high[start : start + PIECE]))
        for start, pitch in pieces(high, f0)
        if not (pitch > 0).any()
    ]
    hums, energy = np.array(found).reshape(-1, 2).T
    return float((hums * energy).sum() / energy.sum()) if len(hums) else float("nan")


def voiced_bands(wav: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Autocorrelation at 10 ms, at the pitch, and of the envelope at the pitch, in each band [3, 3]; nan where nothing is voiced."""
    rows = []
    for low, high in BANDS:
        band = sosfiltfilt(butter(6, (low, high), "band", fs=RATE, output="sos"), wav)
        envelope = np.abs(hilbert(band))
        found = []
        for start, pitch in pieces(band, f0):
            if (pitch <= 0).any() or pitch.std() > STEADY * pitch.mean():
                continue
            lags = round(RATE / pitch.mean()) + np.arange(-2, 3)
            found.append(
                (
                    likeness(band, start, FRAME),
                    max(likeness(band, start, lag) for lag in lags),
                    max(likeness(envelope, start, lag) for lag in lags),
                )
            )
        rows.append(np.mean(found, axis=0) if found else np.full(3, np.nan))
    return np.array(rows)


def pieces(wav: np.ndarray, f0: np.ndarray):
    """Starts of pieces with room for the longest lag, and the pitch there."""
    room = PIECE + FRAME + RATE // 50
    for start in range(0, len(wav) - room, FRAME):
        pitch = f0[start // 80 : (start + PIECE + FRAME) // 80]
        if len(pitch):
            yield start, pitch


def likeness(wav: np.ndarray, start: int, lag: int) -> float:
    """Normalised correlation of a piece with the one `lag` samples later."""
    first, second = wav[start : start + PIECE], wav[start + lag : start + lag + PIECE]
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / (np.sqrt((first @ first) * (second @ second)) + 1e-12))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wavs", nargs="+", metavar="WAV")
    hums, bands = [], []
    for path in parser.parse_args().wavs:
        wav = load_audio(path, RATE)[0].astype(np.float32)
        f0 = extract_f0(wav, RATE)
        hums.append(unvoiced_hum(wav, f0))
        bands.append(voiced_bands(wav, f0))
    print(f"unvoiced, above 3 kHz: at 10 ms {np.nanmean(hums):.2f}")
    for (low, high), (hum, pulses, swell) in zip(BANDS, np.nanmean(bands, axis=0), strict=True):
        print(
            f"voiced, {low} to {high} Hz: at 10 ms {hum:.2f}, at the pitch {pulses:.2f}, envelope {swell:.2f}"
        )
