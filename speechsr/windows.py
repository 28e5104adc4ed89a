"""Super-resolution of a signal that is still growing: samples go in as they come, and come out exact as soon as they can.

The network sees a bounded stretch of its input around each output sample, so a window with that much more on either side (its
halo, which is cut off again) ends up with the samples of the whole. T samples.
"""

from fractions import Fraction

import numpy as np
import torch

from speech.modules.receptive_field import conv_reach
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig
from speechsr.model import SpeechSR, SpeechSRConfig

LARGEST_WINDOW = 64000  # samples, so that a long stretch that comes at once needs no more memory than this


def alignment(config: SpeechSRConfig | ISTFTSpeechSRConfig) -> int:
    """Windows begin at multiples of this many input samples: where output samples, and frames, fall on input samples."""
    if isinstance(config, ISTFTSpeechSRConfig):
        return config.hop_length
    return Fraction(config.scale).limit_denominator(1000).denominator


def halo_samples(config: SpeechSRConfig | ISTFTSpeechSRConfig) -> int:
    """Input samples that the network needs on either side of those it is to raise, a multiple of `alignment`."""
    if isinstance(config, SpeechSRConfig):
        return config.halo
    frames = conv_reach(3) + config.layers * conv_reach(config.kernel_size)
    # analysis and synthesis: a frame is n_fft long, and its middle lies on a multiple of the hop
    halo, step = frames * config.hop_length + 2 * (config.n_fft // 2), alignment(config)
    return -(-halo // step) * step


class SpeechSRWindows:
    """One signal through a `SpeechSR` or `ISTFTSpeechSR`, stretch by stretch.

    >>> windows = SpeechSRWindows(model)
    >>> for wav in stretches:
    ...     play(windows.push(wav))
    >>> play(windows.finish())
    """

    def __init__(self, model: SpeechSR | ISTFTSpeechSR):
        self.model = model
        self.halo, self.step = halo_samples(model.config), alignment(model.config)
        self.scale = Fraction(model.config.scale).limit_denominator(1000)
        self._device = next(model.parameters()).device
        self._wav = np.zeros(0, np.float32)  # what is still needed: left halo, then what has not come out yet
        self._done = 0  # samples of it that have come out
        self._received = self._returned = 0

    def push(self, wav: np.ndarray) -> np.ndarray:
        """The next samples [T] at the input rate, any number -> what is certain by now [T'] at the output rate."""
        out = []
        for start in range(0, len(wav), LARGEST_WINDOW):
            self._append(wav[start : start + LARGEST_WINDOW])
            stop = (len(self._wav) - self.halo) // self.step * self.step
            if stop > self._done:
                out.append(self._raise(stop, stop + self.halo))
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def finish(self) -> np.ndarray:
        """The rest [T'], after the last samples: in all round(T * scale)."""
        total = round(self._received * self.scale)
        odd = (
            -self._received % self.scale.denominator
        )  # a whole number of output samples; they are cut off again
        self._append(np.zeros(odd, np.float32))
        if self._done == len(self._wav):
            return np.zeros(0, np.float32)
        before = self._returned
        return self._raise(len(self._wav), len(self._wav))[: total - before]

    def _append(self, wav: np.ndarray) -> None:
        self._wav = np.concatenate([self._wav, wav])
        self._received += len(wav)

    def _raise(self, stop: int, right: int) -> np.ndarray:
        """What is kept between what has come out and `stop`, seen up to `right`, at the output rate."""
        window = torch.from_numpy(self._wav[None, None, :right]).to(self._device)
        out = self.model.infer(window)[0, 0].float().cpu().numpy()
        out = out[int(self._done * self.scale) : int(stop * self.scale)]
        left = max(0, stop - self.halo)
        self._wav, self._done = self._wav[left:], stop - left
        self._returned += len(out)
        return out
