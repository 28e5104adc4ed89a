"""Rate and level of speech that is still being spoken: what `output.finish` does to a whole, stretch by stretch.

Shapes: T samples.
"""

from collections import deque

import numpy as np
import soxr

from hierspeech.pipelines.output import PEAK, RMS_DB, peak_of
from hierspeech.pipelines.voice import Voice
from speech.audio import block_power

RAMP_SECONDS = 0.005  # a gain changes over this time, so that it does not click
MAX_STEP_DB = 2.0  # between two pieces the gain moves no more than this: a step that passes for expression


class RateChanger:
    """Samples at the voice's rate in, samples at another rate out: equal to `output.change_rate` of the whole."""

    def __init__(self, voice: Voice, output_sample_rate: int):
        self.ratio = output_sample_rate / voice.sample_rate
        model = voice.speechsr(output_sample_rate)
        self._windows = self._soxr = None
        if model is not None:
            from speechsr.windows import SpeechSRWindows

            self._windows = SpeechSRWindows(model)
        elif output_sample_rate != voice.sample_rate:
            self._soxr = soxr.ResampleStream(voice.sample_rate, output_sample_rate, 1, dtype="float32")

    @property
    def halo(self) -> int:
        """Samples at the voice's rate that have to go in before the first one comes out (0 where it is not known)."""
        return 0 if self._windows is None else self._windows.halo

    def push(self, wav: np.ndarray, last: bool = False) -> np.ndarray:
        """The next samples [T] -> what they make certain [T'], all the rest if they are the last."""
        if self._soxr is not None:
            return self._soxr.resample_chunk(np.ascontiguousarray(wav, np.float32), last=last)
        if self._windows is None:
            return wav
        out = self._windows.push(wav)
        return np.concatenate([out, self._windows.finish()]) if last else out


class Leveller:
    """Brings speech to its level while it is spoken, when its own level is not yet known.

    Models speak near the level of the recordings they were trained on, so the gain is 1 at first. Between pieces it moves,
    2 dB at most, towards what everything heard so far asks for: -23 dB RMS for "loudness", its highest sample for "peak" and
    "prompt". Within a piece it is constant, unless a sample would exceed the highest one allowed: then the gain drops at the
    start of that chunk and stays there.
    """

    def __init__(self, level: str, prompt_peak: float | None, sample_rate: int, energy_db: float = 0.0):
        self.by_loudness = level == "loudness"
        self.limit = PEAK if self.by_loudness else peak_of(level, prompt_peak, energy_db)
        self.rms_db = RMS_DB + energy_db
        self.ramp, self.block = round(RAMP_SECONDS * sample_rate), sample_rate // 50
        self.gain = 10 ** (energy_db / 20)
        self._joints: deque[int] = deque()  # where pieces begin
        self._position = 0
        self._highest = 0.0
        self._left = np.zeros(0, np.float32)  # shorter than a block, not measured yet
        self._counts, self._sums = (
            np.zeros(200, np.int64),
            np.zeros(200),
        )  # blocks by their level, in steps of 1 dB

    def begin_piece(self, position: int) -> None:
        """A piece begins at this sample of the output, which may not have come yet."""
        self._joints.append(position)

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """The next samples [T] -> the same at their level."""
        out = []
        while len(wav):
            if self._joints and self._joints[0] <= self._position:
                self._joints.popleft()
                before, self.gain = self.gain, self._next_gain()
            else:
                before = self.gain
            stop = self._joints[0] - self._position if self._joints else len(wav)
            part, wav = wav[:stop], wav[stop:]
            out.append(self._apply(part, before))
            self._measure(part)
            self._position += len(part)
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def _apply(self, wav: np.ndarray, before: float) -> np.ndarray:
        highest = float(np.abs(wav).max())
        if highest * self.gain > self.limit:
            self.gain = self.limit / highest
        gain = np.full(len(wav), self.gain, np.float32)
        if before != self.gain:
            ramp = np.linspace(before, self.gain, self.ramp, dtype=np.float32)[: len(wav)]
            gain[: len(ramp)] = ramp
        return (wav * gain).clip(-self.limit, self.limit)

    def _measure(self, wav: np.ndarray) -> None:
        self._highest = max(self._highest, float(np.abs(wav).max()))
        wav = np.concatenate([self._left, wav])
        power = block_power(wav, self.block)
        self._left = wav[len(power) * self.block :]
        place = (10 * np.log10(power.clip(1e-15)) + 150).astype(int).clip(0, 199)
        np.add.at(self._counts, place, 1)
        np.add.at(self._sums, place, power)

    def _next_gain(self) -> float:
        """Towards what all that was measured asks for; silence asks for nothing."""
        if self._highest == 0:
            return self.gain
        wanted = self.limit / self._highest
        if self.by_loudness and self._counts.any():
            # as `speech.audio.set_loudness`: blocks within 40 dB of the loudest, here by steps of 1 dB
            active = slice(max(0, int(np.flatnonzero(self._counts)[-1]) - 40), None)
            rms = np.sqrt(self._sums[active].sum() / self._counts[active].sum())
            wanted = min(wanted, 10 ** (self.rms_db / 20) / max(float(rms), 1e-9))
        step = 10 ** (MAX_STEP_DB / 20)
        return float(np.clip(wanted, self.gain / step, self.gain * step))
