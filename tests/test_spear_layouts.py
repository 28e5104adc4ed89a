"""Layouts of codes: every order holds the same codes, whatever the number of codebooks, the lengths and an early end."""

import pytest
import torch

from spear.layouts import Codes, special_ids

K = 7
START, END = special_ids(K)


def random_codes(levels, n_frames, lengths=None):
    torch.manual_seed(levels * 100 + n_frames)
    frames = torch.randint(0, K, (3, levels, n_frames))
    return Codes.of(frames, K, None if lengths is None else torch.tensor(lengths))


def equal(a, b, n_frames=None):
    longest = min(a.frames.shape[-1], b.frames.shape[-1])
    rest = max(a.frames[..., longest:].sum(), b.frames[..., longest:].sum())
    return (
        torch.equal(a.n_frames, b.n_frames)
        and torch.equal(a.frames[..., :longest], b.frames[..., :longest])
        and rest == 0
    )


@pytest.mark.parametrize("levels", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n_frames", [0, 1, 2, 5, 31])
@pytest.mark.parametrize("lead", [0, 1])
def test_delaying_and_back_gives_the_codes(levels, n_frames, lead):
    codes = random_codes(levels, n_frames)
    delayed = codes.delayed(lead)
    assert delayed.shape == (3, levels, n_frames + levels - 1 + lead)
    assert equal(Codes.from_delayed(delayed, K, lead), codes)


@pytest.mark.parametrize("levels", [1, 2, 3, 8])
@pytest.mark.parametrize("lengths", [(9, 4, 0), (1, 9, 8)])
def test_clips_of_unlike_lengths_come_back_from_every_layout(levels, lengths):
    codes = random_codes(levels, 9, lengths)
    assert codes.frames[~codes.mask[:, None].expand_as(codes.frames)].sum() == 0
    for lead in (0, 1):
        assert equal(Codes.from_delayed(codes.delayed(lead), K, lead), codes)
    assert equal(Codes.from_flattened(codes.flattened(), levels, K), codes)
    assert equal(Codes.from_parallel(codes.parallel(), K), codes)


def test_a_codebook_is_shifted_by_its_number():
    codes = Codes.of(torch.tensor([[[1, 2, 3], [4, 5, 6]]]), K)
    assert codes.delayed(0).tolist() == [[[1, 2, 3, END], [START, 4, 5, 6]]]
    assert codes.delayed(1).tolist() == [[[START, 1, 2, 3, END], [START, START, 4, 5, 6]]]


def test_flattened_codes_stand_frame_after_frame_and_end_after_the_clip():
    codes = Codes.of(torch.tensor([[[1, 2, 3], [4, 5, 6]], [[1, 1, 0], [2, 2, 0]]]), K, torch.tensor([3, 2]))
    assert codes.flattened().tolist() == [[1, 4, 2, 5, 3, 6, END], [1, 2, 1, 2, END, END, END]]
    assert codes.flattened(end=False).tolist() == [[1, 4, 2, 5, 3, 6], [1, 2, 1, 2, 0, 0]]


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_an_early_end_drops_the_frame_that_is_not_whole_and_all_behind_it(levels):
    codes = random_codes(levels, 6)
    flat = codes.flattened()
    for length in range(flat.shape[1]):  # odd lengths too
        cut = flat[:, :length]
        ended = flat.clone()
        ended[:, length] = END
        for tokens in (cut, ended):
            back = Codes.from_flattened(tokens, levels, K)
            assert back.n_frames.tolist() == [length // levels] * 3
            assert torch.equal(back.frames[..., : length // levels], codes.frames[..., : length // levels])
            assert back.frames[..., length // levels :].sum() == 0


def test_every_row_ends_where_its_own_end_is():
    tokens = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, END, 3, 4, 5], [END, 1, 2, 3, 4, 5]])
    assert Codes.from_flattened(tokens, 2, K).n_frames.tolist() == [3, 1, 0]


def test_codes_out_of_range_and_wrong_lengths_are_refused_by_name():
    with pytest.raises(ValueError, match="code 7: expected 0 to 6"):
        Codes.of(torch.full((1, 2, 3), 7), K)
    with pytest.raises(ValueError, match="code -1: expected 0 to 6"):
        Codes.of(torch.full((1, 2, 3), -1), K)
    with pytest.raises(ValueError, match="lengths up to 3 frames, got 4"):
        Codes.of(torch.zeros(1, 2, 3, dtype=torch.long), K, torch.tensor([4]))
    with pytest.raises(ValueError, match=r"codes \[B, Q, N\]"):
        Codes.of(torch.zeros(2, 3, dtype=torch.long), K)
    with pytest.raises(ValueError, match="4 delayed steps of 4 codebooks or more, got 1"):
        Codes.from_delayed(torch.zeros(1, 4, 1, dtype=torch.long), K, lead=1)
