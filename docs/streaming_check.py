"""The figures of docs/streaming.md: python docs/streaming_check.py [--threads 2] [--repeats 5] [--cpu-time]

First-audio latency and the price of streaming against one call, variants taken in turns in one process; peak memory against the
length of the text; and the windows of the full-size decoder (random weights) against one go. `--cpu-time` counts the time that the process computed, for machines that others use, too;
with `--threads 1` it is what the clock would say on a core of one's own.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from hierspeech import TextToSpeech
from hierspeech.pipelines.streaming import first_audio_seconds, window_sizes
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.windows import decode_windows
from speech.fast import prepare_for_inference
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig
from speechsr.windows import SpeechSRWindows

SHORT = "Good morning, and welcome to the library."
CLAUSES = "When the morning light came over the hills, the people of the village opened their doors and looked out. "
PLAIN = "The people of the small village at the end of the valley opened their doors one after another and looked out to the sea that lay quiet under the clouds. "
TEXTS = {
    "7 words": SHORT,
    "200 words": " ".join((CLAUSES * 12).split()[:200]) + ".",
    "200 words, first sentence of 30 without a comma": " ".join((PLAIN * 8).split()[:200]) + ".",
    "2000 words": " ".join((CLAUSES * 120).split()[:2000]) + ".",
}


clock = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    global clock
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    torch.set_num_threads(arguments.threads)
    tts = TextToSpeech.from_pretrained("lite", "cpu")
    prompt = tts.prompt("anna")
    for rate in (16000, 48000):
        list(
            tts.stream(SHORT, prompt, seed=0, output_sample_rate=rate)
        )  # loads what is loaded when first used
        latency_and_price(tts, prompt, rate, arguments.repeats)
    memory(tts, prompt)
    full_size()


def latency_and_price(tts: TextToSpeech, prompt, rate: int, repeats: int) -> None:
    """Prints the table of one output rate."""
    model = "soxr" if tts.voice.speechsr(rate) is None else type(tts.voice.speechsr(rate)).__name__
    print(f"\n{rate} Hz ({'no change of rate' if rate == 16000 else model})\n")
    print("| text | first audio | speech | one call | whole stream | ratio |\n|---|---|---|---|---|---|")
    for name, text in TEXTS.items():
        many = len(text) < 2000
        first, call, stream = [], [], []
        for _ in range(repeats if many else 1):

            def begin():
                return tts.stream(text, prompt, seed=0, output_sample_rate=rate)  # noqa: B023

            first += [first_audio_seconds(begin, clock=clock)[0] for _ in range(5)]
            if many:
                stream.append(first_audio_seconds(begin, True, clock)[2])
                call.append(seconds(lambda: tts(text, prompt, seed=0, output_sample_rate=rate)))  # noqa: B023
        spoken = tts(text, prompt, seed=0, output_sample_rate=rate).seconds if many else 0
        row = f"| {name} | {1e3 * statistics.median(first):.0f} ms (worst {1e3 * max(first):.0f}) |"
        if many:
            a, b = statistics.median(call), statistics.median(stream)
            row += f" {spoken:.1f} s | {a:.2f} s | {b:.2f} s | {b / a:.2f} |"
        print(row)


def memory(tts: TextToSpeech, prompt) -> None:
    """Prints the highest memory of the process after ever longer streams."""
    print("\n| streamed so far | peak memory of the process |\n|---|---|")
    text = TEXTS["200 words"]
    for times in (1, 5, 20):
        spoken = sum(chunk.seconds for chunk in tts.stream(f"{text} " * times, prompt, seed=0))
        print(f"| {spoken:.0f} s | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB |")


@torch.inference_mode()
def full_size() -> None:
    """Prints the windows of the full-size decoder and of a light super-resolution against one go."""
    torch.manual_seed(0)
    config = HierSpeechConfig(posterior=None, semantic_posterior=False, prosody=None)
    model = prepare_for_inference(HierSpeech(config))
    print(
        "\n| full size, decoder alone, random weights | one go | first window | all windows | ratio |\n|---|---|---|---|---|"
    )
    for frames in (150, 500):
        z, style = torch.randn(1, model.config.latent, frames), torch.randn(1, model.config.style_config.out)
        log_f0 = torch.full((1, 1, 4 * frames), 5.0)
        model.decode(z[..., :20], style, log_f0[..., :80])
        whole, first, every = (
            min(seconds(work) for _ in range(3))
            for work in (
                lambda: model.decode(z, style, log_f0),  # noqa: B023
                lambda: next(decode_windows(model, z, style, log_f0, window_sizes())),  # noqa: B023
                lambda: list(decode_windows(model, z, style, log_f0, window_sizes())),  # noqa: B023
            )
        )
        print(
            f"| {frames / 50:.0f} s | {whole:.2f} s | {first:.2f} s | {every:.2f} s | {every / whole:.2f} |"
        )
    sr = prepare_for_inference(ISTFTSpeechSR(ISTFTSpeechSRConfig()))
    wav = np.zeros(160000, np.float32)

    def stream():
        windows, at = SpeechSRWindows(sr), 0
        for frames in window_sizes(27):
            windows.push(wav[at : at + 320 * frames])
            at += 320 * frames
            if at >= len(wav):
                return windows.finish()

    whole, every = (
        min(seconds(work) for _ in range(3))
        for work in (lambda: sr.infer(torch.from_numpy(wav)[None, None]), stream)
    )
    print(
        f"\nISTFTSpeechSR to 48 kHz, 10 s: {whole:.3f} s in one go, {every:.3f} s in windows, ratio {every / whole:.2f}"
    )


def seconds(work: Callable) -> float:
    """How long it takes."""
    began = clock()
    work()
    return clock() - began


if __name__ == "__main__":
    main()
