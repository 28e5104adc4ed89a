"""One line of a terminal that says how far a long work is and how long it will still take."""

import sys
import time
from typing import TextIO

WIDTH = 24  # characters of the bar


class ProgressBar:
    """Shows "sentence 12/80 [####------] 0:42 left"; nothing where nobody watches, or where there is but one thing to do.

    The first call after a new `what` or `total` says what was done before: time is counted from there.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream
        self._counted: tuple[str, int] | None = None
        self._before, self._since, self._shown = 0, 0.0, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` things called `what` are done."""
        if total < 2 or not self.stream.isatty():
            return
        if self._counted != (what, total):
            self._counted, self._before, self._since = (what, total), done, time.monotonic()
        filled = WIDTH * done // total
        line = f"{what} {done}/{total} [{'#' * filled}{'-' * (WIDTH - filled)}]"
        new = done - self._before
        if 0 < new and done < total:
            line += f" {clock((time.monotonic() - self._since) / new * (total - done))} left"
        self.stream.write(f"\r{line.ljust(self._shown)}" + "\n" * (done == total))
        self.stream.flush()
        self._shown = 0 if done == total else len(line)


def clock(seconds: float) -> str:
    """Seconds as 0:42, 12:05 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"
