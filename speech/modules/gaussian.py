"""The diagonal Gaussian over latent frames that encoders return."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class DiagonalGaussian:
    """A normal distribution per latent value: `mean` and `log_std`, both [B, C, N]."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def project(cls, proj: nn.Module, x: Tensor, mask: Tensor | None = None) -> "DiagonalGaussian":
        """The two halves of `proj(x)`, zero where the mask is False, in the precision of the weights.

        Autocast would leave three digits of a latent whose deviation may be a hundredth of it.

        Args:
            proj: a layer from the channels of x to twice those of the latent.
            x: [B, C, N].
            mask: [B, 1, N], True = valid, or None.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = proj(x.to(proj.weight.dtype))
            return cls(*(x if mask is None else x * mask).chunk(2, dim=1))

    def sample(
        self, noise_scale: float = 1.0, mask: Tensor | None = None, generator: "Generators" = None
    ) -> Tensor:
        """Draw z = mean + noise * exp(log_std) * noise_scale.

        Args:
            noise_scale: factor on the standard deviation; 0 returns the mean.
            mask: [B, 1, N], True = valid, or None.
            generator: source of the noise. Its device may differ from the latent's, so that a CPU generator gives
                the same draw whatever the model runs on. One per row of the batch gives each row the noise that it
                has alone; the mask then says how long the rows are.

        Returns:
            z: [B, C, N], zero where the mask is False.
        """
        z = self.mean
        if noise_scale != 0:
            z = z + draw_noise(z, mask, generator) * torch.exp(self.log_std) * noise_scale
        return z if mask is None else z * mask

    def shift(self, noise: Tensor, mask: Tensor) -> Tensor:
        """`sample` with what `scaled_noise` gave, [B, C, N]."""
        return (self.mean + noise * torch.exp(self.log_std)) * mask


Generators = (
    torch.Generator | Sequence[torch.Generator] | None
)  # one for a whole batch, one per row, or torch's own


def scaled_noise(like: Tensor, noise_scale: float, mask: Tensor | None, generator: Generators) -> Tensor:
    """The noise of `DiagonalGaussian.sample`, drawn as there (not at all for a scale of 0), times its scale."""
    if noise_scale == 0:
        return torch.zeros_like(like)
    return draw_noise(like, mask, generator) * noise_scale


def draw_noise(like: Tensor, mask: Tensor | None, generator: Generators) -> Tensor:
    """Standard normal noise of the shape, type and device of `like` [B, C, N].

    With a generator per row, each row draws as if it were alone and as long as `mask` [B, 1, N] says, True first.

    Raises:
        ValueError: there are not as many generators as rows.
    """
    if generator is None or isinstance(generator, torch.Generator):
        device = like.device if generator is None else generator.device
        return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
    if len(generator) != len(like):
        raise ValueError(f"{len(generator)} generators for {len(like)} rows, expected one for each.")
    lengths = [like.shape[2]] * len(like) if mask is None else mask.sum((1, 2)).tolist()
    noise = torch.zeros_like(like)
    for row, (length, source) in enumerate(zip(lengths, generator, strict=True)):
        shape = (1, like.shape[1], int(length))
        drawn = torch.randn(shape, generator=source, device=source.device, dtype=like.dtype)
        noise[row, :, : int(length)] = drawn[0].to(like.device)
    return noise
