"""What the pipelines have in common: a voice, found and loaded by name."""

from pathlib import Path
from typing import TypeVar

from hierspeech.pipelines.voice import DEFAULT_VOICE, Voice, load_voice

P = TypeVar("P", bound="Pipeline")


class Pipeline:
    """Trained models of a voice, composed to do one thing when called; pipelines of one voice share its models."""

    def __init__(self, voice: Voice):
        self.voice = voice

    @classmethod
    def from_pretrained(
        cls: type[P],
        name: str | Path | Voice = DEFAULT_VOICE,
        device: str = "auto",
        precision: str = "fp32",
    ) -> P:
        """Loads a voice.

        Args:
            name: a folder, a shipped name ("lite"), a hub id, or a voice that is loaded.
            device: "auto", "cpu", "cuda" or "cuda:N".
            precision: "bf16" lets full-size waveform models multiply in bf16 where that is faster; all else stays "fp32".
        Raises:
            ValueError: no such voice, one that lacks what the pipeline needs, another precision, or a device that is not there.
        """
        return cls(load_voice(name, device, precision))
