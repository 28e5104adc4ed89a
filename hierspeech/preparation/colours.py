"""Tables of a synthesizer's equalizer for every recording of a pack, so that training hears what is spoken with them.

A voice that speaks puts the colours of its reference onto the generator's spectrum (hierspeech/synthesizer/equalizer.py). A
generator that was trained without them was never judged by what comes out; docs/lite.md, experiment 39.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hierspeech.preparation.stages import SAMPLE_RATE, as_wav
from hierspeech.preparation.tokens import write_noted
from speech.audio import resample
from speech.packs import Pack

TABLE = "table"
HOP = 320
F0_RATE = 4  # values a frame

Measure = Callable[
    [np.ndarray, np.ndarray], np.ndarray
]  # wav [320 * N] at 16 kHz, F0 in Hz [4 * N] -> table [P * K]


def add_tables(
    folder: Path, measure: Measure, weights: str, speeds: Sequence[float] = (1.0,), redo: bool = False
) -> bool:
    """Write the array `table` (float16 [S, P * K]) into a pack, shard after shard; a stopped run goes on after the last whole one.

    Args:
        folder: plain or sharded pack, with F0.
        measure: the table of one recording (`hierspeech.synthesizer.colours.table_measure`). weights: a digest of what it uses.
        speeds: S speeds at which recordings are played, as `data.speeds` of the training says them.
        redo: make anew what is there.

    Returns: False if the pack has it already, made by the same from the same recordings.

    Raises:
        ValueError: it was made by another one, or of other speeds; speeds that are none.
    """
    if min(speeds) <= 0 or len(set(speeds)) != len(speeds):
        raise ValueError(f"speeds {list(speeds)}: expected different ones above 0")

    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for index in range(len(shard)):
            wav, f0 = as_wav(shard.read("wav", index)), shard.read("f0", index).astype(np.float32)
            tables = [measure(*played(wav, f0, speed)) for speed in speeds]
            yield (np.stack(tables).astype(np.float16),)

    note = {"spec": {"speeds": [float(speed) for speed in speeds]}, "weights": weights}
    return write_noted(folder, TABLE, note, "wav", rows, redo)


def played(wav: np.ndarray, f0: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """A recording [T] and its pitch in Hz [T // 80] at another speed -> whole frames [320 * N], [4 * N]."""
    if speed != 1:
        wav = resample(wav, round(SAMPLE_RATE * speed), SAMPLE_RATE)
    frames = len(wav) // HOP
    places = ((np.arange(frames * F0_RATE) + 0.5) * speed).astype(int).clip(max=max(len(f0) - 1, 0))
    return wav[: frames * HOP], f0[places] * speed if len(f0) else np.zeros(len(places), np.float32)
