"""Baselines by their own packages: F5-TTS, XTTS, CosyVoice 2, Kokoro and WhisperSpeech, most of them in an environment of their own.

    python -m venv f5; f5/bin/pip install f5-tts; ... compare --systems f5-tts --env f5-tts=f5/bin/python --download

Written against f5-tts 1.1.22, coqui-tts 0.28.0, kokoro 0.9.4, WhisperSpeech 0.8.9 as published and CosyVoice's documentation; without
their weights, none of them could be run where this was written.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.systems.contract import Entry, Missing, Request, Sound, SystemCard, require


class F5TTS:
    """Flow matching over mel spectrograms, filling in what follows the reference."""

    card = SystemCard(
        name="f5-tts",
        kind="flow matching, mel",
        licence="MIT (code), CC BY-NC 4.0 (weights)",
        install="pip install f5-tts (in an environment of its own), and run with --download once",
        model="F5TTS_v1_Base",
        source="Chen et al. 2024 (F5-TTS)",
        packages=("f5-tts", "torch"),
    )

    def __init__(self, model: str | None):
        self.name = model or self.card.model

    def load(self, device: str) -> None:
        """Loads model and vocoder."""
        api = require("f5_tts.api", self.card)
        self.api = _weights(lambda: api.F5TTS(model=self.name, device=device), self.name)

    def synthesize(self, request: Request) -> Sound:
        """Speaks; without the reference's words the package would fetch Whisper to hear them."""
        wav, rate, _ = self.api.infer(
            ref_file=request.reference,
            ref_text=_reference_text(request),
            gen_text=request.text,
            seed=request.seed,
            show_info=lambda *_: None,
        )
        return wav, rate

    def parameters(self) -> int:
        """Of the model that draws; the vocoder is not counted."""
        return sum(p.numel() for p in self.api.ema_model.parameters())


class XTTS:
    """Coqui's XTTS v2: a GPT over codes of a discrete VAE, decoded by HiFi-GAN."""

    card = SystemCard(
        name="xtts",
        kind="token LM, autoregressive",
        licence="MPL-2.0 (code), Coqui Public Model License, non-commercial (weights)",
        install="pip install coqui-tts (in an environment of its own); agree to its licence by COQUI_TOS_AGREED=1 and run with --download once",
        model="tts_models/multilingual/multi-dataset/xtts_v2",
        source="Casanova et al. 2024 (XTTS)",
        packages=("coqui-tts", "torch"),
    )

    def __init__(self, model: str | None):
        self.name = model or self.card.model

    def load(self, device: str) -> None:
        """Loads the model; its package has a downloader of its own, which is kept from starting unasked."""
        api = require("TTS.api", self.card)
        if os.environ.get("HIERSPEECH_DOWNLOAD") != "1":
            # `trainer` comes with coqui-tts, and its folder is where that looks
            place = Path(require("trainer.io", self.card).get_user_data_dir("tts"))
            if not (place / self.name.replace("/", "--")).is_dir():
                raise Missing(f"the weights of {self.name} are not in {place}")
        self.api = api.TTS(self.name).to(device)

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        wav = self.api.tts(
            text=request.text, speaker_wav=request.reference, language=request.language[:2], split_sentences=False
        )  # fmt: skip
        return wav, self.api.synthesizer.output_sample_rate

    def parameters(self) -> int:
        """Of everything."""
        return sum(p.numel() for p in self.api.synthesizer.tts_model.parameters())


class CosyVoice:
    """CosyVoice 2: a language model over supervised speech tokens, flow matching to mel."""

    card = SystemCard(
        name="cosyvoice",
        kind="token LM + flow matching",
        licence="Apache-2.0 (code and weights)",
        install="git clone --recursive https://github.com/FunAudioLLM/CosyVoice, install its requirements, set PYTHONPATH to it and to its "
        "third_party/Matcha-TTS, hf download FunAudioLLM/CosyVoice2-0.5B --local-dir FOLDER; name it: cosyvoice=FOLDER",
        source="Du et al. 2024 (CosyVoice 2)",
        packages=("torch", "torchaudio"),
    )

    def __init__(self, model: str | None):
        self.name = model

    def load(self, device: str) -> None:
        """Loads the folder."""
        module = require("cosyvoice.cli.cosyvoice", self.card)
        if self.name is None or not Path(self.name).is_dir():
            raise Missing(f"a folder of its weights is needed, got {self.name!r}")
        self.api = getattr(module, "AutoModel", None) or module.CosyVoice2
        self.api = self.api(model_dir=self.name)

    def stream(self, request: Request) -> Any:
        """Chunks."""
        yield from self._speak(request, True)

    def synthesize(self, request: Request) -> Sound:
        """All chunks."""
        import numpy as np

        parts = [wav for wav, _ in self._speak(request, False)]
        return np.concatenate(parts), self.api.sample_rate

    def _speak(self, request: Request, stream: bool) -> Any:
        call = self.api.inference_zero_shot
        prompt = request.reference
        if "prompt_speech_16k" in inspect.signature(call).parameters:  # older releases take samples
            files = require("cosyvoice.utils.file_utils", self.card)
            prompt = files.load_wav(request.reference, 16000)
        for part in call(request.text, _reference_text(request), prompt, stream=stream):
            yield part["tts_speech"].squeeze(0).float().cpu().numpy(), self.api.sample_rate

    def parameters(self) -> int:
        """Of the three parts."""
        parts = (self.api.model.llm, self.api.model.flow, self.api.model.hift)
        return sum(p.numel() for part in parts for p in part.parameters())


