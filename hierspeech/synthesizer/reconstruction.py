"""What the training path without a posterior takes and gives (docs/lite.md); that of the whole hierarchy is in variational.py.

Shapes: B batch, C semantic channels, N frames at 50 Hz, M mel bins, P and P' frames of two prompts.
"""

from dataclasses import dataclass

from torch import Tensor

from hierspeech.synthesizer.detail import DetailInputs


@dataclass
class ReconstructionInputs:
    """What `HierSpeech.forward` needs to train a model without posterior."""

    semantic: Tensor  # [B, C, N]
    log_f0: Tensor  # [B, 1, 4N]
    prompt: Tensor  # log-mel [B, M, P] that the style is taken from
    prompt_mask: Tensor  # [B, P]
    other: Tensor  # another log-mel [B, M, P'] of the same speaker
    other_mask: Tensor  # [B, P']
    detail: DetailInputs | None = None  # for a model with a detail encoder
    table: Tensor | None = (
        None  # [B, P * K] of a model's equalizer (equalizer.py), which is heard in the wave
    )


@dataclass
class Reconstruction:
    """Output of the training path without posterior."""

    wav: Tensor  # [B, 1, hop_length * N]
    log_f0: Tensor | None  # [B, 1, 4N] as the source predicts it
    style: Tensor  # [B, style channels] of the prompt
    other_style: Tensor  # [B, style channels] of the other piece
