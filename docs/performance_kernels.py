"""The figures of docs/performance_kernels.md: full-size models with random weights, plain layout against every fast path.

    PYTHONPATH=.:tests python docs/performance_kernels.py --threads 2

Variants take turns in one process and the fastest round of each counts. With `--threads 1` the processor's time is measured,
which other programs hardly disturb; with more threads it is wall time, so the machine should be idle.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from plain_layout import plain_layout
from torch import nn

from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from speech.fast import prepare_for_inference
from speech.kernels import build
from speechsr import SpeechSR, SpeechSRConfig
from ttv.model import TTV, TTVConfig

VARIANTS = ("plain", "torch", "native", "native bf16")


def main() -> None:
    """Prints a table: seconds per second of audio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of audio (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    parts = make_parts(arguments.seconds)
    print("| part | " + " | ".join(VARIANTS) + " |\n|---" * 1 + "|---" * len(VARIANTS) + "|")
    totals = dict.fromkeys(VARIANTS, 0.0)
    for name, (model, run, seconds) in parts.items():
        best = measure(model, run, arguments.rounds, clock)
        for variant in VARIANTS:
            totals[variant] += best[variant] / seconds
        print(row(name, {variant: value / seconds for variant, value in best.items()}), flush=True)
    print(row("text to 48 kHz", totals))


def make_parts(seconds: float) -> dict[str, tuple[nn.Module, Callable[[], object], float]]:
    """Name -> model, what to time, seconds of audio that it makes."""
    torch.manual_seed(0)
    ttv = TTV(TTVConfig()).eval()
    synthesizer = HierSpeech(HierSpeechConfig(posterior=None, prosody=None, semantic_posterior=False)).eval()
    speechsr = SpeechSR(SpeechSRConfig()).eval()
    frames = int(50 * seconds)
    phonemes, style = torch.randint(1, 50, (1, int(14 * seconds))), torch.randn(1, 256)
    semantic, log_f0 = torch.randn(1, 1024, frames), torch.zeros(1, 1, 4 * frames)
    wav = 0.1 * torch.randn(1, 1, 320 * frames)

    def speak() -> int:
        return ttv.infer(phonemes, style, generator=torch.Generator().manual_seed(0)).semantic.shape[-1]

    return {
        "text-to-vec": (ttv, speak, speak() / 50),
        "synthesizer": (synthesizer, lambda: synthesizer.infer(semantic, log_f0, style), frames / 50),
        "SpeechSR-48k": (speechsr, lambda: speechsr.infer(wav), frames / 50),
    }


def measure(
    model: nn.Module, run: Callable[[], object], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds of each variant, the fastest of `rounds`; they take turns."""
    best = dict.fromkeys(VARIANTS, float("inf"))
    for _ in range(rounds):
        for variant in VARIANTS:
            os.environ["HIERSPEECH_KERNELS"] = "torch" if variant == "torch" else "native"
            build.library.cache_clear()
            prepare_for_inference(model, torch.bfloat16 if variant == "native bf16" else torch.float32)
            for repeat in range(2):  # the first packs weights and warms the memory up
                start = clock()
                if variant == "plain":
                    with plain_layout(model):
                        run()
                else:
                    run()
                if repeat or variant == "plain":
                    best[variant] = min(best[variant], clock() - start)
    return best


def row(name: str, seconds: dict[str, float]) -> str:
    """One line of the table: seconds per second of audio and how many times faster than the plain layout."""
    first = seconds[VARIANTS[0]]
    cells = [f"{value:.4f} ({first / value:.1f}x)" for value in seconds.values()]
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
