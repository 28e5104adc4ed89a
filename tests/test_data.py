"""Filelists, and batches that are a function of the step number."""

from itertools import islice

import numpy as np
import pytest

from speech.data import LengthBuckets, Utterance, read_filelist, step_batches, step_indices, write_filelist


def test_filelist_round_trip(tmp_path):
    utterances = [
        Utterance("a1", "wavs/a1.flac", "ann", "en-us", "Hello | there."),
        Utterance("b2", "wavs/b2.flac", "bob", "pl", ""),
    ]
    write_filelist(tmp_path / "list.txt", utterances)
    assert read_filelist(tmp_path / "list.txt") == utterances


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a|b.wav|c|en|x\na|b|c\n", "list.txt:2: expected id"),
        ("a|b.wav|c|en|x\n\na|d.wav|c|en|y\n", "list.txt:3: the id 'a' occurs twice"),
        ("|b.wav|c|en|x\n", "list.txt:1: expected id"),
        ("\n", "no utterances"),
    ],
)
def test_broken_filelists_name_the_line(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_filelist(tmp_path / "list.txt")


def test_missing_filelists_and_unwritable_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read the filelist"):
        read_filelist(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="may not hold"):
        write_filelist(tmp_path / "list.txt", [Utterance("a|b", "w", "s", "en", "")])


def test_every_item_comes_once_per_epoch_in_a_new_order():
    stream = [index for step in range(14) for index in step_indices(7, 4, seed=1, step=step)]
    epochs = [stream[start : start + 7] for start in range(0, 56, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_larger_than_the_corpus_repeats_items():
    assert sorted(step_indices(3, 6, seed=0, step=0)) == [0, 0, 1, 1, 2, 2]


def test_processes_share_one_batch(monkeypatch):
    whole = step_indices(50, 8, seed=3, step=9)
    weights = np.arange(50.0)
    drawn = step_indices(50, 8, seed=3, step=9, weights=weights)
    parts, drawn_parts = [], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        parts += step_indices(50, 4, seed=3, step=9)
        drawn_parts += step_indices(50, 4, seed=3, step=9, weights=weights)
    assert parts == whole and drawn_parts == drawn


def test_weights_set_the_frequency():
    weights = np.array([0.0, 1.0, 3.0])
    drawn = [index for step in range(500) for index in step_indices(3, 8, 0, step, weights)]
    counts = np.bincount(drawn, minlength=3)
    assert counts[0] == 0 and counts[2] / counts[1] == pytest.approx(3.0, rel=0.15)


def _example(index: int, rng: np.random.Generator) -> tuple[int, float]:
    return index, rng.random()


def test_batches_do_not_depend_on_workers_or_on_what_ran_before():
    whole = list(islice(step_batches(_example, list, 20, 4, seed=5, start_step=0), 6))
    assert list(islice(step_batches(_example, list, 20, 4, seed=5, start_step=4), 2)) == whole[4:]
    assert list(islice(step_batches(_example, list, 20, 4, 5, 0, num_workers=2), 6)) == whole
    numbers = [number for batch in whole for _, number in batch]
    assert len(set(numbers)) == len(numbers)


LENGTHS = np.random.default_rng(0).uniform(0.5, 12.0, 300)


def test_batch_seconds_bounds_the_padded_batch_and_wastes_little():
    buckets = LengthBuckets(LENGTHS, batch_seconds=24.0, seed=0)
    padded = used = 0.0
    for step in range(200):
        seconds = LENGTHS[buckets.indices(step)]
        assert len(seconds) * seconds.max() <= 24.0
        padded, used = padded + len(seconds) * seconds.max(), used + seconds.sum()
    assert used / padded > 0.9  # most buckets span a ratio of 1.15
    assert padded / 200 > 0.8 * 24.0


def test_an_item_longer_than_batch_seconds_is_a_batch_of_its_own():
    buckets = LengthBuckets(np.array([30.0, 1.0, 1.0]), batch_seconds=4.0, seed=0)
    assert sorted({tuple(sorted(set(buckets.indices(step)))) for step in range(4)}) == [(0,), (1, 2)]


def test_buckets_take_every_item_once_per_epoch():
    """But for those that fill up the last batch of a bucket; and each epoch has another order."""
    buckets = LengthBuckets(LENGTHS, batch_seconds=24.0, seed=0)
    steps = sum(-(-len(m) // size) for m, size in zip(buckets.members, buckets.sizes, strict=True))
    epochs = [[buckets.indices(epoch * steps + step) for step in range(steps)] for epoch in range(2)]
    for batches in epochs:
        counts = np.bincount([index for batch in batches for index in batch], minlength=300)
        assert counts.min() == 1 and counts.sum() < 1.3 * 300
    assert epochs[0] != epochs[1]
    again = LengthBuckets(LENGTHS, batch_seconds=24.0, seed=0)
    assert [again.indices(steps + step) for step in range(steps)] == epochs[1]


def test_processes_share_a_bucket(monkeypatch):
    parts = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        buckets = LengthBuckets(LENGTHS, batch_seconds=12.0, seed=0)
        parts[rank] = [(buckets.indices(step), buckets.first_place(step)) for step in range(30)]
    for (ours, first), (theirs, after) in zip(parts[0], parts[1], strict=True):
        assert len(ours) == len(theirs) and first == 0 and after == len(ours)
        assert any(set(ours + theirs) <= set(members) for members in buckets.members)
    seen = [index for part in parts.values() for indices, _ in part for index in indices]
    assert len(set(seen)) > 0.7 * len(seen)


def test_weights_set_the_frequency_in_buckets_too():
    weights = np.where(LENGTHS < 3, 3.0, 1.0)
    buckets = LengthBuckets(LENGTHS, batch_seconds=24.0, seed=0, weights=weights)
    drawn = np.bincount([i for step in range(3000) for i in buckets.indices(step)], minlength=300)
    assert drawn[LENGTHS < 3].mean() / drawn[LENGTHS >= 3].mean() == pytest.approx(3.0, rel=0.1)


def test_batch_seconds_of_pieces_of_one_length_is_a_batch_size():
    batch = next(step_batches(_example, list, 20, 99, 0, 0, seconds=0.5, batch_seconds=4.0))
    assert len(batch) == 8
    with pytest.raises(ValueError, match="batch_seconds"):
        step_batches(_example, list, 20, 4, 0, 0, batch_seconds=4.0)


def test_batches_by_length_hold_the_items_and_seeds_of_their_step():
    arguments = {"seconds": LENGTHS, "batch_seconds": 24.0}
    whole = list(islice(step_batches(_example, list, 300, 4, 5, 0, **arguments), 6))
    assert list(islice(step_batches(_example, list, 300, 4, 5, 3, **arguments), 3)) == whole[3:]
    buckets = LengthBuckets(LENGTHS, 24.0, seed=5)
    assert [[index for index, _ in batch] for batch in whole] == [buckets.indices(step) for step in range(6)]
