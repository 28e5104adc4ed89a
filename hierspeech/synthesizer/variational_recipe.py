"""Recipe `hierspeech`: the whole variational and adversarial training of the hierarchical synthesizer.

HierSpeech++'s own training was never released; this is section 9 of the hand-over: a dual-audio posterior, semantic
features of clean and of perturbed speech with one F0, KL divergences forwards and backwards through both flows, prosody
distillation, F0 of the source network, mel loss and two families of discriminators on a decoded window, and a null style
for a part of the samples. What the paper leaves open is an option here, and said in configs/base/synthesizer.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.preview import Listening, show
from hierspeech.synthesizer.variational import VariationalInputs, VariationalOutput, windows
from hierspeech.synthesizer.variational_data import SegmentData, Segments, VariationalDataConfig
from speech.adversarial import discriminator_loss, judge_both, opinions
from speech.losses import kl_divergence, masked_l1
from speech.masks import lengths_to_mask
from speech.mel_loss import MelLoss, mels_of_sizes
from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator
from speech.perturbation import PerturbationConfig
from speech.semantic.encoder import HOP_SAMPLES, load_encoder
from speech.semantic.phonetic import PhoneticEncoder
from speech.spectrogram import LinearSpectrogram, MelSpectrogram
from speech.training import TrainConfig
from speech.turns import move
from speech.wave_perturbation import WavePerturbationConfig, apply, draw


@dataclass
class RecipeConfig:
    """Options of the training step."""

    semantic_encoder: str | None = (
        None  # folder or hub id; None = where model.semantic.name usually comes from
    )
    perturbation: WavePerturbationConfig = field(default_factory=WavePerturbationConfig)
    mel_perturbation: PerturbationConfig | None = None  # on the mel inside the phonetic encoder, on top
    compile_perturbation: bool = False  # half the time on a CPU, after a minute or more of compiling
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    window_frames: int = 30  # decoded and judged of each segment
    spec_power: float = 1.0  # of the posterior's linear spectrogram: 1 magnitude, 2 power
    null_style_rate: float = 0.1
    backward_kl: bool = True
    mel_sizes: list[int] = field(
        default_factory=list
    )  # STFT sizes of the mel loss; none: the model's own mel
    adversarial_from: int = 0  # steps before it train without discriminators
    adversarial_gain: float = (
        1.0  # on what the discriminators see: quiet speech leaves them at chance for long
    )
    validation_pieces: int = 16

    def __post_init__(self):
        if self.window_frames < 1 or not 0 <= self.null_style_rate <= 1:
            raise ValueError(
                f"expected window_frames of at least 1 and a null_style_rate of 0 to 1, got {self.window_frames} "
                f"and {self.null_style_rate}"
            )


class Recipe:
    """Discriminator and generator turns that share one forward pass."""

    @dataclass
    class Config:
        """The sections of a configuration."""

        data: VariationalDataConfig
        model: HierSpeechConfig = field(default_factory=HierSpeechConfig)
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "generator"

    def __init__(
        self,
        model: HierSpeechConfig,
        data: VariationalDataConfig,
        recipe: RecipeConfig,
        losses: dict[str, dict[str, float]],
        train: TrainConfig,
    ):
        if model.posterior is None or not model.semantic_posterior:
            raise ValueError(
                "this recipe trains the whole hierarchy: expected model.posterior and model.semantic_posterior true, got "
                f"{model.posterior} and {model.semantic_posterior}"
            )
        window_samples = recipe.window_frames * model.audio.hop_length
        if window_samples < max(recipe.discriminator.stft_sizes, default=0):
            raise ValueError(
                f"recipe.window_frames {recipe.window_frames} are {window_samples} samples, fewer than the discriminator's "
                f"largest STFT {max(recipe.discriminator.stft_sizes)}"
            )
        self.model, self.recipe = model, recipe
        self.modules: dict[str, nn.Module] = {
            "generator": HierSpeech(model),
            "discriminator": WaveDiscriminator(recipe.discriminator),
        }
        self.encoder = load_encoder(model.semantic, recipe.semantic_encoder).requires_grad_(False).eval()
        self.phonetic = isinstance(self.encoder, PhoneticEncoder)
        if recipe.mel_perturbation is not None and not self.phonetic:
            raise ValueError(
                f"recipe.mel_perturbation works inside the phonetic encoder, got {model.semantic.name}"
            )
        self.data = SegmentData(data, train, model.semantic, recipe.window_frames)
        if self.data.left_out:
            print(f"{len(self.data.items)} training recordings, left out {dict(self.data.left_out)}")
        self.spectrogram = LinearSpectrogram(model.audio, recipe.spec_power)
        self.mel = MelSpectrogram(model.audio)
        self.mel_loss = MelLoss(mels_of_sizes(recipe.mel_sizes) or [self.mel])
        # what is drawn stays outside: compiled random numbers are others than eager ones
        self.perturb = torch.compile(apply) if recipe.compile_perturbation else apply

    def batches(self, start_step: int) -> Iterator[Segments]:
        """Batches of steps `start_step`, `start_step + 1`, ..."""
        return self.data.batches(start_step)

    def audio_seconds(self, batch: Segments) -> float:
        """Seconds of audio in the segments of a batch."""
        return float(batch.n_frames.sum()) * HOP_SAMPLES / self.model.audio.sample_rate

    def turns(self, batch: Segments, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One forward pass, the discriminator's losses, then all of the generator's."""
        inputs = self.inputs(batch)
        out = self.modules["generator"](inputs)
        hop = self.model.audio.hop_length
        wav_hat = out.wav.float()
        wav = windows(inputs.wav, inputs.window_start * hop, inputs.window_frames * hop)
        losses = self.generator_losses(inputs, out)
        losses["mel"] = self.mel_loss(wav[:, 0], wav_hat[:, 0])
        losses["adversarial"] = losses["features"] = wav_hat.new_zeros(())
        if step >= self.recipe.adversarial_from:
            discriminator = self.modules["discriminator"]
            real, fake = wav * self.recipe.adversarial_gain, wav_hat * self.recipe.adversarial_gain
            judged = judge_both(discriminator, real, fake.detach())
            yield "discriminator", {"adversarial": discriminator_loss(*judged)}
            losses |= opinions(discriminator, real, fake)
        yield "generator", losses

    @torch.no_grad()
    def inputs(self, batch: Segments, perturb: bool = True) -> VariationalInputs:
        """What the model needs of a batch: spectrograms, features of the clean and of the perturbed speech, masks.

        Without `perturb` the prior sees what the posterior sees, as at synthesis, and no style is dropped.
        """
        device, frames = batch.wav.device, batch.wav.shape[-1] // HOP_SAMPLES
        for module in (self.encoder, self.spectrogram, self.mel, self.mel_loss):
            module.to(device)
        frame_mask = lengths_to_mask(batch.n_frames, frames)
        semantic = batch.semantic
        if semantic is None:
            semantic = self.encode(batch.wav, batch.n_frames)
        perturbed = semantic = semantic * frame_mask[:, None]
        if perturb:
            changes = self.recipe.perturbation
            drawn = draw(len(batch.wav), changes, device)
            wav = self.perturb(batch.wav, batch.f0, drawn, changes, self.model.audio.sample_rate)
            wav = wav * frame_mask.repeat_interleave(HOP_SAMPLES, 1)
            perturbed = self.encode(wav, batch.n_frames, self.recipe.mel_perturbation) * frame_mask[:, None]
        prompt, prompt_mask = self.mel(batch.wav), frame_mask
        if batch.prompt is not None:
            prompt = self.mel(batch.prompt)
            prompt_mask = lengths_to_mask(batch.n_prompt // HOP_SAMPLES, prompt.shape[-1])
        return VariationalInputs(
            spec=self.spectrogram(batch.wav) * frame_mask[:, None],
            wav=batch.wav[:, None],
            semantic=semantic,
            perturbed=perturbed,
            log_f0=torch.log1p(batch.f0)[:, None],
            frame_mask=frame_mask,
            prompt=prompt,
            prompt_mask=prompt_mask,
            window_start=batch.window_start,
            window_frames=self.recipe.window_frames,
            null_style=torch.rand(len(batch.wav), device=device) < self.recipe.null_style_rate * perturb,
            backward_flows=self.recipe.backward_kl,
        )

    def encode(
        self, wav: Tensor, n_frames: Tensor, mel_perturbation: PerturbationConfig | None = None
    ) -> Tensor:
        """Semantic features of a padded batch: wav [B, T], n_frames [B] -> [B, C, N]."""
        changes = (mel_perturbation,) if self.phonetic else ()
        return self.encoder(wav, n_frames * HOP_SAMPLES, *changes).float()

    def generator_losses(self, inputs: VariationalInputs, out: VariationalOutput) -> dict[str, Tensor]:
        """Losses that need no discriminator and no decoded wave; those of parts that the model lacks are left out."""
        mask, acoustic, semantic, prior = inputs.frame_mask, out.acoustic, out.semantic, out.prior

        def kl(z: Tensor, drawn_from, seen_by) -> Tensor:
            return kl_divergence(z, drawn_from.log_std, seen_by.mean, seen_by.log_std, mask)

        losses = {
            "kl_acoustic": kl(out.acoustic_forward, acoustic, semantic),
            "kl_semantic": kl(out.semantic_forward, semantic, prior),
        }
        if out.acoustic_backward is not None:
            # The same divergence with the roles exchanged: the flows keep volumes, so a sample of the prior, sent back,
            # has the prior's density there and is judged by the posterior's.
            losses["kl_acoustic_backward"] = kl(out.acoustic_backward, semantic, acoustic)
            losses["kl_semantic_backward"] = kl(out.semantic_backward, prior, semantic)
        if out.prosody is not None:
            target = self.mel(inputs.wav[:, 0])[:, : out.prosody.shape[1]]
            losses["prosody"] = masked_l1(out.prosody, target, mask[:, None])
        if out.log_f0 is not None:
            starts = inputs.window_start * 4
            losses["f0"] = F.l1_loss(
                out.log_f0.float(), windows(inputs.log_f0, starts, inputs.window_frames * 4)
            )
        return losses

    @torch.no_grad()
    def listen(self, batch: Segments) -> Listening:
        """Whole segments reconstructed through the posterior, and synthesized as `infer` does, both by fixed noise."""
        model = getattr(self.modules["generator"], "module", self.modules["generator"])
        inputs = self.inputs(batch, perturb=False)
        mask = inputs.frame_mask
        style = model.style_encoder(inputs.prompt, inputs.prompt_mask)
        z = model.encode_posterior(inputs.spec, inputs.wav, style, mask).mean
        reconstruction, log_f0 = model.decode(z, style, inputs.log_f0, mask)
        noise = torch.Generator().manual_seed(0)
        synthesis = model.infer(inputs.semantic, inputs.log_f0, style, mask, generator=noise)
        return Listening(
            batch.n_frames, inputs.log_f0, inputs.wav, reconstruction.float(), synthesis.float(), log_f0
        )

    def validate(self) -> dict[str, float]:
        """Mel distances (natural log, model's own mel) of reconstruction and synthesis on fixed pieces, F0's error."""
        sums: dict[str, float] = {}
        count = 0
        for batch in self._fixed(self.recipe.validation_pieces):
            heard = self.listen(batch)
            mask = lengths_to_mask(heard.n_frames, heard.wav.shape[-1] // HOP_SAMPLES)[:, None]
            target = self.mel(heard.wav[:, 0])
            figures = {
                "reconstruction_mel": masked_l1(self.mel(heard.reconstruction[:, 0]), target, mask),
                "synthesis_mel": masked_l1(self.mel(heard.synthesis[:, 0]), target, mask),
            }
            if heard.source_log_f0 is not None:
                figures["f0"] = masked_l1(
                    heard.source_log_f0, heard.log_f0, mask.repeat_interleave(4, 2) & (heard.log_f0 > 0)
                )
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch.wav)
            count += len(batch.wav)
        return {name: value / count for name, value in sums.items()}

    def preview(self, writer, step: int) -> None:
        """Four fixed pieces: truth, reconstruction and synthesis to hear and as mels, F0 against truth."""
        for batch in self._fixed(4):
            show(self.listen(batch), self.mel, writer, step)

    def _fixed(self, count: int) -> list[Segments]:
        device = next(self.modules["generator"].parameters()).device
        return [move(batch, device) for batch in self.data.fixed(count)]
