"""What a system is to a comparison: a card, and an object that loads and speaks. It lives in a process of its own.

    class Mine:
        def load(self, device): ...                       # raises Missing where a package or weights are absent
        def synthesize(self, request): return wav, rate   # float samples [T] in [-1, 1], Hz
        def stream(self, request): yield wav, rate        # only where sound comes in chunks; the first one may come early
        def parameters(self): return 1_000_000            # None where that means nothing

Nothing heavy is imported here: adapters run in environments of other packages, where torch may be another one or absent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class Missing(Exception):
    """A package or weights that a system needs are not there: why, as part of a sentence."""


@dataclass(frozen=True)
class SystemCard:
    """What a reader of a comparison must know about a system.

    Attributes:
        name: as in `--systems`.
        kind: "hierarchical", "token LM", "flow", "formants", "recording", ...
        licence: of code and weights. install: the line that brings what is missing.
        tasks: of protocols that it can do: "speak", "convert", "upsample", "resynthesize" (needs recorded speech).
        model: weights that it takes when nothing else is said: a hub id or a name.
        voice: how it comes by a voice: "cloned from the reference", "one voice", ...
        source: paper or page.
        packages: whose versions belong to the figures.
        version: counts changes of the adapter after which equal requests give other sound.
    """

    name: str
    kind: str
    licence: str
    install: str
    tasks: tuple[str, ...] = ("speak",)
    model: str | None = None
    voice: str = "cloned from the reference"
    source: str = ""
    packages: tuple[str, ...] = ()
    version: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Request:
    """One utterance wanted; paths as text, since it crosses processes. Fields as in `protocols.Utterance`."""

    task: str
    text: str | None = None
    language: str = "en-us"
    speaker: str | None = None
    reference: str | None = None
    reference_text: str | None = None
    voice: str | None = None
    source: str | None = None
    target: str | None = None
    output_rate: int | None = None
    seed: int = 0


Sound = tuple["np.ndarray", int]


class System(Protocol):
    """See the top of this file; `stream` is optional."""

    def load(self, device: str) -> None:
        """Gets ready on "cpu" or "cuda"; `Missing` where something is absent."""

    def synthesize(self, request: Request) -> Sound:
        """Samples [T] and their rate."""

    def parameters(self) -> int | None:
        """Numbers that were learned."""


class Streaming(Protocol):
    """A system whose sound can be heard before all of it is computed."""

    def stream(self, request: Request) -> Iterator[Sound]:
        """Chunks."""


@dataclass(frozen=True)
class Entry:
    """A line of SYSTEMS.

    Attributes:
        make: model (None: the card's) -> System.
        fingerprint: model -> a text that changes with the weights; None: the model's name says all.
    """

    card: SystemCard
    make: Callable[[str | None], System]
    fingerprint: Callable[[str | None], str] | None = None


def require(module: str, card: SystemCard) -> ModuleType:
    """Imports a module by name; `Missing` where it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(
            f"{module.split('.')[0]} cannot be imported ({' '.join(str(error).split())})"
        ) from error


def count_parameters(*models: Any) -> int:
    """Of torch modules, each tensor once."""
    tensors = {id(p): p.numel() for model in models if model is not None for p in model.parameters()}
    return sum(tensors.values())
