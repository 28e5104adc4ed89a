"""Wideband recordings made by us, for the tests of super-resolution: there is no wideband corpus to test with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speech.audio import save_audio
from speech.data import Utterance, write_filelist


def buzz(seconds: float, rate: int, seed: int) -> np.ndarray:
    """A voiced-like sound with energy up to the band's edge: pulses through a decaying noise -> wav [T]."""
    rng = np.random.default_rng(seed)
    pulses = np.zeros(int(seconds * rate), np.float32)
    pulses[:: rate // 120] = 1.0
    kernel = rng.standard_normal(200) * np.exp(-np.arange(200) / 20)
    return (0.2 * np.convolve(pulses, kernel)[: len(pulses)]).astype(np.float32)


def write_recordings(folder: Path, kinds: Sequence[tuple[float, int]], first_seed: int = 0) -> Path:
    """A recording of each (seconds, sample rate) and a filelist of them, `wideband.txt`, whose path is returned."""
    lines = []
    for i, (seconds, rate) in enumerate(kinds):
        save_audio(folder / f"{i}.wav", buzz(seconds, rate, first_seed + i), rate)
        lines.append(Utterance(str(i), f"{i}.wav", "buzz", "en-us", ""))
    write_filelist(folder / "wideband.txt", lines)
    return folder / "wideband.txt"
