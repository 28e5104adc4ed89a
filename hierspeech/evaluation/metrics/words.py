"""Text as judges compare it, and how far what was heard is from what should have been said.

Two normalisers. `simple_words` is ours: lower case, letters and apostrophes, hyphens part words. `seed_tts_words` is that of
Seed-TTS-eval (github.com/BytedanceSpeech/seed-tts-eval, run_wer.py; Anastassiou et al. 2024): punctuation but the straight
apostrophe is deleted (not replaced by a space), English is lower case. Numbers stay as written in both: a list whose texts
have digits should say what is to be heard.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Any

import numpy as np

from hierspeech.evaluation.metrics.card import MetricCard, NotMeasured, Row, Summary, mean_of_items, require

# zhon.hanzi.punctuation 2.1.1 (MIT, T. Roten), which Seed-TTS-eval deletes for English too: curly quotes and dashes are in it
HANZI_PUNCTUATION = (
    "\uff02\uff03\uff04\uff05\uff06\uff07\uff08\uff09\uff0a\uff0b\uff0c\uff0d\uff0f\uff1a\uff1b\uff1c\uff1d\uff1e"
    "\uff20\uff3b\uff3c\uff3d\uff3e\uff3f\uff40\uff5b\uff5c\uff5d\uff5e\uff5f\uff60\uff62\uff63\uff64\u3000\u3001"
    "\u3003\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011\u3014\u3015\u3016\u3017\u3018\u3019\u301a"
    "\u301b\u301c\u301d\u301e\u301f\u3030\u303e\u303f\u2013\u2014\u2018\u2019\u201b\u201c\u201d\u201e\u201f\u2026"
    "\u2027\ufe4f\ufe51\ufe54\u00b7\uff0e\uff01\uff1f\uff61\u3002"
)
_SEED_DELETED = str.maketrans("", "", (HANZI_PUNCTUATION + string.punctuation).replace("'", ""))
JIWER = "pip install jiwer"


def simple_words(text: str) -> str:
    """Ours: lower case, every kind of apostrophe straight, anything but letters, digits and apostrophes a space."""
    text = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    return " ".join(re.sub(r"[^\w' ]|_", " ", text).split())


def seed_tts_words(text: str) -> str:
    """Seed-TTS-eval's for English."""
    return " ".join(text.translate(_SEED_DELETED).lower().split())


def error_rates(truth: str, heard: str, name: str) -> Row:
    """Word and character error rates of normalised texts in percent, with what they are made of.

    Args:
        name: of the recogniser; the figures are `wer_{name}` and `cer_{name}`.
    Raises:
        NotMeasured: no words in the text, or jiwer is not installed.
    """
    jiwer = require("jiwer", JIWER)
    if not truth:
        raise NotMeasured("the text has no words")
    words, letters = jiwer.process_words(truth, heard), jiwer.process_characters(truth, heard)
    return {
        f"wer_{name}": 100 * words.wer,
        f"cer_{name}": 100 * letters.cer,
        "heard": heard,
        "expected": truth,
        "errors": [_errors(words), _errors(letters)],
        "lengths": [len(truth.split()), len(truth)],
    }


def _errors(output: Any) -> int:
    return output.substitutions + output.deletions + output.insertions


def pooled(card: MetricCard, rows: list[Row]) -> Summary:
    """Errors of all items over words (letters) of all items, in percent: long sentences count more."""
    errors = np.array([row["errors"] for row in rows], dtype=float)
    lengths = np.array([row["lengths"] for row in rows], dtype=float)
    names = [column.name for column in card.columns]

    def summarise(counts: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, (100 * (counts @ errors) / (counts @ lengths)).T, strict=True))

    return summarise


averaged = mean_of_items  # as in Seed-TTS-eval's average_wer.py: every file counts the same
