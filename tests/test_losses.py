"""Losses against what they estimate."""

import numpy as np
import pytest
import torch

from speech.losses import kl_divergence, masked_l1
from speech.mel_loss import MelLoss, mels_of_sizes


def test_divergences_are_those_of_torch_distributions():
    """Forwards and, with the roles exchanged, backwards, through a flow that shifts: one-sample estimates average to KL."""
    torch.manual_seed(0)
    shape = (2, 3, 40_000)
    q_mean, q_log_std = torch.tensor(0.3), torch.tensor(-0.4)
    p_mean, p_log_std = torch.tensor(1.1), torch.tensor(0.2)
    shift = 0.5  # the flow: x -> x + shift, which keeps volumes

    def spread(value):
        return value.expand(shape)

    mask = torch.ones(2, 40_000, dtype=torch.bool)
    mask[1, 30_000:] = False
    posterior = torch.distributions.Normal(q_mean + shift, q_log_std.exp())  # in the prior's space
    prior = torch.distributions.Normal(p_mean, p_log_std.exp())
    z = spread(q_mean) + torch.randn(shape) * q_log_std.exp() + shift
    forward = kl_divergence(z, spread(q_log_std), spread(p_mean), spread(p_log_std), mask)
    expected = 3 * torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(forward, expected, rtol=0.02, atol=0)
    z = spread(p_mean) + torch.randn(shape) * p_log_std.exp() - shift
    backward = kl_divergence(z, spread(p_log_std), spread(q_mean), spread(q_log_std), mask)
    expected = 3 * torch.distributions.kl_divergence(prior, posterior)
    torch.testing.assert_close(backward, expected, rtol=0.02, atol=0)


def test_masked_l1_is_the_mean_over_valid_elements():
    predicted, target = torch.tensor([[[1.0, 2.0, 9.0], [0.0, 4.0, 9.0]]]), torch.zeros(1, 2, 3)
    mask = torch.tensor([[[True, True, False]]])
    assert masked_l1(predicted, target, mask).item() == (1 + 2 + 0 + 4) / 4


def test_magnitudes_count_what_is_loud_and_logs_what_is_faint():
    torch.manual_seed(0)
    loss = MelLoss(mels_of_sizes([256, 512]))
    loud = torch.randn(2, 8000)
    loud[:, 4000:] *= 0.02
    same, halved_loud, halved_faint = loud.clone(), loud.clone(), loud.clone()
    halved_loud[:, :4000] /= 2
    halved_faint[:, 4000:] /= 2
    assert [float(x) for x in loss.distances(loud, same)] == [0.0, pytest.approx(0.0, abs=1e-3)]
    log_loud, magnitude_loud = map(float, loss.distances(loud, halved_loud))
    log_faint, magnitude_faint = map(float, loss.distances(loud, halved_faint))
    # half the amplitude for half of the time: ln 4 / 2 in log power; half of the norm, nearly all of which is in the loud half
    assert log_loud == pytest.approx(np.log(4) / 2, rel=0.05) and magnitude_loud == pytest.approx(
        0.5, rel=0.05
    )
    assert log_faint > 0.6 * log_loud and magnitude_faint < 0.03
    assert float(loss(loud, halved_loud)) == log_loud
