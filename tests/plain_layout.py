"""The plain eager layout that every fast path is measured against: the same modules, run layer by layer.

Its cost equals the published code's: two grouped convolutions around a sine on a doubled signal for each activation.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from speech.capture.buckets import Captured


@contextmanager
def plain_layout(model: nn.Module) -> Iterator[nn.Module]:
    """Inside this block `model` runs its plain layers, whatever `prepare_for_inference` chose."""
    parts = [part for part in model.modules() if getattr(part, "fast", None) is not None]
    chosen = [part.fast for part in parts]
    rounded = [part for part in model.modules() if getattr(part, "bf16", False)]
    models = [part for part in model.modules() if isinstance(getattr(part, "captured", None), Captured)]
    captured = [part.captured for part in models]
    try:
        for part in parts:
            part.fast = None
        for part in rounded:
            part.bf16 = False
        for part in models:
            part.captured = None
        yield model
    finally:
        for part, fast in zip(parts, chosen, strict=True):
            part.fast = fast
        for part in rounded:
            part.bf16 = True
        for part, graphs in zip(models, captured, strict=True):
            part.captured = graphs
