"""A system for tests of comparisons: `python systems_for_tests.py KIND`, told by the text what to do.

Says a tone as long as the text. "crash", "hang", "garbage", "fail" and "loud" (prints) in a text make it do that.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hierspeech.benchmarking.systems.contract import Missing
from hierspeech.benchmarking.systems.worker import serve

RATE = 16000


class Tone:
    """See the top."""

    def __init__(self, kind: str):
        self.kind = kind

    def load(self, device: str) -> None:
        """As its kind says."""
        if self.kind == "missing":
            raise Missing("its package is not there")
        if self.kind == "broken":
            raise RuntimeError("weights of another size")
        if self.kind == "dies":
            print("no licence", file=sys.stderr, flush=True)
            os._exit(3)
        if log := os.environ.get("TONE_LOG"):
            with open(log, "a") as file:
                file.write("load\n")
        assert sys.stdin.read() == ""  # nobody answers questions

    def synthesize(self, request):
        """A tone."""
        text = request.text or ""
        if "crash" in text:
            os._exit(7)
        if "hang" in text:
            time.sleep(600)
        if "garbage" in text:
            for descriptor in range(3, 12):  # the pipe itself, wherever it is
                try:
                    os.write(descriptor, b"\x00 what is this?\n")
                except OSError:
                    continue
        if "loud" in text:
            print("Loading 100 %")
            os.system("echo from a child process")
        if "fail" in text:
            raise ValueError("cannot say that")
        if "silent" in text:
            return np.zeros(0), RATE
        if "nan" in text:
            return np.full(100, np.nan), RATE
        if log := os.environ.get("TONE_LOG"):
            with open(log, "a") as file:
                file.write(f"{text}\n")
        if "drawn" in text:
            return 0.1 * np.random.rand(8000), RATE
        t = np.arange(RATE // 2 + 500 * len(text)) / RATE
        return 0.2 * np.sin(2 * np.pi * 220 * t), RATE

    def parameters(self) -> int:
        """Of nothing."""
        return 12_345_678


class Streaming(Tone):
    """The same in chunks."""

    def stream(self, request):
        """Halves."""
        wav, rate = self.synthesize(request)
        yield wav[:1000], rate
        time.sleep(60)
        yield wav[1000:], rate


def chatter() -> None:
    """Answers with what is no answer from the beginning on."""
    for line in sys.stdin:
        print(json.dumps({"id": json.loads(line)["id"] + 1, "ok": True}), flush=True)


if __name__ == "__main__":
    kind = sys.argv[1]
    if kind == "chatter":
        chatter()
    else:
        serve((Streaming if kind == "stream" else Tone)(kind), ("numpy",))
