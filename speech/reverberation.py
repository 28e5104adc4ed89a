"""Rooms: how slowly sound dies away in a recording, and the recording without most of what is late.

Late reverberation of a frame is what came some 50 ms before, fainter by the decay of the room; it is taken away from the magnitudes
as noise is (Lebart, Boucher and Denbigh 2001, "A new method based on spectral subtraction for speech dereverberation"). How long a room
sounds is seen in the steepest falls of the bands (after Wen, Habets and Naylor 2008, "Blind estimation of reverberation time
based on the distribution of signal decay rates"): a voice stops faster than any room.

Shapes: T samples, F bins, N frames, K bands.
"""

import numpy as np
import torch

WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.008
SLOPE_SECONDS = 0.08  # over which a fall is measured
STEEP = 5.0  # percentile of the slopes of a band, from the steepest on
BANDS, LOWEST_HZ, HIGHEST_HZ = 24, 190.0, 7800.0
LOUD_DB = 25.0  # a fall starts that near a band's loud frames
AUDIBLE_DB = 6.0  # and ends so far above its quiet ones
FEWEST_FALLS = 20  # of a band that counts
LATE_SECONDS = 0.05  # sound from then on is late
DECAY_SECONDS = 0.6  # by 60 dB, of the room that is taken away: of shorter and of longer ones it takes enough (docs/lite.md, 46)
SMOOTHING_SECONDS = 0.02  # of an exponential mean
SMOOTHING_FRAMES = 16  # after which nothing of it is left
FLOOR = 0.1  # factor on a magnitude, at least


def decay_rate(wav: np.ndarray, sample_rate: int) -> float:
    """How fast the sound of a recording falls where it falls fastest, dB/s: 390 to 630 of dry speech, 160 to 190 of rooms that
    sound for 0.6 s; infinite where there is too little of it to tell.

    Args:
        wav: [T] at `sample_rate` Hz.
    """
    sizes = _sizes(sample_rate)
    power = _spectrum(wav, *sizes).abs().square().numpy().astype(np.float64)  # [F, N]
    per_bin = sample_rate / 2 / (len(power) - 1)
    highest = min(HIGHEST_HZ, 0.975 * sample_rate / 2)
    edges = np.unique(np.round(np.geomspace(LOWEST_HZ, highest, BANDS + 1) / per_bin).astype(int))
    bands = np.stack([power[a:b].sum(0) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    level_db = 10 * np.log10(bands + 1e-12)  # [K, N]
    width = max(2, round(SLOPE_SECONDS * sample_rate / sizes[1]))
    if level_db.shape[1] < width + FEWEST_FALLS:
        return float("inf")
    ramp = np.arange(width) - (width - 1) / 2
    windows = np.lib.stride_tricks.sliding_window_view(level_db, width, axis=1)  # [K, N', width]
    slopes = windows @ ramp / (ramp @ ramp) * sample_rate / sizes[1]  # dB/s, of straight lines through them
    quiet, loud = np.percentile(level_db, (5, 95), axis=1, keepdims=True)
    falls = (windows[..., 0] > loud - LOUD_DB) & (windows[..., -1] > quiet + AUDIBLE_DB) & (slopes < 0)
    steepest = [
        np.percentile(band[there], STEEP)
        for band, there in zip(slopes, falls, strict=True)
        if there.sum() > FEWEST_FALLS
    ]
    return -float(np.median(steepest)) if steepest else float("inf")


def dereverberate(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """wav [T] at `sample_rate` Hz without most of its late reverberation -> float32 [T]."""
    window, hop = _sizes(sample_rate)
    spectrum = _spectrum(wav, window, hop)  # [F, N]
    power = spectrum.abs().square()
    kept = np.exp(-hop / (SMOOTHING_SECONDS * sample_rate))
    taps = torch.from_numpy((1 - kept) * kept ** np.arange(SMOOTHING_FRAMES)[::-1]).to(power.dtype)
    delay = round(LATE_SECONDS * sample_rate / hop)
    before = SMOOTHING_FRAMES - 1
    early = torch.nn.functional.pad(power, (before + delay, 0))[:, : power.shape[1] + before]
    smooth = torch.nn.functional.conv1d(early[:, None], taps[None, None])[:, 0]
    late = 10 ** (-6 * LATE_SECONDS / DECAY_SECONDS) * smooth
    gain = (1 - (late / power.clamp(min=1e-20)).sqrt()).clamp(min=FLOOR)
    shape = torch.hann_window(window)
    return torch.istft(spectrum * gain, window, hop, window=shape, length=len(wav)).numpy()


def _sizes(sample_rate: int) -> tuple[int, int]:
    """Window and hop in samples."""
    return round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)


def _spectrum(wav: np.ndarray, window: int, hop: int) -> torch.Tensor:
    """[F, N] of frames around every `hop` samples."""
    shape = torch.hann_window(window)
    samples = torch.from_numpy(np.asarray(wav, np.float32))
    return torch.stft(samples, window, hop, window=shape, pad_mode="constant", return_complex=True)
