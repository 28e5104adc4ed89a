"""Measures pitch trackers beside ours: python docs/f0_comparison.py FOLDER_OF_SPEECH [files [tracker ...]]

Only trackers that are installed take part: pip install pyworld praat-parselmouth swift-f0 librosa AMFM-decompy.
pyworld is needed to make the test signals: each recording is analysed and synthesised again, so that the pitch and the
voicing of the copy are known exactly while its spectra and noise are those of real speech. On the recordings
themselves nobody knows the truth, and two of three other trackers (DIO, Praat, SwiftF0) agreeing stand for it.
"""

import functools
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from speech.audio import load_audio
from speech.f0 import extract_f0

RATE, HOP, LOW, HIGH = 16000, 80, 60.0, 400.0


def at_frames(times: np.ndarray, f0: np.ndarray, length: int) -> np.ndarray:
    """f0 at any frame times in seconds -> [length // 80] at the middle of ours; the nearest frame tells the voicing."""
    wanted = (np.arange(length // HOP) + 0.5) * HOP / RATE
    right = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    left = right - 1
    weight = ((wanted - times[left]) / (times[right] - times[left])).clip(0, 1)
    near = np.where(weight < 0.5, f0[left], f0[right])
    both = (f0[left] > 0) & (f0[right] > 0)
    return np.where((near > 0) & both, f0[left] * (1 - weight) + f0[right] * weight, near)


def ours(wav):
    return extract_f0(wav, RATE, LOW, HIGH)


def dio(wav):
    import pyworld

    f0, times = pyworld.dio(wav.astype(float), RATE, LOW, HIGH, frame_period=5.0)
    return at_frames(times, pyworld.stonemask(wav.astype(float), f0, times, RATE), len(wav))


def harvest(wav):
    import pyworld

    f0, times = pyworld.harvest(wav.astype(float), RATE, LOW, HIGH, frame_period=5.0)
    return at_frames(times, f0, len(wav))


def praat(wav):
    import parselmouth

    pitch = parselmouth.Sound(wav.astype(float), RATE).to_pitch_ac(0.005, LOW, pitch_ceiling=HIGH)
    return at_frames(pitch.xs(), pitch.selected_array["frequency"], len(wav))


@functools.cache
def swift_detector():
    import swift_f0

    return swift_f0.SwiftF0()


def swift(wav):
    found = swift_detector().detect(wav, RATE, fmin=LOW, fmax=HIGH)
    return at_frames(found.timestamps, np.where(found.confidence >= 0.5, found.pitch_hz, 0), len(wav))


def pyin(wav):
    import librosa

    f0, voiced, _ = librosa.pyin(wav, fmin=LOW, fmax=HIGH, sr=RATE, frame_length=1024, hop_length=HOP)
    return at_frames(np.arange(len(f0)) * HOP / RATE, np.where(voiced, f0, 0), len(wav))


def yaapt(wav):
    from amfm_decompy import basic_tools, pYAAPT

    pitch = pYAAPT.yaapt(
        basic_tools.SignalObj(np.pad(wav, 160).astype(float), RATE),
        frame_length=20.0,
        frame_space=5.0,
        nccf_thresh1=0.25,
        tda_frame_length=25.0,
    )
    return at_frames(pitch.frames_pos / RATE - 0.01, pitch.samp_values, len(wav))


TRACKERS = {
    "ours": ours,
    "DIO + StoneMask": dio,
    "Harvest": harvest,
    "Praat": praat,
    "SwiftF0": swift,
    "pYIN": pyin,
}
TRACKERS["YAAPT"] = yaapt
VOTERS = ("DIO + StoneMask", "Praat", "SwiftF0")
IMPORTS = {"ours": "speech.f0", "Praat": "parselmouth", "SwiftF0": "swift_f0", "pYIN": "librosa"}
IMPORTS |= {"YAAPT": "amfm_decompy.pYAAPT", "DIO + StoneMask": "pyworld", "Harvest": "pyworld"}


def copy_with_known_pitch(wav):
    """A recording -> (synthetic copy, its f0 in our frames). Harvest's pitch where DIO agrees; the rest is noise."""
    import pyworld

    x = wav.astype(float)
    f0, times = pyworld.harvest(x, RATE, LOW, HIGH, frame_period=5.0)
    other = pyworld.dio(x, RATE, LOW, HIGH, frame_period=5.0)[0]
    other = np.pad(other, (0, max(0, len(f0) - len(other))))[: len(f0)]
    agree = (f0 > 0) & (other > 0) & (np.abs(np.log2(np.maximum(f0, 1) / np.maximum(other, 1))) < 0.1)
    edges = np.flatnonzero(np.diff(np.pad(agree.astype(int), 1)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        agree[start:stop] &= stop - start >= 6
    f0 = np.where(agree, f0, 0.0)
    spectrum, noise = pyworld.cheaptrick(x, f0, times, RATE), pyworld.d4c(x, f0, times, RATE)
    copy = pyworld.synthesize(f0, spectrum, noise, RATE, 5.0).astype(np.float32)
    return copy, at_frames(times, f0, len(copy))


def compare(pairs):
    """[(true f0, found f0)] -> gross errors %, mean of the other deviations in cents, voicing errors %."""
    gross = both = wrong = frames = 0
    fine = []
    for true, found in pairs:
        length = min(len(true), len(found))
        true, found = true[:length], found[:length]
        voiced = (true > 0) & (found > 0)
        cents = 1200 * np.abs(np.log2(found[voiced] / true[voiced]))
        gross, both = gross + (cents > 350).sum(), both + voiced.sum()
        wrong, frames = wrong + ((true > 0) != (found > 0)).sum(), frames + length
        fine.append(cents[cents <= 350])
    return 100 * gross / max(both, 1), float(np.concatenate(fine).mean()), 100 * wrong / frames


def main(folder: str, count: int, names: list[str]) -> None:
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".flac", ".wav"))
    paths = random.Random(0).sample(paths, min(count, len(paths)))
    wavs = [load_audio(path, RATE, max_seconds=16.0)[0] for path in paths]
    rng = np.random.default_rng(0)
    copies = [copy_with_known_pitch(wav) for wav in wavs]
    noisy = [
        (x + x.std() * 10**-0.5 * rng.standard_normal(len(x)).astype(np.float32), f0) for x, f0 in copies
    ]
    seconds = sum(map(len, wavs)) / RATE
    print(f"{len(wavs)} files, {seconds:.0f} s; gross error % / mean deviation in cents / voicing error %")
    found, rows = {}, {}
    for name, track in TRACKERS.items():
        if names and name not in names and name not in VOTERS:
            continue
        try:
            track(wavs[0])
        except ImportError:
            continue
        pairs = [[(f0, track(wav)) for wav, f0 in data] for data in (copies, noisy)]
        start = time.process_time()  # not the clock on the wall: other work on the machine must not count
        found[name] = [track(wav) for wav in wavs]
        speed = (time.process_time() - start) / seconds
        rows[name] = (*map(compare, pairs), speed)
    votes = [found[name] for name in VOTERS]
    truth = [
        np.median(tracks, axis=0) for tracks in zip(*votes, strict=True)
    ]  # unvoiced is 0: the median votes on voicing too
    print(
        "| tracker | known pitch | same, 10 dB noise | recordings | x real time | import, s |\n|---|---|---|---|---|---|"
    )
    for name, (clean, noise, speed) in rows.items():
        results = [clean, noise, compare(zip(truth, found[name], strict=True))]
        code = f"import time, numpy; t = time.process_time(); import {IMPORTS[name]}; print(time.process_time() - t)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        cold = f"{float(run.stdout):.2f}" if run.returncode == 0 else "?"
        cells = " | ".join("{:.2f} / {:.0f} / {:.1f}".format(*result) for result in results)
        print(f"| {name} | {cells} | {speed:.4f} | {cold} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24, sys.argv[3:])
