"""ISTFTSpeechSR: 16 kHz speech -> 24 or 48 kHz at the price of one small network at 100 frames a second; for the lite voice.

The spectrum of the input is copied, frame by frame, into the lower bins of the output's, and only the bins above `from_hz` are
made, by ConvNeXt blocks; one inverse STFT gives the wave (after Vocos, Siuzdak 2023, and the copied low band of AERO, Mandel et
al. 2023). So what the input holds passes unharmed, and nothing runs at the output's rate. With `copy_from_hz` the new bins are the
upper end of the low band, copied up again and again as in spectral band replication, at magnitudes that the network says for
steps of `band_hz`: pitch pulses and the grain of noise need not be learnt then, and a tenth of the weights does. Not part of HierSpeech++:
`SpeechSR` is its model. B batch, T samples, N frames, F bins.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from speech.capture.buckets import Captured, Part, may_run_captured
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.convnext import ConvNeXtBlock
from speechsr.model import GRAPH_SAMPLES, check_scale, check_wav, output_samples

MAX_LOG_MAGNITUDE = 5.0  # louder than full scale; a wild frame of an untrained network stays finite
FIRST_LOG_MAGNITUDE = -3.0  # of an untrained network's bins: about the level of quiet fricatives
FLOOR = 1e-5  # of magnitudes, before logarithm and compression
# What a resampler leaves below its output's highest frequency: all up to this share of it, then this much less at its end (in
# natural logarithms, growing with the cube), which is soxr's curve to within 1 dB down to -40 dB.
PASSED, ROLL_OFF = 0.93, 11.0
COMPRESSION = 0.3  # exponent of the magnitude that the network sees beside the phase


@dataclass
class ISTFTSpeechSRConfig:
    """Sizes of an `ISTFTSpeechSR`; the defaults are the 48 kHz model, `scale` 1.5 makes a 24 kHz one."""

    scale: float = 3.0  # output rate / input rate
    sample_rate: int = 16000  # of the input
    n_fft: int = 480  # at the input's rate; the output's frames last as long
    hop_length: int = 160  # at the input's rate
    from_hz: float = 8000.0  # what lies below is the input's, what lies above is made
    width: int = 192
    layers: int = 6
    expansion: float = 2.5
    kernel_size: int = 7
    copy_from_hz: float | None = (
        None  # where the stretch up to `from_hz` begins that is copied up; None: all is made
    )
    flatten: float = (
        1.0  # how far the copy's own magnitudes are evened out: 0 not at all, 1 so that only phases are left
    )
    band_hz: float = (
        265.0  # step between the magnitudes that the network says of the copies, from `from_hz` on
    )
    pooled: int = 3  # bins whose power is averaged in what the network sees, where it copies

    def __post_init__(self):
        check_scale(self.scale, self.sample_rate)
        sizes = self.n_fft * self.scale, self.hop_length * self.scale
        if self.n_fft % 2 or not all(size.is_integer() for size in sizes) or sizes[0] % 2:
            raise ValueError(
                f"n_fft and hop_length times scale must be whole and even sizes, got {self.n_fft}, {self.hop_length} "
                f"and {self.scale:g}"
            )
        if self.n_fft < 2 * self.hop_length:
            raise ValueError(
                f"frames must overlap: expected n_fft of at least 2 * hop_length, got {self.n_fft} and {self.hop_length}"
            )
        if not 0 < self.from_hz <= self.sample_rate / 2:
            raise ValueError(
                f"from_hz: expected a frequency up to {self.sample_rate / 2:g} Hz, got {self.from_hz:g}"
            )
        if self.copy_from_hz is not None:
            self._check_copies()

    def _check_copies(self):
        if self.n_fft % self.hop_length:
            raise ValueError(
                f"copies need an n_fft of whole hops, got {self.n_fft} and {self.hop_length}: their phases would not go on"
            )
        if not 0 < self.copy_from_hz <= self.from_hz - self.sample_rate / self.hop_length:
            raise ValueError(
                f"copy_from_hz: expected a frequency above 0 and {self.sample_rate / self.hop_length:g} Hz or more below "
                f"from_hz {self.from_hz:g}, got {self.copy_from_hz:g}"
            )
        if not 0 <= self.flatten <= 1 or self.band_hz < self.sample_rate / self.n_fft or self.pooled < 1:
            raise ValueError(
                f"expected flatten of 0 to 1, band_hz of a bin or more and pooled of 1 or more, got {self.flatten:g}, "
                f"{self.band_hz:g} and {self.pooled}"
            )


class ISTFTSpeechSR(nn.Module, Pretrained):
    """Super-resolution that copies the low band and makes the high one; used as `SpeechSR` is."""

    Config = ISTFTSpeechSRConfig

    def __init__(self, config: ISTFTSpeechSRConfig):
        super().__init__()
        self.config = config
        self.out_fft, self.out_hop = (
            round(config.n_fft * config.scale),
            round(config.hop_length * config.scale),
        )
        # the input's highest bin is of real numbers only, so it is made, too
        self.kept = min(round(config.from_hz * config.n_fft / config.sample_rate), config.n_fft // 2)
        self.made = self.out_fft // 2 + 1 - self.kept
        copies = config.copy_from_hz is not None
        seen = -(-self.kept // config.pooled) if copies else 3 * self.kept
        weights = band_weights(config, self.made)
        said = weights.shape[1] if copies else self.made
        self.conv_in = nn.Conv1d(seen, config.width, 3, padding=1)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, config.expansion, config.kernel_size) for _ in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, said if copies else 2 * said)
        nn.init.constant_(self.head.bias[:said], FIRST_LOG_MAGNITUDE)
        if copies:
            self.register_buffer("sources", copied_bins(config, self.kept, self.made), persistent=False)
            self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("out_window", torch.hann_window(self.out_fft), persistent=False)
        self.captured: Captured | None = None  # set by speech/fast.py

    def forward(self, wav: Tensor, mask: Tensor | None = None) -> Tensor:
        """Raises the rate.

        Args:
            wav: [B, 1, T] in [-1, 1], zero in padding.
            mask: [B, T] bool, True = valid; None = all is. With a mask each row comes out as it would alone.

        Returns:
            [B, 1, int(T * scale)], undefined in padding.
        """
        low = self.analyse(wav)  # [B, kept, N]
        frames = None
        if mask is not None:
            lengths = mask.sum(1).add(self.config.hop_length - 1) // self.config.hop_length + 1
            frames = lengths_to_mask(lengths, low.shape[-1])[:, None].to(wav.dtype)  # [B, 1, N]
        copies = self.config.copy_from_hz is not None
        x = pooled(low, self.config.pooled) if copies else features(low)
        x = self.conv_in(x if frames is None else x * frames)  # [B, width, N]
        x = self.norm_in(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x, frames)
        out = self.head(self.norm_out(x.transpose(1, 2))).transpose(1, 2).float()  # [B, 2 * made or bands, N]
        if copies:
            magnitude = (self.weights @ out.clamp(max=MAX_LOG_MAGNITUDE)).exp()  # [B, made, N]
            parts = torch.view_as_real(
                flattened(low, self.config.flatten)
            )  # complex numbers cannot be picked in ONNX
            high = magnitude * torch.view_as_complex(parts[:, self.sources])
        else:
            log_magnitude, angle = out.chunk(2, dim=1)
            high = torch.polar(log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp(), angle)
        spec, samples = torch.cat([low, high], dim=1), output_samples(wav.shape[-1], self.config.scale)
        return (
            self.synthesise(spec, samples) if frames is None else self._synthesise_rows(spec, frames, samples)
        )

    def analyse(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] -> its bins below `from_hz`, complex64 [B, kept, N], N = ceil(T / hop_length) + 1."""
        config = self.config
        wav = nn.functional.pad(wav[:, 0].float(), (0, -wav.shape[-1] % config.hop_length))
        with torch.autocast(wav.device.type, enabled=False):
            # silence around the signal, not its mirror image, which short signals have too little of
            return torch.stft(
                wav,
                config.n_fft,
                config.hop_length,
                window=self.window,
                pad_mode="constant",
                return_complex=True,
            )[:, : self.kept]

    def synthesise(self, spec: Tensor, samples: int) -> Tensor:
        """Spectrum at the output's rate [B, out_fft // 2 + 1, N], scaled as the input's -> wav [B, 1, samples]."""
        with torch.autocast(spec.device.type, enabled=False):
            wav = torch.istft(
                spec * self.config.scale, self.out_fft, self.out_hop, window=self.out_window, length=samples
            )
        return wav[:, None]

    def _synthesise_rows(self, spec: Tensor, frames: Tensor, samples: int) -> Tensor:
        """`synthesise` of rows whose frames end where the mask [B, 1, N] ends; it waits for no device, as `torch.istft` does."""
        pieces = torch.fft.irfft(spec * self.config.scale, n=self.out_fft, dim=1) * self.out_window[:, None]
        windows = self.out_window.square()[None, :, None] * frames
        length = (spec.shape[-1] - 1) * self.out_hop + self.out_fft
        fold = {"output_size": (1, length), "kernel_size": (1, self.out_fft), "stride": (1, self.out_hop)}
        wav, envelope = (nn.functional.fold(x, **fold)[:, 0] for x in (pieces * frames, windows))
        first = self.out_fft // 2
        return (wav / envelope.clamp(min=1e-11))[..., first : first + samples]

    @torch.inference_mode()
    def infer(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] at `sample_rate` -> [B, 1, int(T * scale)] at `output_rate`, in [-1, 1].

        Raises:
            ValueError: if `wav` has another shape or no samples.
        """
        if may_run_captured(self, check_wav(wav)):
            return self.captured(self, "raised", wav=wav, mask=None)[0]
        return self(wav).clamp(-1, 1)

    def raised(self, wav: Tensor, mask: Tensor | None) -> tuple[Tensor]:
        """`infer`, as graphs want it."""
        return (self(wav, mask).clamp(-1, 1),)

    def capturable_parts(self) -> list[Part]:
        """What may run as a CUDA graph (speech/capture); it does little work a sample, so longer inputs than a `SpeechSR`'s."""
        rate, sizes = Fraction(self.config.scale).limit_denominator(1000), {"lengths": GRAPH_SAMPLES}
        return [Part("raised", {"wav": 1, "mask": 1}, (rate,), "mask", most=16 * GRAPH_SAMPLES[-1], **sizes)]

    @property
    def output_rate(self) -> int:
        """Sample rate of the output in Hz."""
        return int(self.config.sample_rate * self.config.scale)

    @torch.no_grad()
    def at_rate(self, output_rate: int) -> "ISTFTSpeechSR":
        """The same model for a lower output rate in Hz: its spectrum ends earlier, the last layer says fewer bins.

        It fades out below its new end as a resampler's output does, which recordings of that rate have gone through.

        Raises:
            ValueError: a rate above this model's, or one that its frames do not fit.
        """
        if output_rate == self.output_rate:
            return self
        if output_rate > self.output_rate:
            raise ValueError(f"this model gives {self.output_rate} Hz or less, which {output_rate} Hz is not")
        other = type(self)(replace(self.config, scale=output_rate / self.config.sample_rate))
        state, head = self.state_dict(), other.head.out_features
        bin_hz = self.config.sample_rate / self.config.n_fft
        if self.config.copy_from_hz is not None:
            rows, step_hz, said = torch.arange(head), self.config.band_hz, head
        else:  # magnitudes, then angles
            rows = torch.cat([torch.arange(head // 2), torch.arange(head // 2) + self.made])
            step_hz, said = bin_hz, head // 2
        for name in ("head.weight", "head.bias"):
            state[name] = state[name][rows.to(state[name].device)]
        other.load_state_dict(state)
        place = (self.kept * bin_hz + torch.arange(said) * step_hz) / (output_rate / 2)
        other.head.bias[:said] -= ROLL_OFF * ((place - PASSED) / (1 - PASSED)).clamp(min=0) ** 3
        return other.to(self.head.weight).train(self.training)


def features(spec: Tensor) -> Tensor:
    """What the network sees of a spectrum [B, F, N]: log magnitude, and both parts with a compressed magnitude [B, 3F, N]."""
    real, imaginary = spec.real, spec.imag
    magnitude = (real.square() + imaginary.square()).sqrt().clamp(min=FLOOR)
    compressed = magnitude ** (COMPRESSION - 1)
    return torch.cat([magnitude.log() / 4, real * compressed, imaginary * compressed], dim=1)


def pooled(spec: Tensor, bins: int) -> Tensor:
    """Logarithm of the mean magnitude of every `bins` bins of a spectrum [B, F, N], four times smaller [B, ceil(F / bins), N]."""
    magnitude = (spec.real.square() + spec.imag.square() + FLOOR**2).sqrt()
    magnitude = nn.functional.pad(magnitude, (0, 0, 0, -magnitude.shape[1] % bins), value=FLOOR)
    return magnitude.unflatten(1, (-1, bins)).mean(dim=2).log() / 4


def flattened(spec: Tensor, exponent: float) -> Tensor:
    """A spectrum whose magnitudes are divided by their own power of `exponent`; silence stays silence."""
    magnitude = (spec.real.square() + spec.imag.square() + FLOOR**2).sqrt()
    return spec * magnitude**-exponent


def copied_bins(config: ISTFTSpeechSRConfig, kept: int, made: int) -> Tensor:
    """For each made bin the low one that is copied there, int64 [made].

    A bin's phase turns by 2 pi * bin * hop / n_fft from frame to frame, so every shift is a multiple of n_fft / hop bins:
    then phases go on without correction.
    """
    unit = config.n_fft // config.hop_length
    first = round(config.copy_from_hz * config.n_fft / config.sample_rate)
    span = (kept - first) // unit * unit
    return torch.arange(made) % span + kept - span


def band_weights(config: ISTFTSpeechSRConfig, made: int) -> Tensor:
    """Linear interpolation from one value every `band_hz` to the made bins: [made, number of values]."""
    place = torch.arange(made) * (config.sample_rate / config.n_fft / config.band_hz)
    values = torch.arange(math.ceil(place[-1].item()) + 1)
    return (1 - (place[:, None] - values).abs()).clamp(min=0)
