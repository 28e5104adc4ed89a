"""The equalizer's tables as training wants them: of whole recordings of a corpus, without what belongs to speaking alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hierspeech.synthesizer.model import HierSpeech
from speech.semantic.phonetic import PhoneticEncoder
from speech.spectrogram import MelSpectrogram


def table_measure(
    synthesizer: HierSpeech, encoder: PhoneticEncoder
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What measures the table of a recording, (wav [hop_length * N], F0 in Hz [4 * N]) -> [P * K] (equalizer.py).

    The first row, which is silence's and holds the expander's level, is zero: the targets of training have their own pauses.

    Raises:
        ValueError: a synthesizer without equalizer; features of another encoder than it wants.
    """
    if synthesizer.equalizer is None:
        raise ValueError("tables are an equalizer's: expected a synthesizer that has one")
    if encoder.spec != synthesizer.config.semantic:
        raise ValueError(
            f"the synthesizer wants {synthesizer.config.semantic}, the encoder gives {encoder.spec}"
        )
    mel = MelSpectrogram(synthesizer.config.audio)
    bands = synthesizer.equalizer.config.bands

    @torch.inference_mode()
    def measure(wav: np.ndarray, f0: np.ndarray) -> np.ndarray:
        heard = torch.from_numpy(wav)[None]
        log_f0 = torch.from_numpy(np.log1p(f0))[None, None]
        style = synthesizer.style_encoder(mel(heard))
        whole = synthesizer.with_table(style, encoder(heard).float(), log_f0, heard)
        table = whole[0, style.shape[1] :].clone()
        table[:bands] = 0
        return table.numpy()

    return measure
