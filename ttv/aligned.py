"""AlignedTTV: the compact text-to-vec of the `lite` voice, taught by forced alignments instead of searching for them.

Same place and same output as `TTV` (HierSpeech++ section 5 of the hand-over: phonemes + style -> semantic features + F0), for
corpora too small to learn an alignment and a variational prior from: durations, features and pitch are regressed. Pitch is
predicted as a contour in units of the speaker's own mean and deviation, which the prompt recording supplies directly.
Shapes: B batch, S phonemes, N frames at 50 Hz, 4N f0 frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.capture.buckets import Captured, Part, may_run_captured, run_directly
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.gaussian import Generators
from speech.modules.style_pooling import StylePooling, StylePoolingConfig
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig
from speech.text.phones import PhoneTokenizer
from ttv.languages import LanguageEmbedding, check_languages, embed_languages
from ttv.melody import Melody, follow
from ttv.output import GRAPH_IDS, TTVOutput, column

CONTOUR_RANGE = (-3.5, 3.5)  # deviations from its mean that a voice's pitch is taught and spoken within
MIN_FRAMES = 1.0  # a sound lasts at least one frame; a boundary between words may last none


@dataclass
class AlignedTTVConfig:
    """Sizes of the compact text-to-vec."""

    audio: AudioConfig = field(default_factory=AudioConfig)  # of the style prompt's mel
    semantic: SemanticSpec = field(default_factory=lambda: SemanticSpec("phonetic", 1, 64, 50))
    style: StylePoolingConfig = field(default_factory=StylePoolingConfig)
    tokenizer: str = "phones"
    languages: list[str] = field(
        default_factory=list
    )  # codes such as en-us, pl; empty = the model knows of none
    width: int = 208
    encoder_layers: int = 4
    duration_layers: int = 2
    decoder_layers: int = 5
    pitch_layers: int = 3
    expansion: float = 2.5
    dropout: float = 0.1
    voiced_threshold: float = 0.5
    pitch_range: float = (
        1.0  # predicted contours are flatter than real ones; inference multiplies their deviation by this
    )
    melody_width: int = 0  # of the network that tells how high each sound lies (ttv/melody.py); 0 is none
    melody_layers: int = 2
    melody_dropout: float = 0.4

    def __post_init__(self):
        check_languages(self.languages)


@dataclass
class Prediction:
    """Output of the training path, for known durations."""

    log_durations: Tensor  # [B, S], ln(1 + frames)
    semantic: Tensor  # [B, C, N]
    contour: Tensor  # [B, 4N], log F0 in the speaker's deviations from the speaker's mean
    voiced: Tensor  # [B, 4N], logits
    melody: Tensor | None = None  # [B, S], mean of the contour over each token, of a model with a melody


class AlignedTTV(nn.Module, Pretrained):
    """Phonemes + style -> semantic features and F0, by regression on aligned speech."""

    Config = AlignedTTVConfig
    addable_parts = {"melody_width": "melody"}  # that a model to start from may lack (speech/starting.py)
    # Not packed by speech/fast.py: its pitch becomes phases, which add a millionth of rounding up to what is seen in the wave.
    keeps_plain_layers = True

    def __init__(self, config: AlignedTTVConfig) -> None:
        super().__init__()
        self.config = config
        tokenizer = PhoneTokenizer()
        factors = torch.tensor(tokenizer.factors())  # [vocabulary, 2]
        self.register_buffer("factors", factors, persistent=False)
        sounds = torch.tensor([len(unit) > 0 and unit not in "_^ ,.!?" for unit, _ in tokenizer.symbols])
        self.register_buffer("sounds", sounds, persistent=False)
        width, style = config.width, config.style.out

        def blocks(layers: int, kernel_size: int = 7) -> nn.ModuleList:
            return nn.ModuleList(
                ConvNeXtBlock(width, config.expansion, kernel_size, style, dropout=config.dropout)
                for _ in range(layers)
            )

        self.style_encoder = StylePooling(config.style)
        self.unit_embedding = nn.Embedding(len(tokenizer.units), width)
        self.stress_embedding = nn.Embedding(3, width)
        n_languages = len(config.languages)
        self.language_embedding = LanguageEmbedding(n_languages, width) if n_languages else None
        self.encoder = blocks(config.encoder_layers, 5)
        self.duration_blocks = blocks(config.duration_layers, 5)
        self.duration_head = nn.Linear(width, 1)
        self.place = nn.Linear(4, width)
        self.decoder = blocks(config.decoder_layers)
        self.semantic_head = nn.Linear(width, config.semantic.dim)
        self.pitch_blocks = blocks(config.pitch_layers, 11)
        self.pitch_head = nn.Linear(width, 8)
        sizes = config.melody_width, config.melody_layers, config.melody_dropout
        self.melody = Melody(len(tokenizer.units), *sizes) if config.melody_width else None
        self.captured: Captured | None = None  # set by speech/fast.py

    def forward(
        self,
        token_ids: Tensor,
        text_mask: Tensor,
        ends: Tensor,
        frame_mask: Tensor,
        prompt: Tensor,
        prompt_mask: Tensor,
        language_ids: Tensor | None = None,
        melody_alone: bool = False,
    ) -> Prediction | Tensor | None:
        """Training path with known durations.

        Args:
            token_ids: [B, S]. text_mask: [B, S].
            ends: end of each token in frames, not rounded, [B, S]; frames past the last end are masked.
            frame_mask: [B, N].
            prompt: log-mel of the same speaker [B, M, P] with prompt_mask [B, P].
            language_ids: [B, S], of a model with languages; None = all in its first one.
            melody_alone: return the melody [B, S], without the work of all else.
        """
        lengths = torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1]))
        melody = self.melody_of(token_ids, lengths, text_mask)
        if melody_alone:
            return melody
        style = self.style_encoder(prompt, prompt_mask)
        encoded = self._encode(token_ids, text_mask, style, language_ids)
        semantic, contour, voiced = self._decode(encoded, ends, frame_mask, style)
        return Prediction(self._log_durations(encoded, text_mask, style), semantic, contour, voiced, melody)

    @torch.no_grad()
    def infer(
        self,
        phoneme_ids: Tensor,
        style: Tensor,
        text_mask: Tensor | None = None,
        noise_scale: float = 0.0,
        duration_noise_scale: float = 0.0,
        length_scale: float | Tensor = 1.0,
        pitch: Tensor | None = None,
        generator: Generators = None,
        language_ids: Tensor | None = None,
    ) -> TTVOutput:
        """Speak token ids in a style. Each row of a padded batch comes out as it would alone.

        Args:
            phoneme_ids: [B, S]. style: [B, C_style]. text_mask: [B, S], None = all valid.
            noise_scale, duration_noise_scale, generator: accepted for TTV's sake; this model draws nothing.
            length_scale: above 1 is slower; of all or of each row [B].
            pitch: [B, 2], mean and deviation of the prompt's voiced ln F0 (Hz).
            language_ids: [B, S] place of each token's language in `config.languages`; None = all in the first one.
        """
        if pitch is None:
            raise ValueError(
                "AlignedTTV.infer: expected `pitch`, the mean and deviation of the prompt's log F0, got None"
            )
        if text_mask is None:
            text_mask = torch.ones_like(phoneme_ids, dtype=torch.bool)
        # by graphs where they run (speech/capture)
        run = self.captured if may_run_captured(self, style) else run_directly
        inputs = {"phoneme_ids": phoneme_ids, "style": style, "text_mask": text_mask}
        encoded, log_durations = run(self, "read", **inputs, language_ids=language_ids)
        durations = torch.expm1(log_durations).clamp(min=0)
        sounds = self.sounds[phoneme_ids]
        durations = torch.where(sounds, durations.clamp(min=MIN_FRAMES), durations)
        durations = durations * column(length_scale) * text_mask
        ends = durations.cumsum(1)
        frames = ends[:, -1].round().long().clamp(min=1)
        frame_mask = lengths_to_mask(frames)
        x = self._lay_out(encoded, ends, frame_mask)
        semantic, contour, voiced = run(self, "frames_of", x=x, style=style, frame_mask=frame_mask)
        melody = self.melody_of(phoneme_ids, durations, text_mask)
        if melody is not None:
            contour = follow(contour.float(), melody, ends, sounds, frame_mask)
        log_f0 = pitch[:, :1] + pitch[:, 1:] * self.config.pitch_range * contour.float().clamp(*CONTOUR_RANGE)
        log_f0 = torch.log1p(log_f0.exp().clamp(40.0, 1100.0))
        on = (voiced.float().sigmoid() > self.config.voiced_threshold) & frame_mask.repeat_interleave(4, 1)
        rounded = torch.diff(ends.round(), dim=1, prepend=ends.new_zeros(len(ends), 1)).long()
        return TTVOutput(semantic, (log_f0 * on)[:, None], rounded, frame_mask)

    def read(
        self, phoneme_ids: Tensor, style: Tensor, text_mask: Tensor, language_ids: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The half of `infer` that knows no frames: encoded [B, C, S] and log durations [B, S]."""
        encoded = self._encode(phoneme_ids, text_mask, style, language_ids)
        return encoded, self._log_durations(encoded, text_mask, style)

    def melody_of(self, token_ids: Tensor, durations: Tensor, text_mask: Tensor) -> Tensor | None:
        """How high each token lies [B, S], in the speaker's deviations; None of a model that does not know."""
        if self.melody is None:
            return None
        return self.melody(self.factors[token_ids], self.sounds[token_ids], durations.clamp(min=0), text_mask)

    def capturable_parts(self) -> list[Part]:
        """What may run as CUDA graphs (speech/capture)."""
        text = {"phoneme_ids": 1, "style": 0, "text_mask": 1, "language_ids": 1}
        frames = {"x": 1, "style": 0, "frame_mask": 1}
        return [
            Part("read", text, (1, 1), "text_mask", GRAPH_IDS),
            Part("frames_of", frames, (1, 4, 4), "frame_mask"),
        ]

    def _encode(
        self, token_ids: Tensor, text_mask: Tensor, style: Tensor, language_ids: Tensor | None
    ) -> Tensor:
        unit, stress = self.factors[token_ids].unbind(-1)
        x = self.unit_embedding(unit) + self.stress_embedding(stress)  # [B, S, C]
        x = (x + embed_languages(self.language_embedding, language_ids, token_ids)).transpose(1, 2)
        mask = text_mask[:, None].to(x.dtype)
        x = x * mask
        for block in self.encoder:
            x = block(x, mask, style)
        return x

    def _log_durations(self, encoded: Tensor, text_mask: Tensor, style: Tensor) -> Tensor:
        mask = text_mask[:, None].to(encoded.dtype)
        for block in self.duration_blocks:
            encoded = block(encoded, mask, style)
        return self.duration_head(encoded.transpose(1, 2))[..., 0].float()  # [B, S]

    def _decode(
        self, encoded: Tensor, ends: Tensor, frame_mask: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.frames_of(self._lay_out(encoded, ends, frame_mask), style, frame_mask)

    def _lay_out(self, encoded: Tensor, ends: Tensor, frame_mask: Tensor) -> Tensor:
        """Each frame is given its token [B, C, S] and where in it it lies: [B, C, N], zero in padding."""
        centres = torch.arange(frame_mask.shape[1], device=ends.device) + 0.5  # [N]
        index = torch.searchsorted(ends.contiguous(), centres.expand(len(ends), -1).contiguous(), right=True)
        index = index.clamp(max=ends.shape[1] - 1)  # [B, N]: the token each frame belongs to
        starts = F.pad(ends, (1, 0))[:, :-1]
        start, end = starts.gather(1, index), ends.gather(1, index)
        inside, left = (centres - start).clamp(0, 50), (end - centres).clamp(0, 50)
        length = (end - start).clamp(min=0.5)
        place = torch.stack(
            [inside / length, torch.log1p(inside), torch.log1p(left), torch.log1p(length)], -1
        )
        x = encoded.gather(2, index[:, None].expand(-1, encoded.shape[1], -1))  # [B, C, N]
        x = x + self.place(place.clamp(-2, 4)).transpose(1, 2)
        return x * frame_mask[:, None].to(x.dtype)

    def frames_of(self, x: Tensor, style: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, C, N], mask [B, N] -> semantic [B, C, N], contour [B, 4N] and logits of voicing [B, 4N]."""
        mask = frame_mask[:, None].to(x.dtype)
        for block in self.decoder:
            x = block(x, mask, style)
        semantic = self.semantic_head(x.transpose(1, 2))
        semantic = F.layer_norm(semantic.float(), semantic.shape[-1:]).transpose(1, 2) * mask
        for block in self.pitch_blocks:
            x = block(x, mask, style)
        contour, voiced = self.pitch_head(x.transpose(1, 2)).float().chunk(2, dim=-1)  # [B, N, 4]
        return semantic, contour.flatten(1), voiced.flatten(1)
