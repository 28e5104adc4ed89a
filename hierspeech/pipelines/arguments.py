"""Arguments that several pipelines take: their ranges, and random numbers from a seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from speech.text.marks import LIMITS

if TYPE_CHECKING:
    import torch

SPEEDS = LIMITS["speed"]
PITCH_SHIFTS = LIMITS["pitch"]  # semitones
PITCH_RANGES = LIMITS["range"]
ENERGIES = LIMITS["energy"]  # dB
SHARES = LIMITS["mix"]
MAX_ADAPT_STEPS = 1000  # of gradient descent on a reference
NOISE_SCALES = (0.0, 2.0)
DENOISE_RATIOS = (0.0, 1.0)
AUTO = "auto"  # a denoise ratio by how noisy the reference is
ARTICULATION = (0.0, 1.0)  # share of the source's own


def check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    """One-sentence ValueError for a number that is not within the limits (NaN never is)."""
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"{name} {value:g}: expected a number from {limits[0]:g} to {limits[1]:g}.")


def check_denoise_ratio(ratio: float | str) -> None:
    """One-sentence ValueError for what is neither a share from 0 to 1 nor `AUTO`."""
    if isinstance(ratio, str):
        if ratio != AUTO:
            raise ValueError(f"denoise ratio {ratio!r}: expected a number from 0 to 1, or {AUTO}.")
        return
    check_range("denoise ratio", ratio, DENOISE_RATIOS)


def make_generator(seed: int | None) -> torch.Generator:
    """A CPU generator, whose numbers are the same whatever device the models run on."""
    import torch  # here: exported voices check their arguments without it

    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}: expected a whole number from 0 to {2**63 - 1}.")
    generator = torch.Generator()
    return generator.manual_seed(generator.seed() if seed is None else seed)


def pick_seed(seed: int | None) -> int:
    """The seed itself, or a fresh one for None; ValueError where it is none."""
    return make_generator(seed).initial_seed() % 2**63


def piece_generator(seed: int, index: int) -> torch.Generator:
    """The random numbers of piece `index` of a text: a matter of seed and index alone.

    So a piece sounds the same in a file that is resumed, in a batch and in a stream, whatever was drawn before it. The
    first piece has the seed's own numbers.
    """
    if index == 0:
        return make_generator(seed)
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()  # neighbouring seeds share no piece
    return make_generator(int.from_bytes(digest[:8], "little") >> 1)


def piece_seed(seed: int, index: int) -> int:
    """The seed of piece `index`: a matter of both alone, so that batches and streams equal calls."""
    return piece_generator(seed, index).initial_seed() % 2**62
