"""Inaudible marks by name, through packages that are kept elsewhere; none is used unless it is asked for (docs/consent.md)."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np

Watermark = Callable[[np.ndarray, int], np.ndarray]


def load_watermark(name: str) -> Watermark:
    """A function that marks samples [T] of a rate in Hz.

    Args:
        name: one of `WATERMARKS`.
    Raises:
        ValueError: another name, or a package that is not installed.
    """
    if name not in WATERMARKS:
        raise ValueError(f"watermark {name!r}: expected one of {', '.join(WATERMARKS)}.")
    return WATERMARKS[name]()


def _perth() -> Watermark:
    """Perth-Net Implicit of Resemble AI (MIT); its weights come with the package."""
    made = None
    try:
        # Where a package that it needs is not there, it leaves None in the place of the class.
        made = importlib.import_module("perth").PerthImplicitWatermarker
    except ModuleNotFoundError:
        pass
    if made is None:
        raise ValueError(
            "the watermark 'perth' needs packages that are not installed: pip install 'hierspeech[watermark]'."
        )
    marker = made()

    def mark(wav: np.ndarray, sample_rate: int) -> np.ndarray:
        return np.clip(marker.apply_watermark(wav, sample_rate=sample_rate), -1, 1).astype(np.float32)

    return mark


WATERMARKS: dict[str, Callable[[], Watermark]] = {"perth": _perth}
