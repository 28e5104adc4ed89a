"""How long a voice takes to load, and a fresh process to import and to speak its first sentence."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hierspeech.pipelines.voice import Voice

SENTENCE = "The quick brown fox jumps over the lazy dog."
LIMIT_SECONDS = 300


def load_seconds(voice: Voice, rates: list[int]) -> float:
    """Seconds to load the voice's models for text to speech at `rates`; they must not have been loaded yet."""
    start = time.perf_counter()
    _ = voice.ttv, voice.synthesizer, *(voice.speechsr(rate) for rate in rates)
    return time.perf_counter() - start


def cold_seconds(repository: Path, voice: Path, device: str) -> dict[str, float]:
    """Seconds of fresh processes: the imports of `infer.py`, and the whole script for one sentence.

    Raises:
        ValueError: the script failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "speech.wav")
        script = [str(repository / "infer.py"), "--voice", str(voice), "--device", device]
        return {
            "imports of infer.py": _seconds(["-c", "import hierspeech.pipelines.tts"], repository),
            "cold infer.py, one sentence": _seconds([*script, "--text", SENTENCE, "--out", out], repository),
        }


def _seconds(arguments: list[str], folder: Path) -> float:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode:
        raise ValueError(f"{' '.join(arguments)[:80]}: failed ({done.stderr.strip()[-200:]}).")
    return time.perf_counter() - start
