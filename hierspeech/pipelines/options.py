"""How to speak: what a user may choose besides text and voice, checked once for every way of speaking."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hierspeech.pipelines.arguments import (
    ENERGIES,
    NOISE_SCALES,
    PITCH_RANGES,
    PITCH_SHIFTS,
    SHARES,
    SPEEDS,
    check_denoise_ratio,
    check_range,
    make_generator,
)
from hierspeech.pipelines.fingerprints import fingerprint_reference
from hierspeech.pipelines.output import check_level, check_output_rate
from hierspeech.pipelines.prompt import Reference
from hierspeech.pipelines.voice import Voice

DEFAULT_SHARE = 0.5  # of a second voice


@dataclass(frozen=True)
class SpeakingOptions:
    """The arguments of `TextToSpeech.__call__`, with the same meanings; None is the voice's default."""

    language: str | None = None
    speed: float = 1.0
    noise_scale: float | None = None
    noise_scale_vc: float | None = None
    seed: int = 0
    output_sample_rate: int = 16000
    denoise_ratio: float | str | None = None
    level: str | None = None
    pitch_shift: float = 0.0  # semitones
    pitch_range: float = 1.0  # factor on how far the melody moves from its mean
    energy: float = 0.0  # dB above the level
    mix_with: Reference = None  # a second voice
    mix: float | Sequence[float] | None = None  # its share, of all or of each sentence

    def fill_in(self, voice: Voice) -> "SpeakingOptions":
        """The same with the voice's defaults in place of None.

        Raises:
            ValueError: a value outside its range, in one sentence.
        """
        default = voice.description
        noise_scale = default.noise_scale if self.noise_scale is None else self.noise_scale
        filled = replace(
            self,
            language=self.language or default.language,
            noise_scale=noise_scale,
            noise_scale_vc=noise_scale if self.noise_scale_vc is None else self.noise_scale_vc,
            denoise_ratio=default.denoise_ratio if self.denoise_ratio is None else self.denoise_ratio,
            level=default.level if self.level is None else self.level,
        )
        check_range("speed", filled.speed, SPEEDS)
        check_range("noise scale", filled.noise_scale, NOISE_SCALES)
        check_range("noise scale vc", filled.noise_scale_vc, NOISE_SCALES)
        check_denoise_ratio(filled.denoise_ratio)
        check_range("pitch shift", filled.pitch_shift, PITCH_SHIFTS)
        check_range("pitch range", filled.pitch_range, PITCH_RANGES)
        check_range("energy", filled.energy, ENERGIES)
        if self.mix is not None and self.mix_with is None:
            raise ValueError(f"mix {self.mix}: expected a second voice to mix (mix_with).")
        for share in () if self.mix is None else (self.mix,) if _is_number(self.mix) else self.mix:
            check_range("mix", share, SHARES)
        check_level(filled.level, prompt_peak=1.0)
        check_output_rate(filled.output_sample_rate)
        make_generator(filled.seed)
        return filled

    def facts(self, voice: Voice) -> dict[str, Any]:
        """What the samples depend on, as JSON can say it; what nobody asked for is left out, as before there was it."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {
            "pitch_shift": self.pitch_shift == 0,
            "pitch_range": self.pitch_range == 1,
            "energy": self.energy == 0,
        }
        plain |= {"mix_with": self.mix_with is None, "mix": self.mix is None}
        for name in (name for name, unasked in plain.items() if unasked):
            del found[name]
        if "mix_with" in found:
            found["mix_with"] = fingerprint_reference(self.mix_with, voice)
        if "mix" in found and not _is_number(self.mix):
            found["mix"] = list(self.mix)
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
