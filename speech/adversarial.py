"""Losses between a generator and a discriminator: least squares (LSGAN) and feature matching, as HiFi-GAN has them.

Discriminators give a list of `DiscriminatorOutput`, one per sub-discriminator; losses are summed over these.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.discriminators import DiscriminatorOutput


def discriminator_loss(real: list[DiscriminatorOutput], fake: list[DiscriminatorOutput]) -> Tensor:
    """Logits of real waveforms towards 1, those of generated ones towards 0."""
    return sum(
        (1 - r.logits.float()).square().mean() + f.logits.float().square().mean()
        for r, f in zip(real, fake, strict=True)
    )


def generator_loss(fake: list[DiscriminatorOutput]) -> Tensor:
    """Logits of generated waveforms towards 1."""
    return sum((1 - output.logits.float()).square().mean() for output in fake)


def feature_matching_loss(real: list[DiscriminatorOutput], fake: list[DiscriminatorOutput]) -> Tensor:
    """Mean absolute difference of each feature map, summed over maps and sub-discriminators."""
    return sum(
        F.l1_loss(f.float(), r.detach().float())
        for r_output, f_output in zip(real, fake, strict=True)
        for r, f in zip(r_output.features, f_output.features, strict=True)
    )


def opinions(discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What a discriminator, just trained, says to the generator: its losses "adversarial" and "features".

    Args:
        discriminator: with or without a distributed wrapper.
        real, fake: [B, 1, T] recorded and generated waves.
    """
    with frozen(discriminator) as judge:
        with torch.no_grad():
            judged_real = judge(real)
        judged_fake = judge(fake)
    return {
        "adversarial": generator_loss(judged_fake),
        "features": feature_matching_loss(judged_real, judged_fake),
    }


def judge_both(
    discriminator: nn.Module, real: Tensor, fake: Tensor
) -> tuple[list[DiscriminatorOutput], list[DiscriminatorOutput]]:
    """One pass over real and generated waveforms [B, 1, T] together: (outputs of real, outputs of fake)."""
    outputs = discriminator(torch.cat([real, fake.to(real.dtype)]))
    n = len(real)
    return (
        [DiscriminatorOutput(o.logits[:n], [f[:n] for f in o.features]) for o in outputs],
        [DiscriminatorOutput(o.logits[n:], [f[n:] for f in o.features]) for o in outputs],
    )


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The bare module (without a distributed wrapper) while its parameters take no gradient.

    The generator's turn differentiates through the discriminator, not with respect to it: this saves a third of the
    work, and the wrapper would wait for gradients that do not come.
    """
    bare = getattr(module, "module", module)
    parameters = [p for p in bare.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield bare
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
