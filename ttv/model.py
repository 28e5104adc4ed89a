"""TTV, the published text-to-vec model: phoneme ids + style -> semantic features + log F0 (HierSpeech++ section 3.3).

A conditional VAE over semantic features whose prior comes from the text (VITS with another target). Shapes: B batch,
S phoneme ids, N frames at 50 Hz, 4N F0 values at 200 Hz, C channels.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from speech.capture.buckets import Captured, Part, may_run_captured, run_directly
from speech.checkpoint import Pretrained
from speech.modules import flow
from speech.modules.alignment import align, expand
from speech.modules.duration import StochasticDurationPredictor
from speech.modules.flow import TransformerFlow
from speech.modules.gaussian import DiagonalGaussian, Generators, scaled_noise
from speech.modules.style import StyleEncoder, StyleEncoderConfig
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig
from ttv.languages import check_languages
from ttv.output import GRAPH_IDS, TTVOutput, column
from ttv.pitch import F0_PER_FRAME, PitchConfig, PitchPredictor, cut_slices
from ttv.semantic import PosteriorConfig, PosteriorEncoder, SemanticDecoder, SemanticDecoderConfig
from ttv.text_encoder import TextEncoder, TextEncoderConfig

# What the pitch predictor reads in training: true features, as published; their reconstruction from the posterior; or
# what the text's prior gives for the aligned durations, which is what it reads when it speaks.
PITCH_SOURCES = ("recording", "reconstruction", "text")


@dataclass
class FlowConfig(flow.FlowConfig):
    """Sizes of the flow between posterior and prior."""

    heads: int = 4


@dataclass
class DurationConfig:
    """Sizes of the stochastic duration predictor."""

    kernel_size: int = 3
    dropout: float = 0.5
    n_flows: int = 4


@dataclass
class TTVConfig:
    """Everything that defines the signal and the weights of a `TTV`; the defaults are the published model's."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    semantic: SemanticSpec = field(default_factory=SemanticSpec)
    style: StyleEncoderConfig = field(default_factory=StyleEncoderConfig)
    tokenizer: str = "ipa178"
    symbols: list[str] = field(default_factory=list)  # of this model only, after the tokenizer's own table
    languages: list[str] = field(
        default_factory=list
    )  # codes such as en-us, pl; empty = the model knows of none
    hidden: int = 256  # width of the text encoder and of the latent
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    decoder: SemanticDecoderConfig = field(default_factory=SemanticDecoderConfig)
    pitch: PitchConfig = field(default_factory=PitchConfig)
    duration: DurationConfig = field(default_factory=DurationConfig)

    def __post_init__(self):
        if self.style.n_mels != self.audio.n_mels:
            raise ValueError(
                f"style.n_mels {self.style.n_mels} differs from audio.n_mels {self.audio.n_mels}"
            )
        check_languages(self.languages)


@dataclass
class TTVTrainingOutput:
    """What `TTV.forward` hands to the losses; padded frames are zero except in `ctc_logits` (also zero: no bias)."""

    semantic: Tensor  # [B, C, N] reconstruction
    log_f0: Tensor  # [B, 1, 4 * slice] predicted from the slice of true semantic features
    ctc_logits: Tensor  # [B, n_symbols, N] phoneme classes read off the latent
    duration_nll: Tensor  # [B] nats, summed over the ids of an item
    posterior: DiagonalGaussian  # [B, hidden, N] latent of the recording
    prior: DiagonalGaussian  # [B, hidden, N] of the text, expanded by the alignment
    z_prior: Tensor  # [B, hidden, N] posterior sample moved through the flow
    durations: Tensor  # [B, S] int64 frames per id, found by the alignment


