"""Recordings at 48 kHz to teach the lite voice's super-resolution: real ones, and what the published SpeechSR makes of 16 kHz speech.

    python -m hierspeech.official convert speechsr-48k speechsr48k/G_100000.pth OFFICIAL
    PYTHONPATH=. python docs/lite_sr_data.py CORPUS OFFICIAL OUT [--minutes 20] [--threads 1]

CORPUS is a folder with `manifest.csv` (path|speaker|source|licence|seconds|age|gender|split|transcript) of 16 kHz speech and
`wideband/` beside it. Written: OUT/*.wav and the filelists OUT/train.txt and OUT/validation.txt for configs/lite/speechsr_48k.yaml.
Speakers whose split is `dev` and the speakers of wideband/vctk_nuwave2 are in no training list. What is there is not made again,
so a run that was stopped goes on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from speech.audio import load_audio, resample, set_loudness
from speechsr import SpeechSR

RATE = 48000
SPEEDS = (1.0, 1.05, 1.1)  # of real recordings; only faster ones keep their band full
REAL_SHARE = 0.3  # of the training list's lines
LEVEL_DB = -20.0  # about that of VCTK, which the teacher knows
SECONDS = 5.0  # at most, of an utterance: many voices are worth more than long ones
FINE = 1024  # steps of the gains that make up for the teacher's quiet top, from 0 Hz to RATE / 2
SMOOTH = 40  # of those steps on either side
LJ_BAND_HZ = (9500, 10500)  # LJSpeech's own recordings below, the teacher's above, cross-faded


def teach(teacher: SpeechSR, wav: np.ndarray) -> np.ndarray:
    """wav [T] at 16 kHz -> the teacher's 48 kHz [3T]."""
    return teacher.infer(torch.from_numpy(wav)[None, None])[0, 0].numpy()


