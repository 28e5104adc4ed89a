"""Weights in the order in which a kernel wants them."""

from typing import Any

from torch import nn


class Packing:
    """Keeps what a kernel wants to know of a module, until one of the module's parameters moves or changes."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[tuple, Any]] = {}

    def _pack(self, module: nn.Module, make: Any, kind: Any = None) -> Any:
        """What `make` gave for the parameters of `module` as they are; `kind` is for those who keep more than one thing."""
        key = tuple(
            (p.data_ptr(), 0 if p.is_inference() else p._version, p.dtype) for p in module.parameters()
        )
        kept = self._kept.get(kind)
        if kept is None or kept[0] != key:
            kept = self._kept[kind] = (key, make())
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:  # addresses mean nothing in a copy
        return {**self.__dict__, "_kept": {}}
