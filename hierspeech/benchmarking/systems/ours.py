"""Systems of this repository: the hierarchical way (any voice, the published weights too), the token ways, super-resolution, codecs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hierspeech.benchmarking.systems.contract import (
    Entry,
    Missing,
    Request,
    Sound,
    SystemCard,
    count_parameters,
)

READ_WHOLE = 200_000_000  # bytes of a voice folder that are read to know it again; of larger ones sizes and times are taken
PACKAGES = ("torch", "numpy")


class Hierarchical:
    """HierSpeech++: text -> semantic features and F0 -> waveform, or a recording in another voice."""

    def __init__(self, voice: str):
        self.name = voice

    def load(self, device: str) -> None:
        """Loads all models that a call needs."""
        from hierspeech.pipelines.tts import TextToSpeech
        from hierspeech.pipelines.voice import load_voice

        self.voice = _or_missing(lambda: load_voice(self.name, device))
        self.tts = TextToSpeech(self.voice)
        _ = self.voice.synthesizer

    def synthesize(self, request: Request) -> Sound:
        """Speaks or converts."""
        options = {"seed": request.seed, "output_sample_rate": request.output_rate or 16000}
        if request.task == "convert":
            from hierspeech.pipelines.conversion import VoiceConversion

            speech = VoiceConversion(self.voice)(request.source, self._reference(request), **options)
        else:
            speech = self.tts(request.text, self._reference(request), request.language, **options)
        return speech.audio, speech.sample_rate

    def stream(self, request: Request) -> Iterator[Sound]:
        """Chunks of the same."""
        options = {"seed": request.seed, "output_sample_rate": request.output_rate or 16000}
        if request.task == "convert":
            from hierspeech.pipelines.conversion import VoiceConversion

            chunks = VoiceConversion(self.voice).stream(request.source, self._reference(request), **options)
        else:
            chunks = self.tts.stream(request.text, self._reference(request), request.language, **options)
        for speech in chunks:
            yield speech.audio, speech.sample_rate

    def parameters(self) -> int:
        """Of text-to-vec and synthesizer."""
        return count_parameters(self.voice.ttv, self.voice.synthesizer)

    def _reference(self, request: Request) -> str | None:
        return request.voice if request.voice in self.voice.description.prompts else request.reference


class Spear:
    """SPEAR-TTS: text -> semantic tokens -> sound by one of three ways."""

    def __init__(self, way: str, voice: str):
        self.way, self.name = way, voice

    def load(self, device: str) -> None:
        """Loads the models of the way."""
        from hierspeech.pipelines.spear import SpearTTS
        from hierspeech.pipelines.spear_sound import Acoustics

        self.tts = _or_missing(lambda: SpearTTS.from_pretrained(self.name, device))
        self.acoustics = Acoustics(way=self.way)
        voice = self.tts.voice
        part = {"ar": "semantic_to_acoustic", "nar": "masked", "bridge": "bridge"}[self.way]
        if getattr(voice.description, part) is None:
            raise Missing(f"the voice {voice.description.name!r} has no part {part}")
        self.models = [voice.text_to_semantic, getattr(voice, part)]
        self.models.append(voice.base.synthesizer if self.way == "bridge" else voice.codec)

    def synthesize(self, request: Request) -> Sound:
        """Speaks, or converts by the source's tokens."""
        options = {
            "seed": request.seed,
            "output_sample_rate": request.output_rate or 16000,
            "acoustics": self.acoustics,
        }
        if request.task == "convert":
            speech = self.tts.resynthesize(request.source, self._reference(request), **options)
        else:
            speech = self.tts.synthesize(request.text, self._reference(request), request.language, **options)
        return speech.audio, speech.sample_rate

    def stream(self, request: Request) -> Iterator[Sound]:
        """Chunks of the same text."""
        if request.task == "convert":
            raise ValueError("token voices convert whole recordings, there is no stream")
        chunks = self.tts.stream(
            request.text,
            self._reference(request),
            request.language,
            acoustics=self.acoustics,
            seed=request.seed,
        )
        for speech in chunks:
            yield speech.audio, speech.sample_rate

    def parameters(self) -> int:
        """Of what this way runs: text to semantic, its acoustic model, and codec or synthesizer."""
        return count_parameters(*self.models)

    def _reference(self, request: Request) -> str | None:
        return request.voice if request.voice in self.tts.voice.description.prompts else request.reference


