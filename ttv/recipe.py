"""How the text-to-vec model is trained: the losses of the published training step (hand-over section 5.5)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.data import step_batches
from speech.freezing import freeze_all_but
from speech.losses import kl_divergence
from speech.packs import Pack
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig
from speech.turns import move
from ttv import pictures
from ttv.data import DataConfig, TTVBatch, TTVData, collate
from ttv.listening import Speak, add_speech
from ttv.model import PITCH_SOURCES, TTV, TTVConfig, TTVTrainingOutput
from ttv.pitch import F0_PER_FRAME, cut_slices

F0_PICTURE_HZ = (60.0, 500.0)  # bottom and top


@dataclass
class RecipeConfig:
    """Options of the training step."""

    slice_frames: int = 60  # excerpt that the pitch predictor sees per step, 1.2 s
    # Features that pitch is learnt from: of the "recording" as published, their "reconstruction", or those of the "text"
    pitch_from: str = "recording"
    # spread of the prior with pitch_from: text; the noise_scale that voices speak with
    pitch_noise: float = 0.333
    phase: str = "all"  # or "pitch": only the pitch predictor learns, by its loss alone, from train.init on
    validation_batches: int = 4
    preview_synthesizer: str | None = (
        None  # folder of a synthesizer or a voice: the previews are then heard too
    )

    def __post_init__(self):
        if min(self.slice_frames, self.validation_batches) < 1:
            raise ValueError(
                f"expected positive numbers, got slice_frames {self.slice_frames} and validation_batches "
                f"{self.validation_batches}"
            )
        if self.pitch_from not in PITCH_SOURCES:
            raise ValueError(f"pitch_from is {self.pitch_from!r}, expected one of {', '.join(PITCH_SOURCES)}")
        if self.phase not in ("all", "pitch"):
            raise ValueError(f"phase is {self.phase!r}, expected all or pitch")


@dataclass
class Sections:
    """The sections of a configuration that this recipe reads."""

    model: TTVConfig = field(default_factory=TTVConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)


class Recipe:
    """One turn per step: the conditional VAE with everything learnt at once, or its pitch predictor alone.

    Validation is on the pack's `dev` split.
    """

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
        self.speak: Speak | None = None  # set from outside where recipe.preview_synthesizer is given
        if recipe_config.phase == "pitch":
            if train_config.init is None:
                raise ValueError("recipe.phase pitch goes on from a trained model: expected init=FOLDER")
            freeze_all_but(self.modules["ttv"], ["pitch_predictor"])
        self.config, self.train_config, self.audio = recipe_config, train_config, model_config.audio
        self.mel = MelSpectrogram(model_config.audio)
        pack = Pack(data_config.pack)
        self.data, self.dev = (
            TTVData(pack, (split,), data_config, model_config, recipe_config.slice_frames)
            for split in ("train", "dev")
        )
        for split, data in (("train", self.data), ("dev", self.dev)):
            if data.left_out or data.unknown:
                print(f"{data_config.pack} {split}: {data.summary()}", flush=True)
        if not len(self.data):
            raise ValueError(f"{data_config.pack}: nothing to train on: {self.data.summary()}")

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
            self.data.weights(),
            seconds=self.data.seconds(),
            batch_seconds=train.batch_seconds,
        )

    def turns(self, batch: TTVBatch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The one turn of a step."""
        yield "ttv", self._losses(batch, self._forward(batch))

    def validate(self) -> dict[str, float]:
        """The losses on the first utterances of the dev split; {} without one.

        `pitch_from_text` is the pitch loss where pitch is predicted from what the text gives, as it is when the model
        speaks: far above `pitch`, it says that a pitch phase pays (configs/base/ttv_pitch.yaml).
        """
        sums: dict[str, float] = {}
        batches = list(self._dev_batches())
        for batch in batches:
            values = self._losses(batch, self._forward(batch))
            values["pitch_from_text"] = self._pitch_loss(batch, self._forward(batch, "text"))
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(batches)
        return sums

    def preview(self, writer, step: int) -> None:
        """One dev utterance: to hear, and as pictures its mel, its alignment (tokens from the top, frames to the right),
        true features above reconstructed ones, and F0, green as it is and red as predicted from the recording's features
        and from the text's. With a synthesizer also its sound as made of the recording's features and F0 (reconstruction)
        and from the text alone (synthesis)."""
        batch = next(self._dev_batches(1), None)
        if batch is None:
            return
        n_frames, n_ids = int(batch.frame_mask.sum()), int(batch.text_mask.sum())
        mel = self.mel.to(batch.wav.device)(batch.wav)[0]
        whole = batch.slice_start * 0  # pitch of the whole utterance, not of an excerpt
        out = self._forward(batch, "recording", whole, n_frames)
        path = pictures.alignment(out.durations[0, :n_ids].cumsum(0), n_frames)
        features = torch.cat([batch.semantic[0], out.semantic[0].float()])  # [2C, N]
        writer.add_audio("recording", batch.wav.cpu(), step, self.audio.sample_rate)
        writer.add_image("mel", pictures.levels(mel.flip(0)), step, dataformats="HW")
        writer.add_image("alignment", path, step, dataformats="HW")
        writer.add_image("semantic", pictures.levels(features), step, dataformats="HW")
        from_text = self._forward(batch, "text", whole, n_frames)
        low, high = np.log1p(F0_PICTURE_HZ)
        for name, log_f0 in (("f0", out.log_f0), ("f0_from_text", from_text.log_f0)):
            picture = pictures.curves(batch.log_f0[0], log_f0[0, 0], low, high)
            writer.add_image(name, picture, step)
        if self.speak is not None:
            self._add_speech(writer, step, batch)

    @torch.inference_mode()
    def _add_speech(self, writer, step: int, batch: TTVBatch) -> None:
        model = getattr(self.modules["ttv"], "module", self.modules["ttv"])
        mel, noise = self.mel(batch.wav), torch.Generator().manual_seed(0)
        style = model.style_encoder(mel, batch.frame_mask)
        said = model.infer(batch.phoneme_ids, style, generator=noise, language_ids=batch.language_ids)
        again, spoken = (batch.semantic, batch.log_f0[:, None]), (said.semantic, said.log_f0)
        add_speech(
            writer, step, self.speak, mel, self.audio.sample_rate, reconstruction=again, synthesis=spoken
        )

    def audio_seconds(self, batch: TTVBatch) -> float:
        """Seconds of audio in a batch."""
        return float(batch.frame_mask.sum()) * self.audio.hop_length / self.audio.sample_rate

    def _forward(
        self,
        batch: TTVBatch,
        pitch_from: str | None = None,
        slice_start: Tensor | None = None,
        slice_frames: int | None = None,
    ) -> TTVTrainingOutput:
        mel = self.mel.to(batch.wav.device)(batch.wav)
        return self.modules["ttv"](
            batch.phoneme_ids,
            batch.text_mask,
            batch.semantic,
            batch.frame_mask,
            mel,
            batch.slice_start if slice_start is None else slice_start,
            slice_frames or self.config.slice_frames,
            pitch_from or self.config.pitch_from,
            self.config.pitch_noise,
            batch.language_ids,
        )

    def _losses(self, batch: TTVBatch, out: TTVTrainingOutput) -> dict[str, Tensor]:
        if self.config.phase == "pitch":
            return {"pitch": self._pitch_loss(batch, out)}
        log_probabilities = out.ctc_logits.float().log_softmax(1).permute(2, 0, 1)  # [N, B, n_symbols]
        return {
            # A mean over the padding too, where both sides are zero: the authors found that a masked mean makes
            # long pauses (their issue 36).
            "semantic": F.l1_loss(out.semantic.float(), batch.semantic),
            "kl": kl_divergence(
                out.z_prior, out.posterior.log_std, out.prior.mean, out.prior.log_std, batch.frame_mask
            ),
            "pitch": self._pitch_loss(batch, out),
            "duration": out.duration_nll.sum() / batch.text_mask.sum(),
            "ctc": F.ctc_loss(log_probabilities, batch.ctc_ids, batch.frame_mask.sum(1), batch.ctc_lengths),
        }

    def _pitch_loss(self, batch: TTVBatch, out: TTVTrainingOutput) -> Tensor:
        starts, length = batch.slice_start * F0_PER_FRAME, self.config.slice_frames * F0_PER_FRAME
        log_f0 = cut_slices(batch.log_f0.unsqueeze(1), starts, length)
        return F.l1_loss(out.log_f0.float(), log_f0)

    def _dev_batches(self, batch_size: int | None = None) -> Iterator[TTVBatch]:
        """The first dev utterances, with the same excerpts every time."""
        size, device = (
            batch_size or self.train_config.batch_size,
            next(self.modules["ttv"].parameters()).device,
        )
        last = min(len(self.dev), size * self.config.validation_batches)
        for first in range(0, last, size):
            rng = np.random.default_rng(first)
            examples = [self.dev.example(i, rng) for i in range(first, min(first + size, last))]
            yield move(collate(examples), device)
