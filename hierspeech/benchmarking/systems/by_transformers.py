"""Baselines that Hugging Face transformers has: Bark, SpeechT5, CSM, Dia, MMS-TTS (VITS) and Pocket TTS.

Each takes a hub id or a folder. Weights are fetched only where the comparison was started with --download.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hierspeech.benchmarking.systems.contract import (
    Entry,
    Missing,
    Request,
    Sound,
    SystemCard,
    count_parameters,
    require,
)

BARK_VOICES = 10  # v2/en_speaker_0 ... 9
XVECTOR = "speechbrain/spkrec-xvect-voxceleb"


class TransformersSystem:
    """What the systems below share: a processor and a model of one folder or hub id."""

    card: SystemCard
    classes: tuple[str, str]  # of processor and model, as transformers names them

    def __init__(self, model: str | None):
        self.name = model or self.card.model

    def load(self, device: str) -> None:
        """Loads processor and model."""
        self.transformers = require("transformers", self.card)
        self.processor, self.model = (self.part(kind, self.name) for kind in self.classes)
        self.model = self.model.to(device).eval()
        self.device = device

    def part(self, kind: str, name: str | None) -> Any:
        """`kind`.from_pretrained(name); `Missing` where this transformers has no such class or the weights are absent."""
        if not hasattr(self.transformers, kind):
            raise Missing(f"transformers {self.transformers.__version__} has no {kind}")
        if name is not None and (Path(name).is_absolute() or name.count("/") > 1) and not Path(name).is_dir():
            raise Missing(f"{name} cannot be loaded (there is no such folder)")
        try:
            return getattr(self.transformers, kind).from_pretrained(name)
        except (OSError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Missing(f"{name} cannot be loaded ({reason})") from error

    def parameters(self) -> int:
        """Of the model."""
        return count_parameters(self.model)


class Bark(TransformersSystem):
    """Text -> semantic, coarse and fine tokens, each drawn by a GPT. It clones nobody: a preset stands for each speaker."""

    card = SystemCard(
        name="bark",
        kind="token LM, autoregressive",
        licence="MIT (code and weights)",
        install='pip install "transformers>=4.44", and its weights: hf download suno/bark-small, or run with --download',
        model="suno/bark-small",
        voice="a preset for each speaker, not the reference",
        source="https://github.com/suno-ai/bark",
        packages=("transformers", "torch"),
    )
    classes = ("BarkProcessor", "BarkModel")

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        import torch

        presets = getattr(self.processor, "speaker_embeddings", None)
        number = zlib.crc32((request.speaker or "").encode()) % BARK_VOICES
        preset = f"v2/en_speaker_{number}" if presets else None
        inputs = self.processor(request.text, voice_preset=preset).to(self.device)
        with torch.inference_mode():
            wav = self.model.generate(**inputs)
        return wav[0].float().cpu().numpy(), self.model.generation_config.sample_rate


class SpeechT5(TransformersSystem):
    """Text -> mel spectrogram by an encoder-decoder, a speaker by x-vector; HiFi-GAN."""

    card = SystemCard(
        name="speecht5",
        kind="encoder-decoder, mel",
        licence="MIT (code and weights)",
        install='pip install "transformers>=4.44" sentencepiece speechbrain torchaudio, and the weights: hf download '
        "microsoft/speecht5_tts, microsoft/speecht5_hifigan, speechbrain/spkrec-xvect-voxceleb, or run with --download",
        model="microsoft/speecht5_tts",
        source="Ao et al. 2022 (SpeechT5)",
        packages=("transformers", "torch", "speechbrain"),
    )
    classes = ("SpeechT5Processor", "SpeechT5ForTextToSpeech")
    vocoder_name = "microsoft/speecht5_hifigan"

    def load(self, device: str) -> None:
        """Loads the encoder of speakers and the vocoder too."""
        inference = require("speechbrain.inference.speaker", self.card)
        super().load(device)
        self.vocoder = self.part("SpeechT5HifiGan", self.vocoder_name).to(device).eval()
        try:
            self.speakers = inference.EncoderClassifier.from_hparams(
                source=XVECTOR, run_opts={"device": device}
            )
        except OSError as error:
            raise Missing(f"{XVECTOR} cannot be loaded ({' '.join(str(error).split())[:200]})") from error

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        import torch

        from speech.audio import load_audio

        wav = torch.from_numpy(load_audio(request.reference, 16000)[0])[None]
        with torch.inference_mode():
            vector = torch.nn.functional.normalize(self.speakers.encode_batch(wav)[0], dim=-1)
            inputs = self.processor(text=request.text, return_tensors="pt").to(self.device)
            out = self.model.generate_speech(
                inputs["input_ids"], vector.to(self.device), vocoder=self.vocoder
            )
        return out.float().cpu().numpy(), self.vocoder.config.sampling_rate


class CSM(TransformersSystem):
    """Sesame's conversational model: a Llama over text and Mimi codes; the reference is an earlier turn of the same speaker."""

    card = SystemCard(
        name="csm",
        kind="token LM, autoregressive",
        licence="Apache-2.0 (gated weights)",
        install='pip install "transformers>=4.52", and its weights: hf auth login; hf download sesame/csm-1b, or run with --download',
        model="sesame/csm-1b",
        source="https://github.com/SesameAILabs/csm",
        packages=("transformers", "torch"),
    )
    classes = ("AutoProcessor", "CsmForConditionalGeneration")

    def synthesize(self, request: Request) -> Sound:
        """Goes on from the reference."""
        import torch

        rate = self.processor.feature_extractor.sampling_rate
        turns = [{"role": "0", "content": [{"type": "text", "text": request.text}]}]
        if request.reference and request.reference_text:
            before = [
                {"type": "text", "text": request.reference_text},
                {"type": "audio", "path": request.reference},
            ]
            turns.insert(0, {"role": "0", "content": before})
        inputs = self.processor.apply_chat_template(turns, tokenize=True, return_dict=True).to(self.device)
        with torch.inference_mode():
            wav = self.model.generate(**inputs, output_audio=True)
        return wav[0].float().cpu().numpy(), rate


