"""How the denoiser is trained: MP-SENet's losses on magnitude and phase (Lu et al. 2023), and its metric discriminator.

Losses of the generator: magnitude, phase, complex, consistency, time; "metric" where a `discriminator` has losses too.
Without one nothing is judged and no discriminator is built: on a CPU it costs as much again as a small denoiser.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from denoiser.bands import BandDenoiser, BandDenoiserConfig
from denoiser.data import Batch, DataConfig, NoisyPieces, collate
from denoiser.discriminator import MetricDiscriminator, MetricDiscriminatorConfig
from denoiser.losses import (
    complex_loss,
    compressed_spectrum,
    magnitude_loss,
    phase_loss,
    polar,
    time_loss,
)
from denoiser.model import Denoiser, DenoiserConfig
from denoiser.noise import GENERATORS
from denoiser.quality import METRICS, check_metric, log_spectral_distance_db, segmental_snr_score, si_sdr_db
from denoiser.spectra import SpectralDenoiser
from speech.adversarial import frozen
from speech.training import TrainConfig


@dataclass
class RecipeConfig:
    """Options of the training step."""

    # what the discriminator predicts: "segmental_snr" (denoiser/quality.py says why) or "pesq" where it is installed
    metric: str = "segmental_snr"
    discriminator: MetricDiscriminatorConfig = field(default_factory=MetricDiscriminatorConfig)
    validation_pieces: int = 16
    validation_snr_db: tuple[float, float] = (0.0, 10.0)  # spread evenly over the pieces

    def __post_init__(self):
        check_metric(self.metric)
        if self.validation_pieces < 0:
            raise ValueError(f"validation_pieces: expected 0 or more, got {self.validation_pieces}")


class Recipe:
    """Discriminator and generator in turn, sharing one forward of the generator."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: DenoiserConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "generator"
    model: type[SpectralDenoiser] = Denoiser

    def __init__(
        self,
        model_config: DenoiserConfig | BandDenoiserConfig,
        data_config: DataConfig,
        recipe_config: RecipeConfig,
        losses: dict[str, dict[str, float]],
        train_config: TrainConfig,
    ):
        self.config, self.train_config, self.signal = recipe_config, train_config, model_config
        self.weights = losses.get("generator", {})
        self.judged = "discriminator" in losses
        if self.judged != ("metric" in self.weights):
            raise ValueError(
                "losses: the generator's metric loss and the discriminator go together, "
                f"got {sorted(self.weights)} and {'a' if self.judged else 'no'} discriminator"
            )
        self.modules: dict[str, nn.Module] = {"generator": self.model(model_config)}
        if self.judged:
            self.modules["discriminator"] = MetricDiscriminator(recipe_config.discriminator)
        self.data = NoisyPieces(data_config, model_config.sample_rate, "train")
        self.validation = NoisyPieces(data_config, model_config.sample_rate, "dev")

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Batches of steps `start_step`, `start_step + 1`, ..."""
        train = self.train_config
        return self.data.batches(train.batch_size, train.seed, start_step, train.num_workers)

    def audio_seconds(self, batch: Batch) -> float:
        """Seconds of audio in a batch."""
        return batch.noisy.numel() / self.signal.sample_rate

    def turns(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The losses of one step."""
        losses, made, wav = self._restore(batch)
        if self.judged:
            clean = self._analyse(batch.clean)[0]
            yield "discriminator", {"metric": self._metric_error(batch.clean, clean, wav, made)}
            with frozen(self.modules["discriminator"]) as judge:
                losses["metric"] = (1 - judge(clean, made).float()).square().mean()
        yield "generator", losses

    def _restore(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The losses but the metric one, the magnitude [B, F, N] of the resynthesised wave, and that wave [B, T]."""
        signal = self.signal
        out = self.modules["generator"](*self._analyse(batch.noisy))
        magnitude, phase = self._analyse(batch.clean)
        with torch.autocast(batch.clean.device.type, enabled=False):
            wav = self._bare().synthesise(out.magnitude.float(), out.phase.float(), batch.clean.shape[-1])
            again = compressed_spectrum(
                wav, signal.n_fft, signal.hop_length, signal.win_length, signal.compression
            )
            losses = {
                "magnitude": magnitude_loss(out.magnitude.float(), magnitude),
                "phase": phase_loss(out.phase.float(), phase),
                "complex": complex_loss(out.spec, polar(magnitude, phase)),
                "consistency": complex_loss(out.spec, again),
                "time": time_loss(wav, batch.clean),
            }
            made = (again.square().sum(-1) + 1e-9).sqrt()
        return losses, made, wav

    def _metric_error(self, clean_wav: Tensor, clean: Tensor, wav: Tensor, made: Tensor) -> Tensor:
        """How far the discriminator is from 1 for clean speech and from the metric for the denoiser's."""
        discriminator, n = self.modules["discriminator"], len(clean)
        scores = METRICS[self.config.metric](wav.detach(), clean_wav, self.signal.sample_rate)
        known = scores.isfinite()
        both = discriminator(torch.cat([clean, clean]), torch.cat([clean, made.detach()])).float()
        error = torch.where(known, both[n:] - scores.nan_to_num(), 0.0).square().mean()
        return (1 - both[:n]).square().mean() + error

    def validate(self) -> dict[str, float]:
        """Fixed pieces of unseen speakers under each kind of generated noise; "plain" is the untouched noisy speech."""
        if not len(self.validation.speech) or not self.config.validation_pieces:
            return {}
        batch, rate = self._pieces(), self.signal.sample_rate
        losses, _, wav = self._restore(batch)
        plain, made = si_sdr_db(batch.noisy, batch.clean), si_sdr_db(wav, batch.clean)
        unharmed = self._restore(Batch(batch.clean, batch.clean))[2]
        return {
            "loss": sum(self.weights[name] * value.item() for name, value in losses.items()),
            "si_sdr_db": made.mean().item(),
            "si_sdr_improvement_db": (made - plain).mean().item(),
            "si_sdr_of_clean_db": si_sdr_db(unharmed, batch.clean).mean().item(),
            "log_spectral_distance_db": log_spectral_distance_db(wav, batch.clean, rate).mean().item(),
            "log_spectral_distance_plain_db": log_spectral_distance_db(batch.noisy, batch.clean, rate)
            .mean()
            .item(),
            "segmental_snr": segmental_snr_score(wav, batch.clean, rate).mean().item(),
            "segmental_snr_plain": segmental_snr_score(batch.noisy, batch.clean, rate).mean().item(),
        }

    def preview(self, writer, step: int) -> None:
        """Some validation pieces to hear and to see: noisy, denoised, clean."""
        if not len(self.validation.speech) or not self.config.validation_pieces:
            return
        batch = self._pieces()
        batch = Batch(batch.clean[:5], batch.noisy[:5])
        waves = {"noisy": batch.noisy, "denoised": self._restore(batch)[2], "clean": batch.clean}
        for i in range(len(batch.clean)):
            pictures = []
            for name, wav in waves.items():
                writer.add_audio(
                    f"{name}/{i}", (0.1 * wav[i]).clamp(-1, 1)[None], step, self.signal.sample_rate
                )
                pictures.append(self._analyse(wav[i : i + 1].float())[0][0].flip(0) / 3)
            writer.add_image(
                f"noisy_denoised_clean/{i}", torch.cat(pictures).clamp(0, 1), step, dataformats="HW"
            )

    def _pieces(self) -> Batch:
        """The same held-out pieces at every validation, each with its noise, on the generator's device."""
        data, n = self.validation, self.config.validation_pieces
        kinds = [*GENERATORS] + (["babble"] if data.can_babble else [])
        snrs_db = np.linspace(*self.config.validation_snr_db, n)
        pairs = []
        for i in range(n):
            rng = np.random.default_rng([11, i])
            index = i * len(data.speech) // n  # spread over the speakers
            pairs.append(data.spoil(index, data.piece(index, rng), snrs_db[i], rng, kinds[i % len(kinds)]))
        batch, device = collate(pairs), next(self._bare().parameters()).device
        return Batch(batch.clean.to(device), batch.noisy.to(device))

    def _analyse(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(wav.device.type, enabled=False), torch.no_grad():
            return self._bare().analyse(wav)

    def _bare(self) -> SpectralDenoiser:
        """The generator without its distributed wrapper: its transforms hold no parameters."""
        generator = self.modules["generator"]
        return getattr(generator, "module", generator)


class BandRecipe(Recipe):
    """The same for a `BandDenoiser`."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: BandDenoiserConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    model = BandDenoiser
