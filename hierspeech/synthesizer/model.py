"""HierSpeech++ hierarchical synthesizer: semantic features, pitch and a style -> 16 kHz speech (paper section 3.2; spec 4).

B batch, N frames at 50 Hz (hop 320 at 16 kHz), 4N F0 values (200 Hz), M mel bins, C channels. Order is [B, C, time];
masks are True where valid; F0 is log(F0 in Hz + 1), 0 = unvoiced.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from hierspeech.synthesizer.capturable import capturable_parts
from hierspeech.synthesizer.detail import DetailConfig, DetailEncoder
from hierspeech.synthesizer.encoders import F0_PER_FRAME, SemanticEncoder, SemanticEncoderConfig
from hierspeech.synthesizer.equalizer import EqualizerConfig, NoiseFree, PhoneEqualizer, measured
from hierspeech.synthesizer.generator import AMPGenerator, AMPGeneratorConfig
from hierspeech.synthesizer.harmonic import HarmonicSource, HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGenerator, ISTFTGeneratorConfig
from hierspeech.synthesizer.posterior import PosteriorConfig, PosteriorEncoder
from hierspeech.synthesizer.prosody import ProsodyConfig, ProsodyDecoder
from hierspeech.synthesizer.reconstruction import Reconstruction, ReconstructionInputs
from hierspeech.synthesizer.source import SourceConfig, SourceNetwork
from hierspeech.synthesizer.variational import VariationalInputs, VariationalOutput, variational_forward
from speech.capture.buckets import Captured, Part, may_run_captured
from speech.checkpoint import Pretrained
from speech.modules.flow import FlowConfig, TransformerFlow
from speech.modules.gaussian import DiagonalGaussian, Generators, scaled_noise
from speech.modules.style import StyleEncoder, StyleEncoderConfig
from speech.modules.style_pooling import StylePooling, StylePoolingConfig
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig


@dataclass
class HierSpeechConfig:
    """What a synthesizer consists of; the defaults are the published model.

    Parts that training alone needs (`posterior`, `semantic_posterior`, `prosody`) may be left out. Exactly one waveform
    generator is configured (`amp` or `istft`) and at most one source (`source` or `harmonic`); `amp` needs a source.
    """

    audio: AudioConfig = field(default_factory=AudioConfig)
    semantic: SemanticSpec = field(default_factory=SemanticSpec)
    style: StyleEncoderConfig | None = field(default_factory=StyleEncoderConfig)
    pooled_style: StylePoolingConfig | None = None  # the compact style encoder, instead of `style`
    latent: int = 192  # channels of both latents
    encoder: SemanticEncoderConfig = field(default_factory=SemanticEncoderConfig)
    semantic_posterior: bool = True
    posterior: PosteriorConfig | None = field(default_factory=PosteriorConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    prosody: ProsodyConfig | None = field(default_factory=ProsodyConfig)
    source: SourceConfig | None = field(default_factory=SourceConfig)
    harmonic: HarmonicSourceConfig | None = None
    amp: AMPGeneratorConfig | None = field(default_factory=AMPGeneratorConfig)
    istft: ISTFTGeneratorConfig | None = None
    detail: DetailConfig | None = None  # more of recorded speech than its semantic features; not published
    equalizer: EqualizerConfig | None = None  # colours of phones behind the style's numbers; not published
    official_padding: bool = False  # let padding leak as in the published code, for comparisons only

    def __post_init__(self):
        if (self.amp is None) == (self.istft is None):
            raise ValueError("expected exactly one of the generators amp and istft, got both or none")
        if self.source is not None and self.harmonic is not None:
            raise ValueError("expected at most one of source and harmonic, got both")
        if self.amp is not None and self.source is None and self.harmonic is None:
            raise ValueError("the generator amp needs one of source and harmonic, got none")
        if self.harmonic is not None and self.harmonic.carrier is not None and self.istft is None:
            raise ValueError("harmonic.carrier is put under the wave of the generator istft, got amp")
        if self.equalizer is not None and self.istft is None:
            raise ValueError("the equalizer works on the spectrum of the generator istft, got amp")
        if self.equalizer is not None and 2 * self.equalizer.audio.hop_length != self.audio.hop_length:
            raise ValueError(
                f"equalizer.audio.hop_length must be half of audio.hop_length {self.audio.hop_length}, "
                f"got {self.equalizer.audio.hop_length}"
            )
        if (self.style is None) == (self.pooled_style is None):
            raise ValueError(
                "expected exactly one of the style encoders style and pooled_style, got both or none"
            )
        if self.style_config.n_mels != self.audio.n_mels:
            raise ValueError(
                f"style n_mels {self.style_config.n_mels} must equal audio.n_mels {self.audio.n_mels}"
            )
        if self.semantic.rate_hz * self.audio.hop_length != self.audio.sample_rate:
            raise ValueError(
                f"semantic.rate_hz {self.semantic.rate_hz} must equal the frame rate "
                f"{self.audio.sample_rate} / {self.audio.hop_length} Hz"
            )

    @property
    def style_config(self) -> StyleEncoderConfig | StylePoolingConfig:
        """The configuration of the style encoder in use."""
        return self.style or self.pooled_style

    @property
    def style_size(self) -> int:
        """Numbers of a whole style vector: the style encoder's, then the equalizer's table."""
        table = 0 if self.equalizer is None else self.equalizer.phones * self.equalizer.bands
        return self.style_config.out + table


class HierSpeech(nn.Module, Pretrained):
    """The synthesizer: `infer` for synthesis, the `encode_*` methods, the flows and `decode` as steps for training."""

    Config = HierSpeechConfig
    addable_parts = {
        "detail": "detail_encoder",
        "equalizer": "equalizer",
        "pooled_style.spectrum": "style_encoder.spectrum",
    }  # training may start from weights without them

    def __init__(self, config: HierSpeechConfig):
        super().__init__()
        self.config = config
        latent, style_channels = config.latent, config.style_config.out
        self.style_encoder = StyleEncoder(config.style) if config.style else StylePooling(config.pooled_style)
        self.semantic_prior = self._semantic_encoder()
        self.semantic_posterior = self._semantic_encoder() if config.semantic_posterior else None
        self.posterior = None
        if config.posterior is not None:
            spec_channels = config.audio.n_fft // 2 + 1
            self.posterior = PosteriorEncoder(
                config.posterior, spec_channels, latent, style_channels, config.audio.hop_length
            )
        self.flow_semantic = self._flow()
        self.flow_acoustic = self._flow()
        self.source = None
        if config.source is not None:
            self.source = SourceNetwork(config.source, latent, style_channels, config.audio)
        elif config.harmonic is not None:
            self.source = HarmonicSource(config.harmonic, latent, style_channels, config.audio)
        source_channels = 0 if self.source is None else self.source.out_channels
        if config.amp is not None:
            self.generator = AMPGenerator(config.amp, latent, style_channels, source_channels, config.audio)
        else:
            self.generator = ISTFTGenerator(
                config.istft,
                latent,
                style_channels,
                source_channels,
                config.audio,
                getattr(self.source, "carrier", None),
            )
        self.prosody_decoder = None
        if config.prosody is not None:
            self.prosody_decoder = ProsodyDecoder(config.prosody, latent, style_channels)
        self.detail_encoder = None
        if config.detail is not None:
            self.detail_encoder = DetailEncoder(config.detail, config.semantic.dim)
        self.equalizer = None
        if config.equalizer is not None:
            self.equalizer = PhoneEqualizer(config.equalizer, config.semantic.dim, config.istft.n_fft)
        # Stored small and scaled up at use, so that an optimizer's step on it is as large as on other weights.
        self.null_style = nn.Parameter(torch.randn(1, style_channels) / math.sqrt(style_channels))
        self.captured: Captured | None = None  # set by speech/fast.py

    def _semantic_encoder(self) -> SemanticEncoder:
        config, style = self.config, self.config.style_config.out
        return SemanticEncoder(
            config.encoder, config.semantic.dim, config.latent, style, config.official_padding
        )

    def _flow(self) -> TransformerFlow:
        flow = self.config.flow
        return TransformerFlow(
            self.config.latent,
            self.config.style_config.out,
            flow.heads,
            flow.n_flows,
            flow.n_blocks,
            flow.kernel_size,
            flow.mlp_ratio,
            flow.dropout,
            self.config.official_padding,
        )

    def forward(self, inputs: ReconstructionInputs | VariationalInputs) -> Reconstruction | VariationalOutput:
        """The training paths: all of a step in one call, as distributed training wants it.

        With `VariationalInputs` the whole hierarchy (variational.py); with `ReconstructionInputs` the mean of the semantic
        latent through flows and decoder, which needs no posterior.
        """
        if isinstance(inputs, VariationalInputs):
            return variational_forward(self, inputs)
        style = self.style_encoder(inputs.prompt, inputs.prompt_mask)
        semantic = inputs.semantic
        if inputs.detail is not None:
            semantic = semantic + self.detail_encoder.pieces(inputs.detail, semantic.shape[-1])
        spoken = style if inputs.table is None else torch.cat([style, inputs.table.to(style.dtype)], 1)
        wav, log_f0_hat = self.reconstruct(semantic, inputs.log_f0, spoken)
        return Reconstruction(wav, log_f0_hat, style, self.style_encoder(inputs.other, inputs.other_mask))

    def reconstruct(self, semantic: Tensor, log_f0: Tensor, style: Tensor) -> tuple[Tensor, Tensor | None]:
        """`infer` without noise, through which gradients flow; arguments as there -> what `decode` gives."""
        return self.decode(self.encode_latent(semantic, log_f0, style), style, log_f0)

    def encode_latent(self, semantic: Tensor, log_f0: Tensor, style: Tensor) -> Tensor:
        """`sample_latent` without noise, through which gradients flow; arguments and result as there."""
        mean = self.encode_prior(semantic, log_f0, style).mean
        return self._to_acoustic(mean, semantic, style, latent_mask(mean, None))

    def with_table(
        self, style: Tensor, semantic: Tensor, log_f0: Tensor, wav: Tensor, cleaned: NoiseFree | None = None
    ) -> Tensor:
        """Styles [B, style.out] of recordings wav [B, hop_length * N] -> [B, style_size], with the tables of an equalizer.

        semantic, log_f0: of the same, as for `infer`, without details. cleaned: of noisy ones. Without an equalizer nothing is added.
        """
        style = self._numbers(style)
        if self.equalizer is None:
            return style
        return torch.cat([style, measured(self, style, semantic, log_f0, wav, cleaned).to(style.dtype)], 1)

    def _numbers(self, style: Tensor) -> Tensor:
        """What the networks see of style vectors: all but the equalizer's table."""
        return style[:, : self.config.style_config.out]

    def _to_acoustic(self, z: Tensor, semantic: Tensor, style: Tensor, mask: Tensor) -> Tensor:
        """Semantic latent -> acoustic latent, through both flows; behind it what the equalizer gives each band."""
        numbers = self._numbers(style)
        z = self.flow_acoustic.inverse(self.flow_semantic.inverse(z, mask, numbers), mask, numbers)
        if style.shape[1] == numbers.shape[1]:  # no table: flat
            return z
        bands = self.equalizer(semantic, style[:, numbers.shape[1] :])
        return torch.cat([z, (bands * mask).to(z.dtype)], 1)

    @torch.inference_mode()
    def infer(
        self,
        semantic: Tensor,
        log_f0: Tensor,
        style: Tensor,
        frame_mask: Tensor | None = None,
        noise_scale: float = 0.333,
        unconditional: bool = False,
        generator: Generators = None,
    ) -> Tensor:
        """Synthesize speech. Each row of a padded batch comes out as it would alone (given the same noise).

        Args:
            semantic: [B, semantic.dim, N].
            log_f0: [B, 1, 4N], log(F0 in Hz + 1), 0 = unvoiced.
            style: [B, style.out], of `style_encoder`; or [B, style_size], of `with_table`.
            frame_mask: [B, N] bool, True = valid; None if every frame is valid.
            noise_scale: standard deviation of the latent relative to the predicted one; 0 = deterministic.
            unconditional: give the source and the generator the null style; encoder and flows keep `style`.
            generator: source of the noise, on any device; a sequence of B gives each row the noise that it has alone.

        Returns:
            wav: [B, 1, hop_length * N], zero in padding.

        Raises:
            ValueError: if the shapes do not fit together.
        """
        z = self.sample_latent(semantic, log_f0, style, frame_mask, noise_scale, generator)
        if unconditional:
            z, style = z[:, : self.config.latent], self.unconditional_style(len(style))
        wav, _ = self.decode(z, style, log_f0, frame_mask)
        return wav

    @torch.inference_mode()
    def sample_latent(
        self,
        semantic: Tensor,
        log_f0: Tensor,
        style: Tensor,
        frame_mask: Tensor | None = None,
        noise_scale: float = 0.333,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The first half of `infer`, arguments as there -> acoustic latent [B, latent, N]; `decode` is the other half.

        For a style with a table, what the equalizer gives each band lies behind the latent, [B, latent + bands, N].

        Raises:
            ValueError: if the shapes do not fit together.
        """
        frames = semantic.shape[-1]
        if semantic.shape[1] != self.config.semantic.dim or log_f0.shape[1:] != (1, F0_PER_FRAME * frames):
            raise ValueError(
                f"semantic {list(semantic.shape)} and log_f0 {list(log_f0.shape)} do not fit, expected "
                f"[B, {self.config.semantic.dim}, N] and [B, 1, {F0_PER_FRAME}N]"
            )
        mask = latent_mask(semantic, frame_mask)
        if may_run_captured(self, semantic):
            like = semantic.new_empty(len(semantic), self.config.latent, frames)
            noise = scaled_noise(like, noise_scale, mask, generator)
            inputs = {"semantic": semantic, "log_f0": log_f0, "style": style, "frame_mask": frame_mask}
            return self.captured(self, "latent_of", **inputs, noise=noise)[0]
        prior = self.encode_prior(semantic, log_f0, style, frame_mask)
        return self._to_acoustic(prior.sample(noise_scale, mask, generator), semantic, style, mask)

    def latent_of(
        self, semantic: Tensor, log_f0: Tensor, style: Tensor, frame_mask: Tensor | None, noise: Tensor
    ) -> tuple[Tensor]:
        """`sample_latent` with noise [B, latent, N] that is there already (`gaussian.scaled_noise`)."""
        mask = latent_mask(semantic, frame_mask)
        z = self.encode_prior(semantic, log_f0, style, frame_mask).shift(noise, mask)
        return (self._to_acoustic(z, semantic, style, mask),)

    def detailed(self, semantic: Tensor, wav: Tensor) -> Tensor:
        """Semantic features [B, C, N] of recordings wav [B, T] at 16 kHz -> the same with details, of a model that uses any."""
        if self.detail_encoder is None:
            return semantic
        return semantic + self.detail_encoder(wav).to(semantic.dtype)

    def encode_prior(
        self, semantic: Tensor, log_f0: Tensor, style: Tensor, frame_mask: Tensor | None = None
    ) -> DiagonalGaussian:
        """Semantic latent as synthesis knows it; shapes as in `infer` -> mean and log_std [B, latent, N]."""
        return self.semantic_prior(semantic, log_f0, latent_mask(semantic, frame_mask), self._numbers(style))

    def encode_semantic_posterior(
        self, semantic: Tensor, log_f0: Tensor, style: Tensor, frame_mask: Tensor | None = None
    ) -> DiagonalGaussian:
        """Semantic latent of unperturbed speech (training); shapes as in `infer` -> mean and log_std [B, latent, N]."""
        return self.semantic_posterior(semantic, log_f0, latent_mask(semantic, frame_mask), style)

    def encode_posterior(
        self, spec: Tensor, wav: Tensor, style: Tensor, frame_mask: Tensor | None = None
    ) -> DiagonalGaussian:
        """Acoustic latent of recorded speech (training); spec [B, n_fft / 2 + 1, N], wav [B, 1, hop_length * N]."""
        return self.posterior(spec, wav, style, frame_mask)

    def decode(
        self, z: Tensor, style: Tensor, log_f0: Tensor, frame_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Acoustic latent -> wave.

        Args:
            z: [B, latent, N] or what `sample_latent` gave, zero in padding.
            style: [B, style.out] or [B, style_size], or `unconditional_style`.
            log_f0: [B, 1, 4N].
            frame_mask: [B, N] bool, True = valid; None if every frame is valid.

        Returns:
            wav [B, 1, hop_length * N], and the source's own log_f0 [B, 1, 4N] or None if it predicts none.
        """
        features, log_f0_hat = None, None
        if self.source is not None:
            features, log_f0_hat = self.excite(z, style, log_f0, frame_mask)
        return self.sound(z, features, style, frame_mask), log_f0_hat

    def excite(
        self, z: Tensor, style: Tensor, log_f0: Tensor, frame_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the source makes, of a model that has one; arguments as for `decode`."""
        if may_run_captured(self, z):
            return self.captured(
                self, "excitation_of", z=z, style=style, log_f0=log_f0, frame_mask=frame_mask
            )
        return self.excitation_of(z, style, log_f0, frame_mask)

    def sound(
        self, z: Tensor, features: Tensor | None, style: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        """What the generator makes of a latent and of `excite`'s features: wav [B, 1, hop_length * N]."""
        if may_run_captured(self, z):
            inputs = {"z": z, "features": features, "style": style, "frame_mask": frame_mask}
            return self.captured(self, "sound_of", **inputs)[0]
        return self.sound_of(z, features, style, frame_mask)[0]

    def excitation_of(self, z: Tensor, style: Tensor, log_f0: Tensor, frame_mask: Tensor | None) -> tuple:
        """The source alone."""
        return self.source(z[:, : self.config.latent], self._numbers(style), log_f0, frame_mask)

    def sound_of(
        self, z: Tensor, features: Tensor | None, style: Tensor, frame_mask: Tensor | None
    ) -> tuple[Tensor]:
        """The generator alone, with the equalizer's gains where the latent brings any."""
        latent, numbers = self.config.latent, self._numbers(style)
        if z.shape[1] == latent:
            return (self.generator(z, features, numbers, frame_mask),)
        table = None if style.shape == numbers.shape else style[:, numbers.shape[1] :]
        behind = latent + self.equalizer.config.bands
        colour = partial(self.equalizer.colour, bands=z[:, latent:behind], table=table)
        wav = self.generator(z[:, :latent], features, numbers, frame_mask, colour)
        if z.shape[1] > behind:
            wav = self.equalizer.moved(wav, z[:, behind:], frame_mask)
        return (wav,)

    def capturable_parts(self) -> list[Part]:
        """What may run as CUDA graphs (speech/capture)."""
        return capturable_parts(self.config)

    def unconditional_style(self, batch: int) -> Tensor:
        """The style that stands for "no style", [batch, style.out]."""
        return (self.null_style * math.sqrt(self.null_style.shape[-1])).expand(batch, -1)


def latent_mask(x: Tensor, frame_mask: Tensor | None) -> Tensor:
    """The mask [B, 1, N] for `x` [B, C, N]: `frame_mask` [B, N], or all True if it is None."""
    if frame_mask is None:
        return torch.ones(x.shape[0], 1, x.shape[-1], dtype=torch.bool, device=x.device)
    return frame_mask[:, None]
