"""Tokens into a pack: `semantic_tokens` by a tokenizer, `acoustic_tokens` by a codec, `whisper_text` by Whisper, shard after shard; and fitting a tokenizer on a pack.

Whatever is there already by the same weights from the same arrays is skipped; tokens of another tokenizer are refused, or made again
where that is asked for. A shard's arrays are renamed into place before its note, and the pack's note comes last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hierspeech.preparation.packing import locked
from hierspeech.preparation.reporting import Progress
from hierspeech.preparation.semantic import device
from hierspeech.preparation.stages import SAMPLE_RATE, as_wav
from hierspeech.preparation.work import is_made
from speech.audio import resample
from speech.pack_index import forget_arrays, write_index
from speech.packs import Pack, write_arrays, write_whole
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import SemanticQuantizer, SemanticQuantizerConfig, digest
from speech.token_arrays import ACOUSTIC, PREDICTED, SEMANTIC, array_digest, note_path, token_note

FIT_FRAMES = 20_000_000
"""Frames that a tokenizer is fitted on (110 hours); of a larger pack, those of utterances drawn at random."""

TRANSCRIPTS = "whisper_text"
TRANSCRIBED_AT_ONCE = 16
"""Utterances that Whisper hears at once; each is a window of 30 s, however short, so that a GPU is best fed so."""

Rows = Callable[[Pack], Iterator[tuple[np.ndarray]]]


def add_semantic_tokens(folder: Path, tokenizer: torch.nn.Module, redo: bool = False) -> bool:
    """Write `semantic_tokens` (int16 [N']) of a tokenizer into a pack.

    Args:
        folder: plain or sharded pack with the tokenizer's kind of `semantic`; a tokenizer that hears audio itself
            (`audio_tokens`) needs `wav` only.
        tokenizer: `SemanticQuantizer` or another of its contract.
        redo: tokens of another tokenizer are replaced.
    Returns: False if all are there already.
    Raises:
        ValueError: features of another encoder, or tokens of another tokenizer.
    """
    pack, spec = Pack(folder), tokenizer.spec
    hears = _hears(pack, tokenizer)
    if not hears:
        pack.require_semantic(spec.semantic)
    if spec.n_tokens > 32768:
        raise ValueError(f"{spec.n_tokens} tokens: packs hold at most 32768")
    tokenizer = tokenizer.to(device())

    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        read = token_reader(shard, tokenizer, hears)
        for index in range(len(shard)):
            yield (read(index).astype(np.int16),)

    note = {"spec": asdict(spec), "weights": digest(tokenizer)}
    return write_noted(folder, SEMANTIC, note, "wav" if hears else "semantic", rows, redo)


def token_reader(
    pack: Pack, tokenizer: torch.nn.Module, hears: bool | None = None
) -> Callable[[int], np.ndarray]:
    """Index of an utterance -> its tokens [N'] by that tokenizer, made now; from its sound (`hears`) or from the pack's features."""
    hears = _hears(pack, tokenizer) if hears is None else hears
    place = next(iter(tokenizer.state_dict().values())).device

    @torch.inference_mode()
    def read(index: int) -> np.ndarray:
        if hears:
            tokens = tokenizer.audio_tokens(torch.from_numpy(as_wav(pack.read("wav", index)))[None])
        else:
            semantic = torch.from_numpy(pack.read("semantic", index).astype(np.float32)).T[None]
            tokens = tokenizer.tokens(semantic.to(place))
        return tokens[0].cpu().numpy()

    return read


def _hears(pack: Pack, tokenizer: torch.nn.Module) -> bool:
    return hasattr(tokenizer, "audio_tokens") and pack.semantic_spec != asdict(tokenizer.spec.semantic)


def add_predicted_tokens(folder: Path, tokenizer: torch.nn.Module, redo: bool = False) -> bool:
    """Write `predicted_tokens` (int16 [N']) of a pack's `predicted` features (text-to-vec's, of the same words); empty where there are none.

    Arguments, result and errors are those of `add_semantic_tokens`; a pack without such features of this tokenizer's encoder is left as it is.
    """
    pack = Pack(folder)
    if not pack.has("predicted") or pack.semantic_spec != asdict(tokenizer.spec.semantic):
        return False
    tokenizer = tokenizer.to(device())

    @torch.inference_mode()
    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for index in range(len(shard)):
            predicted = torch.from_numpy(shard.read("predicted", index).astype(np.float32))
            if not len(predicted):
                yield (np.zeros(0, np.int16),)
                continue
            yield (tokenizer.tokens(predicted.T[None].to(device()))[0].cpu().numpy().astype(np.int16),)

    note = {"spec": asdict(tokenizer.spec), "weights": digest(tokenizer)}
    return write_noted(folder, PREDICTED, note, "predicted", rows, redo)


def add_acoustic_tokens(
    folder: Path, codec: torch.nn.Module, n_codebooks: int | None = None, redo: bool = False
) -> bool:
    """Write `acoustic_tokens` (int16 [N, Q], coarsest codebook first) of a codec into a pack.

    Args:
        folder: plain or sharded pack.
        codec: see `spear.codec.codec`; recordings are resampled to its rate.
        n_codebooks: Q, None = all that it has.
        redo: codes of another codec are replaced.
    Returns: False if all are there already.
    Raises:
        ValueError: more codebooks than the codec has, or codes of another codec.
    """
    spec = codec.spec
    n_codebooks = spec.n_codebooks if n_codebooks is None else n_codebooks
    if not 1 <= n_codebooks <= spec.n_codebooks:
        raise ValueError(
            f"--codebooks {n_codebooks}: expected 1 to {spec.n_codebooks} of the codec {spec.name}"
        )
    if spec.codebook_size > 32768:
        raise ValueError(f"{spec.codebook_size} codes: packs hold at most 32768")
    codec = codec.to(device())

    @torch.inference_mode()
    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for index in range(len(shard)):
            wav = resample(as_wav(shard.read("wav", index)), SAMPLE_RATE, spec.sample_rate)
            codes = codec.encode(torch.from_numpy(wav)[None, None].to(device()), n_codebooks)
            yield (codes[0].T.cpu().numpy().astype(np.int16),)

    note = {"spec": asdict(spec), "codebooks": n_codebooks, "weights": digest(codec)}
    return write_noted(folder, ACOUSTIC, note, "wav", rows, redo)


def add_transcripts(folder: Path, whisper: Any, redo: bool = False) -> bool:
    """Write `whisper_text` (int32 [S]), Whisper's own transcripts in its text tokens, into a pack.

    Utterances longer than Whisper's window get none.

    Args:
        folder: plain or sharded pack.
        whisper: `spear.whisper_tokens.frozen.FrozenWhisper`.
        redo: transcripts of another Whisper are replaced.
    Returns: False if all are there already.
    Raises:
        ValueError: a language that this Whisper does not know, or transcripts of another Whisper.
    """
    whisper = whisper.to(device())

    def rows(shard: Pack) -> Iterator[tuple[np.ndarray]]:
        for first in range(0, len(shard), TRANSCRIBED_AT_ONCE):
            window = range(first, min(first + TRANSCRIBED_AT_ONCE, len(shard)))
            heard = _transcribed(shard, whisper, window)
            yield from ((np.array(heard.get(index, []), np.int32),) for index in window)

    note = {"spec": asdict(whisper.spec), "weights": digest(whisper.model)}
    return write_noted(folder, TRANSCRIPTS, note, "wav", rows, redo)


@torch.inference_mode()
def _transcribed(pack: Pack, whisper: Any, indices: Iterable[int]) -> dict[int, list[int]]:
    """Transcripts of the utterances that Whisper's window holds, those of a language at once; a row of a batch is what it is alone."""
    of: dict[str, list[int]] = {}
    for index in indices:
        if 0 < pack.length("wav", index) <= whisper.extractor.n_samples:
            of.setdefault(pack.utterances[index]["language"], []).append(index)
    found = {}
    for language, group in of.items():
        mel = torch.stack([whisper.mel(as_wav(pack.read("wav", index))) for index in group])
        found |= dict(zip(group, whisper.transcribe(whisper.encode_mel(mel), language), strict=True))
    return found


def fit_tokenizer(
    folder: Path, n_tokens: int, rate_hz: int = 25, levels: int = 1, passes: int = 10, seed: int = 0
) -> SemanticQuantizer:
    """A tokenizer fitted on the `semantic` features of a pack's training utterances.

    Args:
        folder: pack.
        n_tokens: codes; with several `levels`, what they make together, so a power.
        rate_hz, levels: see `SemanticQuantizerConfig`. passes, seed: see `SemanticQuantizer.fit`.
    Raises:
        ValueError: no features, or fewer of them than codes.
    """
    pack = Pack(folder)
    if not pack.has("semantic") or pack.semantic_spec is None:
        raise ValueError(f"{folder}: the pack has no 'semantic'; run prepare.py --semantic first")
    size = round(n_tokens ** (1 / levels))
    if size**levels != n_tokens:
        raise ValueError(f"--fit {n_tokens}: expected a whole number to the power of {levels} levels")
    spec = SemanticSpec(**pack.semantic_spec)
    quantizer = SemanticQuantizer(SemanticQuantizerConfig(spec, size, levels, rate_hz)).eval()
    split = pack.utterances.column("split")
    train = np.array([i for i, name in enumerate(split) if name == "train"], np.int64)
    if not len(train):
        raise ValueError(f"{folder}: no utterance is in the split 'train'")
    order = np.random.default_rng(seed).permutation(train)
    order = order[: int(np.searchsorted(pack.lengths("semantic")[order].cumsum(), FIT_FRAMES)) + 1]

    def utterances() -> Iterator[torch.Tensor]:
        for index in order:
            yield torch.from_numpy(pack.read("semantic", int(index)).astype(np.float32)).T

    quantizer.fit(utterances, passes, seed=seed)
    return quantizer


def write_noted(folder: Path, name: str, note: dict, source: str, rows: Rows, redo: bool) -> bool:
    """Write the array `name`, made of the array `source`, with its note, shard after shard; False if all is there."""
    folder = Path(folder)
    with locked(folder):
        pack = Pack(folder)
        note = note | {"made_from": array_digest(pack, source)}
        n_shards = len(pack.first) - 1
        shards = [pack.shard_folder(k) for k in range(n_shards) if pack.first[k + 1] > pack.first[k]]
        notes = [found for place in {folder, *shards} if (found := token_note(place, name)) is not None]
        if token_note(folder, name) == note and pack.has(name) and not redo:
            return False
        # a shard's note that fits but for the pack's growth is one of the same tokenizer
        foreign = [found for found in notes if _maker(found) != _maker(note)]
        if foreign and not redo:
            raise ValueError(
                f"{folder}: holds {name} of {foreign[0]['spec']} (weights {foreign[0]['weights']}), "
                f"asked for are those of {note['spec']} (weights {note['weights']}); --redo makes them again"
            )
        note_path(folder, name).unlink(missing_ok=True)
        if redo:
            for place in shards:
                note_path(place, name).unlink(missing_ok=True)
            forget_arrays(folder, [name])
        total = _seconds(pack, source)
        with Progress(name, len(shards), total) as progress:
            for place in shards:
                shard = Pack(place)
                own = note | {"made_from": array_digest(shard, source)}
                if place == folder or token_note(place, name) != own or not is_made(place, [name]):
                    note_path(place, name).unlink(missing_ok=True)
                    write_arrays(place, [name], rows(shard))
                    write_whole(note_path(place, name), json.dumps(own))
                progress.add(_seconds(shard, source), len(shard))
        if pack.index is not None:
            write_index(folder, n_shards)
            write_whole(note_path(folder, name), json.dumps(note))
    return True


def _seconds(pack: Pack, source: str) -> float:
    """Of speech in a pack, by the array that tokens are made from: packs of features alone have no `wav`."""
    rate_hz = SAMPLE_RATE if source == "wav" else pack.semantic_spec["rate_hz"]
    return float(pack.lengths(source).sum()) / rate_hz


def _maker(note: dict) -> dict:
    return {key: value for key, value in note.items() if key != "made_from"}
