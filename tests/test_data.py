"""Filelists, and batches that are a function of the step number."""

from itertools import islice

import numpy as np
import pytest

from speech.data import Utterance, read_filelist, step_batches, step_indices, write_filelist


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
