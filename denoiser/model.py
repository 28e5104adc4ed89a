"""MP-SENet: noisy speech -> the magnitude and phase of the clean one (Lu et al. 2023; hand-over section 7).

A mask multiplies the compressed magnitude, the phase is predicted anew. B batch, T samples, N frames (every `hop_length`
samples, the first one centred on sample 0), F frequency bins, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denoiser.conformer import TimeFrequencyBlock
from denoiser.dense import DenseEncoder, MagnitudeDecoder, PhaseDecoder
from speech.checkpoint import Pretrained

NOTHING = 1e-7  # magnitude under which a bin is empty: 0 keeps its slope finite, and levelled speech lies at 1 to 100
SILENCE_RMS = 1e-12  # -240 dB re full scale; below, no gain could make it speech


@dataclass
class DenoiserConfig:
    """Sizes of a `Denoiser`; the defaults are the published ones, but for `crossed_attention`."""

    sample_rate: int = 16000
    n_fft: int = 400
    hop_length: int = 100
    win_length: int = 400
    compression: float = 0.3  # magnitudes are |X| ** compression
    channels: int = 64
    dense_depth: int = 4
    n_blocks: int = 4
    heads: int = 4
    ffn_expansion: int = 4
    conv_expansion: int = 2
    conv_kernel: int = 31
    beta: float = 2.0  # largest factor on a compressed magnitude
    dropout: float = 0.2
    # True: attention runs over the other axis than the rest of its block, as the published weights have learnt it (Q1)
    crossed_attention: bool = False
    # True: the phase decoder turns the noisy phase instead of predicting one. Published models do without; a small one
    # need not learn to copy what is right already, and starts from it.
    residual_phase: bool = False

    def __post_init__(self):
        if min(self.sample_rate, self.hop_length, self.channels, self.dense_depth, self.n_blocks) < 1:
            raise ValueError(
                f"sample_rate, hop_length, channels, dense_depth and n_blocks must be positive, got {self}"
            )
        if self.n_fft < 8 or self.n_fft % 4:  # halving the bins and doubling them again gives the same number
            raise ValueError(f"n_fft must be a multiple of 4 from 8 on, got {self.n_fft}")
        if not self.hop_length < self.win_length <= self.n_fft:
            raise ValueError(
                f"expected hop_length < win_length <= n_fft, got {self.hop_length}, {self.win_length}, {self.n_fft}"
            )
        if self.channels % self.heads:
            raise ValueError(f"channels must be a multiple of heads, got {self.channels} and {self.heads}")
        if self.conv_kernel % 2 == 0:
            raise ValueError(f"conv_kernel must be odd, got {self.conv_kernel}")
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression must lie above 0 and at most at 1, got {self.compression}")

    @property
    def n_bins(self) -> int:
        """Frequency bins F."""
        return self.n_fft // 2 + 1


@dataclass
class DenoiserOutput:
    """The spectrum of the clean speech as predicted."""

    magnitude: Tensor  # [B, F, N], compressed
    phase: Tensor  # [B, F, N] in radians, between -2 pi and 2 pi

    @property
    def spec(self) -> Tensor:
        """The compressed complex spectrum [B, F, N, 2]: real and imaginary part."""
        magnitude = self.magnitude.float()
        return torch.stack([magnitude * self.phase.cos(), magnitude * self.phase.sin()], dim=-1)


class Denoiser(nn.Module, Pretrained):
    """Speech enhancement on compressed magnitude and phase."""

    Config = DenoiserConfig

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        channels, depth = config.channels, config.dense_depth
        self.encoder = DenseEncoder(channels, depth)
        self.blocks = nn.ModuleList(
            TimeFrequencyBlock(
                channels,
                heads=config.heads,
                ffn_expansion=config.ffn_expansion,
                conv_expansion=config.conv_expansion,
                conv_kernel=config.conv_kernel,
                dropout=config.dropout,
                crossed_attention=config.crossed_attention,
            )
            for _ in range(config.n_blocks)
        )
        self.magnitude_decoder = MagnitudeDecoder(channels, depth, config.n_bins, config.beta)
        self.phase_decoder = PhaseDecoder(channels, depth)
        if config.residual_phase:
            nn.init.ones_(self.phase_decoder.real.bias)  # an angle near 0
        self.register_buffer("window", torch.hann_window(config.win_length), persistent=False)

    def forward(self, magnitude: Tensor, phase: Tensor) -> DenoiserOutput:
        """Noisy magnitude and phase, each [B, F, N] as `analyse` gives them -> those of the clean speech."""
        x = torch.stack([magnitude, phase], dim=1).transpose(2, 3)  # [B, 2, N, F]
        x = self.encoder(x)  # [B, C, N, (F - 1) / 2]
        for block in self.blocks:
            x = block(x)
        made = self.phase_decoder(x)
        if self.config.residual_phase:
            made = phase + made
        return DenoiserOutput(magnitude * self.magnitude_decoder(x), made)

    def analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """wav [B, T], T > n_fft / 2 -> compressed magnitude and phase, each [B, F, N], N = T // hop_length + 1."""
        config = self.config
        spec = torch.stft(
            wav.float(),
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window.float(),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        magnitude = spec.abs()
        compressed = magnitude.clamp(min=NOTHING) ** config.compression
        return torch.where(magnitude > NOTHING, compressed, 0.0), spec.angle()

    def synthesise(self, magnitude: Tensor, phase: Tensor, length: int) -> Tensor:
        """Compressed magnitude and phase, each [B, F, N] -> wav [B, length]."""
        config = self.config
        spec = torch.polar(magnitude.float() ** (1 / config.compression), phase.float())
        return torch.istft(
            spec,
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window.float(),
            center=True,
            length=length,
        )

    @torch.inference_mode()
    def infer(self, wav: Tensor, gain: Tensor | None = None) -> Tensor:
        """Noisy speech -> clean speech of the same length and level; silence stays silence.

        Args:
            wav: [B, T] at `sample_rate`, T > 0; a batch gives what its utterances give one by one.
            gain: factors [B] that bring `wav` to the level the model works at; None = `level_gain` of each utterance.
                The output is divided by them again.

        Returns:
            [B, T] in float32.

        Raises:
            ValueError: if `wav` has another shape or no samples.
        """
        if wav.dim() != 2 or wav.shape[1] == 0:
            raise ValueError(f"expected wav of shape [B, T] with T > 0, got {list(wav.shape)}")
        length = wav.shape[-1]
        gain = (level_gain(wav) if gain is None else gain.to(wav.device))[:, None]
        # Whole frames, so that no sample at the end is lost, and enough of them to reflect at the ends.
        whole = max(length, self.config.n_fft) + self.config.hop_length - 1
        whole -= whole % self.config.hop_length
        levelled = F.pad(wav.float() * gain, (0, whole - length))
        magnitude, phase = self.analyse(levelled)
        dtype = self.magnitude_decoder.slope.dtype
        out = self(magnitude.to(dtype), phase.to(dtype))
        clean = self.synthesise(out.magnitude, out.phase, whole)[:, :length]
        return torch.where(gain > 0, clean / gain, 0.0)


def level_gain(wav: Tensor) -> Tensor:
    """The factor that brings wav [B, T] to an RMS of 1, the level a `Denoiser` works at -> [B]; 0 = silence.

    In float32 and in this order, as the published code does: at the first frame and in the lowest and highest bin the sign
    of a phase of 180 degrees hangs on the last digit.
    """
    energy = wav.float().square().sum(dim=-1)
    gain = torch.sqrt(wav.shape[-1] / energy)
    return torch.where(energy > wav.shape[-1] * SILENCE_RMS**2, gain, 0.0)
