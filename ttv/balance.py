"""How often each utterance is drawn, so that rare languages and speakers are heard often enough."""

from collections.abc import Sequence

import numpy as np


def balance(
    weights: np.ndarray,
    languages: Sequence[str],
    speakers: Sequence[str],
    language_balance: float = 1.0,
    speaker_balance: float = 1.0,
) -> np.ndarray:
    """Relative frequency of each utterance [n], for the `weights` of `speech.data.step_batches`.

    A language is drawn in proportion to its share of the data to the power `language_balance`, then a speaker of it in
    proportion to his or her share of the language to the power `speaker_balance`, then an utterance in proportion to its
    weight. 1 is the data as it is, 0 gives all the same share, 0.3 to 0.7 is usual (temperature sampling: Conneau et al.
    2020, XLM-R, section 3.1, with alpha 0.3).

    Args:
        weights: of each utterance without any balancing [n].
        languages, speakers: of each utterance; speakers of two languages count in each.
    """
    frequencies = np.array(weights, dtype=np.float64)
    pairs = list(zip(languages, speakers, strict=True))
    per_speaker, per_language = _sums(frequencies, pairs), _sums(frequencies, languages)
    raised = {pair: total**speaker_balance for pair, total in per_speaker.items()}
    raised_sums: dict[str, float] = {}
    for (language, _), value in raised.items():
        raised_sums[language] = raised_sums.get(language, 0.0) + value
    for place, (language, speaker) in enumerate(pairs):
        of_speaker = raised[language, speaker] / raised_sums[language] / per_speaker[language, speaker]
        frequencies[place] *= per_language[language] ** language_balance * of_speaker
    return frequencies / frequencies.sum()


def _sums(weights: np.ndarray, keys: Sequence) -> dict:
    sums: dict = {}
    for key, weight in zip(keys, weights, strict=True):
        sums[key] = sums.get(key, 0.0) + float(weight)
    return sums
