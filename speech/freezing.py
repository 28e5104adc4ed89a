"""Training a part of a model only: frozen parameters, and the mode in which frozen parts run."""

from collections.abc import Iterable

from torch import nn


def freeze(module: nn.Module, prefixes: Iterable[str]) -> None:
    """Freeze the parameters of `module` whose names start with one of `prefixes` (whole path components).

    Frozen parameters get no gradient and no place in the optimizer.

    Raises:
        ValueError: a prefix that no parameter has, or nothing left to train.
    """
    names = [name for name, _ in module.named_parameters()]
    for prefix in prefixes:
        matching = [name for name in names if name == prefix or name.startswith(f"{prefix}.")]
        if not prefix or not matching:
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise ValueError(
                f"freeze: {type(module).__name__} has no part {prefix!r}, expected one of {known}"
            )
        for name in matching:
            module.get_parameter(name).requires_grad_(False)
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError(f"freeze: {list(prefixes)} leave nothing of {type(module).__name__} to train")


def freeze_all_but(module: nn.Module, parts: Iterable[str]) -> None:
    """Freeze every child of `module` that is not in `parts`.

    Raises:
        ValueError: a part that `module` does not have.
    """
    kept = set(parts)
    children = [name for name, child in module.named_children() if next(child.parameters(), None) is not None]
    if unknown := kept - set(children):
        raise ValueError(
            f"{type(module).__name__} has no part {', '.join(sorted(unknown))} to train, expected some of {', '.join(children)}"
        )
    freeze(module, [name for name in children if name not in kept])


def trained_parameters(module: nn.Module) -> list[str]:
    """The names of the parameters of `module` that are not frozen, in the order in which an optimizer has them."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def set_training(module: nn.Module) -> None:
    """Train mode for `module`, but for its frozen parts: they run as they will later, without dropout, their statistics
    untouched."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            part.eval()
