"""How high each sound lies (ttv/melody.py): the contour follows it, and padding changes nothing."""

import torch

from ttv.melody import SMOOTHING, Melody, follow, token_means, token_of_f0_frame


def test_the_contour_comes_to_the_melodys_height_in_each_sound_and_keeps_its_own_shape():
    ends, sounds = torch.tensor([[40.0, 80.0, 120.0]]), torch.ones(1, 3, dtype=torch.bool)
    contour = torch.sin(torch.arange(480) * torch.pi / 10)[None]  # whole periods, eight in each sound
    moved = follow(
        contour, torch.tensor([[1.0, -1.0, 0.5]]), ends, sounds, torch.ones(1, 120, dtype=torch.bool)
    )
    assert moved.shape == contour.shape
    difference = moved - contour
    half = SMOOTHING // 2
    for first, height in ((0, 1.0), (160, -1.0), (320, 0.5)):
        inside = difference[0, first + half : first + 160 - half]
        torch.testing.assert_close(inside, torch.full_like(inside, height))
    between = difference.diff()[0, 160 - half : 160 + half]
    torch.testing.assert_close(between, torch.full_like(between, -2 / SMOOTHING))  # no jump


def test_a_boundary_takes_what_is_next_to_it():
    ends = torch.tensor([[10.0, 11.0, 21.0]])
    sounds = torch.tensor([[True, False, True]])
    moved = follow(
        torch.zeros(1, 84),
        torch.tensor([[1.0, 99.0, 1.0]]),
        ends,
        sounds,
        torch.ones(1, 21, dtype=torch.bool),
    )
    torch.testing.assert_close(moved, torch.ones(1, 84))


def test_frames_belong_to_tokens_and_means_are_weighted():
    index = token_of_f0_frame(torch.tensor([[1.0, 1.0, 2.5]]), 12)
    assert index.tolist() == [[0] * 4 + [2] * 8]
    values = torch.arange(12.0)[None]
    weights = torch.tensor([[1.0, 1, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0]])
    means, weight = token_means(values, weights, index, 3)
    torch.testing.assert_close(means, torch.tensor([[0.5, 0.0, 8.75]]))
    assert weight.tolist() == [[2, 0, 4]]


def test_both_directions_are_heard_and_padding_is_not():
    torch.manual_seed(0)
    model = Melody(20, 8, 2, 0.0).eval()
    factors = torch.stack([torch.randint(0, 20, (1, 9)), torch.randint(0, 3, (1, 9))], -1)
    sounds, durations = torch.rand(1, 9) > 0.3, 9 * torch.rand(1, 9)
    all_of_it = torch.ones(1, 9, dtype=torch.bool)
    with torch.no_grad():
        alone = model(factors[:, :6], sounds[:, :6], durations[:, :6], all_of_it[:, :6])
        padded = model(factors, sounds, durations, torch.arange(9)[None] < 6)
        torch.testing.assert_close(padded[:, :6], alone)
        whole = model(factors, sounds, durations, all_of_it)
        assert (whole[:, :6] - alone).abs().min() > 1e-6  # what follows is heard
        other = factors.clone()
        other[0, 0] = torch.tensor([(int(factors[0, 0, 0]) + 1) % 20, 0])
        assert (
            model(other, sounds, durations, all_of_it) - whole
        ).abs().min() > 1e-6  # what went before, too
