"""The machine that figures come from, and the memory of this process."""

import contextlib
import ctypes
import os
import platform
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a reader of figures must know: processor, cores, threads, memory, GPU, versions, and the compiled kernels."""
    from speech.kernels import build
    from speech.kernels.gpu import has_triton

    machine = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(_total_memory() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": str(device),
        "compiled_kernels": device.type == "cpu" and build.library() is not None,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        machine["triton_kernel"] = has_triton(device)
        machine["graphs"] = os.environ.get("HIERSPEECH_GRAPHS", "auto") != "off"
        # convolutions with 10 bits of mantissa, torch's default: equal to 1e-3, not to 1e-4
        machine["tf32"] = torch.backends.cudnn.allow_tf32
    return machine


class PeakMemory:
    """How much memory a piece of work needs at most, beyond what was held before it: `with PeakMemory(device) as peak: ...`.

    `megabytes` is set at the end; None where the system does not tell (on CPUs, anything but Linux).
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.megabytes: float | None = None

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        else:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(
                    0
                )  # what earlier calls gave back to the C library does not hide this one's
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # the highest value begins anew
            self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.megabytes = (torch.cuda.max_memory_allocated(self.device) - self._before) / 1e6
        elif self._before is not None:
            self.megabytes = (_status("VmHWM") - self._before) / 1e6


class OtherWork:
    """What other processes take of the processor meanwhile: figures of a busy machine are no figures of the program.

    >>> others = OtherWork()
    >>> ...
    >>> others.cores()  # cores' worth of work of all other processes since then; None where the system does not tell
    """

    def __init__(self):
        self._wall, self._start = time.monotonic(), _others_seconds()

    def cores(self) -> float | None:
        """See the class."""
        now = _others_seconds()
        if now is None or self._start is None:
            return None
        return max(0.0, (now - self._start) / max(time.monotonic() - self._wall, 1e-9))


def _others_seconds() -> float | None:
    """Processor seconds since the system's start that are not this process's, nor its finished children's."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return None
    idle = fields[3] + fields[4]  # idle, and waiting for disks; guests are counted among users already
    own = os.times()
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK") - sum(own[:4])


def process_megabytes() -> float:
    """The most memory that this process has held."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _status(name: str) -> float | None:
    """A size in bytes from /proc/self/status."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else 1024.0 * int(match[1])


def _cpu() -> str:
    with contextlib.suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _total_memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 0.0
