"""Training clips of TokTTS: texts and codes of a pack's utterances, cut alike; copies with noise where a codec is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spear.codec.codec import load_codec
from spear.layouts import Codes
from spear.semantic_to_acoustic.inputs import check_codec
from spear.text_tokens import text_tokenizer
from spear.toktts.clips import cut_text, word_ends_of
from spear.toktts.model import TokTTSConfig, encode_texts
from speech.audio import resample
from speech.data import step_batches
from speech.packs import Pack
from speech.text.phones import PhoneTokenizer
from speech.token_arrays import require_acoustic_tokens
from speech.training import TrainConfig

SAMPLE_RATE = 16000


@dataclass
class DataConfig:
    pack: str  # folder made by prepare.py, with texts; and acoustic tokens where no codec is named
    clip_seconds: float = 2.0  # utterances are cut to it, any length
    limit: int | None = None  # of utterances
    codec: str | None = None  # name or folder: codes are made of the sound here, not read from the pack
    augmentation_factor: int = 1  # copies of each clip, the second and further ones with noise; wants a codec
    augmentation_noise: float = 6.0e-4  # deviation of the noise, of full scale 1


@dataclass
class Batch:
    """S tokens of text, L flattened codes."""

    text_ids: Tensor  # [B, S]
    n_text: Tensor  # [B]
    tokens: Tensor  # [B, L], an end behind each clip and in what is padded
    n_tokens: Tensor  # [B], the end counted
    seconds: float


class Clips:
    """Clips of a pack for a model of that config.

    Raises:
        ValueError: no texts, codes of another codec, noise without a codec, or clips longer than the model's context.
    """

    def __init__(self, data: DataConfig, train: TrainConfig, config: TokTTSConfig) -> None:
        self.data, self.train, self.config = data, train, config
        spec = config.codec
        if data.clip_seconds * spec.rate_hz > config.max_frames:
            raise ValueError(
                f"data.clip_seconds: {data.clip_seconds:g}, model.max_frames holds {config.max_frames / spec.rate_hz:g} s"
            )
        if data.augmentation_factor < 1 or (data.augmentation_factor > 1 and data.codec is None):
            raise ValueError(
                f"data.augmentation_factor: {data.augmentation_factor} copies want data.codec, as noise comes before the codec"
            )
        self.pack, self.phones, self.text = Pack(data.pack), PhoneTokenizer(), text_tokenizer(config.text)
        self.codec = None if data.codec is None else load_codec(data.codec)
        if self.codec is None:
            require_acoustic_tokens(self.pack, spec, config.n_codebooks)
        else:
            check_codec(spec, self.codec.spec, config.n_codebooks)
        self._made: dict[tuple[int, int], np.ndarray] = {}
        texts = {i: self.clip(i) for i in range(len(self.pack)) if self.pack.utterances[i]["text"].strip()}
        usable = [i for i, (text, _) in texts.items() if text]
        split = [u["split"] for u in self.pack.utterances]
        self.indices = [i for i in usable if split[i] == "train"][: data.limit]
        self.dev = [i for i in usable if split[i] == "dev"][: data.limit]
        if not self.indices:
            raise ValueError(f"{data.pack}: no utterance with a text to train on")

    def clip(self, index: int) -> tuple[str, float]:
        """Text and seconds of the clip of utterance `index`."""
        text, total = self.pack.utterances[index]["text"], self.pack.length("wav", index) / SAMPLE_RATE
        return cut_text(text, self.data.clip_seconds, total, word_ends_of(self.pack, index, self.phones))

    def codes(self, index: int, copy: int = 0) -> np.ndarray:
        """Codes [Q, M] of the clip; copies after the first are of noisy sound."""
        spec, seconds = self.config.codec, self.clip(index)[1]
        if self.codec is None:
            n_frames = max(int(seconds * spec.rate_hz), 1)
            codes = self.pack.read("acoustic_tokens", index, 0, n_frames)[:, : self.config.n_codebooks]
            return codes.T.astype(np.int64)
        if (index, copy) not in self._made:
            wav = self.pack.read("wav", index, 0, int(seconds * SAMPLE_RATE)).astype(np.float32) / 32768
            wav = resample(wav, SAMPLE_RATE, spec.sample_rate) if spec.sample_rate != SAMPLE_RATE else wav
            if copy:
                rng = np.random.default_rng([self.train.seed, index, copy])
                wav = wav + self.data.augmentation_noise * rng.standard_normal(len(wav)).astype(np.float32)
            codes = self.codec.encode(torch.from_numpy(wav)[None, None], self.config.n_codebooks)
            self._made[index, copy] = codes[0].numpy()
        return self._made[index, copy]

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Endless batches of train clips, every copy in turn."""
        train, copies = self.train, self.data.augmentation_factor
        return step_batches(
            lambda place, rng: self.example(self.indices[place // copies], place % copies),
            self.collate,
            len(self.indices) * copies,
            train.batch_size,
            train.seed,
            start_step,
            train.num_workers,
        )

    def example(self, index: int, copy: int = 0) -> tuple[str, np.ndarray]:
        """Text and codes [Q, M] of a clip."""
        return self.clip(index)[0], self.codes(index, copy)

    def collate(self, examples: list[tuple[str, np.ndarray]]) -> Batch:
        """Pad texts and codes to the longest."""
        config = self.config
        text_ids, n_text = encode_texts([text for text, _ in examples], self.text, config.max_text)
        n_frames = torch.tensor([codes.shape[1] for _, codes in examples])
        frames = torch.zeros(len(examples), config.n_codebooks, int(n_frames.max()), dtype=torch.long)
        for row, (_, codes) in enumerate(examples):
            frames[row, :, : codes.shape[1]] = torch.from_numpy(codes)
        tokens = Codes.of(frames, config.codec.codebook_size, n_frames).flattened()
        n_tokens = n_frames * config.n_codebooks + 1
        return Batch(text_ids, n_text, tokens, n_tokens, float(n_frames.sum()) / config.codec.rate_hz)
