"""Inputs of any length through graphs of a few lengths: padded up to the next one, cut back to their own.

A part of a model that may be recorded says so by a `Part`; `speech.fast.prepare_for_inference` then gives the model a `Captured`,
which its `infer` calls. Masks see to it that padded rows and frames change nothing of the others. Graphs are for what waits for
the processor to start kernels: beyond `Part.most` a part runs as it is, since the kernels themselves take longer than starting
them, and padding would make them take longer still. B rows, N units of time (frames, phonemes or samples).
"""

import bisect
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from speech.capture.runner import RUNNERS, GraphRunner, Outputs
from speech.modules.snake import may_run_fast

CHOICES = ("auto", "off")
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_GRAPHS = 48  # of one model; the one not used for longest is dropped then
# One recording or run at a time: graphs share memory, and a GPU would run them one after the other anyway.
_LOCK = threading.RLock()


def ladder(first: int, steps: int, ratio: float = 4 / 3, multiple: int = 8) -> tuple[int, ...]:
    """`steps` lengths from `first` on, each about `ratio` times the one before, all multiples of `multiple`."""
    return tuple(round(first * ratio**step / multiple) * multiple for step in range(steps))


FRAMES = ladder(64, 12)  # 1.3 to 30 s; windows of a stream of a published voice begin with 53 and their halo


@dataclass(frozen=True)
class Part:
    """A method of a model that may be recorded: a pure function of tensors, `None` for those that are not there.

    Args:
        method: name of the method. It returns a tuple of tensors or None.
        inputs: for each argument how many values a unit of time has on its last axis; 0 = it has no time.
        outputs: the same for what it returns.
        mask: the argument that says which units are valid, bool [B, N]; may be None in calls (all are).
        lengths: in units of time, increasing.
        most: rows times units of a recording at most.
        modules: names of the model's modules that the method uses, whose weights are looked after; none = all of it.
    """

    method: str
    inputs: Mapping[str, int]
    outputs: tuple[int | Fraction, ...]
    mask: str
    lengths: tuple[int, ...] = FRAMES
    most: int = 6144
    modules: tuple[str, ...] = ()

    def size(self, batch: int, units: int) -> tuple[int, int] | None:
        """Rows and units of the graph for an input, or None where it is too large for one."""
        row, length = bisect.bisect_left(ROWS, batch), bisect.bisect_left(self.lengths, units)
        if not units or row == len(ROWS) or length == len(self.lengths):
            return None
        size = ROWS[row], self.lengths[length]
        return size if size[0] * size[1] <= self.most else None


