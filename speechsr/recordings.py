"""The recordings of a filelist that super-resolution can be learnt from, and what is wrong with the others.

Everything is found out before the first step, from the files' headers: a 16 kHz recording that was listed by mistake would
teach the model to be silent above 8 kHz.
"""

from dataclasses import dataclass
from pathlib import Path

from speech.audio import RATES_HZ, AudioError, read_length
from speech.data import process_share, read_filelist

UNFIT = ("refuse", "skip")


@dataclass(frozen=True)
class Recording:
    """One sound file of a filelist."""

    path: Path
    samples: int  # at its own rate
    rate: int  # Hz
    where: str  # "filelist:line"


def find_recordings(
    filelist: str, wav_root: str, min_rate: float, min_seconds: float, unfit: str = "refuse"
) -> list[Recording]:
    """The recordings of `filelist` that have the rate and the length.

    Args:
        wav_root: folder that relative paths start from.
        min_rate: Hz; min_seconds: length.
        unfit: what becomes of the others: "refuse" stops, "skip" counts them aloud and goes on without.
    Raises:
        ValueError: a broken filelist (always); unfit recordings, counted by reason, the first three of each with file
            and line; nothing left.
    """
    utterances = read_filelist(filelist)
    found: list[Recording] = []
    problems: dict[str, list[str]] = {}
    for number, utterance in zip(_line_numbers(filelist), utterances, strict=True):
        path, where = Path(wav_root) / utterance.wav, f"{filelist}:{number}"
        if not path.is_file():
            problems.setdefault("missing", []).append(f"{where}: {path}")
            continue
        try:
            samples, rate = read_length(path)
        except AudioError as error:
            problems.setdefault("unreadable", []).append(f"{where}: {str(error).rstrip('.')}")
            continue
        if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
            problems.setdefault("unreadable", []).append(f"{where}: {path} claims {rate} Hz")
        elif rate < min_rate:
            problems.setdefault(f"below {min_rate:g} Hz", []).append(f"{where}: {path} has {rate} Hz")
        elif samples / rate < min_seconds:
            problems.setdefault(f"shorter than {min_seconds:g} s", []).append(
                f"{where}: {path} lasts {samples / rate:.3f} s"
            )
        else:
            found.append(Recording(path, samples, rate, where))
    if problems:
        sentence = f"{filelist}: {len(utterances) - len(found)} of {len(utterances)} recordings unfit: "
        sentence += "; ".join(f"{len(those)} {reason} ({_some(those)})" for reason, those in problems.items())
        if unfit == "refuse":
            raise ValueError(f"{sentence} (data.unfit=skip goes on without such recordings)")
        if not found:
            raise ValueError(sentence)
        if process_share()[0] == 0:
            print(f"{sentence}; going on without", flush=True)
    return found


def _some(those: list[str], shown: int = 3) -> str:
    more = f", and {len(those) - shown} more" if len(those) > shown else ""
    return ", ".join(those[:shown]) + more


def _line_numbers(filelist: str) -> list[int]:
    """Of the utterances that `read_filelist` gives: it leaves out empty lines."""
    lines = Path(filelist).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if line.strip()]
