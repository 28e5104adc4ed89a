"""SpeechSR: 16 kHz speech -> 24 or 48 kHz (HierSpeech++ section 3.4; spec 6).

One network for both rates: features at 16 kHz, linear interpolation to the new rate, AMP blocks there. B batch, T samples.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from speech.checkpoint import Pretrained
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speech.modules.weight_norm import weight_norm
from speechsr.stretch import stretch


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

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] in [-1, 1] -> [B, 1, int(T * scale)] in [-1, 1]."""
        x = self.conv_pre(wav)
        x = stretch(x, self.config.scale)
        return torch.tanh(self.conv_post(self.activation_post(self.stage(x))))

    @torch.inference_mode()
    def infer(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] at `sample_rate` -> [B, 1, int(T * scale)] at `output_rate`.

        Raises:
            ValueError: if `wav` has another shape or no samples.
        """
        return self(check_wav(wav))

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