class Captured:
    """Runs parts of a model by graphs where it can; `captured(model, method, **inputs)` is `model.method(**inputs)`.

    Graphs are recorded when first needed, for a size of the inputs each; again where a weight has changed or moved.

    Attributes:
        recordings: how many graphs were recorded; runs: how many calls ran by one; eager: how many did not.
    """

    def __init__(self, parts: list[Part]):
        self.parts = {part.method: part for part in parts}
        self.recordings = self.runs = self.eager = 0
        self._graphs: OrderedDict[tuple, GraphRunner] = OrderedDict()
        self._weights: dict[str, Weights] = {}
        self._failed: set[str | tuple] = set()  # methods, and sizes that memory did not suffice for
        self._checked: set[tuple] = set()  # graphs whose first run was compared
        self._stream: object = None

    def __call__(self, model: nn.Module, method: str, **inputs: Tensor | None) -> Outputs:
        """What the method gives; tensors of the caller's own."""
        part = self.parts[method]
        timed = next(name for name, rate in part.inputs.items() if rate and inputs[name] is not None)
        batch, units = len(inputs[timed]), inputs[timed].shape[-1] // part.inputs[timed]
        size = part.size(batch, units)
        if size is None or method in self._failed:
            return self._eagerly(model, method, inputs)
        key = (method, *size, _channels(inputs, part))
        with _LOCK, torch.inference_mode(False), torch.no_grad():
            runner = self._runner(model, part, key, inputs, size)
            if runner is not None:
                self._follow_stream(inputs[timed].device)
                _fill(runner.inputs, inputs, part, batch, units)
                outputs = runner()
                if self._trusted(model, part, key, runner, outputs):
                    self.runs += 1
                    return tuple(
                        None if x is None else _cut(x, batch, int(units * rate) if rate else None)
                        for x, rate in zip(outputs, part.outputs, strict=True)
                    )
        return self._eagerly(model, method, inputs)

    def _eagerly(self, model: nn.Module, method: str, inputs: Mapping[str, Tensor | None]) -> Outputs:
        self.eager += 1
        return run_directly(model, method, **inputs)

    def _runner(
        self, model: nn.Module, part: Part, key: tuple, inputs: Mapping[str, Tensor | None], size: tuple[int, int]
    ) -> GraphRunner | None:  # fmt: skip
        """The graph for inputs of that key, recorded if need be; None where it cannot be."""
        weights = self._weights.get(part.method)
        if weights is None or not weights.unchanged(model):
            for stale in [k for k in self._graphs if k[0] == part.method]:
                del self._graphs[stale]
                self._checked.discard(stale)
            self._weights[part.method] = Weights(model, part.modules)
        if key in self._failed:
            return None
        if key not in self._graphs:
            buffers = _buffers(inputs, part, size)
            device = next(x.device for x in buffers.values() if x is not None)
            try:
                self._graphs[key] = RUNNERS[device.type](getattr(model, part.method), buffers)
            except RuntimeError as error:
                self._fall_back(model, part, key, error)
                return None
            self.recordings += 1
            if len(self._graphs) > MOST_GRAPHS:
                self._checked.discard(self._graphs.popitem(last=False)[0])
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _trusted(
        self, model: nn.Module, part: Part, key: tuple, runner: GraphRunner, outputs: Outputs
    ) -> bool:
        """Whether the first run of a graph gave what the method gives on the same inputs; later runs are not looked at."""
        if key in self._checked:
            return True
        expected = run_directly(model, part.method, **runner.inputs)
        pairs = [(x, y) for x, y in zip(outputs, expected, strict=True) if y is not None]
        if all(_alike(x, y) for x, y in pairs):
            self._checked.add(key)
            return True
        del self._graphs[key]
        self._fall_back(model, part, key, RuntimeError("its outputs were not those of the model"))
        return False

    def _fall_back(self, model: nn.Module, part: Part, key: tuple, error: RuntimeError) -> None:
        memory = isinstance(error, torch.OutOfMemoryError)
        said = self._failed & {part.method} or any(
            k[0] == part.method for k in self._failed if isinstance(k, tuple)
        )
        self._failed.add(key if memory else part.method)
        if not said:
            reason = " ".join(str(error).split())[:200]
            what = f"{type(model).__name__}.{part.method}"
            print(
                f"hierspeech: no CUDA graph of {what}, it runs kernel by kernel ({reason}).", file=sys.stderr
            )

    def _follow_stream(self, device: torch.device) -> None:
        """Buffers are filled when the run before, which may be on another stream, is done with them."""
        if device.type != "cuda":
            return
        stream = torch.cuda.current_stream(device)
        if self._stream is not None and self._stream != stream:
            stream.wait_stream(self._stream)
        self._stream = stream

    def __getstate__(self) -> dict:  # graphs mean nothing in a copy, nor do counts
        return {"parts": self.parts}

    def __setstate__(self, state: dict) -> None:
        self.__init__(list(state["parts"].values()))


def run_directly(model: nn.Module, method: str, **inputs: Tensor | None) -> Outputs:
    """What a `Captured` gives, without one."""
    return getattr(model, method)(**inputs)


