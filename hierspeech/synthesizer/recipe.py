"""Recipe of the synthesizer without an acoustic posterior: semantic features of perturbed speech -> the recording.

Encoder, source and generator are trained end to end by a multi-scale mel loss and adversarially (HierSpeech++ section 9 of the
hand-over without its variational terms, which variational_recipe.py has). Features come from speech
whose speaker is perturbed, or from text-to-vec, so the voice can come from the style prompt alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hierspeech.synthesizer.data import Batch, DataConfig, Pieces, collate
from hierspeech.synthesizer.detail import DetailInputs
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.preview import f0_picture, mel_picture
from hierspeech.synthesizer.reconstruction import ReconstructionInputs
from speech.adversarial import discriminator_loss, judge_both, opinions
from speech.f0 import extract_f0
from speech.losses import contrastive
from speech.masks import lengths_to_mask
from speech.mel_loss import MelLoss, mels_of_sizes
from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator
from speech.perturbation import PerturbationConfig
from speech.semantic.phonetic import PhoneticEncoder
from speech.speaker.encoder import SpeakerEncoder, speaker_losses
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig


@dataclass
class RecipeConfig:
    semantic_encoder: str  # folder of the encoder whose features are used
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    adversarial_from: int = 0  # steps before it train on the mel loss alone
    generator_from: int = (
        0  # steps before it the discriminators learn alone: for a trained generator without trained judges
    )
    adversarial_seconds: float = 0.5  # piece of the target that the discriminators see
    adversarial_gain: float = (
        1.0  # on what the discriminators see: quiet speech leaves them at chance for long
    )
    mel_sizes: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])  # STFT sizes of the mel loss
    mel_gain: float = 1.0  # on what the mel loss compares: its floor hides the pauses of quiet speech
    perturbation: PerturbationConfig = field(default_factory=PerturbationConfig)
    detail_perturbation: PerturbationConfig = field(
        default_factory=PerturbationConfig
    )  # of what the model's detail encoder hears
    swapped: float = (
        0.0  # share of the frames whose semantic features are another example's: details must correct them
    )
    speaker_encoder: str | None = None  # folder of the judge for the losses "speaker" and "voice"


class Recipe:
    """Discriminator and generator turns that share one forward pass."""

    @dataclass
    class Config:
        model: HierSpeechConfig
        data: DataConfig
        recipe: RecipeConfig

    published = "generator"

    def __init__(
        self, model: HierSpeechConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        if model.posterior is not None or model.semantic_posterior or model.flow.n_flows:
            raise ValueError(
                "this recipe trains synthesizers without posterior and flows: expected model.posterior null, "
                "model.semantic_posterior false and model.flow.n_flows 0"
            )
        if recipe.generator_from and recipe.adversarial_from:
            raise ValueError(
                f"recipe.generator_from {recipe.generator_from} and adversarial_from {recipe.adversarial_from}: expected one of "
                "them 0; discriminators that learn alone are adversarial from the start"
            )
        self.recipe = recipe
        self.generator = HierSpeech(model)
        self.modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": WaveDiscriminator(recipe.discriminator),
        }
        self.encoder = PhoneticEncoder.from_pretrained(recipe.semantic_encoder).requires_grad_(False)
        if self.encoder.spec != model.semantic:
            raise ValueError(
                f"model.semantic is {model.semantic}, {recipe.semantic_encoder} gives {self.encoder.spec}"
            )
        self.speaker_encoder: SpeakerEncoder | None = None
        if recipe.speaker_encoder is not None:
            self.speaker_encoder = SpeakerEncoder.from_pretrained(recipe.speaker_encoder).requires_grad_(
                False
            )
        self.weighs_magnitude = "magnitude" in (losses or {}).get("generator", {})
        if data.table_rate and model.equalizer is None:
            raise ValueError(
                f"data.table_rate is {data.table_rate:g}: expected a model with an equalizer, or 0"
            )
        self.pieces = Pieces(data, train, model.semantic.dim)
        self.style_mel = MelSpectrogram(model.audio)
        self.mel_loss = MelLoss(mels_of_sizes(recipe.mel_sizes))
        self.adversarial_samples = int(recipe.adversarial_seconds * 16000)

    def batches(self, start_step: int) -> Iterator[Batch]:
        return self.pieces.batches(start_step)

    def audio_seconds(self, batch: Batch) -> float:
        return batch.wav.numel() / 16000

    def turns(self, batch: Batch, step: int):
        alone = step < self.recipe.generator_from
        with torch.no_grad() if alone else contextlib.nullcontext():
            wav_hat, prompt_style, target_style = self._reconstruct(batch)
        wav, wav_hat = batch.wav, wav_hat.float()
        adversarial = step >= self.recipe.adversarial_from
        if adversarial:
            start = int(torch.randint(0, wav.shape[-1] - self.adversarial_samples + 1, (1,)))
            gain = self.recipe.adversarial_gain
            real, fake = (x[..., start : start + self.adversarial_samples] * gain for x in (wav, wav_hat))
            discriminator = self.modules["discriminator"]
            judged = judge_both(discriminator, real, fake.detach())
            yield "discriminator", {"adversarial": discriminator_loss(*judged)}
        if alone:
            return
        zero = wav_hat.new_zeros(())
        gain = self.recipe.mel_gain
        target, made = wav[:, 0] * gain, wav_hat[:, 0] * gain
        losses = {
            "contrastive": contrastive(prompt_style, target_style),
            "adversarial": zero,
            "features": zero,
        }
        if self.weighs_magnitude:
            losses["mel"], losses["magnitude"] = self.mel_loss.distances(target, made)
        else:
            losses["mel"] = self.mel_loss(target, made)
        if self.speaker_encoder is not None:
            losses["speaker"], losses["voice"] = speaker_losses(
                self.speaker_encoder, wav[:, 0], wav_hat[:, 0]
            )
        if adversarial:
            losses |= opinions(discriminator, real, fake)
        yield "generator", losses

    def _reconstruct(self, batch: Batch, perturb: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        device = batch.wav.device
        for module in (self.encoder, self.style_mel, self.mel_loss, self.speaker_encoder):
            if module is not None:
                module.to(device)
        frames = batch.wav.shape[-1] // 320
        with torch.no_grad():
            perturbation = self.recipe.perturbation if perturb else None
            semantic = self.encoder(batch.context, batch.n_context, perturbation).float()
            places = batch.first_frame[:, None] + torch.arange(frames, device=device)
            semantic = semantic.gather(2, places[:, None].expand(-1, semantic.shape[1], -1))
            if perturb and self.recipe.swapped:
                semantic = swap_spans(semantic, self.recipe.swapped)
            semantic = torch.where(batch.use_predicted[:, None, None], batch.predicted, semantic)
            prompt, target = self.style_mel(batch.prompt), self.style_mel(batch.context)
        detail = None
        if self.generator.config.detail is not None:
            perturbation = self.recipe.detail_perturbation if perturb else None
            detail = DetailInputs(
                batch.context, batch.n_context, batch.first_frame, ~batch.use_predicted, perturbation
            )
        out = self.modules["generator"](
            ReconstructionInputs(
                semantic,
                torch.log1p(batch.f0)[:, None],
                prompt,
                lengths_to_mask(batch.n_prompt // 320, prompt.shape[-1]),
                target,
                lengths_to_mask(batch.n_context // 320, target.shape[-1]),
                detail,
                batch.table if batch.table.shape[1] else None,
            )
        )
        return out.wav, out.style, out.other_style

    def validate(self) -> dict[str, float]:
        """Mel loss on dev speakers: features and F0 of real speech, prompt by the same speaker."""
        if not self.pieces.dev:
            return {}
        rng = np.random.default_rng(0)
        batch = collate([self.pieces.example(i, rng) for i in (self.pieces.dev * 8)[:32]])
        device = next(self.modules["generator"].parameters()).device
        batch = Batch(*(value.to(device) for value in vars(batch).values()))
        wav_hat, _, _ = self._reconstruct(batch, perturb=False)
        return {"mel": float(self.mel_loss(batch.wav[:, 0], wav_hat[:, 0].float()))}

    def preview(self, writer, step: int) -> None:
        """Recordings of dev speakers and their reconstructions, to hear, and their mels and pitch, to see."""
        if not self.pieces.dev:
            return
        rng = np.random.default_rng(1)
        batch = collate([self.pieces.example(i, rng) for i in self.pieces.dev[:4]])
        device = next(self.modules["generator"].parameters()).device
        batch = Batch(*(value.to(device) for value in vars(batch).values()))
        wav_hat, _, _ = self._reconstruct(batch, perturb=False)
        for k in range(len(wav_hat)):
            writer.add_audio(f"recording/{k}", batch.wav[k], step, 16000)
            again = wav_hat[k].float()
            writer.add_audio(f"reconstruction/{k}", again.clamp(-1, 1), step, 16000)
            mels = [self.style_mel(wav)[0] for wav in (batch.wav[k], again)]
            writer.add_image(f"mel/{k}", mel_picture(mels), step, dataformats="HW")
            tracked = torch.from_numpy(extract_f0(again[0].cpu().numpy(), f0_max=600.0)).to(device)
            lines = {"recording": torch.log1p(batch.f0[k]), "synthesis": torch.log1p(tracked)}
            writer.add_image(f"f0/{k}", f0_picture(lines), step)


def swap_spans(semantic: Tensor, share: float, span: int = 8) -> Tensor:
    """Takes `share` of the frames of each example [B, C, N], in spans of `span` frames, from the example before it."""
    batch, _, frames = semantic.shape
    swapped = torch.rand(batch, 1, frames // span + 2, device=semantic.device) < share
    shift = int(torch.randint(span, (1,)))
    swapped = swapped.repeat_interleave(span, 2)[..., shift : shift + frames]
    return torch.where(swapped, semantic.roll(1, 0), semantic)
