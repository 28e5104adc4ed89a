"""A function of tensors, recorded once and run again and again at the same addresses: what a CUDA graph is.

`RUNNERS` names the class for each type of device. A CUDA graph starts hundreds of kernels with one call of the processor, which
is what short inputs wait for on a GPU. It knows neither Python nor shapes: whatever is run again reads and writes the addresses
that it was recorded with.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Inputs = dict[str, Tensor | None]
Outputs = tuple[Tensor | None, ...]
Function = Callable[..., Outputs]
WARM_UPS = (
    2  # runs before the recording: kernels are compiled, libraries choose theirs and get their workspace
)


class GraphRunner(Protocol):
    """`runner = Class(function, inputs)` records; `runner()` runs what was recorded on what `runner.inputs` hold by then.

    The outputs of a run are overwritten by the next run of any runner of the device. Recording raises RuntimeError where
    the function does what cannot be recorded (it waits for the device, for example).
    """

    inputs: Inputs

    def __call__(self) -> Outputs:
        """Runs once; returns the same tensors every time."""


class CudaGraphRunner:
    """The `GraphRunner` of NVIDIA's GPUs. All graphs of a device share one pool of memory, since only one runs at a time."""

    def __init__(self, function: Function, inputs: Inputs):
        self.inputs = inputs
        device = next(x.device for x in inputs.values() if x is not None)
        with torch.cuda.device(device):
            here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    function(**inputs)
            here.wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            # other threads may go on using the device while this one records
            with torch.cuda.graph(self._graph, pool=_pool(device), capture_error_mode="thread_local"):
                self._outputs = function(**inputs)

    def __call__(self) -> Outputs:
        """See `GraphRunner`."""
        self._graph.replay()
        return self._outputs


@functools.cache
def _pool(device: torch.device) -> tuple[int, int]:
    return torch.cuda.graph_pool_handle()


RUNNERS: dict[str, Callable[[Function, Inputs], GraphRunner]] = {"cuda": CudaGraphRunner}
