"""Linear interpolation to a higher rate, at exact positions however long the signal is.

`F.interpolate` computes the position of every output sample in single precision: 10 s into a signal it is off by 0.01 of an input
sample, so that a signal that is cut in two comes out a little different (measured: 1e-3 of full scale). Here each of the few
positions between two input samples has its weights once. B batch, C channels, T samples.
"""

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F


def stretch(x: Tensor, scale: float) -> Tensor:
    """x [B, C, T] -> [B, C, int(T * scale)] on straight lines between samples; the ends are held.

    A length that is no whole number times `scale` (an odd one times 1.5) is left to `F.interpolate`, where the size and not the
    scale drives the positions, as in the published model.
    """
    ratio = Fraction(scale).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    samples = x.shape[-1]
    if samples % down:
        return F.interpolate(x, size=int(samples * scale), mode="linear")
    steps = samples // down
    padded = F.pad(x, (1, 1), mode="replicate")
    phases = []
    for phase in range(up):
        place = (phase + Fraction(1, 2)) / ratio + Fraction(
            1, 2
        )  # in `padded`, whose first sample is one early
        first, weight = int(place), float(place % 1)
        left = padded[..., first : first + (steps - 1) * down + 1 : down]
        right = padded[..., first + 1 : first + (steps - 1) * down + 2 : down] if weight else left
        phases.append(torch.lerp(left, right, weight) if weight else left)
    return torch.stack(phases, -1).flatten(-2)
