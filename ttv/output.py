"""What every text-to-vec model returns from `infer`."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class TTVOutput:
    """Predicted frames of a batch of utterances; B items, N frames at 50 Hz, S phoneme ids."""

    semantic: Tensor  # [B, C, N] semantic features, zero where padded
    log_f0: Tensor  # [B, 1, 4N] log(F0_Hz + 1) at 200 Hz, about 0 where unvoiced
    durations: Tensor  # [B, S] int64, frames per id, 0 where padded
    frame_mask: Tensor  # [B, N] bool, True = valid
