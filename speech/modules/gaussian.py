"""The diagonal Gaussian over latent frames that encoders return."""

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
        self, noise_scale: float = 1.0, mask: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw z = mean + noise * exp(log_std) * noise_scale.

        Args:
            noise_scale: factor on the standard deviation; 0 returns the mean.
            mask: [B, 1, N], True = valid, or None.
            generator: source of the noise. Its device may differ from the latent's, so that a CPU generator gives
                the same draw whatever the model runs on.

        Returns:
            z: [B, C, N], zero where the mask is False.
        """
        z = self.mean
        if noise_scale != 0:
            device = z.device if generator is None else generator.device
            noise = torch.randn(z.shape, generator=generator, device=device, dtype=z.dtype).to(z.device)
            z = z + noise * torch.exp(self.log_std) * noise_scale
        return z if mask is None else z * mask