def join_bands(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`low` below LJ_BAND_HZ and `high` above, both [T] at 48 kHz."""
    size = min(len(low), len(high))
    hz = np.fft.rfftfreq(size, 1 / RATE)
    share = np.clip((hz - LJ_BAND_HZ[0]) / (LJ_BAND_HZ[1] - LJ_BAND_HZ[0]), 0, 1)
    mixed = np.fft.rfft(low[:size]) * (1 - share) + np.fft.rfft(high[:size]) * share
    return np.fft.irfft(mixed, size).astype(np.float32)


def utterances(corpus: Path, split: str, sources: list[str]) -> list[tuple[str, Path]]:
    """(speaker, path) of one recording after another, the speakers of each source in turn."""
    rows = [
        line.split("|") for line in (corpus / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    found = [(row[1], corpus / row[0]) for row in rows if row[7] == split and row[0].split("/")[0] in sources]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def lacking(corpus: Path, teacher: SpeechSR) -> np.ndarray:
    """The gain that the teacher's upper band lacks on average in the louder frames of the real training recordings, [FINE + 1]."""
    powers = []
    for path in real_recordings(corpus):
        wav = load_audio(path, RATE)[0]
        pair = wav, np.resize(teach(teacher, resample(wav, RATE, 16000)), len(wav))
        window = torch.hann_window(2 * FINE)
        specs = [
            torch.stft(torch.from_numpy(x), 2 * FINE, FINE // 2, window=window, return_complex=True)
            for x in pair
        ]
        powers.append(torch.stack([spec.abs().square().clamp(min=1e-8).log10() for spec in specs]))
    both = torch.cat(powers, dim=2)  # [2, FINE + 1, N]
    level = both[0, : FINE // 3].mean(0)
    loud = both[:, :, level > level.median()].mean(2).numpy()
    kernel = np.hanning(2 * SMOOTH + 1)
    missing = np.convolve(np.pad(loud[0] - loud[1], SMOOTH, mode="edge"), kernel / kernel.sum(), mode="valid")
    missing[: FINE * 9 // 24] = 0  # up to 9 kHz it is right
    return 10 ** (np.clip(missing, 0, 1) / 2)


def equalised(wav: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """wav [T] with its spectrum times `gains`, which are evenly spread from 0 Hz to RATE / 2; phases stay."""
    curve = np.interp(np.linspace(0, 1, len(wav) // 2 + 1), np.linspace(0, 1, len(gains)), gains)
    return np.fft.irfft(np.fft.rfft(wav) * curve, len(wav)).astype(np.float32)


def made_by_teacher(
    pairs: list[tuple[str, Path]], teacher: SpeechSR, gains: np.ndarray, out: Path, seconds: float
) -> Iterator[str]:
    """Lines of a filelist: the teacher's version of as many utterances as fit into `seconds`."""
    for speaker, path in pairs:
        if seconds <= 0:
            return
        raw, target = out / "taught" / f"{speaker}_{path.stem}.wav", out / f"{speaker}_{path.stem}.wav"
        if not raw.is_file():
            wav = load_audio(path, 16000, max_seconds=SECONDS)[0]
            write(raw, teach(teacher, set_loudness(wav, LEVEL_DB)))
        if not target.is_file():
            write(target, equalised(load_audio(raw)[0], gains))
        seconds -= soundfile.info(target).duration
        yield line(target, speaker)


def lj(corpus: Path, teacher: SpeechSR, gains: np.ndarray, out: Path) -> Iterator[str]:
    """The LJSpeech recordings of 22.05 kHz, what they lack being the teacher's."""
    for path in sorted((corpus / "wideband/ljspeech_22k").glob("*.flac")):
        target = out / f"lj22_{path.stem}.wav"
        if not target.is_file():
            wav, rate = load_audio(path, max_seconds=SECONDS)
            wav = set_loudness(wav, LEVEL_DB)
            high = equalised(teach(teacher, resample(wav, rate, 16000)), gains)
            write(target, join_bands(resample(wav, rate, RATE), high))
        yield line(target, "lj")


def real_recordings(corpus: Path) -> list[Path]:
    """The 48 kHz recordings of the one VCTK speaker to train on; no recording twice."""
    paths = sorted((corpus / "wideband/vctk_nuwave").glob("*.flac"))
    return list({round(soundfile.info(path).frames / 100): path for path in paths}.values())


def real(corpus: Path, out: Path) -> Iterator[str]:
    """Those recordings at several speeds."""
    for path in real_recordings(corpus):
        wav = load_audio(path, RATE)[0]
        for speed in SPEEDS:
            target = out / f"vctk_{path.stem}_{speed:g}.wav"
            write(target, resample(wav, round(RATE * speed), RATE))
            yield line(target, "vctk")


def write(path: Path, wav: np.ndarray) -> None:
    """Float samples, so that quiet upper bands are not lost in rounding; whole or not at all."""
    temporary = path.with_suffix(".part")
    soundfile.write(temporary, wav, RATE, subtype="FLOAT", format="WAV")
    temporary.rename(path)


def line(path: Path, speaker: str) -> str:
    """One line of a filelist."""
    return f"{path.stem}|{path.absolute()}|{speaker}|en-us|"


def write_list(path: Path, lines: list[str]) -> None:
    """A filelist, whole or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    temporary.rename(path)


def main() -> None:
    """Reads the command line and writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("official", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of teacher's speech, LJSpeech apart")
    parser.add_argument(
        "--spoken", type=Path, help="folder of .wav files that the lite voice spoke at 16 kHz"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    corpus, out = arguments.corpus, arguments.out
    torch.set_num_threads(arguments.threads)
    (out / "taught").mkdir(parents=True, exist_ok=True)
    teacher = SpeechSR.from_pretrained(arguments.official)
    gains = lacking(corpus, teacher)
    print(
        "gains in dB at 9, 10, ... 24 kHz:",
        [round(20 * np.log10(gains[FINE * k // 24]), 1) for k in range(9, 25)],
    )
    held_out = utterances(corpus, "dev", ["librispeech_tc100"])
    validation = list(made_by_teacher(held_out, teacher, gains, out, 20.0))
    for path in sorted((corpus / "wideband/vctk_nuwave2").glob("*k_sample_?.flac")):
        if path.stem.split("_")[1] in ("12k", "24k"):  # the others are for the table only
            validation.append(line(path, "vctk_unseen"))
    write_list(out / "validation.txt", validation)
    seconds = 60 * arguments.minutes
    real_lines, lines = list(real(corpus, out)), []

    def save() -> None:
        times = max(1, round(REAL_SHARE / (1 - REAL_SHARE) * len(lines) / len(real_lines)))
        again = [f"{k}_{text}" for k in range(1, times) for text in real_lines]  # ids are unique
        write_list(out / "train.txt", lines + real_lines + again)

    spoken = [("lite", path) for path in sorted(arguments.spoken.glob("*.wav"))] if arguments.spoken else []
    vctk = utterances(corpus, "train", ["vctk"])
    libri = utterances(corpus, "train", ["librispeech_tc100"])
    for made in (
        made_by_teacher(vctk, teacher, gains, out, 120.0),
        made_by_teacher(spoken, teacher, gains, out, 150.0),
        made_by_teacher(libri, teacher, gains, out, max(seconds - 400.0, 60.0)),
        lj(corpus, teacher, gains, out),
        made_by_teacher(vctk, teacher, gains, out, 400.0),
    ):
        for text in made:
            lines += [text] if text not in lines else []
            if len(lines) % 20 == 0:
                save()
                print(len(lines), flush=True)
    save()


if __name__ == "__main__":
    main()
