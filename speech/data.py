"""Training data: the filelist format and batches whose content is a function of the step number.

A filelist line is `id|wav|speaker|language|text` (UTF-8, no header; the text may be empty and is the only
field that may hold a `|`). Exact resume rests on this file: which examples make up step n, and the random
numbers of each example, depend on (seed, n, process) and on nothing that ran before.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Utterance:
    """One line of a filelist."""

    id: str
    wav: str
    speaker: str
    language: str
    text: str


def read_filelist(path: str | Path) -> list[Utterance]:
    """Read a filelist; a broken line or an id given twice is a `ValueError` that names file and line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the filelist {path}: {error}") from error
    utterances, seen = [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.split("|", 4)
        if len(parts) != 5 or not parts[0] or not parts[1]:
            raise ValueError(f"{path}:{number}: expected id|wav|speaker|language|text, got {line!r:.120}")
        utterance = Utterance(*(part.strip() for part in parts))
        if utterance.id in seen:
            raise ValueError(f"{path}:{number}: the id {utterance.id!r} occurs twice")
        seen.add(utterance.id)
        utterances.append(utterance)
    if not utterances:
        raise ValueError(f"{path}: no utterances")
    return utterances


def write_filelist(path: str | Path, utterances: Sequence[Utterance]) -> None:
    """Write a filelist under a temporary name and rename it."""
    path = Path(path)
    for utterance in utterances:
        fields = (utterance.id, utterance.wav, utterance.speaker, utterance.language)
        if any("|" in field or "\n" in field for field in fields) or "\n" in utterance.text:
            raise ValueError(f"{path}: the fields of {utterance.id!r} may not hold | or a line break")
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(
        "".join(f"{u.id}|{u.wav}|{u.speaker}|{u.language}|{u.text}\n" for u in utterances), encoding="utf-8"
    )
    os.replace(temporary, path)


def process_share() -> tuple[int, int]:
    """(rank, number of processes) of this process, as `accelerate launch` and `torchrun` set them."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def step_indices(
    n_items: int, batch_size: int, seed: int, step: int, weights: np.ndarray | None = None
) -> list[int]:
    """The items of this process in the batch of `step`.

    Without `weights` the stream runs through a fresh permutation of all items per epoch; with `weights`
    [n_items] each item is drawn with that relative frequency. The processes share out one batch of `processes
    * batch_size` items, so two processes with a batch of 8 see what one sees with a batch of 16.
    """
    rank, processes = process_share()
    total = batch_size * processes
    if weights is not None:
        drawn = np.random.default_rng([seed, step]).choice(n_items, total, p=weights / weights.sum())
        return drawn[rank * batch_size : (rank + 1) * batch_size].tolist()
    first = step * total + rank * batch_size
    indices, position = [], first
    while len(indices) < batch_size:
        epoch, offset = divmod(position, n_items)
        order = _permutation(n_items, seed, epoch)
        take = min(n_items - offset, batch_size - len(indices))
        indices += order[offset : offset + take].tolist()
        position += take
    return indices


_last_permutation: dict[tuple[int, int], tuple[int, np.ndarray]] = {}


def _permutation(n_items: int, seed: int, epoch: int) -> np.ndarray:
    # one epoch spans many steps; redrawing millions of items at each would be slow
    key = (n_items, seed)
    if key not in _last_permutation or _last_permutation[key][0] != epoch:
        _last_permutation[key] = (epoch, np.random.default_rng([seed, epoch]).permutation(n_items))
    return _last_permutation[key][1]


def step_batches(
    example: Callable[[int, np.random.Generator], Any],
    collate: Callable[[list], Any],
    n_items: int,
    batch_size: int,
    seed: int,
    start_step: int,
    num_workers: int = 0,
    weights: np.ndarray | None = None,
) -> Iterator[Any]:
    """Endless batches from `start_step` on, made by worker processes.

    Args:
        example: `example(index, rng)` gives one example; its random choices come from `rng`, which is seeded
            by
            (seed, step, place in the batch) whatever the number of workers.
        collate: list of examples -> batch.
        weights: relative frequency of each item [n_items]; None takes all in turn.
    """
    from torch.utils.data import DataLoader

    loader = DataLoader(
        _Examples(example),
        batch_sampler=_Steps(n_items, batch_size, seed, start_step, weights),
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=_leave_signals_to_the_loop if num_workers else None,
        persistent_workers=False,
        prefetch_factor=4 if num_workers else None,
    )
    return iter(loader)


@dataclass
class _Examples:
    example: Callable[[int, np.random.Generator], Any]

    def __getitem__(self, key: tuple[int, tuple[int, ...]]) -> Any:
        index, seed = key
        return self.example(index, np.random.default_rng(seed))


@dataclass
class _Steps:
    n_items: int
    batch_size: int
    seed: int
    start_step: int
    weights: np.ndarray | None

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        step, rank = self.start_step, process_share()[0]
        while True:
            indices = step_indices(self.n_items, self.batch_size, self.seed, step, self.weights)
            first = rank * self.batch_size
            yield [(index, (self.seed, step, first + place)) for place, index in enumerate(indices)]
            step += 1


def _leave_signals_to_the_loop(worker: int) -> None:
    # Ctrl-C and `timeout` reach the whole process group; the loop needs its workers until its step is done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
