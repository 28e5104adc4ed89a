"""How a sentence is said: in whose voice, how fast, how high, how lively, how loud; by the options and the marks in its text.

What the marks say is on top of the options: semitones and dB are added, factors multiplied. Words are the smallest unit of pitch,
range and energy; pieces of text that of speed and voice. Shapes: S ids, N frames at 50 Hz, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hierspeech.pipelines.contours import Contour, move_pitch, moves_pitch
from hierspeech.pipelines.options import DEFAULT_SHARE, SpeakingOptions
from hierspeech.pipelines.pauses import pause_behind, sentence_speed
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.sentences import Sentence
from speech.text.marks import Mark, Marked, read_marks
from speech.text.words import find_sentences


@dataclass(frozen=True)
class Delivery:
    """How the sentences of a text are said: the voice, a second one where voices are mixed, and filled-in options."""

    prompt: VoicePrompt
    options: SpeakingOptions
    second: VoicePrompt | None = None

    def speed(self, sentence: Sequence[int]) -> float:
        """Of a sentence: the option's, times that of its mark, within what the models can do."""
        return sentence_speed(self.options.speed, sentence)

    def voice(self, sentence: Sequence[int]) -> VoicePrompt:
        """The prompt of a sentence.

        Raises:
            ValueError: it has a share of a second voice, and there is none.
        """
        share = getattr(sentence, "mix", None)
        if self.second is None:
            if share is not None:
                raise ValueError(
                    f"the mark <mix={share:g}> in the text: expected a second voice to mix (mix_with)."
                )
            return self.prompt
        if share is None:
            share = self.options.mix if isinstance(self.options.mix, int | float) else DEFAULT_SHARE
        return VoicePrompt.mix(self.prompt, self.second, share)

    def pause(self, sentence: Sentence, sample_rate: int) -> int:
        """Samples of silence behind a sentence: what a mark says, else what its border and speed ask for."""
        return pause_behind(sentence, self.speed(sentence), sample_rate)


def mark_text(text: str, mix: float | Sequence[float] | None) -> str | Marked:
    """The text, with a mark before each sentence where `mix` has a share for each.

    Raises:
        ValueError: not as many shares as sentences.
    """
    if mix is None or isinstance(mix, int | float):
        return text
    marked = read_marks(text)
    places = [start for start, _ in find_sentences(marked.text)]
    if len(places) != len(mix):
        raise ValueError(f"mix has {len(mix)} shares, expected one for each of {len(places)} sentences.")
    own = [Mark(place, "mix", float(share)) for place, share in zip(places, mix, strict=True)]
    kept = [mark for mark in marked.marks if mark.name != "mix"]
    return replace(marked, marks=sorted([*kept, *own], key=lambda mark: mark.place))


def shape_pitch(log_f0: Tensor, asked: Contour | None, prompt: VoicePrompt, floor_hz: float) -> Tensor:
    """log(F0 + 1) [1, 1, 4N] of a sentence as `asked` (`contours.move_pitch`), around the prompt's mean where it has one."""
    if not moves_pitch(asked):
        return log_f0
    mean = prompt.log_f0_mean if prompt.has_pitch else None
    moved = move_pitch(log_f0[0, 0].float().cpu().numpy(), asked, mean, floor_hz)
    return torch.from_numpy(moved)[None, None].to(log_f0)
