"""MP-SENet: noisy speech -> the magnitude and phase of the clean one (Lu et al. 2023; hand-over section 7).

A mask multiplies the compressed magnitude, the phase is predicted anew. B batch, T samples, N frames (every `hop_length`
samples, the first one centred on sample 0), F frequency bins, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from denoiser.conformer import TimeFrequencyBlock
from denoiser.dense import DenseEncoder, MagnitudeDecoder, PhaseDecoder
from denoiser.spectra import DenoiserOutput, SpectralDenoiser, check_spectra
from speech.checkpoint import Pretrained


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
        check_spectra(self.n_fft, self.hop_length, self.win_length, self.compression)
        if self.channels % self.heads:
            raise ValueError(f"channels must be a multiple of heads, got {self.channels} and {self.heads}")
        if self.conv_kernel % 2 == 0:
            raise ValueError(f"conv_kernel must be odd, got {self.conv_kernel}")

    @property
    def n_bins(self) -> int:
        """Frequency bins F."""
        return self.n_fft // 2 + 1


class Denoiser(SpectralDenoiser, Pretrained):
    """Speech enhancement on compressed magnitude and phase."""

    Config = DenoiserConfig

    def __init__(self, config: DenoiserConfig):
        super().__init__(config)
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
