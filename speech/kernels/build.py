"""Builds amp_blocks.cpp once per machine with whatever C++ compiler there is; without one the twins in torch are used.

Looked for are $CXX, c++, g++, clang++ and the compiler of the PyPI package `ziglang`. The library is kept in
`$XDG_CACHE_HOME/hierspeech` (~/.cache/hierspeech) under a name that states source, compiler, flags and processor. The
environment variable HIERSPEECH_KERNELS=torch leaves the kernels out; =native makes their absence an error.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("amp_blocks.cpp")
FLAGS = ["-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-w"]
FLAGS += ["-fno-exceptions", "-fno-rtti", "-fno-math-errno"]
CHOICES = ("auto", "native", "torch")
BUILD_SECONDS = 120


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they are not wanted or there is no compiler.

    Raises:
        ValueError: HIERSPEECH_KERNELS is unknown, or "native" where no kernel can be built.
    """
    choice, problems = chosen(), []
    for compiler in [] if choice == "torch" else compilers():
        try:
            return _load(compiler)
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"{compiler[0]}: {error}")
    if choice == "native":
        raise ValueError(
            f"HIERSPEECH_KERNELS is 'native', expected a working C++ compiler: {problems or 'none found'}."
        )
    return None


def chosen() -> str:
    """What HIERSPEECH_KERNELS says, one of CHOICES; ValueError for anything else."""
    choice = os.environ.get("HIERSPEECH_KERNELS", "auto")
    if choice not in CHOICES:
        raise ValueError(f"HIERSPEECH_KERNELS is {choice!r}, expected one of {', '.join(CHOICES)}.")
    return choice


def compilers() -> list[list[str]]:
    """Commands of the C++ compilers that are there, the best first."""
    found = [shutil.which(name) for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name]
    commands = [[path] for path in dict.fromkeys(found) if path]
    if importlib.util.find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "c++", "-nostdlib++"])
    return commands


def _load(compiler: list[str]) -> ctypes.CDLL:
    source = SOURCE.read_bytes()
    key = hashlib.sha256(repr((source, compiler, FLAGS, _processor())).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hierspeech"
    path = folder / f"amp_blocks_{key}.so"
    if path.is_file():
        return ctypes.CDLL(str(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _build(compiler, path)
    except PermissionError:  # a home that cannot be written to: built anew in every process
        with tempfile.TemporaryDirectory() as temporary:
            return _build(compiler, Path(temporary) / path.name)


def _build(compiler: list[str], path: Path) -> ctypes.CDLL:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        command = [*compiler, *FLAGS, str(SOURCE), "-o", temporary]
        subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return ctypes.CDLL(str(path))


def _processor() -> str:
    """What a library made for exactly this processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    except OSError:
        flags = [platform.processor()]
    return repr((platform.machine(), platform.system(), flags))
