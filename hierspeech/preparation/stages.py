"""Stages: what is made of every utterance, each a pure function of its record and of the arrays made before.

    stage.run(utterance, arrays) -> (new arrays, why they are empty)

`audio` (`cutting.py`) comes first and alone decides which utterances there are; the others add arrays to all of them, empty
ones where nothing can be made. Where and when a stage runs is up to `engines.py`; nothing here knows of files or processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16000

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: as `--redo` knows it.
        makes: the arrays it makes, as empty ones of their dtype and shape.
        needs: the arrays of earlier stages that it reads.
        run: the function above; the second value is "" where the arrays are not empty.
        run_many: the same for several utterances at once, where that is quicker; None = one by one.
    """

    name: str
    makes: Arrays
    needs: tuple[str, ...]
    run: Callable[[dict, Arrays], tuple[Arrays, str]]
    run_many: Callable[[list[dict], list[Arrays]], list[tuple[Arrays, str]]] | None = None


def phonemes_of(utterance: dict) -> str:
    """Phonemes of the text of an utterance, "" where it has none or nothing in it can be spoken.

    Raises:
        ValueError: unknown language.
    """
    from speech.text.frontend import text_to_phonemes

    text = utterance["text"].strip()
    if not text:
        return ""
    # corpora in capitals would be spelled out letter by letter
    return str(text_to_phonemes(text.lower() if text.isupper() else text, utterance["language"]))


def run_phonemes(utterance: dict, arrays: Arrays) -> tuple[Arrays, str]:
    """`phonemes`: UTF-8 bytes of the phonemes, uint8 [bytes]."""
    try:
        phonemes = phonemes_of(utterance)
    except ValueError:
        return PHONEMES.makes, "unknown language"
    if not phonemes:
        return PHONEMES.makes, "no text" if not utterance["text"].strip() else "text without phonemes"
    return {"phonemes": np.frombuffer(phonemes.encode(), np.uint8)}, ""


def run_alignment(utterance: dict, arrays: Arrays) -> tuple[Arrays, str]:
    """When every phone is spoken, by forced alignment with an English acoustic model: see `alignment.Alignment`."""
    from speech.text.languages import find_language

    phonemes = arrays["phonemes"].tobytes().decode()
    if not phonemes:
        return ALIGNMENT.makes, "no text"
    if not find_language(utterance["language"]).voice.startswith("en"):
        return ALIGNMENT.makes, "no aligner for this language"
    found = once(aligner).align(as_wav(arrays["wav"]), phonemes)
    if found is None:
        return ALIGNMENT.makes, "speech and text do not match"
    return {name: getattr(found, name) for name in ALIGNMENT.makes}, ""


def run_f0(utterance: dict, arrays: Arrays) -> tuple[Arrays, str]:
    """`f0`: Hz, 0 = unvoiced, float16 [T // 80]."""
    from speech.f0 import extract_f0

    return {"f0": extract_f0(as_wav(arrays["wav"]), SAMPLE_RATE).astype(np.float16)}, ""


PHONEMES = Stage("phonemes", {"phonemes": np.zeros(0, np.uint8)}, (), run_phonemes)
ALIGNMENT = Stage(
    "alignment",
    {
        "token_ids": np.zeros(0, np.int16),
        "token_ends": np.zeros(0, np.int32),
        "phone_ids": np.zeros(0, np.int16),
        "phone_ends": np.zeros(0, np.int32),
    },
    ("wav", "phonemes"),
    run_alignment,
)
F0 = Stage("f0", {"f0": np.zeros(0, np.float16)}, ("wav",), run_f0)


def stage_named(name: str, encoder: dict | None = None) -> Stage:
    """The stage of that name; `semantic` needs the encoder's description (see `semantic.py`)."""
    if name == "semantic":
        from hierspeech.preparation.semantic import semantic_stage

        return semantic_stage(encoder)
    return {stage.name: stage for stage in (PHONEMES, ALIGNMENT, F0)}[name]


def as_wav(samples: np.ndarray) -> np.ndarray:
    """int16 samples [T] -> float32 [T] in -1..1."""
    return samples.astype(np.float32) / 32768


def aligner():
    """The forced aligner; `once(aligner)` is this process's."""
    from hierspeech.preparation.alignment import Aligner

    return Aligner()


_made: dict[Callable, object] = {}


def once(make: Callable):
    """What `make()` gives, made once a process: an aligner cannot be sent to another."""
    if make not in _made:
        _made[make] = make()
    return _made[make]
