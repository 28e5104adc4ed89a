"""Recipe of AlignedTTV: regress durations, semantic features and pitch contours of force-aligned speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.data import step_batches
from speech.f0 import pitch_statistics
from speech.freezing import freeze, freeze_all_but
from speech.losses import masked_l1
from speech.masks import lengths_to_mask
from speech.packs import Pack, SpeakerIndex
from speech.spectrogram import MelSpectrogram
from speech.text.language_tags import match_language
from speech.text.phones import WORD, PhoneTokenizer
from speech.training import TrainConfig
from speech.turns import move
from ttv import pictures
from ttv.aligned import CONTOUR_RANGE, AlignedTTV, AlignedTTVConfig, Prediction
from ttv.balance import balance
from ttv.listening import Speak, add_speech
from ttv.melody import token_means, token_of_f0_frame
from ttv.transcripts import aligned_language_ids

MIN_VOICED = 20  # f0 frames (0.1 s): fewer say nothing about a speaker's range


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py with alignments, F0 and semantic features
    max_seconds: float = 6.0  # longer utterances are cut at word boundaries
    prompt_seconds: float = 3.0
    # words in an utterance's `source` -> how often it is drawn, relative to its length
    source_weights: dict[str, float] = field(default_factory=dict)
    # how much more often than its share a rare language or speaker is drawn: 1 not at all, 0 as often as all others
    language_balance: float = 1.0
    speaker_balance: float = 1.0


@dataclass
class RecipeConfig:
    """Options of the training step."""

    preview_synthesizer: str | None = (
        None  # folder of a synthesizer or a voice: the previews are then heard too
    )
    only: list[str] = field(default_factory=list)  # parts to train, as `melody`; none = all


@dataclass
class Batch:
    """S tokens, N frames, P prompt samples; targets are 0 where padded."""

    token_ids: Tensor  # [B, S]
    n_tokens: Tensor  # [B]
    ends: Tensor  # [B, S] frames
    semantic: Tensor  # [B, C, N]
    n_frames: Tensor  # [B]
    contour: Tensor  # [B, 4N]
    voiced: Tensor  # [B, 4N]
    prompt: Tensor  # [B, P]
    n_prompt: Tensor  # [B]
    language_ids: Tensor | None  # [B, S], of a model with languages


class Recipe:
    """One turn for the one module; validation on the pack's `dev` split."""

    @dataclass
    class Config:
        model: AlignedTTVConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "ttv"

    def __init__(
        self, model: AlignedTTVConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        self.data, self.train = data, train
        self.speak: Speak | None = None  # set from outside where recipe.preview_synthesizer is given
        self.modules: dict[str, nn.Module] = {"ttv": AlignedTTV(model)}
        if recipe.only:
            freeze_all_but(self.modules["ttv"], recipe.only)
        self.melody_alone = recipe.only == ["melody"]
        self.weighs_melody = "melody" in losses.get("ttv", {})
        if model.melody_width and not self.weighs_melody:  # then it stays as it is
            freeze(self.modules["ttv"], ["melody"])
        self.languages = model.languages
        self.mel = MelSpectrogram(model.audio)
        self.pack = Pack(data.pack)
        self.pack.require_semantic(model.semantic)
        usable = [i for i in range(len(self.pack)) if self.pack.length("token_ids", i)]
        if self.languages:
            for index in usable:
                match_language(
                    self.pack.utterances[index]["language"], self.languages
                )  # or it says which is missing
        self.indices = [i for i in usable if self.pack.utterances[i]["split"] == "train"]
        self.dev = [i for i in usable if self.pack.utterances[i]["split"] == "dev"]
        if not self.indices:
            raise ValueError(f"{data.pack}: no aligned utterance to train on")
        self.speakers = SpeakerIndex(self.pack)
        self.tokenizer = PhoneTokenizer()
        self.breaks = np.array([unit in (WORD, ",", ".", "!", "?") for unit, _ in self.tokenizer.symbols])

    def example(self, place: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self._example(self.indices[place], rng)

    def _example(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        ids = self.pack.read("token_ids", index).astype(np.int64)
        ends = self.pack.read("token_ends", index).astype(np.float32) / 2  # 10 ms -> 20 ms frames
        first, last = self._cut(ids, ends, rng)
        start = ends[first - 1] if first else 0.0
        total = self.pack.length("semantic", index)
        low, high = int(round(start)), min(int(round(ends[last - 1])), total)
        f0 = self.pack.read("f0", index).astype(np.float32)
        voiced = f0 > 0
        contour = np.zeros_like(f0)
        if voiced.sum() >= MIN_VOICED:
            mean, deviation = pitch_statistics(f0)
            contour[voiced] = ((np.log(f0[voiced]) - mean) / max(deviation, 0.03)).clip(*CONTOUR_RANGE)
        pitch = np.zeros((2, (high - low) * 4), np.float32)
        piece = slice(low * 4, high * 4)
        pitch[0, : len(contour[piece])], pitch[1, : len(contour[piece])] = contour[piece], voiced[piece]
        languages = aligned_language_ids(self.pack, index, self.tokenizer, self.languages)
        given = {} if languages is None else {"language_ids": np.array(languages[first:last])}
        return given | {
            "token_ids": ids[first:last],
            "ends": (ends[first:last] - low).clip(0, high - low).astype(np.float32),
            "semantic": self.pack.read("semantic", index, low, high).astype(np.float32).T.copy(),
            "contour": pitch[0],
            "voiced": pitch[1],
            "prompt": self.speakers.prompt(index, int(self.data.prompt_seconds * 16000), rng),
        }

    def _cut(self, ids: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        longest = self.data.max_seconds * 50
        if ends[-1] <= longest:
            return 0, len(ids)
        borders = np.concatenate([[0], np.flatnonzero(self.breaks[ids]) + 1])  # a piece starts after a break
        starts = np.concatenate([[0.0], ends])[borders]
        possible = borders[:-1][starts[:-1] <= ends[-1] - longest / 2]
        first = int(rng.choice(possible)) if len(possible) else 0
        begin = ends[first - 1] if first else 0.0
        fitting = borders[(borders > first) & (np.concatenate([[0.0], ends])[borders] - begin <= longest)]
        return (first, int(fitting[-1])) if len(fitting) else (first, int(borders[borders > first][0]))

    def batches(self, start_step: int) -> Iterator[Batch]:
        utterances = [self.pack.utterances[i] for i in self.indices]
        weights = balance(
            np.array([self._weight(i) for i in self.indices]),
            [u["language"] for u in utterances],
            [u["speaker"] for u in utterances],
            self.data.language_balance,
            self.data.speaker_balance,
        )
        return step_batches(
            self.example,
            collate,
            len(self.indices),
            self.train.batch_size,
            self.train.seed,
            start_step,
            self.train.num_workers,
            weights,
        )

    def _weight(self, index: int) -> float:
        source = self.pack.utterances[index]["source"]
        factor = next((w for name, w in self.data.source_weights.items() if name in source), 1.0)
        return factor * min(self.pack.length("wav", index) / 16000, 3 * self.data.max_seconds)

    def audio_seconds(self, batch: Batch) -> float:
        return float(batch.n_frames.sum()) / 50

    def turns(self, batch: Batch, step: int):
        yield "ttv", self._losses(batch)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        text_mask, frame_mask = lengths_to_mask(batch.n_tokens), lengths_to_mask(batch.n_frames)
        if self.melody_alone:
            melody = self._predict(batch, text_mask, frame_mask, melody_alone=True)
            return {"melody": self._melody_loss(batch, melody, frame_mask)}
        out = self._predict(batch, text_mask, frame_mask)
        durations = torch.diff(batch.ends, dim=1, prepend=torch.zeros_like(batch.ends[:, :1])).clamp(min=0)
        f0_mask = frame_mask.repeat_interleave(4, 1)
        voiced = F.binary_cross_entropy_with_logits(out.voiced, batch.voiced, reduction="none")
        losses = {
            "durations": masked_l1(out.log_durations, torch.log1p(durations), text_mask),
            "semantic": masked_l1(out.semantic, batch.semantic, frame_mask[:, None]),
            "contour": masked_l1(out.contour, batch.contour, f0_mask & (batch.voiced > 0.5)),
            "voiced": (voiced * f0_mask).sum() / f0_mask.sum(),
        }
        if self.weighs_melody:  # nothing is lost by a model that has none: one configuration fine-tunes both
            none = torch.zeros((), device=batch.ends.device)
            losses["melody"] = (
                none if out.melody is None else self._melody_loss(batch, out.melody, frame_mask)
            )
        return losses

    def _melody_loss(self, batch: Batch, melody: Tensor, frame_mask: Tensor) -> Tensor:
        """Squared distance of melody [B, S] from the mean of the contour over each token, by how much of it is voiced."""
        index = token_of_f0_frame(batch.ends, batch.contour.shape[1])
        weights = batch.voiced * frame_mask.repeat_interleave(4, 1)
        means, weight = token_means(batch.contour, weights, index, batch.ends.shape[1])
        return ((melody - means).square() * weight).sum() / weight.sum().clamp(min=1)

    def _predict(
        self, batch: Batch, text_mask: Tensor, frame_mask: Tensor, melody_alone: bool = False
    ) -> Prediction | Tensor:
        self.mel.to(batch.prompt.device)
        prompt = self.mel(batch.prompt)
        prompt_mask = lengths_to_mask(batch.n_prompt // 320, prompt.shape[-1])
        return self.modules["ttv"](
            batch.token_ids,
            text_mask,
            batch.ends,
            frame_mask,
            prompt,
            prompt_mask,
            batch.language_ids,
            melody_alone,
        )

    def validate(self) -> dict[str, float]:
        """Mean of every loss over the dev utterances, prompted by the same speakers."""
        sums: dict[str, float] = {}
        device = next(self.modules["ttv"].parameters()).device
        rng = np.random.default_rng(0)
        groups = [self.dev[i : i + 16] for i in range(0, len(self.dev), 16)]
        for group in groups:
            batch = collate([self._example(i, rng) for i in group])
            batch = move(batch, device)
            for name, value in self._losses(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(groups)
        return sums

    def preview(self, writer, step: int) -> None:
        """One dev utterance: to hear, and as pictures its mel, its alignment (tokens from the top; the aligner's above,
        the predicted durations below), features and pitch contour, the recording's above and the predicted below, and F0,
        green as it is and red as predicted, in the speaker's deviations. With a synthesizer also its sound as made of the
        recording's features (reconstruction) and from the text (synthesis)."""
        if not self.dev:
            return
        device = next(self.modules["ttv"].parameters()).device
        rng = np.random.default_rng(0)
        batch = move(collate([self._example(self.dev[0], rng)]), device)
        out = self._predict(batch, lengths_to_mask(batch.n_tokens), lengths_to_mask(batch.n_frames))
        n_frames = int(batch.n_frames)
        recording = torch.from_numpy(self.pack.read("wav", self.dev[0]).astype(np.float32) / 32768)[None]
        writer.add_audio("recording", recording, step, 16000)
        mel = self.mel(recording.to(device))[0].flip(0)
        writer.add_image("mel", pictures.levels(mel), step, dataformats="HW")
        predicted = torch.expm1(out.log_durations[0]).clamp(min=0).cumsum(0)
        paths = [pictures.alignment(ends, n_frames) for ends in (batch.ends[0], predicted)]  # [S, N] each
        writer.add_image("alignment", torch.cat(paths), step, dataformats="HW")
        features = torch.cat([batch.semantic[0], out.semantic[0].float()])  # [2C, N]
        writer.add_image("semantic", (features / 6 + 0.5).clamp(0, 1), step, dataformats="HW")
        unvoiced = -9.0  # under the picture
        truth = torch.where(batch.voiced[0] > 0.5, batch.contour[0], unvoiced)
        contour = torch.where(out.voiced[0] > 0, out.contour[0], unvoiced)
        writer.add_image("f0", pictures.curves(truth, contour, -3.0, 3.0), step)
        if self.speak is not None:
            self._add_speech(writer, step, batch)

    @torch.inference_mode()
    def _add_speech(self, writer, step: int, batch: Batch) -> None:
        model = getattr(self.modules["ttv"], "module", self.modules["ttv"])
        prompt = self.mel(batch.prompt)
        f0 = self.pack.read("f0", self.dev[0]).astype(np.float32)
        if (f0 > 0).sum() < MIN_VOICED:  # a whisper: nothing says how high the voice is
            return
        pitch = torch.tensor(pitch_statistics(f0), device=prompt.device)
        recorded = torch.where(
            batch.voiced > 0.5, torch.log1p((pitch[0] + pitch[1] * batch.contour).exp()), 0.0
        )
        style = model.style_encoder(prompt, lengths_to_mask(batch.n_prompt // 320, prompt.shape[-1]))
        said = model.infer(batch.token_ids, style, pitch=pitch[None], language_ids=batch.language_ids)
        again, spoken = (batch.semantic, recorded[:, None]), (said.semantic, said.log_f0)
        add_speech(writer, step, self.speak, prompt, 16000, reconstruction=again, synthesis=spoken)


def collate(examples: list[dict[str, np.ndarray]]) -> Batch:
    """Pad examples to the longest of each kind."""

    def pad(name: str) -> Tensor:
        rows = [torch.from_numpy(e[name]) for e in examples]
        longest = max(row.shape[-1] for row in rows)
        return torch.stack([F.pad(row, (0, longest - row.shape[-1])) for row in rows])

    def count(name: str) -> Tensor:
        return torch.tensor([e[name].shape[-1] for e in examples])

    ends = pad("ends")
    # padded tokens end where the last real one does, so that no frame is theirs
    ends = torch.maximum(ends, ends.cummax(1).values)
    return Batch(
        pad("token_ids"), count("token_ids"), ends, pad("semantic"), count("semantic"), pad("contour"), pad("voiced"),
        pad("prompt"), count("prompt"), pad("language_ids") if "language_ids" in examples[0] else None,
    )  # fmt: skip
