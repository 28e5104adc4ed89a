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
    rows = [line.split("|") for line in (corpus / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]]
    found = [(row[1], corpus / row[0]) for row in rows if row[7] == split and row[0].split("/")[0] in sources]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def made_by_teacher(
    pairs: list[tuple[str, Path]], teacher: SpeechSR, out: Path, seconds: float
) -> Iterator[str]:
    """Lines of a filelist: the teacher's version of as many utterances as fit into `seconds`."""
    for speaker, path in pairs:
        if seconds <= 0:
            return
        target = out / f"{speaker}_{path.stem}.wav"
        if not target.is_file():
            wav = load_audio(path, 16000, max_seconds=SECONDS)[0]
            write(target, teach(teacher, set_loudness(wav, LEVEL_DB)))
        seconds -= soundfile.info(target).duration
        yield line(target, speaker)


def lj(corpus: Path, teacher: SpeechSR, out: Path) -> Iterator[str]:
    """The LJSpeech recordings of 22.05 kHz, what they lack being the teacher's."""
    for path in sorted((corpus / "wideband/ljspeech_22k").glob("*.flac")):
        target = out / f"lj22_{path.stem}.wav"
        if not target.is_file():
            wav, rate = load_audio(path, max_seconds=SECONDS)
            wav = set_loudness(wav, LEVEL_DB)
            write(target, join_bands(resample(wav, rate, RATE), teach(teacher, resample(wav, rate, 16000))))
        yield line(target, "lj")


def real(corpus: Path, out: Path) -> Iterator[str]:
    """The 48 kHz recordings of the one VCTK speaker to train on, at several speeds; no recording twice."""
    seen: set[int] = set()
    for path in sorted((corpus / "wideband/vctk_nuwave").glob("*.flac")):
        wav = load_audio(path, RATE)[0]
        if len(wav) // 100 in seen:
            continue
        seen.add(len(wav) // 100)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("official", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of teacher's speech, LJSpeech apart")
    parser.add_argument("--spoken", type=Path, help="folder of .wav files that the lite voice spoke at 16 kHz")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    corpus, out = arguments.corpus, arguments.out
    torch.set_num_threads(arguments.threads)
    out.mkdir(parents=True, exist_ok=True)
    teacher = SpeechSR.from_pretrained(arguments.official)
    held_out = utterances(corpus, "dev", ["librispeech_tc100"])
    validation = list(made_by_teacher(held_out, teacher, out, 20.0))
    for path in sorted((corpus / "wideband/vctk_nuwave2").glob("*k_sample_?.flac")):
        if path.stem.split("_")[1] in ("12k", "24k"):  # the others are for the table only
            validation.append(line(path, "vctk_unseen"))
    write_list(out / "validation.txt", validation)
    seconds = 60 * arguments.minutes
    real_lines, lines = list(real(corpus, out)), []

    def save() -> None:
        times = max(1, round(REAL_SHARE / (1 - REAL_SHARE) * len(lines) / len(real_lines)))
        write_list(out / "train.txt", lines + real_lines * times)

    spoken = [("lite", path) for path in sorted(arguments.spoken.glob("*.wav"))] if arguments.spoken else []
    vctk = utterances(corpus, "train", ["vctk"])
    libri = utterances(corpus, "train", ["librispeech_tc100"])
    for made in (
        made_by_teacher(vctk, teacher, out, 120.0),
        made_by_teacher(spoken, teacher, out, 150.0),
        made_by_teacher(libri, teacher, out, max(seconds - 400.0, 60.0)),
        lj(corpus, teacher, out),
        made_by_teacher(vctk, teacher, out, 400.0),
    ):
        for text in made:
            lines += [text] if text not in lines else []
            if len(lines) % 20 == 0:
                save()
                print(len(lines), flush=True)
    save()


if __name__ == "__main__":
    main()
