"""Measure super-resolution models on held-out 48 kHz recordings: the table of docs/lite_sr.md.

    PYTHONPATH=. python docs/lite_sr_check.py WIDEBAND_FOLDER NAME=MODEL_FOLDER ... [--rate 48000] [--only nuwave2_] [--time]
    PYTHONPATH=. python docs/lite_sr_check.py FOLDER lite=hierspeech/voices/lite/speechsr-48k --rate 24000
    PYTHONPATH=. python docs/lite_sr_check.py --spoken [NAME=MODEL_FOLDER ...]       speech of the lite voice: no truth, so levels by band and DNSMOS

Recordings of 48 kHz come to 16 kHz (and to the truth of 24 kHz) by soxr. LSD: STFT 2048/512 (1024/256 at 24 kHz), Hann, log10 of the
power floored at 1e-8, root mean square over frequency, mean over frames, mean over recordings; "above" counts bins over 8 kHz only,
"made" is the mean of made minus true log10 power there. "sinc" is soxr. `--time` gives one core's time for 10 s of audio.
DNSMOS needs `pip install speechmos onnxruntime`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from speech.audio import load_audio, resample
from speechsr import SPEECHSR_MODELS

WIDE = 48000
NARROW = 16000
BANDS_HZ = (
    (2000, 4000),
    (4000, 6000),
    (6000, 8000),
    (8000, 10000),
    (10000, 12000),
    (12000, 16000),
    (16000, 24000),
)
SENTENCES = Path(__file__).with_name("lite_sentences.txt")


def log_power(wav: np.ndarray, rate: int) -> torch.Tensor:
    """log10 power [F, N] of wav [T], floored at 1e-8."""
    size = 2048 * rate // WIDE
    spec = torch.stft(
        torch.from_numpy(wav), size, size // 4, window=torch.hann_window(size), return_complex=True
    )
    return spec.abs().square().clamp(min=1e-8).log10()


def distances(made: np.ndarray, truth: np.ndarray, rate: int) -> tuple[float, float, float]:
    """(LSD, LSD above 8 kHz, made minus true log10 power there) of wavs [T]."""
    size = min(len(made), len(truth))
    difference = log_power(made[:size], rate) - log_power(truth[:size], rate)
    first = round(NARROW / 2 / (rate / 2) * (difference.shape[0] - 1)) + 1
    above = difference[first:]
    return (
        float(difference.square().mean(0).sqrt().mean()),
        float(above.square().mean(0).sqrt().mean()),
        float(above.mean()),
    )


def load(folder: str, rate: int) -> torch.nn.Module:
    """The model of a folder, taken to the rate where it gives several."""
    kind = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["model"]
    model = SPEECHSR_MODELS[kind].from_pretrained(folder)
    return model.at_rate(rate) if model.output_rate != rate and hasattr(model, "at_rate") else model


def apply(model: torch.nn.Module | None, wav: np.ndarray, rate: int) -> np.ndarray:
    """wav [T] at 16 kHz -> [T'] at `rate`; through soxr without a model, and after one of another rate."""
    if model is None:
        return resample(wav, NARROW, rate)
    with torch.inference_mode():
        made = model.infer(torch.from_numpy(wav)[None, None])[0, 0].numpy()
    return resample(made, model.output_rate, rate)


def factor(model: torch.nn.Module | None, rate: int) -> float:
    """Seconds of one core for a second of audio: processor time, which other programs change little; the best of five runs over 10 s."""
    wav = 0.05 * np.random.default_rng(0).standard_normal(10 * NARROW).astype(np.float32)
    threads, taken = torch.get_num_threads(), []
    torch.set_num_threads(1)  # threads that wait for one another count as busy
    for _ in range(6 if model is None or hasattr(model, "at_rate") else 3):
        begin = time.process_time()
        apply(model, wav, rate)
        taken.append(time.process_time() - begin)
    torch.set_num_threads(threads)
    return min(taken[1:]) / 10


def compare(
    paths: list[Path], models: dict[str, torch.nn.Module | None], rate: int, timed: bool, each: bool
) -> None:
    """Prints a row for each model."""
    print(
        f"{len(paths)} recordings\n| model | weights | LSD | above 8 kHz | made - true | core time / duration |\n|---|---|---|---|---|---|"
    )
    for name, model in models.items():
        rows = []
        for path in paths:
            wav, own = load_audio(path)
            if own != WIDE:
                raise ValueError(f"{path}: {own} Hz, expected recordings of {WIDE} Hz.")
            truth = resample(wav, WIDE, rate)
            rows.append(distances(apply(model, resample(wav, WIDE, NARROW), rate), truth, rate))
            if each:
                print(f"  {path.stem} {rows[-1][0]:.3f}")
        lsd, above, bias = np.mean(rows, axis=0)
        weights = 0 if model is None else sum(p.numel() for p in model.parameters())
        seconds = f"{factor(model, rate):.4f}" if timed else "-"
        print(f"| {name} | {weights} | {lsd:.3f} | {above:.3f} | {bias:+.2f} | {seconds} |", flush=True)


def spoken(models: dict[str, torch.nn.Module | None], voice: str, sentences: int) -> None:
    """Prints the mean level in dB of each band of speech that the voice speaks, and DNSMOS of it at 16 kHz, before and after."""
    from hierspeech import TextToSpeech

    try:
        from speechmos import dnsmos
    except ImportError:
        dnsmos = None
    tts = TextToSpeech.from_pretrained(voice, device="cpu")
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()[:sentences]
    names = tts.voice.description.prompts
    wavs = [tts(text, names[k % len(names)], seed=0).audio for k, text in enumerate(texts)]
    print("| model | " + " | ".join(f"{a / 1000:g}-{b / 1000:g} kHz" for a, b in BANDS_HZ) + " | DNSMOS |")
    for name, model in models.items():
        made = [apply(model, wav, WIDE) for wav in wavs]
        powers = torch.cat([log_power(wav, WIDE) for wav in made], dim=1)
        loud = powers[:342].mean(0) > powers[:342].mean(0).median()  # the louder half of the frames
        hz = torch.linspace(0, WIDE / 2, len(powers))
        levels = [10 * powers[(hz >= a) & (hz < b)][:, loud].mean().item() for a, b in BANDS_HZ]
        scores = (
            [dnsmos.run(resample(wav, WIDE, NARROW), NARROW)["ovrl_mos"] for wav in made] if dnsmos else []
        )
        score = f"{np.mean(scores):.3f}" if scores else "-"
        print(f"| {name} | " + " | ".join(f"{level:.1f}" for level in levels) + f" | {score} |", flush=True)


def main() -> None:
    """Reads the command line and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="FOLDER NAME=MODEL ...")
    parser.add_argument("--rate", type=int, default=WIDE, choices=(24000, 48000))
    parser.add_argument(
        "--only", default="", help="recordings whose path holds one of these, separated by commas"
    )
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--each", action="store_true", help="a line for every recording, too")
    parser.add_argument("--spoken", action="store_true")
    parser.add_argument("--voice", default="lite")
    parser.add_argument("--sentences", type=int, default=20)
    arguments = parser.parse_args()
    folders = [word for word in arguments.words if "=" not in word]
    models: dict[str, torch.nn.Module | None] = {"sinc": None}
    for word in arguments.words:
        if "=" in word:
            name, folder = word.split("=", 1)
            models[name] = load(folder, arguments.rate)
    if arguments.spoken:
        return spoken(models, arguments.voice, arguments.sentences)
    wanted = arguments.only.split(",")
    paths = [
        p
        for folder in folders
        for p in sorted(Path(folder).rglob("*.flac"))
        if any(w in str(p) for w in wanted)
    ]
    compare(paths, models, arguments.rate, arguments.time, arguments.each)


if __name__ == "__main__":
    main()
