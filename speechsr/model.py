"""SpeechSR: 16 kHz speech -> 24 or 48 kHz (HierSpeech++ section 3.4; spec 6).

One network for both rates: features at 16 kHz, linear interpolation to the new rate, AMP blocks there. B batch, T samples.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor, nn

from speech.capture.buckets import Captured, Part, ladder, may_run_captured
from speech.checkpoint import Pretrained
from speech.modules.receptive_field import ACTIVATION_REACH, amp_reach, conv_reach
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d, hold_last, may_run_fast
from speech.modules.weight_norm import weight_norm
from speechsr.stretch import stretch

# Of inputs that run as CUDA graphs, in samples: 0.3 to 10 s. Longer ones keep a GPU busy without them.
GRAPH_SAMPLES = ladder(5120, 13, multiple=320)
PIECE_SAMPLES = 16000  # of the input that a CPU raises at once: what 10 s leave behind in memory costs a quarter of the time


@dataclass
class SpeechSRConfig:
    """Sizes of a `SpeechSR`; the defaults are the published 48 kHz model, `scale` 1.5 makes the 24 kHz one."""

    scale: float = 3.0  # output rate / input rate
    sample_rate: int = 16000  # of the input
    channels: int = 32
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 7, 11])
    dilations: list[int] = field(default_factory=lambda: [1, 3, 5])

    def __post_init__(self):
        check_scale(self.scale, self.sample_rate)

    @property
    def halo(self) -> int:
        """Input samples that the network needs on either side of those it is to raise; output samples fall on both ends."""
        reach = conv_reach(7) + ACTIVATION_REACH + amp_reach(self.kernel_sizes, self.dilations)
        # the line between two input samples, the convolution before it
        halo = math.ceil(reach / self.scale) + 1 + conv_reach(7)
        step = Fraction(self.scale).limit_denominator(1000).denominator
        return -(-halo // step) * step


class SpeechSR(nn.Module, Pretrained):
    """Speech super-resolution by a constant factor."""

    Config = SpeechSRConfig

    def __init__(self, config: SpeechSRConfig):
        super().__init__()
        self.config = config
        self.conv_pre = weight_norm(nn.Conv1d(1, config.channels, 7, padding=3))
        self.stage = MultiKernelBlock(AMPBlock, config.channels, config.kernel_sizes, config.dilations)
        self.activation_post = Activation1d(config.channels)
        self.conv_post = nn.Conv1d(config.channels, 1, 7, padding=3, bias=False)
        self.captured: Captured | None = None  # set by speech/fast.py

    def forward(self, wav: Tensor, mask: Tensor | None = None) -> Tensor:
        """Raises the rate.

        Args:
            wav: [B, 1, T] in [-1, 1], zero in padding.
            mask: [B, T] bool, True = valid; None = all is. With a mask each row comes out as it would alone, where its
                length times `scale` is a whole number.

        Returns:
            [B, 1, int(T * scale)] in [-1, 1], undefined in padding.
        """
        x, scale = self.conv_pre(wav), self.config.scale
        if mask is not None:
            mask = mask[:, None]
            x = hold_last(x, mask)
            ratio = Fraction(scale).limit_denominator(1000)
            mask = mask.repeat_interleave(ratio.numerator, -1)[..., :: ratio.denominator]
        x = stretch(x, scale)
        return torch.tanh(self.activation_post.into(self.conv_post, self.stage(x, mask), mask))

    @torch.inference_mode()
    def infer(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] at `sample_rate` -> [B, 1, int(T * scale)] at `output_rate`.

        Raises:
            ValueError: if `wav` has another shape or no samples.
        """
        ratio = Fraction(self.config.scale).limit_denominator(1000)
        whole = check_wav(wav).shape[-1] % ratio.denominator == 0  # others are stretched by another rule
        if whole and may_run_captured(self, wav):
            return self.captured(self, "raised", wav=wav, mask=None)[0]
        if whole and self.stage.fast is not None and wav.device.type == "cpu" and may_run_fast(self, wav):
            return self._in_pieces(wav, ratio)
        return self(wav)

    def _in_pieces(self, wav: Tensor, ratio: Fraction) -> Tensor:
        """`forward` of a long wav piece by piece, with halos: the same samples from less memory, which is used again while it is warm."""
        samples, halo = wav.shape[-1], self.config.halo
        out = wav.new_empty(len(wav), 1, int(samples * ratio))
        stop = 0
        while stop < samples:
            start, stop = stop, stop + PIECE_SAMPLES
            if stop + halo >= samples:
                stop = samples
            left = max(0, start - halo)
            piece = self(wav[..., left : min(samples, stop + halo)])
            out[..., int(start * ratio) : int(stop * ratio)] = piece[
                ..., int((start - left) * ratio) : int((stop - left) * ratio)
            ]
        return out

    def raised(self, wav: Tensor, mask: Tensor | None) -> tuple[Tensor]:
        """`forward`, as graphs want it."""
        return (self(wav, mask),)

    def capturable_parts(self) -> list[Part]:
        """What may run as a CUDA graph (speech/capture)."""
        rate = Fraction(self.config.scale).limit_denominator(1000)
        sizes = {"lengths": GRAPH_SAMPLES, "most": GRAPH_SAMPLES[-1]}
        return [Part("raised", {"wav": 1, "mask": 1}, (rate,), "mask", **sizes)]

    def inputs_in_silence(self) -> dict[nn.Module, Tensor]:
        """What blocks get all the time while nothing sounds, [C] each (speech/fast.py)."""
        return {self.stage: self.conv_pre.bias}

    @property
    def output_rate(self) -> int:
        """Sample rate of the output in Hz."""
        return int(self.config.sample_rate * self.config.scale)


def check_scale(scale: float, sample_rate: int) -> None:
    """ValueError unless `scale` raises the rate to a whole number of Hz."""
    if scale <= 1 or not float(sample_rate * scale).is_integer():
        raise ValueError(
            f"scale must be above 1 and give a whole output rate, got {scale} at {sample_rate} Hz"
        )


def output_samples(samples: int, scale: float) -> int:
    """int(samples * scale) in whole numbers, which exported graphs keep as a formula."""
    numerator, denominator = float(scale).as_integer_ratio()
    return samples * numerator // denominator


def check_wav(wav: Tensor) -> Tensor:
    """`wav` as it is; ValueError unless its shape is [B, 1, T] with T > 0."""
    if wav.dim() != 3 or wav.shape[1] != 1 or wav.shape[2] == 0:
        raise ValueError(f"expected wav of shape [B, 1, T] with T > 0, got {list(wav.shape)}")
    return wav
