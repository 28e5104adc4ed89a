"""Word and character error rates by Whisper and by wav2vec2 (CTC), through transformers: any folder or hub id of the class.

Whisper with the normaliser and the averaging of Seed-TTS-eval (English: whisper-large-v3, greedy, language given), so that its
figure may stand beside published ones; wav2vec2 with our own normaliser, pooled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row, require
from hierspeech.evaluation.metrics.pretrained import load_pretrained
from hierspeech.evaluation.metrics.words import averaged, error_rates, pooled, seed_tts_words, simple_words

SAMPLE_RATE = 16000
WHISPER_WINDOW_SECONDS = 30
INSTALL = 'pip install "transformers>=4.44" jiwer'


class Whisper:
    """A Whisper checkpoint that transcribes greedily, in the item's language."""

    def __init__(self, model: str, device: str):
        import torch

        transformers = require("transformers", INSTALL)
        self.processor = load_pretrained(transformers.WhisperProcessor, model)
        self.model = (
            load_pretrained(transformers.WhisperForConditionalGeneration, model)
            .to(torch.device(device))
            .eval()
        )

    def transcribe(self, wav: np.ndarray, language: str) -> str:
        """wav float32 [T] at 16 kHz -> text as the model writes it; what is over 30 s is heard in pieces of 30 s."""
        import torch

        window = WHISPER_WINDOW_SECONDS * SAMPLE_RATE
        heard = []
        for start in range(0, len(wav), window):
            inputs = self.processor(
                wav[start : start + window],
                sampling_rate=SAMPLE_RATE,
                return_tensors="pt",
                return_attention_mask=True,
            ).to(self.model.device)
            options: dict[str, Any] = {"num_beams": 1, "do_sample": False}
            if getattr(self.model.generation_config, "is_multilingual", False):
                options |= {"language": language.split("-")[0], "task": "transcribe"}
            with torch.inference_mode():
                ids = self.model.generate(
                    inputs.input_features, attention_mask=inputs.attention_mask, **options
                )
            heard += self.processor.batch_decode(ids, skip_special_tokens=True)
        return " ".join(heard)


class CTC:
    """A wav2vec2, HuBERT or WavLM checkpoint with letters on top; the best letter of each frame."""

    def __init__(self, model: str, device: str):
        import torch

        transformers = require("transformers", INSTALL)
        self.processor = load_pretrained(transformers.Wav2Vec2Processor, model)
        self.model = load_pretrained(transformers.AutoModelForCTC, model).to(torch.device(device)).eval()

    def transcribe(self, wav: np.ndarray, language: str) -> str:
        """wav float32 [T] at 16 kHz -> text; the language is the model's own."""
        import torch

        inputs = self.processor(wav, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            ids = self.model(inputs.input_values).logits.argmax(dim=-1)
        return self.processor.batch_decode(ids)[0]


class ErrorRate:
    """Transcribes and compares."""

    def __init__(self, recogniser: Any, name: str, normalise: Callable[[str], str], languages: str | None):
        self.recogniser, self.name, self.normalise, self.languages = recogniser, name, normalise, languages

    def measure(self, item: Item) -> Row:
        """`wer_{name}` and `cer_{name}`."""
        if self.languages and not item.language.lower().startswith(self.languages):
            raise NotMeasured(f"is defined for {self.languages!r} here, not for {item.language!r}")
        heard = self.recogniser.transcribe(item.load("wav", SAMPLE_RATE)[0], item.language)
        return error_rates(self.normalise(item.text), self.normalise(heard), self.name)


WHISPER = "openai/whisper-large-v3"
WAV2VEC2 = "facebook/wav2vec2-large-960h-lv60-self"

WER_WHISPER = Metric(
    MetricCard(
        name="wer_whisper",
        meaning="Words and letters that Whisper hears otherwise than written; normaliser and averaging of Seed-TTS-eval: "
        "punctuation deleted, lower case, the mean of the files' rates.",
        scale="0 is perfect, above 100 is possible. On Seed-TTS-eval en recordings score 2.1 and Seed-TTS 2.2 (its paper). "
        "Whisper repairs what it hears from context, so slips of one sound may go unnoticed.",
        source="Radford et al. 2022; Seed-TTS-eval (Anastassiou et al. 2024), run_wer.py and average_wer.py; English",
        model=WHISPER,
        licence="MIT or Apache-2.0 as its hub page says; transformers and jiwer Apache-2.0",
        install=INSTALL,
        columns=(
            Column("wer_whisper", "WER Whisper (Seed-TTS-eval)", "%", "lower", 2),
            Column("cer_whisper", "CER Whisper", "%", "lower", 2),
        ),
    ),
    needs=("text",),
    make=lambda model, device: ErrorRate(Whisper(model or WHISPER, device), "whisper", seed_tts_words, "en"),
    summarise=averaged,
    packages=("transformers", "jiwer"),
    downloads=True,
)

WER_WAV2VEC2 = Metric(
    MetricCard(
        name="wer_wav2vec2",
        meaning="Words and letters that wav2vec2 hears otherwise than written, over all words and letters (pooled); it has no "
        "language model, so it writes what it hears.",
        scale="0 is perfect, above 100 is possible. Some 2 % on LibriSpeech test-clean recordings.",
        source="Baevski et al. 2020; greedy CTC; our own normaliser",
        model=WAV2VEC2,
        licence="Apache-2.0; transformers and jiwer Apache-2.0",
        install=INSTALL,
        columns=(
            Column("wer_wav2vec2", "WER wav2vec2", "%", "lower", 2),
            Column("cer_wav2vec2", "CER wav2vec2", "%", "lower", 2),
        ),
    ),
    needs=("text",),
    make=lambda model, device: ErrorRate(CTC(model or WAV2VEC2, device), "wav2vec2", simple_words, None),
    summarise=pooled,
    packages=("transformers", "jiwer"),
    downloads=True,
)
