"""A stand-in for CUDA graphs on a CPU, as strict as they are: `record_on_cpu(monkeypatch)`.

The function is traced once into its tensor operations, with the addresses of whatever it read, and these alone are run again:
Python is not, shapes are those of the recording, and a weight that moved later is read where it was. Waiting for a result,
choosing by values, drawing random numbers and making tensors of numbers are refused, since they cannot be recorded on a GPU.
"""

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from speech.capture import buckets, runner
from speech.kernels import gpu

REFUSED = {  # what makes the processor wait for the device, copies from it, or differs from run to run
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim", "lift_fresh",
    "randn", "randn_like", "rand", "rand_like", "normal", "normal_", "uniform_", "bernoulli", "bernoulli_", "native_dropout", "istft",
    "repeat_interleave.Tensor",
}  # fmt: skip


class Strict(TorchDispatchMode):
    """Refuses `REFUSED`, and indices that are masks."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._overloadpacket._qualified_op_name.split("::")[1]
        masks = name.startswith("index") and any(
            isinstance(x, torch.Tensor) and x.dtype == torch.bool
            for x in (args[1] if len(args) > 1 else None) or ()
        )
        if name in REFUSED or f"{name}.{function._overloadname}" in REFUSED or masks:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        return function(*args, **(kwargs or {}))


class RecordedRunner:
    """The `GraphRunner` of these tests."""

    recorded: list["RecordedRunner"] = []
    trace = staticmethod(lambda flat, tensors: make_fx(flat)(*tensors))

    def __init__(self, function, inputs):
        self.inputs = inputs
        given = {name: x for name, x in inputs.items() if x is not None}
        self.places = {name: (x.data_ptr(), x.shape) for name, x in given.items()}
        missing = {name: None for name in inputs.keys() - given.keys()}

        def flat(*tensors):
            return tuple(function(**dict(zip(given, tensors, strict=True)), **missing))

        with Strict():
            flat(*given.values())
        self.graph = self.trace(flat, given.values())
        self.outputs = tuple(None if x is None else x.clone() for x in self.graph(*given.values()))
        RecordedRunner.recorded.append(self)

    def __call__(self):
        tensors = [x for x in self.inputs.values() if x is not None]
        for x, place in zip(tensors, self.places.values(), strict=True):
            assert (x.data_ptr(), x.shape) == place, "a graph reads the addresses that it was recorded with"
        for out, new in zip(self.outputs, self.graph(*tensors), strict=True):
            if out is not None:
                assert out.shape == new.shape
                out.copy_(new)
        return self.outputs


class RepeatedRunner(RecordedRunner):
    """Runs the function again instead of what was traced of it, which is quicker where there are many graphs."""

    trace = staticmethod(lambda flat, tensors: flat)


def record_on_cpu(monkeypatch, kind=RecordedRunner):
    """From here on a CPU counts as a GPU; returns the list of recordings."""
    monkeypatch.setitem(runner.RUNNERS, "cpu", kind)
    monkeypatch.setattr(gpu, "DEVICES", {"cuda", "cpu"})
    monkeypatch.setattr(RecordedRunner, "recorded", [])
    monkeypatch.delenv("HIERSPEECH_GRAPHS", raising=False)
    assert buckets.RUNNERS is runner.RUNNERS
    return RecordedRunner.recorded
