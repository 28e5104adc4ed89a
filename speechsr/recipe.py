"""How SpeechSR is trained: the BigVGAN recipe on narrow and wide recordings (HierSpeech++ section 3.4; spec 6).

Least-squares adversarial loss, feature matching and the mel distance, weighted 1, 2 and 45. The paper's sub-band
discriminator was never published and is not part of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    frozen,
    generator_loss,
    judge_both,
)
from speech.audio import resample
from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator
from speech.spectrogram import AudioConfig, LinearSpectrogram, MelSpectrogram
from speech.training import TrainConfig
from speechsr.data import DataConfig, SpeechSRData, collate
from speechsr.model import SpeechSR, SpeechSRConfig


@dataclass
class RecipeConfig:
    """Options of the training step; the defaults are those of 48 kHz."""

    mel: AudioConfig = field(
        default_factory=lambda: AudioConfig(
            sample_rate=48000, n_fft=1280, win_length=1280, hop_length=320, n_mels=128, f_max=24000.0
        )
    )
    discriminator: DiscriminatorConfig = field(
        default_factory=lambda: DiscriminatorConfig(stft_sizes=[4096, 2048, 1024, 512, 256, 128])
    )
    adversarial_from_step: int = 0  # before it only the mel distance teaches
    validation_pieces: int = 16


class Recipe:
    """Discriminator and generator in turn, sharing one forward of the generator."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: SpeechSRConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "generator"

    def __init__(
        self,
        model_config: SpeechSRConfig,
        data_config: DataConfig,
        recipe_config: RecipeConfig,
        losses: dict[str, dict[str, float]],
        train_config: TrainConfig,
    ):
        self.config, self.train_config = recipe_config, train_config
        generator = SpeechSR(model_config)
        self.rates = model_config.sample_rate, generator.output_rate
        if recipe_config.mel.sample_rate != generator.output_rate:
            raise ValueError(
                f"recipe.mel.sample_rate is {recipe_config.mel.sample_rate}, the model gives {generator.output_rate} Hz"
            )
        if data_config.segment_samples < max(recipe_config.discriminator.stft_sizes, default=0):
            raise ValueError(
                f"data.segment_samples {data_config.segment_samples} must reach the largest of "
                f"recipe.discriminator.stft_sizes {recipe_config.discriminator.stft_sizes}"
            )
        self.data = SpeechSRData(data_config.filelist, data_config, *self.rates)
        self.validation = None
        if data_config.validation_filelist is not None:
            self.validation = SpeechSRData(data_config.validation_filelist, data_config, *self.rates)
        self.modules: dict[str, nn.Module] = {
            "generator": generator,
            "discriminator": WaveDiscriminator(recipe_config.discriminator),
        }
        self.mel = MelSpectrogram(recipe_config.mel)
        self.spectrogram = LinearSpectrogram(recipe_config.mel, power=2.0)

    def batches(self, start_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(narrow [B, 1, T], wide [B, 1, T * scale]) for step `start_step` and on."""
        train = self.train_config
        return self.data.batches(train.batch_size, train.seed, start_step, train.num_workers)

    def audio_seconds(self, batch: tuple[Tensor, Tensor]) -> float:
        """Seconds of audio in a batch."""
        return batch[1].numel() / self.rates[1]

    def turns(self, batch: tuple[Tensor, Tensor], step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The losses of one step."""
        narrow, wide = batch
        discriminator = self.modules["discriminator"]
        made = self.modules["generator"](narrow).float()
        adversarial = features = wide.new_zeros(())
        if step >= self.config.adversarial_from_step:
            real, fake = judge_both(discriminator, wide, made.detach())
            yield "discriminator", {"adversarial": discriminator_loss(real, fake)}
            with frozen(discriminator) as judge:
                fake = judge(made)
                with torch.no_grad():
                    real = judge(wide)
            adversarial, features = generator_loss(fake), feature_matching_loss(real, fake)
        mel = self.mel.to(wide.device)
        distance = F.l1_loss(mel(made[:, 0]), mel(wide[:, 0]))
        yield "generator", {"mel": distance, "adversarial": adversarial, "features": features}

    def validate(self) -> dict[str, float]:
        """Mel and log-spectral distance of held-out pieces, and the latter for plain resampling (the thing to beat)."""
        if self.validation is None:
            return {}
        narrow, wide = self._pieces()
        made = self.modules["generator"](narrow)
        plain = torch.from_numpy(np.stack([resample(x, *self.rates) for x in narrow[:, 0].cpu().numpy()]))
        mel = self.mel.to(wide.device)
        return {
            "mel": F.l1_loss(mel(made[:, 0]), mel(wide[:, 0])).item(),
            "log_spectral_distance": self._log_spectral_distance(made[:, 0], wide[:, 0]),
            "log_spectral_distance_resampled": self._log_spectral_distance(plain.to(wide.device), wide[:, 0]),
        }

    def preview(self, writer, step: int) -> None:
        """Two held-out pieces: truth and super-resolution."""
        if self.validation is None:
            return
        narrow, wide = self._pieces()
        made = self.modules["generator"](narrow[:2])
        for i in range(len(made)):
            writer.add_audio(f"truth/{i}", wide[i], step, self.rates[1])
            writer.add_audio(f"super_resolution/{i}", made[i].float(), step, self.rates[1])

    def _pieces(self) -> tuple[Tensor, Tensor]:
        """The same held-out pieces at every validation, on the generator's device."""
        device = next(self.modules["generator"].parameters()).device
        n = self.config.validation_pieces
        indices = [i % len(self.validation.wavs) for i in range(n)]
        pairs = [
            self.validation.example(index, np.random.default_rng([7, i])) for i, index in enumerate(indices)
        ]
        narrow, wide = collate(pairs)
        return narrow.to(device), wide.to(device)

    def _log_spectral_distance(self, made: Tensor, wide: Tensor) -> float:
        """Root mean square over frequency of the difference of log10 power, mean over frames; wavs [B, T]."""
        spectrogram = self.spectrogram.to(wide.device)
        difference = torch.log10(spectrogram(made) + 1e-8) - torch.log10(spectrogram(wide) + 1e-8)
        return difference.square().mean(dim=1).sqrt().mean().item()
