"""Recipe of the phonetic encoder: name the phone of every 20 ms frame under speaker perturbation.

With a loss for "features" it also hears what text-to-vec would have said: the features that a trained text-to-vec predicts for the words
and times of a recording (`predicted` in the pack), and, with `data.spoken`, those from which a voice spoke other texts. The
features of recordings then stay in the space that text-to-vec and synthesizer know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.data import step_batches
from speech.packs import Pack
from speech.perturbation import PerturbationConfig
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig
from speech.spectrogram import AudioConfig, MelSpectrogram
from speech.training import TrainConfig


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py, aligned
    seconds: float = 3.0  # length of the random pieces
    source_weights: dict[str, float] = field(
        default_factory=dict
    )  # how often recordings of a source are drawn
    spoken: str | None = None  # pack of `python -m hierspeech.pipelines.spoken`: no phones, features only
    spoken_share: float = 0.5  # of the examples that are taken from it
    spoken_gain: float = 0.7  # ln of the largest change of its level, which is the same throughout
    spoken_reverberant: float = 0.0  # share of it that is heard in a room


@dataclass
class RecipeConfig:
    perturbation: PerturbationConfig = field(default_factory=lambda: PerturbationConfig(masks=2))
    label_smoothing: float = 0.05


class Recipe:
    """Cross-entropy of frame labels; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: PhoneticEncoderConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "encoder"

    def __init__(
        self, model: PhoneticEncoderConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        self.data, self.recipe, self.train = data, recipe, train
        self.modules: dict[str, nn.Module] = {"encoder": PhoneticEncoder(model)}
        self.dim = model.dim
        self.pack = Pack(data.pack)
        aligned = [i for i in range(len(self.pack)) if self.pack.length("phone_ids", i)]
        self.indices = [i for i in aligned if self.pack.utterances[i]["split"] == "train"]
        self.dev = [i for i in aligned if self.pack.utterances[i]["split"] == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no aligned utterance to train on")
        self.samples = int(data.seconds * 50) * 320
        self.matches = "features" in (losses or {}).get("encoder", {})
        self.spoken = None if data.spoken is None else Pack(data.spoken)
        if self.matches and not self.pack.has("predicted"):
            raise ValueError(
                f"{data.pack} has no 'predicted' features, which the loss features needs: prepare.py --predicted"
            )
        if self.spoken is not None and not self.matches:
            raise ValueError("data.spoken has no phones: expected a weight for the loss features")

    def example(self, place: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, int]:
        """wav [T], labels [N] (-100 = unknown), features [N, dim] (NaN = unknown) and the number of valid samples."""
        if self.spoken is not None and rng.random() < self.data.spoken_share:
            return self._spoken_example(self.spoken, rng)
        index = self.indices[place]
        start, stop = self._place(self.pack, index, rng)
        wav, labels = self._piece(index, start, stop)
        padding = self.samples - len(wav)
        labels = F.pad(labels, (0, padding // 320), value=-100)
        return F.pad(wav, (0, padding)), labels, self._features(self.pack, index, start, stop), len(wav)

    def _spoken_example(self, pack: Pack, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, int]:
        index = int(rng.integers(len(pack)))
        start, stop = self._place(pack, index, rng)
        gain = float(np.exp(rng.uniform(-1, 1) * self.data.spoken_gain))
        heard = pack.read("wav", index, start * 320, stop * 320).astype(np.float32) * gain / 32768
        if rng.random() < self.data.spoken_reverberant:
            heard = in_room(heard, rng)
        wav = torch.from_numpy(heard)
        labels = torch.full((self.samples // 320,), -100)
        features = self._features(pack, index, start, stop)
        return F.pad(wav, (0, self.samples - len(wav))), labels, features, len(wav)

    def _place(self, pack: Pack, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """First and last frame of a random piece."""
        frames, wanted = pack.length("wav", index) // 320, self.samples // 320
        start = int(rng.integers(0, max(frames - wanted, 0) + 1))
        return start, min(frames, start + wanted)

    def _features(self, pack: Pack, index: int, start: int, stop: int) -> Tensor:
        features = torch.full((self.samples // 320, self.dim), torch.nan)
        if self.matches:
            rows = torch.from_numpy(pack.read("predicted", index, start, stop).astype(np.float32))
            features[: len(rows)] = rows
        return features

    def _piece(self, index: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        wav = torch.from_numpy(
            self.pack.read("wav", index, start * 320, stop * 320).astype(np.float32) / 32768
        )
        ends, ids = self.pack.read("phone_ends", index), self.pack.read("phone_ids", index)
        centres = np.arange(start, stop) * 2 + 1  # in the aligner's 10 ms frames
        return wav, torch.from_numpy(
            ids[np.searchsorted(ends, centres, "right").clip(max=len(ids) - 1)].astype(np.int64)
        )

    def batches(self, start_step: int) -> Iterator:
        weights = np.array([self.pack.length("wav", i) * self._weight(i) for i in self.indices], np.float64)
        return step_batches(
            self.example,
            torch.utils.data.default_collate,
            len(self.indices),
            self.train.batch_size,
            self.train.seed,
            start_step,
            self.train.num_workers,
            weights,
            self.samples / 16000,
            self.train.batch_seconds,
        )

    def audio_seconds(self, batch) -> float:
        return float(batch[3].sum()) / 16000

    def _weight(self, index: int) -> float:
        source = self.pack.utterances[index]["source"]
        return next((w for name, w in self.data.source_weights.items() if name in source), 1.0)

    def turns(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], step: int):
        wav, labels, features, lengths = batch
        semantic, logits = self.modules["encoder"](wav, lengths, self.recipe.perturbation, classify="both")
        # sums over what is known, since a batch may have no phones, or no features, at all
        smoothing = self.recipe.label_smoothing
        phones = F.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), label_smoothing=smoothing, reduction="sum"
        )
        losses = {"phones": phones / (labels >= 0).sum().clamp(min=1)}
        if self.matches:
            known = ~features[..., :1].isnan()
            error = torch.where(known, semantic.transpose(1, 2).float() - features.nan_to_num(), 0.0)
            losses["features"] = error.square().sum() / (known.sum() * self.dim).clamp(min=1)
        yield "encoder", losses

    def validate(self) -> dict[str, float]:
        """Share of frames, and of frames that are not silence, named right on the dev utterances."""
        encoder = self.modules["encoder"]
        device = next(encoder.parameters()).device
        right = total = right_speech = speech = 0
        for index in self.dev:
            wav, labels = self._piece(index, 0, self.pack.length("wav", index) // 320)
            found = encoder(wav[None].to(device), classify=True)[0].argmax(-1).cpu()
            hit = found == labels
            right, total = right + int(hit.sum()), total + len(hit)
            right_speech, speech = right_speech + int(hit[labels > 0].sum()), speech + int((labels > 0).sum())
        return {
            "frame_accuracy": right / max(total, 1),
            "speech_frame_accuracy": right_speech / max(speech, 1),
        }

    def preview(self, writer, step: int) -> None:
        """One dev utterance: to hear, and as pictures its mel, the phones it is said to have and those heard."""
        if not self.dev:
            return
        encoder, index = self.modules["encoder"], self.dev[0]
        device = next(encoder.parameters()).device
        wav, labels = self._piece(index, 0, min(self.pack.length("wav", index), 6 * 16000) // 320)
        heard = encoder(wav[None].to(device), classify=True)[0].softmax(-1).T  # [phones, N]
        said = F.one_hot(labels.to(device), len(heard)).T.float()
        mel = MelSpectrogram(AudioConfig())(wav[None])[0].flip(0)
        writer.add_audio("recording", wav[None], step, 16000)
        writer.add_image("mel", ((mel - mel.min()) / (mel.max() - mel.min() + 1e-9)), step, dataformats="HW")
        writer.add_image("phones_said_above_heard", torch.cat([said, heard]), step, dataformats="HW")


def in_room(wav: np.ndarray, rng: np.random.Generator, sample_rate: int = 16000) -> np.ndarray:
    """wav [T] with a decaying noise for a room's echo: 0.08 to 0.35 s down to -60 dB, 2 to 14 dB under the direct sound."""
    length = int(sample_rate * rng.uniform(0.08, 0.35))
    echo = rng.normal(size=length) * 10.0 ** (-3.0 * np.arange(length) / length)
    echo *= 10.0 ** (-rng.uniform(2.0, 14.0) / 20) / np.sqrt(np.square(echo).sum())
    echo[0] = 1.0
    n_fft = 1 << (len(wav) + length - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(wav, n_fft) * np.fft.rfft(echo, n_fft), n_fft)
    return heard[: len(wav)].astype(np.float32)
