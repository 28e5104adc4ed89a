"""Monotonic rational-quadratic splines with linear tails (Durkan et al. 2019, "Neural Spline Flows")."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_BIN = 1e-3  # least width and height of a bin, as a fraction of the whole range
MIN_DERIVATIVE = 1e-3
# softplus(OUTER_DERIVATIVE) + MIN_DERIVATIVE = 1: the spline joins the identity outside its range smoothly.
OUTER_DERIVATIVE = math.log(math.exp(1 - MIN_DERIVATIVE) - 1)


def rational_quadratic_spline(
    x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float = 5.0, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Bends every element of `x` by its own spline on [-bound, bound]; outside it is the identity.

    Args:
        x: any shape [...], float32.
        widths, heights: [..., K] unnormalised sizes of the K bins.
        derivatives: [..., K - 1] unnormalised slopes at the inner knots.
        bound: half the range of both axes.
        inverse: maps outputs back to inputs.

    Returns:
        The mapped values and the log of the derivative of this mapping, both of the shape of `x`.
    """
    knots_x = _knots(widths, bound)  # [..., K + 1]
    knots_y = _knots(heights, bound)
    slopes = MIN_DERIVATIVE + F.softplus(F.pad(derivatives, (1, 1), value=OUTER_DERIVATIVE))

    # Elements outside take part with a clamped value, so that no step needs a data-dependent shape.
    inside = x.abs() <= bound
    value = x.clamp(-bound, bound)
    bins = _bin_of(value, knots_y if inverse else knots_x)

    def pick(of_bins: Tensor) -> Tensor:
        return of_bins.gather(-1, bins).squeeze(-1)

    left, bottom = pick(knots_x[..., :-1]), pick(knots_y[..., :-1])
    width, height = pick(knots_x.diff(dim=-1)), pick(knots_y.diff(dim=-1))
    slope_0, slope_1 = pick(slopes[..., :-1]), pick(slopes[..., 1:])
    mean_slope = height / width
    bend = slope_0 + slope_1 - 2 * mean_slope

    if inverse:
        rise = value - bottom
        a = rise * bend + height * (mean_slope - slope_0)
        b = height * slope_0 - rise * bend
        c = -mean_slope * rise
        theta = 2 * c / (-b - (b * b - 4 * a * c).clamp_min(0).sqrt())  # position inside the bin, 0..1
        mapped = theta * width + left
    else:
        theta = (value - left) / width
    product = theta * (1 - theta)
    denominator = mean_slope + bend * product
    if not inverse:
        mapped = bottom + height * (mean_slope * theta * theta + slope_0 * product) / denominator

    numerator = slope_1 * theta * theta + 2 * mean_slope * product + slope_0 * (1 - theta) ** 2
    log_derivative = 2 * mean_slope.log() + numerator.log() - 2 * denominator.log()
    if inverse:
        log_derivative = -log_derivative
    return torch.where(inside, mapped, x), torch.where(inside, log_derivative, torch.zeros_like(x))


def _knots(sizes: Tensor, bound: float) -> Tensor:
    """[..., K] unnormalised bin sizes -> [..., K + 1] increasing positions from -bound to bound exactly."""
    n_bins = sizes.shape[-1]
    sizes = MIN_BIN + (1 - MIN_BIN * n_bins) * sizes.softmax(-1)
    inner = 2 * bound * sizes.cumsum(-1)[..., :-1] - bound
    return F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def _bin_of(value: Tensor, knots: Tensor) -> Tensor:
    """Index of the bin that holds `value` [...]: [..., 1]. The last knot counts as part of the last bin."""
    return (value.unsqueeze(-1) >= knots[..., 1:-1]).sum(-1, keepdim=True)