class Kokoro:
    """StyleTTS 2 with fixed voices and 82 million parameters."""

    card = SystemCard(
        name="kokoro",
        kind="non-autoregressive, style (StyleTTS 2)",
        licence="Apache-2.0 (code and weights)",
        install="pip install kokoro, and its weights: hf download hexgrad/Kokoro-82M, or run with --download",
        model="hexgrad/Kokoro-82M",
        voice="one of its own voices for all",
        source="https://huggingface.co/hexgrad/Kokoro-82M",
        packages=("kokoro", "torch"),
    )
    languages = {"en-us": "a", "en-gb": "b", "es": "e", "fr-fr": "f", "it": "i", "pt-br": "p"}

    def __init__(self, model: str | None):
        self.name = model or self.card.model

    def load(self, device: str) -> None:
        """Loads the model; voices come with the first text."""
        self.package = require("kokoro", self.card)
        self.pipelines: dict[str, Any] = {}
        self.device = device
        self._pipeline("en-us")

    def _pipeline(self, language: str) -> Any:
        if language not in self.languages:
            raise ValueError(f"Kokoro does not speak {language!r}")
        if language not in self.pipelines:
            model = next(iter(self.pipelines.values())).model if self.pipelines else True
            self.pipelines[language] = _weights(
                lambda: self.package.KPipeline(
                    lang_code=self.languages[language], repo_id=self.name, model=model, device=self.device
                ),
                self.name,
            )
        return self.pipelines[language]

    def stream(self, request: Request) -> Any:
        """Sentence by sentence."""
        for result in self._pipeline(request.language)(request.text, voice="af_heart"):
            yield result.audio.float().cpu().numpy(), 24000

    def synthesize(self, request: Request) -> Sound:
        """All sentences."""
        import numpy as np

        return np.concatenate([wav for wav, _ in self.stream(request)]), 24000

    def parameters(self) -> int:
        """Of the model."""
        return sum(p.numel() for p in self._pipeline("en-us").model.parameters())


class WhisperSpeech:
    """SPEAR-TTS with Whisper's features as semantic tokens and EnCodec's as acoustic ones."""

    card = SystemCard(
        name="whisperspeech",
        kind="token LM, autoregressive",
        licence="MIT (code and weights)",
        install="pip install whisperspeech (in an environment of its own), and run with --download once",
        model="whisperspeech/whisperspeech:s2a-q4-base-en+pl.model",
        source="https://github.com/WhisperSpeech/WhisperSpeech",
        packages=("whisperspeech", "torch"),
    )

    def __init__(self, model: str | None):
        self.name = model or self.card.model

    def load(self, device: str) -> None:
        """Loads both models and the vocoder."""
        pipeline = require("whisperspeech.pipeline", self.card)
        self.api = _weights(lambda: pipeline.Pipeline(s2a_ref=self.name, device=device), self.name)
        if not (hasattr(self.api, "t2s") and hasattr(self.api, "s2a")):  # it prints why, and goes on
            raise Missing(f"{self.name}: the package could not load its models")

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        wav = self.api.generate(request.text, speaker=request.reference, lang=request.language[:2])
        return wav.float().cpu().numpy(), 24000

    def parameters(self) -> int:
        """Of both token models."""
        return sum(p.numel() for model in (self.api.t2s, self.api.s2a) for p in model.parameters())


def _weights(load: Any, name: str | None) -> Any:
    """What `load` gives; weights that are not on this disk are `Missing` (the hub's errors are OSErrors)."""
    try:
        return load()
    except OSError as error:
        raise Missing(f"{name} cannot be loaded ({' '.join(str(error).split())[:200]})") from error


def _reference_text(request: Request) -> str:
    if not request.reference_text:
        raise ValueError("needs the words of the reference, which this protocol does not know")
    return request.reference_text


ENTRIES = tuple(
    Entry(system.card, system)  # type: ignore[arg-type]
    for system in (F5TTS, XTTS, CosyVoice, Kokoro, WhisperSpeech)
)