class TTV(nn.Module, Pretrained):
    """Text-to-vec model with monotonic alignment search and a stochastic duration predictor."""

    Config = TTVConfig

    def __init__(self, config: TTVConfig):
        super().__init__()
        self.config = config
        hidden, semantic_dim, style_dim = config.hidden, config.semantic.dim, config.style.out
        self.style_encoder = StyleEncoder(config.style)
        self.text_encoder = TextEncoder(config.text, hidden, style_dim, len(config.languages))
        self.posterior_encoder = PosteriorEncoder(config.posterior, semantic_dim, hidden, style_dim)
        sizes = config.flow
        self.flow = TransformerFlow(
            hidden,
            style_dim,
            sizes.heads,
            sizes.n_flows,
            sizes.n_blocks,
            sizes.kernel_size,
            sizes.mlp_ratio,
            sizes.dropout,
        )
        self.semantic_decoder = SemanticDecoder(config.decoder, hidden, semantic_dim, style_dim)
        self.pitch_predictor = PitchPredictor(config.pitch, semantic_dim, style_dim)
        self.duration_predictor = StochasticDurationPredictor(
            hidden, style_dim, config.duration.kernel_size, config.duration.dropout, config.duration.n_flows
        )
        self.phoneme_classifier = nn.Conv1d(hidden, config.text.n_symbols, 1, bias=False)
        self.captured: Captured | None = None  # set by speech/fast.py

    def forward(
        self,
        phoneme_ids: Tensor,
        text_mask: Tensor,
        semantic: Tensor,
        frame_mask: Tensor,
        mel: Tensor,
        slice_start: Tensor,
        slice_frames: int,
        pitch_from: str = "recording",
        pitch_noise: float = 0.333,
        language_ids: Tensor | None = None,
    ) -> TTVTrainingOutput:
        """The training path: aligns text and recording, and predicts everything that has a loss.

        Args:
            phoneme_ids: [B, S] int64.
            text_mask: [B, S] bool, True = valid.
            semantic: [B, C, N] features of the recording.
            frame_mask: [B, N] bool, True = valid.
            mel: [B, n_mels, N] log-mel of the same recording, from which the style is taken.
            slice_start: [B] first frame of the excerpt from which pitch is predicted; a whole batch of utterances would
                not fit in memory at 200 Hz.
            slice_frames: length of the excerpts; zeros follow where an item ends earlier.
            pitch_from: the features that pitch is predicted from, a key of `PITCH_SOURCES`. No gradient of the pitch
                reaches them: it would disturb what the prior learns (section 5.5, author's notes).
            pitch_noise: spread of the prior around its mean with `pitch_from="text"`, as `noise_scale` of `infer`.
            language_ids: [B, S], of a model with languages; None = all in its first one.

        Raises:
            ValueError: unknown `pitch_from`, or an item has fewer frames than ids.
        """
        if pitch_from not in PITCH_SOURCES:
            raise ValueError(f"pitch_from is {pitch_from!r}, expected one of {', '.join(PITCH_SOURCES)}")
        text_mask_1, frame_mask_1 = text_mask.unsqueeze(1), frame_mask.unsqueeze(1)  # [B, 1, time]
        style = self.style_encoder(mel, frame_mask)
        encoded, token_prior = self.text_encoder(phoneme_ids, text_mask_1, style, language_ids)
        posterior = self.posterior_encoder(semantic, frame_mask_1, style)
        z = posterior.sample(mask=frame_mask_1)
        z_prior = self.flow(z, frame_mask_1, style)

        durations = align(log_likelihood(z_prior, token_prior), text_mask, frame_mask)
        n_frames = semantic.shape[2]
        prior = DiagonalGaussian(
            expand(token_prior.mean, durations, n_frames), expand(token_prior.log_std, durations, n_frames)
        )
        reconstruction = self.semantic_decoder(z, frame_mask_1, style)
        source = {"recording": semantic, "reconstruction": reconstruction}.get(pitch_from)
        if source is None:
            source = self._from_prior(prior, frame_mask_1, style, pitch_noise)
        excerpt = cut_slices(source.detach(), slice_start, slice_frames)
        return TTVTrainingOutput(
            semantic=reconstruction,
            log_f0=self.pitch_predictor(excerpt, style),
            ctc_logits=self.phoneme_classifier(z),
            duration_nll=self.duration_predictor(encoded, text_mask_1, durations, style),
            posterior=posterior,
            prior=prior,
            z_prior=z_prior,
            durations=durations,
        )

    @torch.no_grad()
    def _from_prior(self, prior: DiagonalGaussian, mask: Tensor, style: Tensor, noise_scale: float) -> Tensor:
        """Semantic features [B, C, N] as the text gives them, for known durations."""
        z = self.flow.inverse(prior.sample(noise_scale, mask), mask, style)
        return self.semantic_decoder(z, mask, style)

    @torch.no_grad()
    def infer(
        self,
        phoneme_ids: Tensor,
        style: Tensor,
        text_mask: Tensor | None = None,
        noise_scale: float = 0.333,
        duration_noise_scale: float = 1.0,
        length_scale: float | Tensor = 1.0,
        pitch: Tensor | None = None,
        generator: Generators = None,
        language_ids: Tensor | None = None,
    ) -> TTVOutput:
        """Reads a batch of texts. Each row comes out as it would alone, given the same noise.

        Args:
            phoneme_ids: [B, S] int64, blanks interspersed.
            style: [B, C_style] of the prompt.
            text_mask: [B, S] bool, True = valid; None = everything is valid.
            noise_scale: spread of the latent around the prior's mean; 0.333 is robust, 0.667 livelier.
            duration_noise_scale: spread of the durations.
            length_scale: factor on every duration, of all or of each text [B]; 2 speaks half as fast.
            pitch: accepted for models that need it; this one reads the prompt's pitch from `style`.
            generator: source of the noise, of all or of each text: a sequence of B, which gives each row the noise it
                has alone; a CPU generator gives the same draw on every device.
            language_ids: [B, S] place of each id's language in `config.languages`; None = all in the first one.

        Raises:
            ValueError: `length_scale` is not positive or `style` has another batch size or width.
        """
        length_scale = column(length_scale)
        if style.shape != (len(phoneme_ids), self.config.style.out):
            expected = [len(phoneme_ids), self.config.style.out]
            raise ValueError(f"style has shape {list(style.shape)}, expected {expected}")
        if text_mask is None:
            text_mask = torch.ones_like(phoneme_ids, dtype=torch.bool)
        like = self.duration_predictor.flow.mean.new_zeros(len(style), 2, phoneme_ids.shape[1])
        noise = scaled_noise(like, duration_noise_scale, text_mask[:, None], generator) * text_mask[:, None]
        # by graphs where they run (speech/capture)
        run = self.captured if may_run_captured(self, style) else run_directly
        inputs = {"phoneme_ids": phoneme_ids, "style": style, "text_mask": text_mask}
        out = run(self, "read", **inputs, language_ids=language_ids, noise=noise)
        token_prior, log_durations = DiagonalGaussian(*out[:2]), out[2]
        durations = torch.ceil(log_durations.exp() * text_mask * length_scale).long()

        n_frames = max(int(durations.sum(1).max()), 1)
        prior = DiagonalGaussian(
            expand(token_prior.mean, durations, n_frames), expand(token_prior.log_std, durations, n_frames)
        )
        frame_mask = torch.arange(n_frames, device=style.device) < durations.sum(1, keepdim=True).clamp_min(1)
        z = prior.sample(noise_scale, frame_mask.unsqueeze(1), generator)
        semantic, log_f0 = run(self, "frames_of", z=z, style=style, frame_mask=frame_mask)
        return TTVOutput(semantic, log_f0, durations, frame_mask)

    def read(
        self,
        phoneme_ids: Tensor,
        style: Tensor,
        text_mask: Tensor,
        language_ids: Tensor | None,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The half of `infer` that knows no frames: mean and log_std of the prior [B, hidden, S], log durations [B, S].

        `noise` [B, 2, S] is that of the durations, zero in padding; the other arguments are those of `infer`.
        """
        mask = text_mask.unsqueeze(1)  # [B, 1, S]
        encoded, prior = self.text_encoder(phoneme_ids, mask, style, language_ids)
        return prior.mean, prior.log_std, self.duration_predictor.infer(encoded, mask, style, noise)

    def frames_of(self, z: Tensor, style: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The other half: sample of the prior z [B, hidden, N], mask [B, N] -> semantic [B, C, N], log_f0 [B, 1, 4N]."""
        mask = frame_mask.unsqueeze(1)  # [B, 1, N]
        semantic = self.semantic_decoder(self.flow.inverse(z, mask, style), mask, style)
        return semantic, self.pitch_predictor(semantic, style, mask)

    def capturable_parts(self) -> list[Part]:
        """What may run as CUDA graphs (speech/capture)."""
        text = {"phoneme_ids": 1, "style": 0, "text_mask": 1, "language_ids": 1, "noise": 1}
        frames = {"z": 1, "style": 0, "frame_mask": 1}
        return [
            Part(
                "read",
                text,
                (1, 1, 1),
                "text_mask",
                GRAPH_IDS,
                modules=("text_encoder", "duration_predictor"),
            ),
            Part(
                "frames_of",
                frames,
                (1, F0_PER_FRAME),
                "frame_mask",
                modules=("flow", "semantic_decoder", "pitch_predictor"),
            ),
        ]


@torch.no_grad()
def log_likelihood(z: Tensor, prior: DiagonalGaussian) -> Tensor:
    """Log-density of every frame z [B, C, N] under the Gaussian of every token [B, C, S]: [B, S, N], in nats."""
    with torch.autocast(z.device.type, enabled=False):
        z, mean, log_std = z.float(), prior.mean.float(), prior.log_std.float()
        precision = torch.exp(-2 * log_std)  # [B, C, S]
        constant = -0.5 * math.log(2 * math.pi) - log_std - 0.5 * mean**2 * precision
        frames = z.transpose(1, 2)  # [B, N, C]
        # made with the tokens innermost, which is how the alignment search reads it
        by_frame = constant.sum(1, keepdim=True) - 0.5 * frames**2 @ precision + frames @ (mean * precision)
        return by_frame.transpose(1, 2)