class Upsampler:
    """SpeechSR of a voice."""

    def __init__(self, voice: str):
        self.name = voice

    def load(self, device: str) -> None:
        """Loads the model to 48 kHz."""
        from hierspeech.pipelines.superresolution import SuperResolution

        self.pipeline = _or_missing(lambda: SuperResolution.from_pretrained(self.name, device))
        if self.pipeline.voice.speechsr(48000) is None:
            raise Missing(f"the voice {self.name!r} has no SpeechSR to 48 kHz")

    def synthesize(self, request: Request) -> Sound:
        """The source at the rate wanted."""
        speech = self.pipeline(request.source, request.output_rate or 48000)
        return speech.audio, speech.sample_rate

    def parameters(self) -> int:
        """Of the model."""
        return count_parameters(self.pipeline.voice.speechsr(48000))


class CodecResynthesis:
    """Recorded speech through a codec and back: no token model that draws its codes can be better than that."""

    def __init__(self, codec: str, source: str | None):
        self.codec, self.source = codec, source

    def load(self, device: str) -> None:
        """Loads the codec."""
        from spear.codec.codec import CODECS

        source = self.source
        if self.codec == "compact":
            from hierspeech.pipelines.spear_voice import find_spear_voice, read_spear_description

            folder = _or_missing(lambda: find_spear_voice(source))
            name = read_spear_description(folder).codec
            if name is None:
                raise Missing(f"the voice {source!r} has no codec")
            source = str(folder / name)
        try:
            self.model = CODECS[self.codec](source, device)
        except (ImportError, OSError, ValueError) as error:
            raise Missing(" ".join(str(error).split())) from error
        self.device = device

    def synthesize(self, request: Request) -> Sound:
        """The target of the utterance, coded and decoded."""
        import torch

        from speech.audio import load_audio

        rate = self.model.spec.sample_rate
        wav = torch.from_numpy(load_audio(request.target, rate)[0])
        with torch.inference_mode():
            decoded = self.model.decode(self.model.encode(wav[None, None].to(self.device)))
        return decoded[0, 0, : len(wav)].float().cpu().numpy(), rate

    def parameters(self) -> int:
        """Of encoder and decoder."""
        return count_parameters(self.model)


def _or_missing(load):
    """What `load` gives; a voice that is not there, or not whole, is `Missing`."""
    try:
        return load()
    except ValueError as error:
        raise Missing(" ".join(str(error).split())) from error


def fingerprint_voice_folder(name: str) -> str:
    """Of the files of a voice, "absent" where there is none on this disk."""
    from hierspeech.pipelines.spear_names import VOICES_FOLDER

    folder = next((f for f in (Path(name), VOICES_FOLDER / name) if f.is_dir()), None)
    if folder is None:
        return "absent"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md")
    whole = sum(p.stat().st_size for p in files) <= READ_WHOLE
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        known = path.read_bytes() if whole else f"{state.st_size} {state.st_mtime_ns}".encode()
        digest.update(f"{path.relative_to(folder)} {len(known)} ".encode() + known)
    return digest.hexdigest()[:16]


def fingerprint_spear(name: str) -> str:
    """Of a token voice and of the voice that it stands on."""
    import json

    from hierspeech.pipelines.spear_names import VOICES_FOLDER

    folder = next((f for f in (Path(name), VOICES_FOLDER / name) if (f / "spear.json").is_file()), None)
    if folder is None:
        return "absent"
    base = str(json.loads((folder / "spear.json").read_text(encoding="utf-8"))["base"])
    beside = folder.parent / base
    return f"{fingerprint_voice_folder(str(folder))}+{fingerprint_voice_folder(str(beside) if beside.is_dir() else base)}"


