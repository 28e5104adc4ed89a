"""How one module is optimised: AdamW and a learning rate that is a function of the step number."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

SCHEDULES = ("exponential", "cosine", "linear", "wsd")
FALLING_SHARE = 0.1  # of the steps, at the end of "wsd" (warm-up, stable, decay)


@dataclass
class OptimizerConfig:
    """AdamW and its learning rate over the steps."""

    lr: float = 2e-4
    betas: tuple[float, float] = (0.8, 0.99)
    eps: float = 1e-9
    weight_decay: float = 0.01
    # "exponential"; or down to lr_final at max_steps: "cosine", "linear", or "wsd", which stays at lr and falls in the last tenth
    schedule: str = "exponential"
    warmup_steps: int = 0
    lr_decay: float = 1.0  # factor per lr_decay_every steps
    lr_decay_every: int = 1000
    lr_final: float = 0.0
    grad_clip: float | None = None  # largest gradient norm

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.lr <= 0 or self.lr_decay_every < 1:
            raise ValueError(
                f"lr and lr_decay_every must be positive, got {self.lr} and {self.lr_decay_every}"
            )


def learning_rate(config: OptimizerConfig, step: int, max_steps: int) -> float:
    """Learning rate of the update that follows `step` updates: linear warm-up, then the schedule."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    step -= config.warmup_steps
    if config.schedule == "exponential":
        return config.lr * config.lr_decay ** (step / config.lr_decay_every)
    progress = min(step / max(max_steps - config.warmup_steps, 1), 1.0)
    if config.schedule == "cosine":
        left = 0.5 * (1 + float(np.cos(np.pi * progress)))
    else:
        left = (1 - progress) / (FALLING_SHARE if config.schedule == "wsd" else 1.0)
    return config.lr_final + (config.lr - config.lr_final) * min(left, 1.0)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the parameters of `module` that are not frozen.

    A module may have a method `lr_scales` that gives factors of the learning rate by parameter name (1 for those not named); parameters
    of one factor share a group.
    """
    scales = module.lr_scales() if hasattr(module, "lr_scales") else {}
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(scales.get(name, 1.0), []).append(parameter)
    if not groups:
        raise ValueError(f"{type(module).__name__} has losses but no parameter that may change")
    return torch.optim.AdamW(
        [{"params": parameters, "lr_scale": scale} for scale, parameters in groups.items()],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def update(optimizer: torch.optim.Optimizer, lr: float, grad_clip: float | None) -> tuple[Tensor, bool]:
    """Clip and step at `lr`, unless a gradient is not finite; returns (gradient norm, whether it stepped)."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, grad_clip or float("inf"))
    finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    return norm, finite


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the exponential moving average one step towards `module`; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    for ours, theirs in zip(average.buffers(), module.buffers(), strict=True):
        ours.copy_(theirs)
