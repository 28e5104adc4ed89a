"""Spline and duration flow: round trips, densities and independence of padding."""

import pytest
import torch

from speech.modules.duration import DurationFlow, StochasticDurationPredictor
from speech.modules.spline import rational_quadratic_spline


def random_spline(shape: tuple[int, ...], scale: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(shape, generator=generator)
    sizes = [scale * torch.randn(*shape, k, generator=generator) for k in (10, 10, 9)]
    return x, sizes


@pytest.mark.parametrize("shape", [(7,), (3, 50)])
def test_spline_round_trip(shape):
    x, sizes = random_spline(shape)
    y, log_derivative = rational_quadratic_spline(x, *sizes)
    back, log_derivative_back = rational_quadratic_spline(y, *sizes, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_derivative_back, -log_derivative, rtol=1e-3, atol=1e-3)
    outside = x.abs() > 5
    assert outside.any() and torch.equal(y[outside], x[outside]) and log_derivative[outside].abs().max() == 0
    assert y[~outside].abs().max() <= 5


def test_spline_log_derivative_is_the_derivative():
    x, sizes = random_spline((200,))
    x, sizes = x.double().requires_grad_(), [size.double() for size in sizes]
    y, log_derivative = rational_quadratic_spline(x, *sizes)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient.log(), log_derivative, rtol=1e-6, atol=1e-9)


def test_spline_is_continuous_at_its_ends():
    _, sizes = random_spline((4,))
    for edge in (-5.0, 5.0):
        for x in (torch.full((4,), edge), torch.full((4,), edge * (1 + 1e-6))):
            y, log_derivative = rational_quadratic_spline(x, *sizes)
            torch.testing.assert_close(y, x, rtol=1e-5, atol=0)
            assert log_derivative.abs().max() < 1e-3


def test_equal_bins_are_the_identity():
    x = torch.linspace(-6, 6, 101)
    y, log_derivative = rational_quadratic_spline(
        x, torch.zeros(101, 10), torch.zeros(101, 10), torch.full((101, 9), 0.5397424)
    )
    torch.testing.assert_close(y, x, rtol=0, atol=1e-5)
    assert log_derivative.abs().max() < 1e-4


def random_weights(module: torch.nn.Module) -> torch.nn.Module:
    """Couplings start as the identity; a test of their arithmetic needs them elsewhere."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


@torch.no_grad()
def test_flow_round_trip():
    flow = random_weights(DurationFlow(8, 3, 4))
    x, context = torch.randn(2, 2, 9), torch.randn(2, 8, 9)
    mask = torch.arange(9)[None, None] < torch.tensor([9, 5])[:, None, None]
    z, log_det = flow(x * mask, mask.float(), context)
    torch.testing.assert_close(flow.inverse(z, mask.float(), context), x * mask, rtol=1e-3, atol=1e-3)
    assert log_det.shape == (2,)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(5, 11), (1, 4)])
def test_predictor_shapes_and_padding(lengths):
    predictor = random_weights(StochasticDurationPredictor(8, 6))
    longest = max(lengths)
    x, style, noise = torch.randn(2, 8, longest), torch.randn(2, 6), torch.randn(2, 2, longest)
    durations = torch.randint(1, 9, (2, longest))
    mask = torch.arange(longest)[None, None] < torch.tensor(lengths)[:, None, None]
    log_durations = predictor.infer(x, mask, style, noise)
    nll = predictor(x, mask, durations, style, noise)
    assert log_durations.shape == (2, longest) and nll.shape == (2,)
    for i, n in enumerate(lengths):
        item = slice(i, i + 1)
        ones = torch.ones(1, 1, n)
        alone = predictor.infer(x[item, :, :n], ones, style[item], noise[item, :, :n])
        torch.testing.assert_close(log_durations[item, :n], alone, rtol=1e-4, atol=1e-5)
        assert log_durations[i, n:].abs().sum() == 0
        alone = predictor(x[item, :, :n], ones, durations[item, :n], style[item], noise[item, :, :n])
        torch.testing.assert_close(nll[item], alone, rtol=1e-4, atol=1e-3)


def test_predictor_trains_alone():
    """Its loss moves its own weights and nothing upstream."""
    predictor = StochasticDurationPredictor(8, 6)
    x, style = torch.randn(2, 8, 5, requires_grad=True), torch.randn(2, 6, requires_grad=True)
    predictor(x, torch.ones(2, 1, 5), torch.full((2, 5), 3), style).sum().backward()
    assert x.grad is None and style.grad is None
    assert predictor.flow.couplings[0].proj.weight.grad.abs().sum() > 0