LITE, LITE_SPEAR = "lite", "lite-spear"
OFFICIAL_INSTALL = (
    "download the published files as docs/official.md says, then: python -m hierspeech.official import DOWNLOADS VOICE "
    "--semantic-encoder facebook/mms-300m, and name it: hierspeech-official=VOICE"
)
SPEAR_INSTALL = f"the voice {LITE_SPEAR} ships with hierspeech; or name a folder: spear-ar=FOLDER"


def _hierarchical(name: str, default: str, licence: str, install: str) -> Entry:
    card = SystemCard(
        name=name,
        kind="hierarchical",
        licence=licence,
        install=install,
        tasks=("speak", "convert"),
        model=default,
        source="Lee et al. 2023 (HierSpeech++)",
        packages=PACKAGES,
    )
    return Entry(
        card,
        lambda model: Hierarchical(model or default),
        lambda model: fingerprint_voice_folder(model or default),
    )


def _spear(way: str, kind: str, source: str) -> Entry:
    card = SystemCard(
        name=f"spear-{way}",
        kind=kind,
        licence="MIT (code and weights)",
        install=SPEAR_INSTALL,
        tasks=("speak", "convert"),
        model=LITE_SPEAR,
        source=source,
        packages=PACKAGES,
    )
    return Entry(
        card,
        lambda model: Spear(way, model or LITE_SPEAR),
        lambda model: fingerprint_spear(model or LITE_SPEAR),
    )


def _upsampler(name: str, default: str, licence: str, install: str) -> Entry:
    card = SystemCard(
        name=name,
        kind="super-resolution",
        licence=licence,
        install=install,
        tasks=("upsample",),
        model=default,
        voice="the source's",
        source="Lee et al. 2023 (HierSpeech++), section 3.4",
        packages=PACKAGES,
    )
    return Entry(
        card,
        lambda model: Upsampler(model or default),
        lambda model: fingerprint_voice_folder(model or default),
    )


def _codec(name: str, codec: str, default: str | None, licence: str, install: str) -> Entry:
    card = SystemCard(
        name=name,
        kind="codec resynthesis (ceiling)",
        licence=licence,
        install=install,
        tasks=("resynthesize",),
        model=default or codec,
        voice="the recording's",
        source="Défossez et al. 2022 (EnCodec)" if "encodec" in codec else "this repository",
        packages=(*PACKAGES, "transformers") if "encodec" in codec else PACKAGES,
    )
    fingerprint = (lambda model: fingerprint_spear(model or LITE_SPEAR)) if codec == "compact" else None
    return Entry(card, lambda model: CodecResynthesis(codec, model or default), fingerprint)


ENCODEC_INSTALL = 'pip install "transformers>=4.44", and its weights: hf download facebook/encodec_24khz, or run with --download'
ENTRIES = (
    _hierarchical("hierspeech", LITE, "MIT (code and weights)", "ships with hierspeech"),
    _hierarchical(
        "hierspeech-official", "official", "MIT (code and weights, as published)", OFFICIAL_INSTALL
    ),
    _spear("ar", "token LM, autoregressive", "Kharitonov et al. 2023 (SPEAR-TTS)"),
    _spear("nar", "token LM, masked acoustics", "Kharitonov et al. 2023; Borsos et al. 2023 (SoundStorm)"),
    _spear("bridge", "token LM + hierarchical synthesizer", "this repository"),
    _upsampler("speechsr", LITE, "MIT (code and weights)", "ships with hierspeech"),
    _upsampler("speechsr-official", "official", "MIT (code and weights, as published)", OFFICIAL_INSTALL),
    _codec("codec-compact", "compact", LITE_SPEAR, "MIT (code and weights)", SPEAR_INSTALL),
    _codec("codec-encodec", "encodec-24khz", None, "MIT (code), CC BY-NC 4.0 (weights)", ENCODEC_INSTALL),
)
