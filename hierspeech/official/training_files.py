"""Published training files {model, iteration, optimizer, learning_rate}: what our training loop keeps of them.

Weight norm stays apart as it is in the file (g and v, not folded and split again). AdamW's state is indexed by the order in
which the published class registers its parameters, which is the order of keys.json.gz without the constant buffers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hierspeech.official.components import COMPONENTS
from hierspeech.official.convert import is_constant, to_our_shape, verify_constant
from hierspeech.official.reading import check_tensors, is_finite, read_checkpoint, unwrap
from speech.optimization import OptimizerConfig, make_optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")
NAMED = 3  # how many offending parameters a message names


@dataclass
class TrainingState:
    """One module and its optimizer, in the names and the order of ours."""

    module: nn.Module  # with weight norm
    optimizer: dict[str, Any]  # state dict for `make_optimizer(module, ...)`
    steps: tuple[int, int]  # fewest and most updates that a parameter has had
    fresh: list[str]  # parameters (official names) that start without moments
    learning_rate: float | None  # at which the file stopped
    iteration: int | None  # epochs, as the published code counts


def read_training_file(component: str, path: str | Path, fresh_moments: bool = False) -> TrainingState:
    """Read a published training file.

    Args:
        component: a key of `COMPONENTS`.
        fresh_moments: let parameters whose moments the file lacks start without (AdamW keeps none for a parameter that
            it never updated); otherwise they are refused.
    Raises:
        ValueError: unreadable file, no training file of this component, tensors or moments missing, left over or
            misshapen, each named as in the file.
    """
    name, part = str(path), COMPONENTS[component]
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("optimizer"), Mapping):
        raise ValueError(
            f"{name} holds no optimizer, expected a training file with model and optimizer; "
            "to start from weights alone, convert it and train with init=FOLDER"
        )
    state = unwrap(content, name)
    check_tensors(state, part.shapes(), f"{name} is no {component} checkpoint")
    for key in filter(is_constant, state):
        verify_constant(key, state[key], name)
    keys = [key for key in part.shapes() if not is_constant(key)]  # in the order of registration
    for key in keys:
        if key.endswith(".weight_v") and not bool(torch.norm_except_dim(state[key], 2, 0).all()):
            raise ValueError(f"{name}: {key} has a row of zeros, so its weight norm is undefined")

    with torch.device("meta"):  # the file's tensors become the parameters, nothing is filled twice
        module = part.model(part.config())
    ours = {key: trainable_name(part.rename, key) for key in keys}
    module.load_state_dict(
        {ours[key]: to_our_shape(key, state[key]).float().contiguous() for key in keys}, assign=True
    )
    found, fresh = _moments(content["optimizer"], {key: state[key].shape for key in keys}, name)
    if fresh and not fresh_moments:
        raise ValueError(
            f"{name}: the optimizer has no moments for {_some(fresh)}; --fresh-moments lets them start without"
        )
    places = {n: i for i, (n, _) in enumerate(p for p in module.named_parameters() if p[1].requires_grad)}
    optimizer = make_optimizer(module, OptimizerConfig()).state_dict()
    optimizer["state"] = {
        places[ours[key]]: {
            "step": values["step"],
            **{moment: to_our_shape(key, values[moment]).float().contiguous() for moment in MOMENTS},
        }
        for key, values in found.items()
    }
    steps = [int(values["step"]) for values in found.values()]
    return TrainingState(
        module, optimizer, (min(steps), max(steps)), fresh, _last_rate(content), _number(content, "iteration")
    )


def trainable_name(rename: Any, key: str) -> str:
    """Official key -> the name in our model that trains; `rename` knows the keys of folded weights."""
    for suffix, original in (("_g", "original0"), ("_v", "original1")):
        if key.endswith(f".weight{suffix}"):
            ours = rename(key.removesuffix(suffix))
            return f"{ours.removesuffix('weight')}parametrizations.weight.{original}"
    return rename(key)


def _moments(
    optimizer: Mapping[str, Any], shapes: dict[str, torch.Size], name: str
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """AdamW's state by official key, and the keys for which there is none."""
    groups, states = optimizer.get("param_groups"), optimizer.get("state")
    try:
        indices = [index for group in groups for index in group["params"]]
        states = dict(states)
        wrong_size = len(indices) != len(shapes)
        foreign = set(states) - set(indices)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{name}: the optimizer is not the state of a PyTorch AdamW ({error!r})") from error
    if wrong_size or foreign:
        raise ValueError(
            f"{name}: the optimizer lists {len(indices)} parameters and has the state of {len(states)}, "
            f"expected the {len(shapes)} of the model"
        )
    found, fresh, problems = {}, [], []
    for index, (key, shape) in zip(indices, shapes.items(), strict=True):
        if index not in states:
            fresh.append(key)
            continue
        values, reason = states[index], None
        if not isinstance(values, Mapping) or set(values) != {"step", *MOMENTS}:
            reason = f"expected step, {' and '.join(MOMENTS)}, got {_keys(values)}"
        elif not _is_count(values["step"]):
            reason = f"step is {values['step']!r:.40}, expected a count"
        else:
            for moment in MOMENTS:
                reason = reason or _wrong_moment(moment, values[moment], shape)
        if reason:
            problems.append(f"{key}: {reason}")
        else:
            step = torch.tensor(float(values["step"]))
            found[key] = {"step": step, **{moment: values[moment] for moment in MOMENTS}}
    if problems:
        raise ValueError(f"{name}: wrong optimizer state of {_some(problems, '; ')}")
    if not found:
        raise ValueError(
            f"{name}: the optimizer has no moments at all, expected those of {len(shapes)} parameters"
        )
    return found, fresh


def _wrong_moment(moment: str, value: Any, shape: torch.Size) -> str | None:
    if not isinstance(value, Tensor):
        return f"{moment} is a {type(value).__name__}, expected a tensor"
    if value.shape != shape:
        return f"{moment} {list(value.shape)} instead of {list(shape)}"
    if not is_finite(value):
        return f"{moment} is not finite"
    return "exp_avg_sq is negative" if moment == "exp_avg_sq" and bool((value < 0).any()) else None


def _is_count(value: Any) -> bool:
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 else None
    return isinstance(value, (int, float)) and 0 <= value < 2**53


def _some(names: list[str], separator: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return separator.join(names[:NAMED]) + more


def _keys(values: Any) -> str:
    return ", ".join(map(str, values)) if isinstance(values, Mapping) else type(values).__name__


def _last_rate(content: Mapping[str, Any]) -> float | None:
    """The learning rate of the last update, which the file's own `learning_rate` (the initial one) is not."""
    return _number(content["optimizer"]["param_groups"][0], "lr")


def _number(values: Mapping[str, Any], key: str) -> Any:
    return values.get(key) if isinstance(values.get(key), (int, float)) else None
