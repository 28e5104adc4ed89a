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


_last_permutation: dict[tuple[int, ...], tuple[int, np.ndarray]] = {}


def _permutation(n_items: int, seed: int, epoch: int, *more: int) -> np.ndarray:
    # one epoch spans many steps; redrawing millions of items at each would be slow
    key = (n_items, seed, *more)
    if key not in _last_permutation or _last_permutation[key][0] != epoch:
        _last_permutation[key] = (epoch, np.random.default_rng([seed, epoch, *more]).permutation(n_items))
    return _last_permutation[key][1]


class LengthBuckets:
    """Batches of like lengths and of a bounded number of seconds, padding included: many short items or few long ones.

    Items are sorted once into buckets of lengths that differ by `ratio` (by more where they are rare), and each bucket has
    its own batch size. So an epoch has the same number of batches every time, and which items make up step n is a function of n.

    Args:
        seconds: length of each item [n_items].
        batch_seconds: of a process's batch; an item longer than that is a batch of its own.
        weights: relative frequency of each item [n_items]; None takes every item once an epoch (the last batch of a
            bucket is filled up with items that had their turn).
    """

    def __init__(
        self,
        seconds: np.ndarray,
        batch_seconds: float,
        seed: int,
        weights: np.ndarray | None = None,
        ratio: float = 1.15,
    ):
        if batch_seconds <= 0 or not len(seconds) or np.min(seconds) <= 0:
            raise ValueError(
                f"batch_seconds: expected a positive number and items of positive length, got {batch_seconds} "
                f"and {len(seconds)} items"
            )
        self.seed, self.weights = seed, weights
        order, processes = np.argsort(seconds, kind="stable"), process_share()[1]
        lengths = np.asarray(seconds)[order]
        self.members: list[np.ndarray] = []
        self.sizes: list[int] = []
        first = 0
        while first < len(order):
            # at least the lengths within the ratio, and then as many as fill a batch, so that few are repeated often
            last = int(np.searchsorted(lengths, lengths[first] * ratio, side="right"))
            while (
                last < len(order)
                and lengths[last] <= 2 * lengths[first]
                and (last - first) * lengths[last - 1] < batch_seconds * processes
            ):
                last += 1
            self.members.append(order[first:last])
            self.sizes.append(max(1, int(batch_seconds / lengths[last - 1] + 1e-9)))
            first = last

    def indices(self, step: int) -> list[int]:
        """The items of this process in the batch of `step`; all processes take from one bucket."""
        rank, processes = process_share()
        bucket, turn, epoch = self._bucket(step, processes)
        members, size = self.members[bucket], self.sizes[bucket]
        if self.weights is not None:
            weights = self.weights[members]
            rng = np.random.default_rng([self.seed, step, 1])
            drawn = rng.choice(members, size * processes, p=weights / weights.sum())
            return drawn[rank * size : (rank + 1) * size].tolist()
        order = _permutation(len(members), self.seed, epoch, bucket)
        first = (turn * processes + rank) * size
        return members[order[(first + np.arange(size)) % len(members)]].tolist()

    def first_place(self, step: int) -> int:
        """How many items of the batch of `step` belong to processes before this one."""
        rank, processes = process_share()
        return rank * self.sizes[self._bucket(step, processes)[0]]

    def _bucket(self, step: int, processes: int) -> tuple[int, int, int]:
        """(bucket, how many of its batches came before in this epoch, epoch) of `step`."""
        if self.weights is not None:  # a bucket of small batches is visited more often
            sums = np.array([self.weights[m].sum() for m in self.members]) / np.array(self.sizes)
            rng = np.random.default_rng([self.seed, step])
            return int(rng.choice(len(sums), p=sums / sums.sum())), 0, 0
        counts = [-(-len(m) // (s * processes)) for m, s in zip(self.members, self.sizes, strict=True)]
        epoch, place = divmod(step, sum(counts))
        batch = int(_permutation(sum(counts), self.seed, epoch, -1 % 2**32)[place])
        bucket = int(np.searchsorted(np.cumsum(counts), batch, side="right"))
        return bucket, batch - sum(counts[:bucket]), epoch


def step_batches(
    example: Callable[[int, np.random.Generator], Any],
    collate: Callable[[list], Any],
    n_items: int,
    batch_size: int,
    seed: int,
    start_step: int,
    num_workers: int = 0,
    weights: np.ndarray | None = None,
    seconds: np.ndarray | float | None = None,
    batch_seconds: float | None = None,
) -> Iterator[Any]:
    """Endless batches from `start_step` on, made by worker processes.

    Args:
        example: `example(index, rng)` gives one example; its random choices come from `rng`, which is seeded
            by (seed, step, place in the batch) whatever the number of workers.
        collate: list of examples -> batch.
        weights: relative frequency of each item [n_items]; None takes all in turn.
        seconds: how long the items are [n_items], or one number where all pieces have the same length.
        batch_seconds: instead of `batch_size` where given: items of like lengths, this long in all.
    """
    from torch.utils.data import DataLoader

    buckets = None
    if batch_seconds is not None:
        if seconds is None:
            raise ValueError(
                "train.batch_seconds: this recipe's batches have a number of pieces, expected batch_size"
            )
        if isinstance(seconds, np.ndarray):
            buckets = LengthBuckets(seconds, batch_seconds, seed, weights)
        else:
            batch_size = max(1, int(batch_seconds / seconds + 1e-9))
    loader = DataLoader(
        _Examples(example),
        batch_sampler=_Steps(n_items, batch_size, seed, start_step, weights, buckets),
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
    buckets: LengthBuckets | None = None

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        step, rank = self.start_step, process_share()[0]
        while True:
            if self.buckets is not None:
                indices, first = self.buckets.indices(step), self.buckets.first_place(step)
            else:
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
