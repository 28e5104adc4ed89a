"""Super-resolution: 16 kHz speech -> 24 or 48 kHz (HierSpeech++ section 3.4; spec 8.3)."""

import os

import numpy as np

from hierspeech.pipelines.output import PEAK, Speech, change_rate, check_output_rate, set_level
from hierspeech.pipelines.pipeline import Pipeline
from hierspeech.pipelines.recording import check_recording, note_of, read_recording, resample_recording
from speech.audio import resample


class SuperResolution(Pipeline):
    """Raises the sample rate of a recording: by the voice's SpeechSR, or by plain resampling where it has none.

    >>> SuperResolution.from_pretrained("lite")("old.wav", output_sample_rate=48000).save("new.wav")
    """

    def __call__(
        self,
        recording: str | os.PathLike | np.ndarray,
        output_sample_rate: int = 48000,
        sample_rate: int | None = None,
    ) -> Speech:
        """Converts a recording.

        It keeps its level, lowered only where a peak would exceed 0.95 of full scale. Voices whose level is "peak" raise
        it to 0.999 as the published pipeline does, and those whose level is "prompt" give it the recording's own peak.

        Args:
            recording: a sound file or samples [T]; what it has above 8 kHz is replaced if the voice has a model.
            output_sample_rate: 16000, 24000 or 48000 Hz.
            sample_rate: rate in Hz of `recording` if it is an array (default: the voice's).
        Raises:
            ValueError: an unusable recording, or another rate.
        """
        check_output_rate(output_sample_rate)
        voice = self.voice
        recordings, level = voice.description.recordings, voice.description.level
        wav, rate, name = read_recording(
            recording,
            sample_rate or voice.sample_rate,
            channel="first" if recordings == "as_recorded" else "mean",
        )
        check_recording(wav, rate, name, min_seconds=0.0)
        note = note_of(recording)
        recorded_peak = float(np.abs(wav).max())
        if voice.speechsr(output_sample_rate) is None:
            wav = resample(wav, rate, output_sample_rate)
        else:
            wav = resample_recording(wav, rate, voice.sample_rate, recordings)
            wav = change_rate(wav, voice, output_sample_rate)
        if level != "loudness":
            return Speech(set_level(wav, level, recorded_peak), output_sample_rate, note=note)
        highest = float(np.abs(wav).max())
        return Speech(wav * np.float32(PEAK / max(highest, PEAK)), output_sample_rate, note=note)
