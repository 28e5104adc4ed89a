"""Stopping a run at the end of a step instead of in the middle of it."""

import signal
import sys
import threading


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
