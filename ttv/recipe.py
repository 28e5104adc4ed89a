"""How the text-to-vec model is trained: the losses of the published training step (hand-over section 5.5)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.data import step_batches
from speech.losses import kl_divergence
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig
from ttv.data import DataConfig, TTVBatch, TTVData, collate
from ttv.model import TTV, TTVConfig, TTVTrainingOutput
from ttv.pitch import F0_PER_FRAME


@dataclass
class RecipeConfig:
    """Options of the training step."""

    slice_frames: int = 60  # excerpt of true features that the pitch predictor sees per step, 1.2 s
    validation_batches: int = 4

    def __post_init__(self):
        if min(self.slice_frames, self.validation_batches) < 1:
            raise ValueError(f"expected positive numbers, got {self}")


@dataclass
class Sections:
    """The sections of a configuration that this recipe reads."""

    model: TTVConfig = field(default_factory=TTVConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)


class Recipe:
    """One turn per step: the conditional VAE with everything learnt at once."""

    Config = Sections
    published = "ttv"

    def __init__(
        self,
        model_config: TTVConfig,
        data_config: DataConfig,
        recipe_config: RecipeConfig,
        losses: dict[str, dict[str, float]],
        train_config: TrainConfig,
    ):
        self.modules: dict[str, nn.Module] = {"ttv": TTV(model_config)}
        self.config, self.train_config, self.audio = recipe_config, train_config, model_config.audio
        self.mel = MelSpectrogram(model_config.audio)
        self.data = TTVData(data_config.filelist, data_config, model_config, recipe_config.slice_frames)
        self.validation = None
        if data_config.validation_filelist is not None:
            path = data_config.validation_filelist
            self.validation = TTVData(path, data_config, model_config, recipe_config.slice_frames)
        if self.data.left_out or self.data.unknown:
            print(
                f"{data_config.filelist}: {len(self.data)} utterances, left out {dict(self.data.left_out)}, "
                f"unknown phonemes {dict(self.data.unknown)}"
            )

    def batches(self, start_step: int) -> Iterator[TTVBatch]:
        """Batches of steps `start_step`, `start_step + 1`, ..."""
        train = self.train_config
        return step_batches(
            self.data.example,
            collate,
            len(self.data),
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
        )

    def turns(self, batch: TTVBatch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The one turn of a step."""
        yield "ttv", self._losses(batch)

    def validate(self) -> dict[str, float]:
        """The losses on the first utterances of the validation filelist; {} without one."""
        if self.validation is None:
            return {}
        sums: dict[str, float] = {}
        batches = list(self._validation_batches())
        for batch in batches:
            for name, value in self._losses(batch).items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(batches)
        return sums

    def preview(self, writer, step: int) -> None:
        """A picture of true (top) and reconstructed (bottom) semantic features of one validation utterance."""
        if self.validation is None:
            return
        batch = next(self._validation_batches())
        out = self._forward(batch)
        n_frames = int(batch.frame_mask[0].sum())
        picture = torch.cat([batch.semantic[0, :, :n_frames], out.semantic[0, :, :n_frames].float()])
        low, high = picture.quantile(torch.tensor([0.01, 0.99], device=picture.device))
        writer.add_image("semantic", ((picture - low) / (high - low)).clamp(0, 1).unsqueeze(0), step)

    def audio_seconds(self, batch: TTVBatch) -> float:
        """Seconds of audio in a batch."""
        return float(batch.frame_mask.sum()) * self.audio.hop_length / self.audio.sample_rate

    def _forward(self, batch: TTVBatch) -> TTVTrainingOutput:
        mel = self.mel.to(batch.wav.device)(batch.wav)
        semantic_slice = _slices(batch.semantic, batch.slice_start, self.config.slice_frames)
        return self.modules["ttv"](
            batch.phoneme_ids, batch.text_mask, batch.semantic, batch.frame_mask, mel, semantic_slice
        )

    def _losses(self, batch: TTVBatch) -> dict[str, Tensor]:
        out = self._forward(batch)
        slice_f0 = self.config.slice_frames * F0_PER_FRAME
        log_f0 = _slices(batch.log_f0.unsqueeze(1), batch.slice_start * F0_PER_FRAME, slice_f0)
        log_probabilities = out.ctc_logits.float().log_softmax(1).permute(2, 0, 1)  # [N, B, n_symbols]
        return {
            # A mean over the padding too, where both sides are zero: the authors found that a masked mean makes
            # long pauses (their issue 36).
            "semantic": F.l1_loss(out.semantic.float(), batch.semantic),
            "kl": kl_divergence(
                out.z_prior, out.posterior.log_std, out.prior.mean, out.prior.log_std, batch.frame_mask
            ),
            "pitch": F.l1_loss(out.log_f0.float(), log_f0),
            "duration": out.duration_nll.sum() / batch.text_mask.sum(),
            "ctc": F.ctc_loss(log_probabilities, batch.ctc_ids, batch.frame_mask.sum(1), batch.ctc_lengths),
        }

    def _validation_batches(self) -> Iterator[TTVBatch]:
        size, device = self.train_config.batch_size, next(self.modules["ttv"].parameters()).device
        last = min(len(self.validation), size * self.config.validation_batches)
        for first in range(0, last, size):
            rng = np.random.default_rng(first)  # the same excerpts every time
            batch = collate([self.validation.example(i, rng) for i in range(first, min(first + size, last))])
            yield TTVBatch(**{name: value.to(device) for name, value in vars(batch).items()})


def _slices(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """x [B, C, time] -> [B, C, length], item b from starts[b] on; zeros where an item ends earlier."""
    x = F.pad(x, (0, length))
    index = starts.unsqueeze(1) + torch.arange(length, device=x.device)  # [B, length]
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))
