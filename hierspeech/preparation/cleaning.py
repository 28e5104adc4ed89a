"""Cleaned recordings as further targets of a pack, so that a synthesizer learns to speak without its corpus' noise.

Of read English recorded at home (speechocean762) half of what a model learnt to make was noise; docs/lite.md, experiment 11.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from speech.audio import resample
from speech.packs import Pack, write_arrays, write_whole

CLEAN = "clean"
RNNOISE_RATE = 48000
RNNOISE_DELAY = 960  # samples at 48 kHz: a frame of 10 ms that is read, and one that overlaps with the next

Cleaner = Callable[[np.ndarray], np.ndarray]  # wav [T] at 16 kHz -> [T]


def add_clean(
    folder: str | Path, clean: Cleaner, source: str, noisy: tuple[str, ...] = (), redo: bool = False
) -> bool:
    """Write the array `clean` (int16 [T], as `wav`) into a pack.

    Args:
        folder: of a pack that is not sharded.
        clean: a denoiser, for every utterance.
        source: what is noted as the denoiser's name.
        noisy: prefixes of the sources (`source` of an utterance) that RNNoise cleans first, for which `pyrnnoise` is needed.
        redo: make it anew where it is there.

    Returns: False if the pack has it already, made by the same.

    Raises:
        ValueError: a sharded pack, or no pyrnnoise.
    """
    pack = Pack(folder)
    if pack.index is not None:
        raise ValueError(f"{folder}: a sharded pack; expected a plain one, clean its shards one by one")
    note, made_by = Path(folder) / "clean.made.json", {"denoiser": source, "rnnoise": list(noisy)}
    if not redo and pack.has(CLEAN) and note.is_file() and json.loads(note.read_text()) == made_by:
        return False
    suppress = rnnoise() if noisy else None
    note.unlink(missing_ok=True)
    write_arrays(folder, [CLEAN], _rows(pack, clean, noisy, suppress))
    write_whole(note, json.dumps(made_by))
    return True


def _rows(
    pack: Pack, clean: Cleaner, noisy: tuple[str, ...], suppress: Cleaner | None
) -> Iterator[tuple[np.ndarray]]:
    for index in range(len(pack)):
        wav = pack.read("wav", index).astype(np.float32) / 32768
        if noisy and pack.utterances[index].get("source", "").startswith(noisy):
            wav = suppress(wav)
        wav = clean(wav)
        yield (np.clip(np.round(wav * 32768), -32768, 32767).astype(np.int16),)
        if index % 100 == 99:
            print(f"clean: {index + 1}/{len(pack)}", file=sys.stderr)


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
