"""Token models in half precision: the matrices and tables, not the norms and not what hears the speaker (WhisperSpeech's `optimize`, spec 2.1)."""

from __future__ import annotations

import torch
from torch import nn

from speech.modules.transformer import RMSNorm

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Half the memory; quicker where the device multiplies in it: GPUs do, a CPU as a rule does not for models of this size."""


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Put `model` (text to semantic, or semantic to acoustic) into a precision, in place; norms and `conditioning` stay in float32.

    What is drawn is drawn from float32 probabilities whatever the precision.
    """
    for name, part in model.named_children():
        if (
            name != "conditioning"
        ):  # its spectrogram needs it, and saved voices are the same in every precision
            part.to(dtype)
    for parameter in model.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    for part in model.modules():
        if isinstance(part, RMSNorm):
            part.float()
    return model
