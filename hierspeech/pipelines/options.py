"""How to speak: what a user may choose besides text and voice, checked once for every way of speaking."""

from dataclasses import dataclass, replace

from hierspeech.pipelines.arguments import DENOISE_RATIOS, NOISE_SCALES, SPEEDS, check_range, make_generator
from hierspeech.pipelines.output import check_level, check_output_rate
from hierspeech.pipelines.voice import Voice


@dataclass(frozen=True)
class SpeakingOptions:
    """The arguments of `TextToSpeech.__call__`, with the same meanings; None is the voice's default."""

    language: str | None = None
    speed: float = 1.0
    noise_scale: float | None = None
    noise_scale_vc: float | None = None
    seed: int = 0
    output_sample_rate: int = 16000
    denoise_ratio: float | None = None
    level: str | None = None

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
        check_range("denoise ratio", filled.denoise_ratio, DENOISE_RATIOS)
        check_level(filled.level, prompt_peak=1.0)
        check_output_rate(filled.output_sample_rate)
        make_generator(filled.seed)
        return filled
