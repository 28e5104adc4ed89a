"""Losses against what they estimate."""

import torch

from speech.losses import kl_divergence, masked_l1


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
