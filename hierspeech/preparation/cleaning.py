"""Cleaned recordings as further targets of a pack, so that a synthesizer learns to speak without its corpus' noise.

Of read English recorded at home (speechocean762) half of what a model learnt to make was noise; docs/lite.md, experiment 11.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hierspeech.preparation.stages import as_wav
from hierspeech.preparation.tokens import write_noted
from speech.audio import resample
from speech.packs import Pack

CLEAN = "clean"
RNNOISE_RATE = 48000
RNNOISE_DELAY = 960  # samples at 48 kHz: a frame of 10 ms that is read, and one that overlaps with the next

Cleaner = Callable[[np.ndarray], np.ndarray]  # wav [T] at 16 kHz -> [T]


def add_clean(
    folder: Path,
    clean: Cleaner,
    name: str,
    weights: str,
    noisy: tuple[str, ...] = (),
    redo: bool = False,
) -> bool:
    """Write the array `clean` (int16 [T], as `wav`) into a pack, shard after shard; a stopped run goes on after the last whole one.

    Args:
        folder: plain or sharded pack.
        clean: a denoiser, for every utterance. name, weights: what is noted of it, in words and as a digest.
        noisy: prefixes of the sources (`source` of an utterance) that RNNoise cleans first, for which `pyrnnoise` is needed.
        redo: make anew what is there.

    Returns: False if the pack has it already, made by the same from the same recordings.

    Raises:
        ValueError: it was made by another one, or there is no pyrnnoise.
    """
    suppress = rnnoise() if noisy else None

    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for index in range(len(shard)):
            wav = as_wav(shard.read("wav", index))
            if noisy and shard.utterances[index].get("source", "").startswith(noisy):
                wav = suppress(wav)
            yield (np.clip(np.round(clean(wav) * 32768), -32768, 32767).astype(np.int16),)

    note = {"spec": {"denoiser": name, "rnnoise": list(noisy)}, "weights": weights}
    return write_noted(folder, CLEAN, note, "wav", rows, redo)


def rnnoise() -> Cleaner:
    """Valin's recurrent noise suppressor (2018) as `pyrnnoise` packages it: wav [T] at 16 kHz -> [T], without its delay."""
    library = _rnnoise_library()

    def suppress(wav: np.ndarray) -> np.ndarray:
        frame = library.FRAME_SIZE
        high = resample(wav, 16000, RNNOISE_RATE)
        high = np.pad(high * 32768, (0, RNNOISE_DELAY + -(len(high) + RNNOISE_DELAY) % frame))
        frames = np.ascontiguousarray(high.astype(np.float32)).reshape(-1, frame)
        state = library.create()
        try:
            pointer = library.ctypes.POINTER(library.ctypes.c_float)
            for row in frames:  # in place; one call per 10 ms is how the library works
                address = row.ctypes.data_as(pointer)
                library.lib.rnnoise_process_frame(state, address, address)
        finally:
            library.destroy(state)
        low = resample(frames.reshape(-1)[RNNOISE_DELAY:] / 32768, RNNOISE_RATE, 16000)[: len(wav)]
        return np.pad(low, (0, len(wav) - len(low))).astype(np.float32)

    return suppress


@functools.cache
def _rnnoise_library():
    try:
        import importlib.util

        # the module of the calls alone: the package itself wants matplotlib and an audio library
        found = importlib.util.find_spec("pyrnnoise")
        if found is None or not found.submodule_search_locations:
            raise ImportError("no pyrnnoise")
        place = Path(found.submodule_search_locations[0]) / "rnnoise.py"
        spec = importlib.util.spec_from_file_location("pyrnnoise_calls", place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, OSError) as error:
        raise ValueError(
            f"cleaning with RNNoise needs the package pyrnnoise ({error}); expected `pip install --no-deps pyrnnoise`"
        ) from None
