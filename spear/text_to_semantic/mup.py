"""Maximal update parametrisation: learning rates and initial weights that suit one width suit any (Yang et al. 2022).

Tune a narrow model and keep its learning rate for a wide one. As in WhisperSpeech's models (spec section 6.1), around a base width of 192:
a hidden matrix learns at 192 / fan-in of the rate, queries start at zero, logits shrink with the width; initial weights have a deviation of
`init_std / sqrt(fan-in)`, which keeps the size of what a layer puts out (WhisperSpeech divides by the fan-in).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from speech.modules.transformer import CrossAttention, SelfAttention


@dataclass
class MupConfig:
    """Hyper-parameters that hold for every width."""

    base_width: int = 192
    init_std: float = 1.0
    embeddings_std: float = 0.1
    embeddings_lr_scale: float = 5.0
    output_mult: float = 0.35


def hidden_matrices(module: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of `module` by name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}


@torch.no_grad()
def init_mup(module: nn.Module, config: MupConfig) -> None:
    """Initial weights of every linear layer and zero queries; tables start as their owner made them."""
    for layer in hidden_matrices(module).values():
        std = config.init_std * layer.in_features**-0.5
        nn.init.trunc_normal_(layer.weight, std=std, a=-3 * std, b=3 * std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for layer in module.modules():
        if isinstance(layer, SelfAttention):
            layer.to_qkv.weight[: layer.heads * layer.dim].zero_()
        elif isinstance(layer, CrossAttention):
            layer.to_q.weight.zero_()


def mup_lr_scales(module: nn.Module, config: MupConfig) -> dict[str, float]:
    """Parameter name -> factor of the learning rate, for those whose factor is not 1."""
    scales = {
        f"{name}.weight" if name else "weight": config.base_width / layer.in_features
        for name, layer in hidden_matrices(module).items()
    }
    tables = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    for name, _ in module.named_parameters():
        if name in tables or name.split(".")[-1] in ("rows", "special"):
            scales[name] = config.embeddings_lr_scale
    return scales
