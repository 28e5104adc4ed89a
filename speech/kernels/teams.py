"""Threads of the compiled kernels: torch's own, where its OpenMP can be asked for them.

Those wait for work by spinning for milliseconds after each operation of torch. Threads of our own would share their cores
with them meanwhile: on two cores SpeechSR took a fifth longer (docs/performance_kernels.md).
"""

import ctypes
import functools
import threading
from pathlib import Path
from typing import Any

import torch

from speech.kernels.build import library

NAMES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


def run_by_threads(function: Any, call: Any, threads: int) -> None:
    """function(call, rank, size) for each rank below size at the same time; size is `threads`, or less where there are no more.

    Args:
        function: of the library of kernels; during the call Python's lock is free.
        call: a pointer that it understands.
    """
    team = _team() if threads > 1 else None
    if team is not None:
        library().in_team(*team, ctypes.c_int32(threads), ctypes.cast(function, ctypes.c_void_p), call)
        return

    def work(rank: int) -> None:
        function(call, ctypes.c_int32(rank), ctypes.c_int32(threads))

    # New threads each time: those of a pool could wait for ranks of another call that wait for them.
    others = [threading.Thread(target=work, args=(rank,)) for rank in range(1, threads)]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()


@functools.cache
def _team() -> tuple[ctypes.c_void_p, ctypes.c_void_p] | None:
    """What starts threads of torch's OpenMP and what counts them; None where torch has another or none."""
    for path in (Path(torch.__file__).parent / "lib" / name for name in NAMES):
        try:
            loaded = ctypes.CDLL(str(path))  # looks in the libraries that it needs, too
            functions = loaded.GOMP_parallel, loaded.omp_get_num_threads
        except (OSError, AttributeError):
            continue
        return tuple(ctypes.cast(function, ctypes.c_void_p) for function in functions)
    return None
