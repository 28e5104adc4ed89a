"""Monotonic alignment search against brute force and against the published loop; token expansion."""

import itertools

import pytest
import torch

from speech.masks import lengths_to_mask
from speech.modules.alignment import align, expand


def best_by_enumeration(ll: torch.Tensor) -> torch.Tensor:
    """Durations of the best path of one [S, N] matrix, by trying every split."""
    n_tokens, n_frames = ll.shape
    sums = torch.cat([torch.zeros(n_tokens, 1), ll.double().cumsum(1)], dim=1)
    best, best_score = None, -torch.inf
    for cuts in itertools.combinations(range(1, n_frames), n_tokens - 1):
        edges = (0, *cuts, n_frames)
        score = sum(sums[s, edges[s + 1]] - sums[s, edges[s]] for s in range(n_tokens)).item()
        if score > best_score:
            best, best_score = [b - a for a, b in itertools.pairwise(edges)], score
    return torch.tensor(best)


def best_by_loop(ll: torch.Tensor) -> torch.Tensor:
    """The search as the hand-over describes it (section 5.5), cell by cell, with -1e9 outside; ll [S, N]."""
    n_tokens, n_frames = ll.shape
    value = ll.T.clone().tolist()
    for y in range(n_frames):
        for x in range(max(0, n_tokens + y - n_frames), min(n_tokens, y + 1)):
            stay = -1e9 if x == y else value[y - 1][x]
            move = (0.0 if y == 0 else -1e9) if x == 0 else value[y - 1][x - 1]
            value[y][x] += max(stay, move)
    durations, index = [0] * n_tokens, n_tokens - 1
    for y in reversed(range(n_frames)):
        durations[index] += 1
        if index and (index == y or value[y - 1][index] < value[y - 1][index - 1]):
            index -= 1
    return torch.tensor(durations)


@pytest.mark.parametrize("n_tokens, n_frames", [(1, 1), (1, 6), (4, 4), (3, 9), (5, 12)])
def test_align_finds_the_best_path(n_tokens, n_frames):
    ll = torch.randn(4, n_tokens, n_frames, generator=torch.Generator().manual_seed(0)) * 20 - 300
    valid = torch.ones(4, n_tokens, dtype=torch.bool), torch.ones(4, n_frames, dtype=torch.bool)
    durations = align(ll, *valid)
    assert durations.min() >= 1
    assert torch.equal(durations, torch.stack([best_by_enumeration(item) for item in ll]))


def test_align_equals_the_reference_loop_in_a_padded_batch():
    generator = torch.Generator().manual_seed(1)
    text_lengths, frame_lengths = torch.tensor([17, 9, 1, 12]), torch.tensor([40, 33, 7, 12])
    # Integers have many ties and, as float32 sums, no rounding: the tie rule is tested too.
    ll = torch.randint(-4, 1, (4, 17, 40), generator=generator).float()
    durations = align(ll, lengths_to_mask(text_lengths), lengths_to_mask(frame_lengths))
    assert durations.sum(1).tolist() == frame_lengths.tolist()
    for item, row, s, n in zip(ll, durations, text_lengths, frame_lengths, strict=True):
        assert torch.equal(row[:s], best_by_loop(item[:s, :n]))
        assert row[s:].sum() == 0


@pytest.mark.parametrize("seed", range(6))
def test_align_equals_the_reference_loop_where_many_paths_are_equally_good(seed):
    """Every small case with values from two numbers: the rule for ties decides nearly all of them."""
    generator = torch.Generator().manual_seed(seed)
    for n_tokens, n_frames in [(1, 1), (1, 3), (2, 2), (2, 5), (3, 5), (4, 6), (5, 5)]:
        ll = torch.randint(-1, 1, (20, n_tokens, n_frames), generator=generator).float()
        valid = torch.ones(20, n_tokens, dtype=torch.bool), torch.ones(20, n_frames, dtype=torch.bool)
        expected = torch.stack([best_by_loop(item) for item in ll])
        assert torch.equal(align(ll, *valid), expected)
        # and the path is one of the best there are
        score = [(item * path(d, n_frames)).sum() for item, d in zip(ll, expected, strict=True)]
        best = [(item * path(best_by_enumeration(item), n_frames)).sum() for item in ll]
        assert score == best


def path(durations: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Durations [S] -> the path as a matrix [S, N] of 0 and 1."""
    token = torch.arange(len(durations)).repeat_interleave(durations)
    return torch.nn.functional.one_hot(token, len(durations)).T


def test_align_does_not_care_how_its_matrix_lies_in_memory():
    ll = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(3))
    valid = torch.ones(3, 5, dtype=torch.bool), torch.ones(3, 11, dtype=torch.bool)
    before = ll.clone()
    assert torch.equal(align(ll, *valid), align(ll.transpose(1, 2).contiguous().transpose(1, 2), *valid))
    assert torch.equal(ll, before)


def test_align_takes_half_precision_and_sums_in_float32():
    ll = (torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(4)) * 50 - 400).bfloat16()
    valid = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 40, dtype=torch.bool)
    assert torch.equal(align(ll, *valid), align(ll.float(), *valid))


def test_align_refuses_more_tokens_than_frames():
    with pytest.raises(ValueError, match=r"got \[3\] frames for \[4\] tokens"):
        align(torch.zeros(1, 4, 3), torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool))


def test_expand_repeats_tokens():
    x = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])
    durations = torch.tensor([[2, 0, 3], [1, 1, 0]])
    expected = [[[1, 1, 3, 3, 3]], [[4, 5, 0, 0, 0]]]
    assert expand(x, durations).tolist() == expected
    assert expand(x, durations.float(), 6).shape == (2, 1, 6)
    assert expand(x, durations, 3).tolist() == [[[1, 1, 3]], [[4, 5, 0]]]
