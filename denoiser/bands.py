"""A denoiser for CPUs: the spectrum in bands, which are followed through time and compared with each other in turn.

Each band of the compressed spectrum becomes a vector; recurrent layers run along time within each band and along the bands within
each frame, with the same weights everywhere, and each band says how its bins are scaled and turned (band-split RNN, Luo and Yu
2023, "Music source separation with band-split RNN"; here few channels, and a mask on compressed magnitudes as in MP-SENet).
B batch, N frames, F frequency bins, K bands, C channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denoiser.spectra import DenoiserOutput, SpectralDenoiser, check_spectra
from speech.checkpoint import Pretrained

INPUTS = 4  # of a bin: logarithm of the compressed magnitude, the magnitude, its real and imaginary part
FAINT = 0.05  # compressed magnitude under which the logarithm stays: 4.6e-5 of a bin, where levelled speech lies at 1 to 100


@dataclass
class BandDenoiserConfig:
    """Sizes of a `BandDenoiser`."""

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 256
    win_length: int = 512
    compression: float = 0.3  # magnitudes are |X| ** compression
    n_bands: int = 32  # of equal width on the mel scale, but of two bins at least
    channels: int = 48
    hidden: int = 48  # of each direction of a recurrent layer
    n_blocks: int = 3
    front: int = 16  # channels of the convolution that looks at each bin and its neighbours
    beta: float = 2.0  # largest factor on a compressed magnitude

    def __post_init__(self):
        check_spectra(self.n_fft, self.hop_length, self.win_length, self.compression)
        sizes = {
            name: getattr(self, name)
            for name in ("sample_rate", "n_bands", "channels", "hidden", "n_blocks", "front")
        }
        if wrong := [name for name, value in sizes.items() if value < 1]:
            raise ValueError(f"{wrong[0]} must be positive, got {sizes[wrong[0]]}")
        if 2 * self.n_bands > self.n_bins:
            raise ValueError(
                f"n_bands must leave two of the {self.n_bins} bins to each band, got {self.n_bands}"
            )

    @property
    def n_bins(self) -> int:
        """Frequency bins F."""
        return self.n_fft // 2 + 1


class BandDenoiser(SpectralDenoiser, Pretrained):
    """Speech enhancement by recurrence along time and along bands."""

    Config = BandDenoiserConfig

    def __init__(self, config: BandDenoiserConfig):
        super().__init__(config)
        channels = config.channels
        self.widths = band_widths(config.n_bins, config.n_bands, config.sample_rate)
        self.front = nn.Sequential(
            nn.Conv2d(INPUTS, config.front, 5, padding=2),
            nn.GELU(),
            nn.Conv2d(config.front, INPUTS, 3, padding=1),
        )
        self.encoders = nn.ModuleList(nn.Linear(2 * INPUTS * width, channels) for width in self.widths)
        self.blocks = nn.ModuleList(
            Crossing(channels, config.hidden, along_time)
            for _ in range(config.n_blocks)
            for along_time in (True, False)
        )
        self.norm = nn.LayerNorm(channels)
        self.slopes = nn.ModuleList(nn.Linear(channels, 1) for _ in self.widths)
        self.decoders = nn.ModuleList(nn.Linear(channels, 3 * width) for width in self.widths)
        for width, decoder in zip(self.widths, self.decoders, strict=True):  # starts from what it hears
            nn.init.normal_(decoder.weight, std=0.01)
            nn.init.zeros_(decoder.bias)
            nn.init.ones_(decoder.bias[width : 2 * width])
        for slope in self.slopes:
            nn.init.zeros_(slope.weight)
            nn.init.zeros_(slope.bias)

    def forward(self, magnitude: Tensor, phase: Tensor) -> DenoiserOutput:
        """Noisy magnitude and phase, each [B, F, N] as `analyse` gives them -> those of the clean speech; the phase is that of
        the noisy one, turned."""
        level = magnitude.clamp(min=FAINT).log()
        parts = [level, magnitude, magnitude * phase.cos(), magnitude * phase.sin()]
        heard = torch.stack(parts, 1).transpose(2, 3)  # [B, 4, N, F]
        heard = torch.cat([heard, self.front(heard)], 1)
        bands = [band.transpose(1, 2).flatten(2) for band in heard.split(self.widths, 3)]
        x = torch.stack([encode(band) for encode, band in zip(self.encoders, bands, strict=True)], 1)
        for block in self.blocks:
            x = block(x)
        x = F.gelu(self.norm(x))  # [B, K, N, C]
        offsets, real, imaginary, slopes = [], [], [], []
        for k, width in enumerate(self.widths):
            made = self.decoders[k](x[:, k]).split(width, 2)  # [B, N, width] each
            for values, value in zip((offsets, real, imaginary), made, strict=True):
                values.append(value)
            slopes.append(self.slopes[k](x[:, k]).expand(-1, -1, width))
        offset, slope = (torch.cat(values, 2).transpose(1, 2) for values in (offsets, slopes))  # [B, F, N]
        # a bin counts by how loud it is itself, as in a Wiener filter
        mask = self.config.beta * torch.sigmoid(offset + slope * level)
        turn = torch.atan2(*(torch.cat(values, 2).transpose(1, 2) for values in (imaginary, real)))
        return DenoiserOutput(magnitude * mask, phase + turn)


class Crossing(nn.Module):
    """A recurrent layer in both directions of time, or of the bands, around which its input flows."""

    def __init__(self, channels: int, hidden: int, along_time: bool):
        super().__init__()
        self.along_time = along_time
        self.norm = nn.LayerNorm(channels)
        self.lstm = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, K, N, C] -> the same shape."""
        rows = x if self.along_time else x.transpose(1, 2)
        batch, many, steps, channels = rows.shape
        made = self.lstm(self.norm(rows).reshape(batch * many, steps, channels))[0]
        made = self.project(made).reshape(batch, many, steps, channels)
        return x + (made if self.along_time else made.transpose(1, 2))


def band_widths(n_bins: int, n_bands: int, sample_rate: int) -> list[int]:
    """Bins of each of `n_bands` bands [K], low ones first: equal on the mel scale where that is two bins at least."""
    highest = 2595 * np.log10(1 + sample_rate / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, highest, n_bands + 1) / 2595) - 1)
    edges = np.round(hz / (sample_rate / 2) * n_bins).astype(int)
    return np.diff(np.maximum(edges, 2 * np.arange(n_bands + 1))).tolist()
