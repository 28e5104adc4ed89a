"""What every text-to-vec model takes and returns in `infer`."""

from dataclasses import dataclass

from torch import Tensor

from speech.capture.buckets import ladder

GRAPH_IDS = ladder(32, 11)  # phoneme ids of the texts that run as CUDA graphs, up to 568


@dataclass
class TTVOutput:
    """Predicted frames of a batch of utterances; B items, N frames at 50 Hz, S phoneme ids."""

    semantic: Tensor  # [B, C, N] semantic features, zero where padded
    log_f0: Tensor  # [B, 1, 4N] log(F0_Hz + 1) at 200 Hz, about 0 where unvoiced
    durations: Tensor  # [B, S] int64, frames per id, 0 where padded
    frame_mask: Tensor  # [B, N] bool, True = valid


def column(length_scale: float | Tensor) -> float | Tensor:
    """The factor on durations in the shape that multiplies [B, S]: itself, or one of each text [B] as [B, 1].

    Raises:
        ValueError: it is not positive.
    """
    values = length_scale.tolist() if isinstance(length_scale, Tensor) else [length_scale]
    if not all(value > 0 for value in values):
        raise ValueError(f"length_scale must be positive, got {length_scale}")
    return length_scale[:, None] if isinstance(length_scale, Tensor) else length_scale
