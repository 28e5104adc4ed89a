"""Ends of runs: at the end of a step instead of in the middle of it, and without an abort."""

import os
import signal
import sys
import threading
from typing import NoReturn


class StopSignals:
    """Turn the first Ctrl-C or SIGTERM into a flag; a second Ctrl-C interrupts at once."""

    def __init__(self):
        self.stop, self._previous = False, {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers there only
            self._previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _handle(self, number, frame) -> None:
        self.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping after this step; saving", file=sys.stderr, flush=True)

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process with exit code `code`; of a distributed run without taking the interpreter down.

    The threads of torch's gloo (2.13) free tensors that Python knows, after the main thread has gone on. Where it has got as far
    as the end of the interpreter by then, Python ends such a thread in the middle of a C++ destructor, and C++ the process with
    SIGABRT: one in twenty short runs of two processes on a busy machine. `destroy_process_group` does not join those threads.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
