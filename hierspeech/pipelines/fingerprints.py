"""Short texts that tell whether two outputs would be the same: of voices, references and whatever else they are made of."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hierspeech.pipelines.prompt import Reference, VoicePrompt, find_reference, prompt_tag
from hierspeech.pipelines.voice import Voice

SAMPLES = 1  # counts the releases in which equal arguments began to give other samples


def fingerprint_text(text: str) -> str:
    """Of a text, to the last character."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_voice(voice: Voice) -> str:
    """Of a voice: its name, and size and time of change of each of its files, since reading gigabytes would take seconds."""
    files = sorted(path for path in voice.folder.rglob("*") if path.is_file())
    seen = [
        f"{path.relative_to(voice.folder)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files
    ]
    return f"{prompt_tag(voice)} {fingerprint_text(chr(10).join(seen))[:16]}"


def fingerprint_reference(reference: Reference, voice: Voice) -> str:
    """Of what a reference holds, wherever it lies; AudioError where there is none."""
    if isinstance(reference, list | tuple):
        return fingerprint_text(" ".join(fingerprint_reference(one, voice) for one in reference))
    if isinstance(reference, VoicePrompt):
        styles = [reference.ttv_style, reference.synthesizer_style]
        numbers = torch.tensor([reference.log_f0_mean, reference.log_f0_std, reference.peak or 0.0])
        content = b"".join(tensor.float().numpy().tobytes() for tensor in (*styles, numbers))
    elif isinstance(reference, np.ndarray):
        content = str(reference.dtype).encode() + np.ascontiguousarray(reference).tobytes()
    else:
        content = _read(find_reference(reference, voice))
    return hashlib.sha256(content).hexdigest()


class ReferenceFingerprints:
    """`fingerprint_reference` of one voice that reads each file but once; for a run that many texts share."""

    def __init__(self, voice: Voice):
        self.voice = voice
        self._known: dict[str | None, str] = {}

    def __call__(self, reference: Reference) -> str:
        """Of what a reference holds."""
        if isinstance(reference, list | tuple):
            return fingerprint_text(" ".join(map(self, reference)))
        if isinstance(reference, VoicePrompt | np.ndarray):
            return fingerprint_reference(reference, self.voice)
        key = None if reference is None else str(reference)
        if key not in self._known:
            self._known[key] = fingerprint_reference(reference, self.voice)
        return self._known[key]


def fingerprint_program(voice: Voice) -> str:
    """Of what computes: another release, device or precision gives other roundings."""
    return f"samples {SAMPLES}, torch {torch.__version__}, {voice.device.type}, {voice.dtype}"


def summary(made_of: dict[str, Any]) -> str:
    """One short text for a whole dictionary of such facts."""
    return fingerprint_text(repr(sorted(made_of.items())))


def _read(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
