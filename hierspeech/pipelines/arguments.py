"""Arguments that several pipelines take: their ranges, and random numbers from a seed."""

import torch

SPEEDS = (0.25, 4.0)
NOISE_SCALES = (0.0, 2.0)
DENOISE_RATIOS = (0.0, 1.0)


def check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    """One-sentence ValueError for a number that is not within the limits (NaN never is)."""
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"{name} {value:g}: expected a number from {limits[0]:g} to {limits[1]:g}.")


def make_generator(seed: int | None) -> torch.Generator:
    """A CPU generator, whose numbers are the same whatever device the models run on."""
    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}: expected a whole number from 0 to {2**63 - 1}.")
    generator = torch.Generator()
    return generator.manual_seed(generator.seed() if seed is None else seed)
