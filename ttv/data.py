"""Training data of the text-to-vec model: the utterances of a pack that it can learn from, and batches of them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech.masks import lengths_to_mask
from speech.packs import Pack
from ttv.balance import balance
from ttv.languages import language_ids, tokenizer_of
from ttv.model import TTVConfig
from ttv.pitch import F0_PER_FRAME
from ttv.transcripts import read_phonemes

LENGTH_TOLERANCE = 5  # frames; encoders pad a recording by less than that
NAMED = 5  # how many utterances of each kind of defect a message names


@dataclass
class DataConfig:
    """Where the training data lies and which of it is used."""

    # folder made by prepare.py with audio, F0 and semantic features; its split `dev` is for validation
    pack: str = "data/pack"
    min_frames: int = 32
    max_frames: int = 600
    max_phonemes: int = 200  # symbols, blanks not counted
    # How much more often than its share a rare language or speaker is drawn: 1 not at all, 0 as often as all others
    language_balance: float = 1.0
    speaker_balance: float = 1.0

    def __post_init__(self):
        for name in ("language_balance", "speaker_balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected an exponent from 0 to 1, got {getattr(self, name)}")
        if not 0 < self.min_frames <= self.max_frames:
            raise ValueError(
                f"expected 0 < min_frames <= max_frames, got {self.min_frames}, {self.max_frames}"
            )


@dataclass
class TTVExample:
    """One utterance; `slice_start` is where the excerpt for the pitch predictor begins."""

    id: str
    phoneme_ids: Tensor  # [S] int64
    semantic: Tensor  # [C, N]
    log_f0: Tensor  # [4N]
    wav: Tensor  # [N * hop_length]
    slice_start: int  # frames
    language_ids: Tensor | None  # [S] int64; None for a model without languages


@dataclass
class TTVBatch:
    """A padded batch; everything is zero where padded."""

    phoneme_ids: Tensor  # [B, S] int64, blanks interspersed
    text_mask: Tensor  # [B, S] bool, True = valid
    ctc_ids: Tensor  # [B, P] int64, without blanks
    ctc_lengths: Tensor  # [B]
    semantic: Tensor  # [B, C, N]
    frame_mask: Tensor  # [B, N] bool, True = valid
    log_f0: Tensor  # [B, 4N]
    wav: Tensor  # [B, T]
    slice_start: Tensor  # [B] frames
    language_ids: Tensor | None  # [B, S]


class TTVData:
    """The utterances of one or several splits of a pack; opening it inspects every one of them.

    Args:
        pack: opened pack.
        splits: names of the splits, e.g. ("train",).
        config: data section.
        model: model section, which the features must fit.
        slice_frames: length of the excerpts for the pitch predictor.

    Raises:
        ValueError: the pack's features were made by another encoder, or an array is missing.
    """

    def __init__(
        self, pack: Pack, splits: tuple[str, ...], config: DataConfig, model: TTVConfig, slice_frames: int
    ):
        pack.require_semantic(model.semantic)
        self.pack, self.config, self.model, self.slice_frames = pack, config, model, slice_frames
        self.tokenizer = tokenizer_of(model)
        if len(self.tokenizer) > model.text.n_symbols:
            raise ValueError(
                f"tokenizer {model.tokenizer} has {len(self.tokenizer)} symbols, model.text.n_symbols is "
                f"{model.text.n_symbols}"
            )
        self.left_out: dict[str, list[str]] = {}  # reason -> ids of utterances
        self.unknown: Counter[str] = Counter()  # phoneme symbols that the tokenizer lacks
        self.indices: list[int] = []  # places in the pack
        self.phoneme_ids: list[list[int]] = []
        self.language_ids: list[list[int] | None] = []
        for index, utterance in enumerate(pack.utterances):
            if utterance["split"] not in splits:
                continue
            languages = None
            try:
                phonemes = read_phonemes(pack, index)
                encoded = self.tokenizer.encode(phonemes)
                languages = language_ids(phonemes, encoded, model.languages)
                reason = self._defect(index, len(without_blanks(encoded.ids)))
                self.unknown.update(encoded.unknown)
            except (
                ValueError
            ) as error:  # of the front end: an unknown language, or one that the model does not speak
                reason = f"because {error}"
            if reason:
                self.left_out.setdefault(reason, []).append(utterance["id"])
            else:
                self.indices.append(index)
                self.phoneme_ids.append(encoded.ids)
                self.language_ids.append(languages)

    def __len__(self) -> int:
        return len(self.indices)

    def example(self, place: int, rng: np.random.Generator) -> TTVExample:
        """Reads the usable utterance number `place`; `rng` chooses the excerpt."""
        index, pack = self.indices[place], self.pack
        semantic = torch.from_numpy(pack.read("semantic", index).astype(np.float32)).T.contiguous()
        n_frames = semantic.shape[1]
        f0 = torch.from_numpy(pack.read("f0", index).astype(np.float32))
        wav = torch.from_numpy(pack.read("wav", index).astype(np.float32) / 32768)
        return TTVExample(
            id=pack.utterances[index]["id"],
            phoneme_ids=torch.tensor(self.phoneme_ids[place]),
            language_ids=None if self.language_ids[place] is None else torch.tensor(self.language_ids[place]),
            semantic=semantic,
            log_f0=_fit(torch.log1p(f0), F0_PER_FRAME * n_frames),
            wav=_fit(wav, self.model.audio.hop_length * n_frames),
            slice_start=int(rng.integers(max(n_frames - self.slice_frames, 0) + 1)),
        )

    def seconds(self) -> np.ndarray:
        """Length of each usable utterance, as the batches hold it."""
        frames = np.array([self.pack.length("semantic", index) for index in self.indices])
        return frames * self.model.audio.hop_length / self.model.audio.sample_rate

    def weights(self) -> np.ndarray | None:
        """How often each usable utterance is drawn; None where all are taken in turn."""
        config = self.config
        if config.language_balance == config.speaker_balance == 1:
            return None
        utterances = [self.pack.utterances[index] for index in self.indices]
        languages, speakers = ([u[key] for u in utterances] for key in ("language", "speaker"))
        even = np.ones(len(self))
        return balance(even, languages, speakers, config.language_balance, config.speaker_balance)

    def summary(self) -> str:
        """One line: how many utterances are used, how many are left out and why, with ids; unknown phonemes."""
        parts = [f"{len(self)} utterances"]
        for reason, ids in self.left_out.items():
            more = ", ..." if len(ids) > NAMED else ""
            parts.append(f"left out {len(ids)} {reason} ({', '.join(ids[:NAMED])}{more})")
        if self.unknown:
            parts.append(f"unknown phonemes {dict(self.unknown)}")
        return "; ".join(parts)

    def _defect(self, index: int, n_phonemes: int) -> str:
        """Why an utterance cannot be used; empty if it can."""
        pack, config, hop = self.pack, self.config, self.model.audio.hop_length
        n_frames = pack.length("semantic", index)
        wav_frames = pack.length("wav", index) / hop
        f0_frames = pack.length("f0", index) / F0_PER_FRAME
        reasons = {
            f"shorter than {config.min_frames} frames": n_frames < config.min_frames,
            f"longer than {config.max_frames} frames": n_frames > config.max_frames,
            "without phonemes": n_phonemes == 0,
            f"with more than {config.max_phonemes} phonemes": n_phonemes > config.max_phonemes,
            "with fewer frames than phonemes and blanks": n_frames < 2 * n_phonemes + 1,
            "whose recording, F0 and features differ in length": max(
                abs(wav_frames - n_frames), abs(f0_frames - n_frames)
            )
            > LENGTH_TOLERANCE,
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), ""):
            return reason
        return "" if pack.read("f0", index).any() else "never voiced"  # last: it reads the file


def collate(examples: list[TTVExample]) -> TTVBatch:
    """Pads examples to the longest of the batch."""
    ctc_ids = [torch.tensor(without_blanks(e.phoneme_ids.tolist())) for e in examples]
    text_lengths = torch.tensor([len(e.phoneme_ids) for e in examples])
    frame_lengths = torch.tensor([e.semantic.shape[1] for e in examples])
    return TTVBatch(
        phoneme_ids=pad_sequence([e.phoneme_ids for e in examples], batch_first=True),
        text_mask=lengths_to_mask(text_lengths),
        ctc_ids=pad_sequence(ctc_ids, batch_first=True),
        ctc_lengths=torch.tensor([len(ids) for ids in ctc_ids]),
        semantic=pad_sequence([e.semantic.T for e in examples], batch_first=True).transpose(1, 2),
        frame_mask=lengths_to_mask(frame_lengths),
        log_f0=pad_sequence([e.log_f0 for e in examples], batch_first=True),
        wav=pad_sequence([e.wav for e in examples], batch_first=True),
        slice_start=torch.tensor([e.slice_start for e in examples]),
        language_ids=None
        if examples[0].language_ids is None
        else pad_sequence([e.language_ids for e in examples], batch_first=True),
    )


def without_blanks(ids: list[int]) -> list[int]:
    """CTC has its own blank, which is the same id 0."""
    return [i for i in ids if i != 0]


def _fit(x: Tensor, length: int) -> Tensor:
    """Cuts or zero-pads the end of x [time]."""
    return torch.nn.functional.pad(x[:length], (0, max(length - len(x), 0)))
