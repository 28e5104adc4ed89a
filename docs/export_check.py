"""Measures exported voices for docs/export.md: python docs/export_check.py FOLDER [FOLDER ...] [--voice lite]

FOLDERs are what `python -m hierspeech.export` wrote; the first is what the others, and the pipeline in torch, are compared with.
All take turns in one process and speak the same sentences with the same prompt, without noise.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from denoiser.quality import log_spectral_distance_db
from hierspeech import TextToSpeech
from hierspeech.export.runtime import OnnxTextToSpeech

SENTENCES = (
    "It was late in the evening when the train finally reached the small station by the sea.",
    "Nobody was waiting there, and the lamps along the platform had long been put out.",
    "Why should anyone be out in weather like this?",
    "She counted seven windows, all of them dark, and walked on without a word.",
)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--voice", default="lite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    speakers = {str(folder): OnnxTextToSpeech(folder, options.threads) for folder in options.folders}
    calls = {
        name: lambda text, tts=tts: tts(text, noise_scale=0.0, seed=0)[0] for name, tts in speakers.items()
    }
    torch_tts = TextToSpeech.from_pretrained(options.voice, device="cpu")
    calls["torch"] = lambda text: torch_tts(text, noise_scale=0.0, seed=0).audio
    best = dict.fromkeys(calls, float("inf"))
    waves: dict[str, list[np.ndarray]] = {}
    for _ in range(options.rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            spoken = [call(text) for text in SENTENCES]
            if name in waves:  # the first time warms up
                best[name] = min(best[name], time.perf_counter() - start)
            waves[name] = spoken
    first = waves[str(options.folders[0])]
    seconds = sum(map(len, first)) / 16000
    print("| weights | MB | RTF | of the first | highest difference | LSD, dB |\n|---|---|---|---|---|---|")
    for name, spoken in waves.items():
        folder = Path(name)
        size = sum(path.stat().st_size for path in folder.glob("*.onnx")) / 1e6 if folder.is_dir() else 0.0
        pairs = [(a[: len(b)], b[: len(a)]) for a, b in zip(spoken, first, strict=True)]
        difference = max(float(np.abs(a - b).max()) for a, b in pairs)
        distances = [
            log_spectral_distance_db(*(torch.from_numpy(x)[None] for x in pair), 16000) for pair in pairs
        ]
        lengths = all(len(a) == len(b) for a, b in zip(spoken, first, strict=True))
        print(
            f"| {folder.name} | {size:.1f} | {best[name] / seconds:.4f} | "
            f"{best[str(options.folders[0])] / best[name]:.2f} | {difference:.1e}{'' if lengths else ' (other length)'} | "
            f"{float(torch.cat(distances).mean()):.2f} |"
        )


if __name__ == "__main__":
    main()
