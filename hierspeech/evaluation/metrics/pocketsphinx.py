"""Word and character error rates by PocketSphinx: offline, small, weak; for comparisons on the same sentences only."""

from __future__ import annotations

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row, require
from hierspeech.evaluation.metrics.words import error_rates, pooled, simple_words

SAMPLE_RATE = 16000
INSTALL = "pip install pocketsphinx jiwer"


class PocketSphinx:
    """The decoder with its own US-English models."""

    def __init__(self, model: str | None = None):
        decoder = require("pocketsphinx", INSTALL).Decoder
        options = {} if model is None else {"hmm": model}
        self.decoder = decoder(samprate=SAMPLE_RATE, loglevel="FATAL", **options)

    def measure(self, item: Item) -> Row:
        """`wer_sphinx` and `cer_sphinx` of an English item."""
        if not item.language.lower().startswith("en"):
            raise NotMeasured(f"knows English alone, not {item.language!r}")
        truth = simple_words(item.text)
        if any(letter.isdigit() for letter in truth):
            raise NotMeasured("the text has digits: expected words as they are spoken")
        wav = item.load("wav", SAMPLE_RATE)[0]
        samples = (wav.clip(-1, 1) * 32767).astype(np.int16)
        self.decoder.start_utt()
        self.decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        self.decoder.end_utt()
        hypothesis = self.decoder.hyp()
        return error_rates(truth, simple_words(hypothesis.hypstr if hypothesis else ""), "sphinx")


WER_SPHINX = Metric(
    MetricCard(
        name="wer_sphinx",
        meaning="Words and letters that PocketSphinx hears otherwise than written, over all words and letters (pooled).",
        scale="0 is perfect, above 100 is possible. A weak recogniser: some 25 % on clean recordings of read speech, so "
        "compare with recordings on the same list, never with figures of other recognisers.",
        source="PocketSphinx 5 (CMU); alignment by jiwer; our own normaliser",
        model="PocketSphinx en-us, in the package",
        licence="BSD-2-Clause (package and models); jiwer Apache-2.0",
        install=INSTALL,
        columns=(
            Column("wer_sphinx", "WER PocketSphinx", "%", "lower", 1),
            Column("cer_sphinx", "CER PocketSphinx", "%", "lower", 1),
        ),
    ),
    needs=("text",),
    make=lambda model, device: PocketSphinx(model),
    summarise=pooled,
    packages=("pocketsphinx", "jiwer"),
)
