"""A voice: a folder of trained models that fit together, with saved prompts; loaded part by part when first needed.

voice.json  {"format": 1, "name": "lite", "language": "en-us", "ttv": "ttv", "synthesizer": "synthesizer",
             "semantic_encoder": "phonetic", "speechsr": {"48000": "speechsr"}, "denoiser": "denoiser", "prompts": ["anna"], ...}
ttv/ synthesizer/ phonetic/ speechsr/ denoiser/     what `save_pretrained` wrote
prompts/anna.safetensors                  `VoicePrompt`s made with exactly these models
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch

from hierspeech.pipelines.arguments import AUTO
from speech.checkpoint import read_config
from speech.config import build
from speech.fast import PRECISIONS, prepare_for_inference
from speech.hub import VOICE_FILES, download, is_hub_id

DEFAULT_VOICE = "lite"
VOICES_FOLDER = Path(__file__).resolve().parent.parent / "voices"  # the voices that ship with the package
FORMAT = 1
RECORDINGS = ("levelled", "as_recorded")
LEVELS = ("loudness", "peak", "prompt")


@dataclass
class VoiceDescription:
    """The content of `voice.json`."""

    name: str
    ttv: str  # folders, relative to the voice's
    synthesizer: str
    semantic_encoder: str  # a folder of the voice; only conversion needs what is in it
    format: int = FORMAT
    version: int = 1  # counts the trainings: saved prompts fit one version only
    language: str = "en-us"
    normalizer: str | None = None  # of texts in that language; "english_cleaners2" is the published one
    speechsr: dict[str, str] = field(default_factory=dict)  # output sample rate -> folder
    denoiser: str | None = None  # folder of the model that cleans noisy references
    # How references and sources of conversion reach the models. "levelled": the mean of the channels, trimmed, at -23 dB
    # RMS, as our own training makes them; "as_recorded": the published pipeline's, the first channel as it is.
    recordings: str = "levelled"
    level: str = (
        "loudness"  # of the output by default: "loudness" (-23 dB RMS), "peak" (0.999) or "prompt" (its peak)
    )
    denoise_ratio: float | str = 0.0  # share of the cleaned reference in the style by default, or "auto"
    prompts: list[str] = field(default_factory=list)  # the first one is the default reference
    max_chars: int = 200  # longest piece of text spoken at once
    noise_scale: float = 0.333  # 0.333 is robust, 0.667 livelier (HierSpeech++ README)
    # The published text-to-vec never says an F0 under 55 Hz on purpose: lower values are unvoiced (section 5.4).
    f0_floor_hz: float = 55.0
    # semitones above their median where English yes-no questions end; 0 where the models know themselves
    question_rise: float = 0.0

    def __post_init__(self):
        if self.format != FORMAT:
            raise ValueError(
                f"voice.json has format {self.format}, this version of the code reads format {FORMAT}."
            )
        for name, choices in (("recordings", RECORDINGS), ("level", LEVELS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"voice.json: {name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}."
                )
        ratio = self.denoise_ratio
        if ratio != AUTO and (isinstance(ratio, str) or not 0 <= ratio <= 1):
            raise ValueError(
                f"voice.json: denoise_ratio is {ratio}, expected a number from 0 to 1, or {AUTO}."
            )
        if ratio != 0 and self.denoiser is None:
            raise ValueError(
                f"voice.json: denoise_ratio is {ratio}, expected 0 for a voice without a denoiser."
            )
        for name, limits in (
            ("f0_floor_hz", (1.0, 1000.0)),
            ("max_chars", (1, 10**6)),
            ("noise_scale", (0.0, 2.0)),
            ("question_rise", (0.0, 12.0)),
        ):
            if not limits[0] <= getattr(self, name) <= limits[1]:
                raise ValueError(
                    f"voice.json: {name} is {getattr(self, name)}, expected {limits[0]:g} to {limits[1]:g}."
                )
        if unknown := self.speechsr.keys() - {"24000", "48000"}:
            raise ValueError(
                f"voice.json: speechsr names {sorted(unknown)}, expected the rates 24000 and 48000."
            )
        parts = [self.ttv, self.synthesizer, self.semantic_encoder, *self.speechsr.values(), *self.prompts]
        for part in parts if self.denoiser is None else [*parts, self.denoiser]:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise ValueError(
                    f"voice.json names the part {part!r}; expected a plain name inside the voice's folder."
                )


class Voice:
    """The models of one voice folder on one device. Parts are loaded once, when first used; safe between threads.

    Raises ValueError (in the constructor) where the parts do not fit: other audio parameters or semantic features.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32):
        self.folder = folder
        self.device = device
        self.dtype = dtype  # of most multiplications in large models; everything else is fp32
        self.description = read_description(folder)
        self._parts: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._check_fit()

    @property
    def ttv(self) -> torch.nn.Module:
        """The text-to-vec model."""
        return self._part(
            "ttv", lambda: self._ttv_class().from_pretrained(self._path("ttv"), device=self.device)
        )

    @property
    def synthesizer(self) -> torch.nn.Module:
        """The hierarchical synthesizer."""
        from hierspeech.synthesizer.model import HierSpeech

        path = self._path("synthesizer")
        return self._part("synthesizer", lambda: HierSpeech.from_pretrained(path, device=self.device))

    @property
    def semantic_encoder(self) -> torch.nn.Module:
        """The encoder of recordings that the synthesizer was trained on; only voice conversion needs it."""
        return self._part("semantic_encoder", self._load_semantic_encoder)

    @property
    def hears(self) -> bool:
        """Whether the folder has the semantic encoder."""
        return self._path("semantic_encoder").is_dir()

    def speechsr(self, sample_rate: int) -> torch.nn.Module | None:
        """The super-resolution model to that output rate in Hz, or None where the voice has none."""
        name = self.description.speechsr.get(str(sample_rate))
        if name is None:
            return None
        from speechsr import SPEECHSR_MODELS, ISTFTSpeechSR

        path = self.folder / name

        def load() -> torch.nn.Module:
            model = model_class(path, SPEECHSR_MODELS).from_pretrained(path, device=self.device)
            # one folder may serve two rates: the lower one is the same spectrum that ends earlier
            lower = isinstance(model, ISTFTSpeechSR) and sample_rate < model.output_rate
            return model.at_rate(sample_rate) if lower else model

        model = self._part(f"{name}@{sample_rate}", load)
        if model.config.scale * self.sample_rate != sample_rate:
            raise ValueError(
                f"{self.folder}: {name} scales by {model.config.scale:g}, which is not {self.sample_rate} to {sample_rate} Hz."
            )
        return model

    @property
    def denoiser(self) -> torch.nn.Module | None:
        """The model that cleans noisy references, or None where the voice has none."""
        name = self.description.denoiser
        if name is None:
            return None
        from denoiser import DENOISERS

        path = self.folder / name
        model = self._part(
            "denoiser", lambda: model_class(path, DENOISERS).from_pretrained(path, device=self.device)
        )
        if model.config.sample_rate != self.sample_rate:
            raise ValueError(
                f"{self.folder}: the denoiser works at {model.config.sample_rate} Hz, expected {self.sample_rate} Hz."
            )
        return model

    @property
    def sample_rate(self) -> int:
        """The synthesizer's own rate in Hz."""
        return self.audio.sample_rate

    def _part(self, name: str, load: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._parts:
                with torch.inference_mode(
                    False
                ):  # wherever it is first needed: adaptation.py differentiates through it
                    self._parts[name] = prepare_for_inference(load(), self.dtype)
            return self._parts[name]

    def _path(self, part: str) -> Path:
        return self.folder / getattr(self.description, part)

    def _ttv_class(self) -> type:
        from ttv import TTV_MODELS

        return model_class(self._path("ttv"), TTV_MODELS)

    def _check_fit(self) -> None:
        from hierspeech.synthesizer.model import HierSpeech

        synthesizer = read_config(HierSpeech, self._path("synthesizer"))
        ttv = read_config(self._ttv_class(), self._path("ttv"))
        self.audio, self.semantic = synthesizer.audio, synthesizer.semantic
        self.style_sizes = [ttv.style.out, synthesizer.style_size]  # of prompts
        for what in ("semantic", "audio"):
            ours, theirs = getattr(synthesizer, what), getattr(ttv, what)
            if ours != theirs:
                raise ValueError(
                    f"{self.folder}: the synthesizer's {what} {ours} differs from the ttv's {theirs}."
                )

    def _load_semantic_encoder(self) -> torch.nn.Module:
        from speech.semantic.encoder import load_encoder

        folder = self._path("semantic_encoder")
        if not self.hears:  # never fetched behind the user's back: what a voice uses lies in its folder
            raise ValueError(
                f"{self.folder} has no semantic encoder, which voice conversion needs: "
                f"`python -m hierspeech.official encoder {self.folder} facebook/mms-300m` "
                "(or a folder with that model in place of the hub id) puts a published voice's there."
            )
        return load_encoder(self.semantic, folder, self.device)


_voices: WeakValueDictionary[tuple[Path, torch.device, torch.dtype, int], Voice] = WeakValueDictionary()
_voices_lock = threading.Lock()


def load_voice(
    name: str | Path | Voice = DEFAULT_VOICE, device: str = "auto", precision: str = "fp32"
) -> Voice:
    """Finds a voice by folder, shipped name or Hugging Face hub id; pipelines of one voice share its models.

    Args:
        name: as above, or a voice, which is returned as it is.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "bf16" lets full-size models multiply in bf16 where that is faster.

    Raises:
        ValueError: no such voice, a broken folder, another precision, or a device that is not there.
    """
    if isinstance(name, Voice):
        return name
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: expected {' or '.join(PRECISIONS)}.")
    dtype = PRECISIONS[precision]
    where = pick_device(device)
    folder = find_voice(name).resolve()
    with _voices_lock:
        made = (folder / "voice.json").stat().st_mtime_ns  # a folder that was made anew is another voice
        voice = _voices.get((folder, where, dtype, made))
        if voice is None:
            voice = _voices[folder, where, dtype, made] = Voice(folder, where, dtype)
        return voice


def shipped_voices() -> list[str]:
    """Names of the voices inside the package, the default first."""
    names = sorted(path.parent.name for path in VOICES_FOLDER.glob("*/voice.json"))
    return sorted(names, key=lambda name: name != DEFAULT_VOICE)


def find_voice(name: str | Path) -> Path:
    """The folder of a voice: a folder goes first, then a shipped name; only an id "owner/name" asks the hub."""
    return find_folder(name, "voice.json", "voice", shipped_voices())


def find_folder(name: str | Path, file: str, kind: str, shipped: list[str]) -> Path:
    """The folder that holds `file`: a folder goes first, then a name inside the package; only an id "owner/name" asks the hub.

    Args:
        kind: what such a folder is, in messages; shipped: the names inside the package.
    Raises:
        ValueError: there is none.
    """
    for folder in (Path(name), VOICES_FOLDER / name):
        if (folder / file).is_file():
            return folder
    known = ", ".join(shipped) or "none"
    if Path(name).is_dir():
        raise ValueError(f"{name}: this folder has no {file}; shipped {kind}s: {known}.")
    if not is_hub_id(str(name)):
        raise ValueError(
            f"unknown {kind} {str(name)!r}: expected a folder, a hub id or a shipped {kind} ({known})."
        )
    folder = download(str(name), VOICE_FILES)
    if not (folder / file).is_file():
        raise ValueError(f"{name}: this hub repository has no {file}, so it is no {kind}.")
    return folder


def read_description(folder: Path) -> VoiceDescription:
    """Reads `voice.json`; one-sentence ValueError where it is missing or wrong."""
    path = folder / "voice.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable voice description ({error}).") from error
    return build(VoiceDescription, values, "voice.json")


def pick_device(name: str) -> torch.device:
    """ "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps" -> device; ValueError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps":  # never tried by us, so not by "auto" either
        if not torch.backends.mps.is_available():
            raise ValueError("device 'mps' is not there: torch sees no GPU of Apple's.")
        return torch.device(name)
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise ValueError(f"unknown device {name!r}: expected auto, cpu, cuda, cuda:N or mps.")
    count = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if name != "cpu" and int(match.group(1) or 0) >= count:
        raise ValueError(f"device {name!r} is not there: torch sees {count} CUDA devices.")
    return torch.device(name)


def model_class(folder: Path, models: dict[str, type]) -> type:
    """The class of the model in `folder`, by the name that its config.json states; ValueError for any but `models`."""
    try:
        kind = str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model"))
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder / 'config.json'}: not a readable model description ({error}).") from error
    if kind not in models:
        raise ValueError(f"{folder} holds a {kind}, expected one of {', '.join(models)}.")
    return models[kind]
