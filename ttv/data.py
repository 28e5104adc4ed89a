"""Training data of the text-to-vec model: a filelist and one feature file per utterance.

`FEATURES/ID.safetensors` holds the tensors `semantic` [C, N] and `f0` [4N] (Hz, 0 = unvoiced; both of any float type)
and two strings in its metadata: `phonemes` (what the tokenizer reads) and `semantic` (JSON of the `SemanticSpec` that the
features were made with). The recording itself, from which the style is taken, is the filelist's wav.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech.audio import load_audio
from speech.data import Utterance, read_filelist
from speech.masks import lengths_to_mask
from speech.semantic.encoder import SemanticSpec
from speech.text.tokenizer import get_tokenizer
from ttv.model import TTVConfig
from ttv.pitch import F0_PER_FRAME

LENGTH_TOLERANCE = 5  # frames; encoders pad a recording by less than that


@dataclass
class DataConfig:
    """Where the training data lies and which of it is used."""

    filelist: str = "filelists/train.txt"
    validation_filelist: str | None = None
    features: str = "features/ttv"  # folder of the feature files
    wav_root: str = ""  # put before the filelist's wav paths
    min_frames: int = 32
    max_frames: int = 600
    max_phonemes: int = 200  # symbols, blanks not counted


@dataclass
class TTVExample:
    """One utterance; `slice_start` is where the excerpt for the pitch predictor begins."""

    phoneme_ids: Tensor  # [S] int64
    semantic: Tensor  # [C, N]
    log_f0: Tensor  # [4N]
    wav: Tensor  # [N * hop_length]
    slice_start: int  # frames


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


class TTVData:
    """The usable utterances of a filelist; opening it reads the head of every feature file.

    Args:
        filelist: path of the filelist.
        config: data section.
        model: model section, which the features must fit.
        slice_frames: length of the excerpts for the pitch predictor.

    Raises:
        ValueError: a feature file is missing, made for another encoder, or no utterance is usable.
    """

    def __init__(self, filelist: str, config: DataConfig, model: TTVConfig, slice_frames: int):
        self.config = config
        self.model = model
        self.slice_frames = slice_frames
        self.tokenizer = get_tokenizer(model.tokenizer)
        if len(self.tokenizer) > model.text.n_symbols:
            raise ValueError(
                f"tokenizer {model.tokenizer} has {len(self.tokenizer)} symbols, model.text.n_symbols is "
                f"{model.text.n_symbols}"
            )
        self.left_out: Counter[str] = Counter()  # reason -> utterances
        self.unknown: Counter[str] = Counter()  # phoneme symbols that the tokenizer lacks
        self.utterances: list[Utterance] = []
        self.phoneme_ids: list[list[int]] = []
        for utterance in read_filelist(filelist):
            ids, reason = self._inspect(utterance)
            if reason:
                self.left_out[reason] += 1
            else:
                self.utterances.append(utterance)
                self.phoneme_ids.append(ids)
        if not self.utterances:
            raise ValueError(f"{filelist}: no usable utterance, left out {dict(self.left_out)}")

    def __len__(self) -> int:
        return len(self.utterances)

    def example(self, index: int, rng: np.random.Generator) -> TTVExample:
        """Loads one utterance; `rng` chooses the excerpt."""
        utterance, audio = self.utterances[index], self.model.audio
        with _open(self._path(utterance)) as file:
            semantic, f0 = file.get_tensor("semantic").float(), file.get_tensor("f0").float()
        n_frames = semantic.shape[1]
        wav, _ = load_audio(Path(self.config.wav_root) / utterance.wav, audio.sample_rate)
        if abs(len(wav) / audio.hop_length - n_frames) > LENGTH_TOLERANCE:
            raise ValueError(
                f"{utterance.id}: the wav has {len(wav) / audio.hop_length:.1f} frames, its features have {n_frames}"
            )
        start = int(rng.integers(max(n_frames - self.slice_frames, 0) + 1))
        return TTVExample(
            phoneme_ids=torch.tensor(self.phoneme_ids[index]),
            semantic=semantic,
            log_f0=_fit(torch.log1p(f0), F0_PER_FRAME * n_frames),
            wav=_fit(torch.from_numpy(wav), audio.hop_length * n_frames),
            slice_start=start,
        )

    def _path(self, utterance: Utterance) -> Path:
        return Path(self.config.features) / f"{utterance.id}.safetensors"

    def _inspect(self, utterance: Utterance) -> tuple[list[int], str]:
        """The phoneme ids of one utterance and, if it cannot be used, why."""
        path, config = self._path(utterance), self.config
        with _open(path) as file:
            spec = json.loads((file.metadata() or {}).get("semantic", "null"))
            if spec != asdict(self.model.semantic):
                raise ValueError(
                    f"{path} was made with {spec}, the model expects {asdict(self.model.semantic)}"
                )
            n_frames = file.get_slice("semantic").get_shape()[1]
            voiced = bool(file.get_tensor("f0").any())
            encoded = self.tokenizer.encode(file.metadata().get("phonemes", ""))
        self.unknown.update(encoded.unknown)
        n_phonemes = len(_without_blanks(encoded.ids))
        reasons = {
            f"shorter than {config.min_frames} frames": n_frames < config.min_frames,
            f"longer than {config.max_frames} frames": n_frames > config.max_frames,
            "no phonemes": n_phonemes == 0,
            f"more than {config.max_phonemes} phonemes": n_phonemes > config.max_phonemes,
            "fewer frames than phonemes and blanks": n_frames < 2 * n_phonemes + 1,
            "never voiced": not voiced,
        }
        return encoded.ids, next((reason for reason, holds in reasons.items() if holds), "")


def collate(examples: list[TTVExample]) -> TTVBatch:
    """Pads examples to the longest of the batch."""
    ctc_ids = [torch.tensor(_without_blanks(e.phoneme_ids.tolist())) for e in examples]
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
    )


def write_features(
    folder: str | Path,
    utterance_id: str,
    semantic: np.ndarray,
    f0: np.ndarray,
    phonemes: str,
    spec: SemanticSpec,
) -> None:
    """Writes the feature file of one utterance: semantic [C, N], f0 [4N] in Hz, its phonemes."""
    path = Path(folder) / f"{utterance_id}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    arrays = {"semantic": np.ascontiguousarray(semantic), "f0": np.ascontiguousarray(f0)}
    save_file(arrays, temporary, {"phonemes": phonemes, "semantic": json.dumps(asdict(spec))})
    temporary.replace(path)


def _open(path: Path):
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: not a readable feature file ({error})") from error


def _without_blanks(ids: list[int]) -> list[int]:
    """CTC has its own blank, which is the same id 0."""
    return [i for i in ids if i != 0]


def _fit(x: Tensor, length: int) -> Tensor:
    """Cuts or zero-pads the end of x [time]."""
    return torch.nn.functional.pad(x[:length], (0, max(length - len(x), 0)))
