"""A token voice: a folder of the models that speak by way of discrete tokens (`spear/`), beside the voice that they were made with.

spear.json  {"format": 1, "name": "lite-spear", "language": "en-us", "base": "lite", "tokenizer": "tokenizer", "text_to_semantic": "t2s",
             "semantic_to_acoustic": "s2a", "masked": "soundstorm", "codec": "codec", "bridge": "bridge", "prompts": ["anna"], ...}
tokenizer/ t2s/ s2a/ soundstorm/ codec/ bridge/      what `save_pretrained` wrote; parts that are null are not there
prompts/anna.safetensors                             `SpearPrompt`s made with exactly these models

`base` is a voice (shipped name, or folder beside this one): tokens are of its semantic encoder, the bridge speaks through its synthesizer,
and its super-resolution lifts the output.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hierspeech.pipelines.spear_names import shipped_spear_voices
from hierspeech.pipelines.voice import Voice, find_folder, load_voice, pick_device
from speech.config import build

DEFAULT_SPEAR_VOICE = "lite-spear"
FORMAT = 1


@dataclass
class SpearDescription:
    """The content of `spear.json`."""

    name: str
    base: str  # voice of the semantic encoder, the bridge's synthesizer and super-resolution
    tokenizer: str
    text_to_semantic: str
    semantic_to_acoustic: str | None = None  # autoregressive
    masked: str | None = None  # masked (SoundStorm)
    codec: str | None = None  # folder of a compact codec, or the name of a public one
    bridge: str | None = None
    decoder: str | None = None  # "ar", "nar" or "bridge" by default; None is the first of these that there is
    format: int = FORMAT
    version: int = 1  # counts the trainings: saved prompts fit one version only
    language: str = "en-us"
    prompts: list[str] = field(default_factory=list)
    max_chars: int = 150  # longest piece of text spoken at once
    temperature: float = 0.7  # of text to semantic
    guidance: float = (
        1.0  # of text to semantic: how closely tokens follow the text; 1 is as the model would of itself
    )
    acoustic_temperature: float = 0.7
    acoustic_guidance: float = 1.0  # likewise, of codes that follow tokens and style
    top_k: int | None = None
    speaking_rate: float | None = None  # tokens of text a second; None is the model's own choice

    def __post_init__(self):
        if self.format != FORMAT:
            raise ValueError(
                f"spear.json has format {self.format}, this version of the code reads format {FORMAT}."
            )
        if self.semantic_to_acoustic is None and self.masked is None and self.bridge is None:
            raise ValueError(
                "spear.json: expected semantic_to_acoustic, masked or bridge: tokens must become sound."
            )
        if (self.semantic_to_acoustic or self.masked) and self.codec is None:
            raise ValueError("spear.json: acoustic tokens need a codec, expected one.")
        there = {"ar": self.semantic_to_acoustic, "nar": self.masked, "bridge": self.bridge}
        if self.decoder is not None and there.get(self.decoder) is None:
            raise ValueError(f"spear.json: decoder is {self.decoder!r}, which this voice does not have.")
        parts = [self.tokenizer, self.text_to_semantic, self.semantic_to_acoustic, self.masked, self.bridge]
        for part in [*(p for p in parts if p is not None), *self.prompts]:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise ValueError(
                    f"spear.json names the part {part!r}; expected a plain name inside the voice's folder."
                )


class SpearVoice:
    """The models of one token voice on one device. Parts are loaded once, when first used; safe between threads.

    Stands where a `Voice` does for what finishes speech: `sample_rate`, `speechsr`, `device`, `description`.
    """

    def __init__(self, folder: Path, device: torch.device, precision: str = "fp32"):
        self.folder, self.device, self.precision = folder, device, precision
        self.description = read_spear_description(folder)
        self._parts: dict[str, Any] = {}
        self._lock = threading.RLock()

    @property
    def base(self) -> Voice:
        """The voice whose encoder, synthesizer and super-resolution are shared."""
        name = self.description.base
        beside = self.folder.parent / name
        place = beside if (beside / "voice.json").is_file() else name
        # a voice of the hierarchical way knows no fp16: its waveform models would overflow
        precision = "fp32" if self.precision == "fp16" else self.precision
        return self._part("base", lambda: load_voice(place, str(self.device), precision))

    @property
    def tokenizer(self) -> torch.nn.Module:
        """Semantic features <-> tokens."""
        from speech.semantic.quantizer import SemanticQuantizer

        return self._model("tokenizer", SemanticQuantizer)

    @property
    def text_to_semantic(self) -> torch.nn.Module:
        """Text -> semantic tokens."""
        from spear.text_to_semantic.model import TextToSemantic

        return self._model("text_to_semantic", TextToSemantic, self.precision)

    @property
    def semantic_to_acoustic(self) -> torch.nn.Module | None:
        """Semantic tokens -> codes, one frame after another; None where the voice has none."""
        from spear.semantic_to_acoustic import SemanticToAcoustic

        return self._model("semantic_to_acoustic", SemanticToAcoustic, self.precision)

    @property
    def masked(self) -> torch.nn.Module | None:
        """Semantic tokens -> codes, all frames in a few passes; None where the voice has none."""
        from spear.semantic_to_acoustic import MaskedSemanticToAcoustic

        return self._model("masked", MaskedSemanticToAcoustic, self.precision)

    @property
    def bridge(self) -> torch.nn.Module | None:
        """Semantic tokens -> features and F0 for the base voice's synthesizer; None where the voice has none."""
        from spear.bridge import Bridge

        return self._model("bridge", Bridge)

    @property
    def codec(self) -> torch.nn.Module | None:
        """Codes -> sound; None where only the bridge speaks."""
        name = self.description.codec
        if name is None:
            return None
        from spear.codec.codec import load_codec

        inside = self.folder / name
        return self._part(
            "codec", lambda: load_codec(str(inside) if inside.is_dir() else name, device=self.device)
        )

    @property
    def sample_rate(self) -> int:
        """Rate of what the codec decodes, in Hz; the base voice's where there is no codec."""
        codec = self.codec
        return self.base.sample_rate if codec is None else codec.spec.sample_rate

    def speechsr(self, sample_rate: int) -> torch.nn.Module | None:
        """The base voice's super-resolution to that rate where it fits what the codec gives."""
        return self.base.speechsr(sample_rate) if self.sample_rate == self.base.sample_rate else None

    def _model(self, part: str, kind: type, precision: str = "fp32") -> torch.nn.Module | None:
        name = getattr(self.description, part)
        if name is None:
            return None
        path = self.folder / name

        def load() -> torch.nn.Module:
            from spear.precision import PRECISIONS, cast

            model = kind.from_pretrained(path, device=self.device).requires_grad_(False).eval()
            return model if precision == "fp32" else cast(model, PRECISIONS[precision])

        return self._part(part, load)

    def _part(self, name: str, load: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = load()
            return self._parts[name]


def load_spear_voice(
    name: str | Path | SpearVoice = DEFAULT_SPEAR_VOICE, device: str = "auto", precision: str = "fp32"
) -> SpearVoice:
    """Finds a token voice by folder, shipped name or hub id.

    Raises:
        ValueError: no such voice, a broken folder, another precision, or a device that is not there.
    """
    if isinstance(name, SpearVoice):
        return name
    from spear.precision import PRECISIONS

    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: expected {' or '.join(PRECISIONS)}.")
    where = pick_device(device)
    return SpearVoice(find_spear_voice(name).resolve(), where, precision)


def find_spear_voice(name: str | Path) -> Path:
    """The folder of a token voice: a folder goes first, then a shipped name; only an id "owner/name" asks the hub."""
    return find_folder(name, "spear.json", "token voice", shipped_spear_voices())


def read_spear_description(folder: Path) -> SpearDescription:
    """Reads `spear.json`; one-sentence ValueError where it is missing or wrong."""
    path = folder / "spear.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable description of a token voice ({error}).") from error
    return build(SpearDescription, values, "spear.json")
