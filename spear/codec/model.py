"""CompactCodec: 16 kHz speech <-> 50 frames a second of residual codes, small enough to ship and to train on a CPU.

Encoder: log-mel at 100 frames a second, ConvNeXt blocks, halved to 50. Residual codebooks (SoundStream, Zeghidour et al. 2021) that are
compared in a few dimensions. Decoder: ConvNeXt blocks at 100 frames a second and one inverse STFT (Vocos, Siuzdak 2023), so that nothing
runs at the wave's rate. Not causal: it looks about 0.4 s around. Shapes: batch B, T samples, N = ceil(T / 320) frames, Q codebooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spear.codec.codec import CodecSpec, check_codes
from speech.checkpoint import Pretrained
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.istft import overlap_add
from speech.modules.vector_quantize import Quantized, ResidualVQ
from speech.spectrogram import AudioConfig, MelSpectrogram

MAX_LOG_MAGNITUDE = 5.0  # e^5 is louder than full scale; a wild frame of an untrained network stays finite


@dataclass
class CompactCodecConfig:
    """Sizes of a compact codec; `audio` is that of the encoder's mel, two of whose frames make one of codes."""

    audio: AudioConfig = field(
        default_factory=lambda: AudioConfig(n_fft=640, win_length=640, hop_length=160, n_mels=100)
    )
    gain: float = 16.0  # on what the encoder hears: the mel's floor would hide weak consonants
    encoder_width: int = 128
    encoder_layers: int = 6
    latent: int = 128
    n_codebooks: int = 8
    codebook_size: int = 256
    codebook_dim: int = 16
    decay: float = 0.99
    dead_below: float = 0.2
    width: int = 256
    layers: int = 8
    expansion: float = 2.5
    kernel_size: int = 7
    n_fft: int = 640
    version: int = 1

    def __post_init__(self):
        hop = self.audio.hop_length
        if (self.n_fft - hop) % 2 or self.n_fft < 2 * hop or self.audio.sample_rate % (2 * hop):
            raise ValueError(
                f"expected an n_fft of the hop {hop} plus an even number and a sample rate of whole frames of {2 * hop} "
                f"samples, got {self.n_fft} and {self.audio.sample_rate}"
            )


class CompactCodec(nn.Module, Pretrained):
    """Wave -> codes -> wave."""

    Config = CompactCodecConfig

    def __init__(self, config: CompactCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = CodecSpec(
            "compact",
            config.audio.sample_rate,
            config.audio.sample_rate // (2 * config.audio.hop_length),
            config.n_codebooks,
            config.codebook_size,
            config.version,
        )
        self.mel = MelSpectrogram(config.audio)
        self.encoder = Encoder(config)
        self.quantizer = ResidualVQ(
            config.latent,
            config.n_codebooks,
            config.codebook_size,
            config.codebook_dim,
            decay=config.decay,
            dead_below=config.dead_below,
        )
        self.decoder = Decoder(config)

    @property
    def halo_frames(self) -> int:
        """Frames of codes on either side of a frame that its sound depends on: windows with so many more decode as the whole does."""
        config = self.config
        reach = 1 + config.layers * (config.kernel_size // 2) + config.n_fft // config.audio.hop_length
        return -(-reach // 2) + 1

    def forward(self, wav: Tensor, n_levels: Tensor | None = None) -> tuple[Tensor, Quantized]:
        """wav [B, 1, T], T whole frames -> (wav_hat [B, 1, T], quantised latents); n_levels [B]: codebooks used by every row."""
        quantized = self.quantizer(self.latents(wav), n_levels=n_levels)
        return self.decoder(quantized.x), quantized

    def latents(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] -> [B, latent, ceil(T / hop)]."""
        hop = self.spec.hop_length
        wav = F.pad(wav[:, 0], (0, -wav.shape[-1] % hop))
        return self.encoder(self.mel(wav * self.config.gain))

    @torch.inference_mode()
    def encode(self, wav: Tensor, n_codebooks: int | None = None) -> Tensor:
        """wav [B, 1, T] at 16 kHz in [-1, 1] -> codes [B, Q, N], coarsest first.

        Raises:
            ValueError: another shape, no samples, or more codebooks than there are.
        """
        if wav.dim() != 3 or wav.shape[1] != 1 or not wav.shape[-1]:
            raise ValueError(f"expected a waveform [B, 1, T], got {list(wav.shape)}")
        return self.quantizer.encode(self.latents(wav), n_codebooks)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """codes [B, Q', N] -> wav [B, 1, N * hop].

        Raises:
            ValueError: codes that this codec does not have.
        """
        return self.decoder(self.quantizer.decode(check_codes(codes, self.spec)))


class Encoder(nn.Module):
    """Log-mel [B, M, 2N] -> latents [B, latent, N]."""

    def __init__(self, config: CompactCodecConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.stem = nn.Conv1d(config.audio.n_mels, width, 5, padding=2)
        self.fine = nn.ModuleList(
            ConvNeXtBlock(width, config.expansion, config.kernel_size)
            for _ in range(config.encoder_layers // 3)
        )
        self.halve = nn.Conv1d(width, width, 2, stride=2)
        self.coarse = nn.ModuleList(
            ConvNeXtBlock(width, config.expansion, config.kernel_size)
            for _ in range(config.encoder_layers - config.encoder_layers // 3)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.latent)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.stem(mel)
        for block in self.fine:
            x = block(x)
        x = self.halve(x)
        for block in self.coarse:
            x = block(x)
        return self.out(self.norm(x.transpose(1, 2))).transpose(1, 2)


class Decoder(nn.Module):
    """Latents [B, latent, N] -> wav [B, 1, N * hop]."""

    def __init__(self, config: CompactCodecConfig) -> None:
        super().__init__()
        self.hop = config.audio.hop_length
        self.latent_in = nn.Conv1d(config.latent, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, config.expansion, config.kernel_size) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2 * (config.n_fft // 2 + 1))
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        x = self.latent_in(z.repeat_interleave(2, -1))
        for block in self.blocks:
            x = block(x)
        log_magnitude, angle = self.head(self.norm(x.transpose(1, 2))).transpose(1, 2).float().chunk(2, dim=1)
        spec = torch.polar(log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp(), angle)
        return overlap_add(spec, self.window, self.hop)[:, None]
