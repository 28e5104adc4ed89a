"""The stages that turn a list of utterances into a pack: audio, alignment, F0. One process pool, one writer.

Each stage is a pure function of the one before it, writes its arrays whole or not at all and is skipped when they exist.
"""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from hierspeech.preparation.alignment import Aligner
from hierspeech.preparation.records import Recording
from speech.audio import AudioError, load_audio, set_loudness, trim_silence
from speech.packs import Pack, write_arrays, write_utterances

SAMPLE_RATE = 16000
MIN_SECONDS, MAX_SECONDS = 0.8, 35.0
RMS_DB = -23.0


def prepare(utterances: list[Recording], folder: Path, processes: int = 1) -> Counter:
    """Make (or go on with) the pack in `folder`; returns how many utterances were kept or dropped, and why."""
    if any(u.text for u in utterances) and importlib.util.find_spec("pocketsphinx") is None:
        raise ValueError(
            "transcripts are aligned by pocketsphinx, which is not installed: pip install '.[prepare]'"
        )
    counts: Counter = Counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        if not (folder / "wav.json").is_file():
            _audio_stage(utterances, folder, pool, counts)
        pack = Pack(folder)
        counts["utterances"] = len(pack)
        if not pack.has("token_ids"):
            rows = pool.imap(partial(_align, folder), range(len(pack)), chunksize=8)
            names = ["token_ids", "token_ends", "phone_ids", "phone_ends"]
            write_arrays(folder, names, _progress(rows, len(pack), "alignment"))
        if not pack.has("f0"):
            rows = pool.imap(partial(_f0, folder), range(len(pack)), chunksize=8)
            write_arrays(folder, ["f0"], _progress(((row,) for row in rows), len(pack), "f0"))
    pack = Pack(folder)
    counts["aligned"] = sum(pack.length("token_ids", i) > 0 for i in range(len(pack)))
    counts["seconds"] = sum(pack.length("wav", i) for i in range(len(pack))) // SAMPLE_RATE
    return counts


def _audio_stage(utterances: list[Recording], folder: Path, pool, counts: Counter) -> None:
    loaded, kept = pool.imap(_load, [u.wav for u in utterances], chunksize=8), []

    def rows() -> Iterator[tuple[np.ndarray]]:
        for utterance, (wav, problem) in zip(utterances, loaded, strict=True):
            if problem:
                counts[problem] += 1
                continue
            kept.append(asdict(utterance))
            yield (wav,)

    folder.mkdir(parents=True, exist_ok=True)
    # the index is written last: a pack without it does not exist yet
    write_arrays(folder, ["wav"], _progress(rows(), len(utterances), "audio"))
    write_utterances(folder, kept)


def _load(path: str) -> tuple[np.ndarray | None, str]:
    try:
        wav, _ = load_audio(path, SAMPLE_RATE)
    except AudioError:
        return None, "unreadable"
    wav = set_loudness(trim_silence(wav, SAMPLE_RATE, margin_ms=200), RMS_DB)
    seconds = len(wav) / SAMPLE_RATE
    if seconds < MIN_SECONDS:
        return None, "too short"
    if seconds > MAX_SECONDS:
        return None, "too long"
    return (wav * 32767).astype(np.int16), ""


def _f0(folder: Path, index: int) -> np.ndarray:
    from speech.f0 import extract_f0

    return extract_f0(read_wav(_opened(Pack, folder), index), SAMPLE_RATE).astype(np.float16)


def _align(folder: Path, index: int) -> tuple[np.ndarray, ...]:
    """The alignment of one utterance; empty arrays where it has no text or no path was found."""
    from speech.text.frontend import text_to_phonemes

    pack: Pack = _opened(Pack, folder)
    utterance = pack.utterances[index]
    found = None
    if utterance["text"]:
        text = utterance["text"]
        phonemes = text_to_phonemes(text.lower() if text.isupper() else text, utterance["language"])
        found = _opened(Aligner).align(read_wav(pack, index), phonemes)
    if found is None:
        return tuple(np.zeros(0, kind) for kind in (np.int16, np.int32, np.int16, np.int32))
    return found.token_ids, found.token_ends, found.phone_ids, found.phone_ends


def read_wav(pack: Pack, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Samples `start:stop` of utterance `index` as float32 [T] in -1..1."""
    return pack.read("wav", index, start, stop).astype(np.float32) / 32768


_open: dict[tuple, object] = {}


def _opened(kind: Callable, *arguments):
    """One pack and one aligner a process, made when first needed (neither can be sent to a worker)."""
    key = (kind, *arguments)
    if key not in _open:
        _open[key] = kind(*arguments)
    return _open[key]


def _progress(rows: Iterator, total: int, what: str) -> Iterator:
    for done in itertools.count(1):
        try:
            row = next(rows)
        except StopIteration:
            break
        if sys.stderr.isatty() or done % 500 == 0:
            print(
                f"\r{what}: {done}/{total}",
                end="" if sys.stderr.isatty() else "\n",
                file=sys.stderr,
                flush=True,
            )
        yield row
    if sys.stderr.isatty():
        print(file=sys.stderr)