class Dia(TransformersSystem):
    """Nari Labs' Dia: bytes -> DAC codes by an encoder-decoder; the reference and its words come before the text."""

    card = SystemCard(
        name="dia",
        kind="token LM, autoregressive",
        licence="Apache-2.0 (code and weights)",
        install='pip install "transformers>=4.53", and its weights: hf download nari-labs/Dia-1.6B-0626, or run with --download',
        model="nari-labs/Dia-1.6B-0626",
        source="https://github.com/nari-labs/dia",
        packages=("transformers", "torch"),
    )
    classes = ("DiaProcessor", "DiaForConditionalGeneration")
    drawing = {
        "do_sample": True,
        "max_new_tokens": 3072,
        "guidance_scale": 3.0,
        "temperature": 1.8,
        "top_p": 0.9,
        "top_k": 45,
    }

    def synthesize(self, request: Request) -> Sound:
        """Goes on from the reference where its words are known."""
        import torch

        from speech.audio import load_audio

        rate = self.processor.feature_extractor.sampling_rate
        text, audio = f"[S1] {request.text}", None
        if request.reference and request.reference_text:
            text = f"[S1] {request.reference_text} {request.text}"
            audio = load_audio(request.reference, rate)[0]
        inputs = self.processor(
            text=[text], audio=audio, sampling_rate=rate, padding=True, return_tensors="pt"
        )
        inputs = inputs.to(self.device)
        known = (
            None if audio is None else self.processor.get_audio_prompt_len(inputs["decoder_attention_mask"])
        )
        with torch.inference_mode():
            codes = self.model.generate(**inputs, **self.drawing)
        wav = self.processor.batch_decode(codes, audio_prompt_len=known)[0]
        return wav.float().cpu().numpy(), rate


class MMS(TransformersSystem):
    """VITS as Meta's MMS trained it for a thousand languages: one voice each."""

    card = SystemCard(
        name="mms-tts",
        kind="variational, flow (VITS)",
        licence="MIT (code), CC BY-NC 4.0 (weights)",
        install='pip install "transformers>=4.44", and its weights: hf download facebook/mms-tts-eng, or run with --download',
        model="facebook/mms-tts-eng",
        voice="one voice",
        source="Kim et al. 2021 (VITS); Pratap et al. 2023 (MMS)",
        packages=("transformers", "torch"),
    )
    classes = ("AutoTokenizer", "VitsModel")

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        import torch

        inputs = self.processor(request.text, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            wav = self.model(**inputs).waveform[0]
        return wav.float().cpu().numpy(), self.model.config.sampling_rate


class PocketTTS(TransformersSystem):
    """Kyutai's small model for CPUs: a transformer over continuous latents of a codec, drawn by a flow; clones a recording."""

    card = SystemCard(
        name="pocket-tts",
        kind="continuous latent LM, flow",
        licence="MIT (code), CC BY 4.0 (gated weights)",
        install='pip install "transformers>=5.23", and its weights: hf auth login; hf download kyutai/pocket-tts, or run with --download',
        model="kyutai/pocket-tts",
        source="https://github.com/kyutai-labs/pocket-tts",
        packages=("transformers", "torch"),
    )
    classes = ("AutoProcessor", "PocketTTSForConditionalGeneration")

    def synthesize(self, request: Request) -> Sound:
        """Speaks."""
        import torch

        rate = self.processor.feature_extractor.sampling_rate
        voice = [{"type": "audio", "path": request.reference}] if request.reference else []
        turn = {"role": "user", "content": [*voice, {"type": "text", "text": request.text}]}
        inputs = self.processor.apply_chat_template(
            [[turn]], tokenize=True, return_dict=True, return_tensors="pt"
        )
        with torch.inference_mode():
            out = self.model.generate(**inputs.to(self.device), return_dict_in_generate=True)
            wav = self.processor.decode(out.audio_latents, out.audio_latents_mask)[0]
        return wav.numpy(), rate


def _entry(system: Callable[[str | None], TransformersSystem]) -> Entry:
    return Entry(system.card, system)  # type: ignore[attr-defined]


ENTRIES = tuple(_entry(system) for system in (Bark, SpeechT5, CSM, Dia, MMS, PocketTTS))