def may_run_captured(model: nn.Module, x: Tensor) -> bool:
    """Whether `model.captured` is to run what `model` makes of x: on a GPU, where nothing but values is wanted.

    Raises:
        ValueError: HIERSPEECH_GRAPHS is unknown.
    """
    captured = model.captured
    if captured is None or not captured.parts or x.device.type not in RUNNERS or not may_run_fast(model, x):
        return False
    choice = os.environ.get("HIERSPEECH_GRAPHS", "auto")
    if choice not in CHOICES:
        raise ValueError(f"HIERSPEECH_GRAPHS is {choice!r}, expected one of {', '.join(CHOICES)}.")
    # inside somebody else's recording everything is recorded by it
    recording = x.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return choice == "auto" and not recording and not torch.is_autocast_enabled(x.device.type)


class Weights:
    """Notices that a parameter or buffer of a model's modules is replaced, changed or moved.

    This is asked before every run, so it goes through a list that was made once: a full-size synthesizer has 1400 modules, and
    asking them takes longer than a GPU needs for a sentence.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...]):
        self._modules = {name: getattr(model, name) for name in names}
        self._seen = [
            (place, name, x, x.data_ptr(), None if x.is_inference() else x._version)
            for top in self._modules.values() or [model]
            for module in top.modules()
            for place in (module._parameters, module._buffers)
            for name, x in place.items()
            if x is not None
        ]

    def unchanged(self, model: nn.Module) -> bool:
        """Whether all is as it was."""
        return all(getattr(model, name) is module for name, module in self._modules.items()) and all(
            place.get(name) is x and x.data_ptr() == pointer and (version is None or x._version == version)
            for place, name, x, pointer, version in self._seen
        )


def _alike(x: Tensor, y: Tensor) -> bool:
    """Equal but for the order of sums; both must be finite where one is."""
    if not x.dtype.is_floating_point:
        return torch.equal(x, y)
    room = 1e-3 * float(y.float().nan_to_num(0.0, 0.0, 0.0).abs().max()) + 1e-6 if y.numel() else 0.0
    return torch.allclose(x.float(), y.float(), rtol=1e-3, atol=room, equal_nan=True)


def _channels(inputs: Mapping[str, Tensor | None], part: Part) -> tuple:
    """What of the inputs' shapes is neither rows nor time, None for inputs that are missing: graphs differ in it."""
    return tuple(
        None if x is None else tuple(x.shape[1:-1] if part.inputs[name] else x.shape[1:])
        for name, x in inputs.items()
        if name != part.mask
    )


def _buffers(
    inputs: Mapping[str, Tensor | None], part: Part, size: tuple[int, int]
) -> dict[str, Tensor | None]:
    rows, units = size
    buffers: dict[str, Tensor | None] = {}
    for name, x in inputs.items():
        rate = part.inputs[name]
        if name == part.mask:
            device = next(x.device for x in inputs.values() if x is not None)
            buffers[name] = torch.ones(rows, units, dtype=torch.bool, device=device)
        elif x is None:
            buffers[name] = None
        else:
            shape = (rows, *x.shape[1:-1], units * rate) if rate else (rows, *x.shape[1:])
            buffers[name] = torch.zeros(shape, dtype=x.dtype, device=x.device)
    return buffers


def _fill(
    buffers: Mapping[str, Tensor | None], inputs: Mapping[str, Tensor | None], part: Part, batch: int, units: int
) -> None:  # fmt: skip
    """Copies inputs into the corner of the buffers; the rest is padding: zero, and not valid."""
    for name, buffer in buffers.items():
        if buffer is None:
            continue
        x, rate = inputs[name], part.inputs[name]
        corner = buffer[:batch, ..., : units * rate] if rate else buffer[:batch]
        if corner.shape != buffer.shape:
            buffer.zero_()
        if name == part.mask:
            buffer[batch:, :1] = True  # a row in which nothing is valid would divide by zero
        if x is None:
            corner.fill_(True)
        else:
            corner.copy_(x)


def _cut(x: Tensor, batch: int, values: int | None) -> Tensor:
    return (x[:batch] if values is None else x[:batch, ..., :values]).clone(
        memory_format=torch.contiguous_format
    )
