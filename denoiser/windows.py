"""Long recordings: overlapping windows through a denoiser, so that memory does not grow with the recording.

Two windows that follow each other overlap. In the middle of the overlap one fades into the other; around the fade, both
have heard some context that is not taken from them, because the ends of a window are cleaned worst:

    window i      ==================\\......
    window i + 1              ....../==================
                              |ctx|fade|ctx|
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from denoiser.spectra import SpectralDenoiser, level_gain

WINDOW_SECONDS = 5.0
CONTEXT_SECONDS = 0.4  # on either side of a fade
FADE_SECONDS = 0.2


@torch.inference_mode()
def denoise(
    model: SpectralDenoiser,
    wav: Tensor,
    window_seconds: float = WINDOW_SECONDS,
    context_seconds: float = CONTEXT_SECONDS,
    fade_seconds: float = FADE_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Cleans a recording of any length with the memory of one window.

    One gain levels the whole recording, not each window its own, so that pauses stay as quiet as they are. A recording
    that fits into one window is cleaned in one piece, as `model.infer` does it.

    Args:
        model: on any device; windows are moved there one by one.
        wav: [T] at the model's sample rate, T > 0.
        window_seconds: length of a window; the overlap of two is at least `2 * context_seconds + fade_seconds`.
        progress: called with (windows done, windows) after each.

    Returns:
        [T] in float32, on the device of `wav`.

    Raises:
        ValueError: `wav` of another shape or without samples, or windows not longer than their overlap.
    """
    if wav.dim() != 1 or len(wav) == 0:
        raise ValueError(f"expected wav of shape [T] with T > 0, got {list(wav.shape)}")
    config, device = model.config, next(model.parameters()).device
    window, context, fade = (
        max(0, round(seconds * config.sample_rate / config.hop_length)) * config.hop_length
        for seconds in (window_seconds, context_seconds, fade_seconds)
    )
    starts = window_starts(len(wav), window, 2 * context + fade, config.hop_length)
    gain = level_gain(wav[None])
    if not gain.any():
        return torch.zeros_like(wav, dtype=torch.float32)
    out = torch.zeros_like(wav, dtype=torch.float32)
    for i, start in enumerate(starts):
        stop = len(wav) if start == starts[-1] else start + window
        piece = wav[start:stop].to(device)
        clean = model.infer(piece[None], gain.to(device))[0].to(out.device)
        left = None if i == 0 else (starts[i - 1] + window + start - fade) // 2 - start
        right = None if i == len(starts) - 1 else (start + window + starts[i + 1] - fade) // 2 - start
        out[start:stop] += clean * crossfade(stop - start, left, right, fade).to(out.device)
        if progress is not None:
            progress(i + 1, len(starts))
    return out


def window_starts(length: int, window: int, overlap: int, hop_length: int) -> list[int]:
    """Where windows of `window` samples begin, evenly over `length` samples, on whole frames; the last one ends at `length`.

    Neighbours overlap by at least `overlap` samples, and the last window is less than a frame longer than the others.
    """
    if window < hop_length or window <= overlap:
        raise ValueError(
            f"windows of {window} samples: expected more than their overlap of {overlap} samples and at least a frame"
        )
    if length < window + hop_length:
        return [0]
    rest = (length - window) // hop_length  # frames from the first start to the last
    count = -(-rest * hop_length // (window - overlap))
    return [rest * i // count * hop_length for i in range(count + 1)]


def crossfade(length: int, left: int | None, right: int | None, fade: int) -> Tensor:
    """Weights [length] of a window's samples: 0 up to `left`, rising over `fade` samples, 1, falling from `right` on, 0.

    None on a side means that no window follows there. The rise of a window and the fall of the one before add up to 1.
    """
    place = np.arange(length) + 0.5
    weight = np.ones(length)
    if left is not None:
        weight *= _rise(place - left, fade)
    if right is not None:
        weight *= 1 - _rise(place - right, fade)
    return torch.from_numpy(weight).float()


def _rise(place: np.ndarray, fade: int) -> np.ndarray:
    """From 0 to 1 as a squared sine while `place` goes from 0 to `fade`; a step at 0 if `fade` is 0."""
    if fade == 0:
        return (place > 0).astype(np.float64)
    return np.sin(0.5 * np.pi * (place / fade).clip(0, 1)) ** 2
