"""Everything that a first session with a GPU should measure, in one command of a few minutes: see performance_gpu.md.

    PYTHONPATH=.:tests python docs/performance_gpu.py --out DIR

Writes DIR/kernels.json (activation and blocks by form, graphs against none by size, equality in exact fp32) and, by `benchmark.py
infer`, DIR/base.md, base.json, lite.md, lite.json. What fails is said and the rest goes on. `--device cpu --small` is the dry run.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from plain_layout import plain_layout
from torch import nn

import benchmark
from hierspeech.benchmarking.machine import describe_machine
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from speech.fast import prepare_for_inference
from speech.kernels import gpu
from speech.kernels.polyphase import polyphase_activation, tap_values
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speechsr import SpeechSR, SpeechSRConfig
from ttv.model import TTV, TTVConfig

SHAPES = ((1, 32, 480000), (32, 32, 240000), (1, 256, 2000), (32, 16, 160000))  # [B, C, T] of activations
# 11 s with random weights; 32 rows of more have a doubled signal of 2^31 values, which the plain layers may not take
TEXT = "It was late in the evening when the train finally reached the station."
SECONDS = (0.5, 1, 2, 5, 10, 20)  # of speech, for graphs against none


def median_ms(work: Callable[[], Any], device: torch.device, seconds: float = 0.5) -> float:
    """Milliseconds of a call, the median of as many as fit into `seconds` (5 at least), after two that warm up."""
    taken: list[float] = []
    stop = None
    while stop is None or len(taken) < 5 or (time.perf_counter() < stop and len(taken) < 200):
        if len(taken) == 2 and stop is None:
            taken, stop = [], time.perf_counter() + seconds
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        taken.append(1000 * (time.perf_counter() - start))
    return sorted(taken)[len(taken) // 2]


def synchronize(device: torch.device) -> None:
    """Waits for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of the environment, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@torch.inference_mode()
def activations(device: torch.device, shapes: tuple = SHAPES) -> list[dict]:
    """The activation in each form: ms, and GB/s as if one read and one write were all."""
    rows = []
    for shape in shapes:
        activation, x = Activation1d(shape[1]).to(device).eval(), torch.randn(shape, device=device)
        half = x.half()
        forms: dict[str, Callable] = {
            "plain": lambda a=activation, x=x: a.plain(x),
            "twin in torch": lambda a=activation, x=x: polyphase_activation(a, x),
            "this path": lambda a=activation, x=x: gpu.gpu_activation(a, x),
            "this path, fp16": lambda a=activation, x=half: gpu.gpu_activation(a, x),
        }
        if device.type == "cuda":  # the question whether a compiler does as well
            compiled = torch.compile(pure_activation, dynamic=True)
            forms["inductor"] = lambda a=activation, x=x, run=compiled: run(a, x)
        for name, work in forms.items():
            ms = attempt(lambda work=work: median_ms(work, device), name)
            if ms is not None:
                moved = 2 * x.numel() * (2 if "16" in name else 4)
                rows.append({"shape": shape, "form": name, "ms": ms, "gb_per_s": moved / ms / 1e6})
    return rows


def pure_activation(activation: Activation1d, x: torch.Tensor) -> torch.Tensor:
    """The polyphase form without operations in place and without its ends, for a compiler."""
    taps, samples = tap_values(), x.shape[-1]
    x = nn.functional.pad(x, (6, 6), mode="replicate")
    alpha, beta = activation.act.alpha.exp()[:, None], activation.act.beta.exp()[:, None]
    phases = []
    for parity, start in ((1, 0), (0, 1)):
        own = taps[parity::2][::-1]
        phase = sum(2 * own[j] * x[..., start + j : start + j + samples + 6] for j in range(6))
        phases.append(phase + torch.sin(phase * alpha).square() / (beta + 1e-9))
    even, odd = phases
    y = sum(taps[1::2][j] * even[..., 1 + j : 1 + j + samples] for j in range(6))
    return y + sum(taps[0::2][j] * odd[..., j : j + samples] for j in range(6))


@torch.inference_mode()
def blocks(device: torch.device, shapes: tuple = SHAPES) -> list[dict]:
    """The mean of three AMP blocks: plain layers, this path in fp32 and with 16 bits."""
    rows = []
    for shape in shapes:
        model, x = (
            MultiKernelBlock(AMPBlock, shape[1], [3, 7, 11]).to(device),
            torch.randn(shape, device=device),
        )
        prepare_for_inference(model)
        packed = gpu.HalfRounds(model.blocks, None)

        def plain(model=model, x=x):
            with plain_layout(model):
                return model(x)

        forms = {
            "plain": plain,
            "fp32": lambda model=model, x=x: gpu.gpu_blocks(model, x, None, None),
            "16 bits": lambda model=model, x=x, packed=packed: gpu.gpu_blocks(model, x, None, packed),
        }
        for name, work in forms.items():
            ms = attempt(lambda work=work: median_ms(work, device), name)
            rows.append({"shape": shape, "form": name, "ms": ms})
    return rows


def models(device: torch.device) -> dict[str, nn.Module]:
    """Full size, random weights."""
    torch.manual_seed(0)
    made = {"text-to-vec": TTV(TTVConfig()), "synthesizer": HierSpeech(HierSpeechConfig()), "SpeechSR": SpeechSR(SpeechSRConfig())}  # fmt: skip
    return {name: prepare_for_inference(model.to(device)) for name, model in made.items()}


def calls(
    made: dict[str, nn.Module], seconds: float, batch: int, device: torch.device
) -> dict[str, Callable]:
    """A call of each model for so many seconds of speech, with the same noise every time."""
    frames, generator = int(50 * seconds), torch.Generator().manual_seed(0)
    style = torch.randn(batch, 256, generator=generator).to(device)
    semantic = torch.randn(batch, 1024, frames, generator=generator).to(device)
    log_f0 = torch.full((batch, 1, 4 * frames), 5.0, device=device)
    ids = torch.randint(1, 150, (batch, max(4, int(18 * seconds))), generator=generator).to(device)
    wav = 0.1 * torch.randn(batch, 1, 320 * frames, generator=generator).to(device)
    seeded = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    return {
        "text-to-vec": lambda: made["text-to-vec"].infer(ids, style, generator=seeded()).semantic,
        "synthesizer": lambda: made["synthesizer"].infer(semantic, log_f0, style, generator=seeded()),
        "SpeechSR": lambda: made["SpeechSR"].infer(wav),
    }


def graphs(
    made: dict[str, nn.Module], device: torch.device, seconds: tuple = SECONDS, batches: tuple = (1, 8)
) -> list[dict]:
    """Each model plain, kernel by kernel, and by graphs: where graphs stop paying says how large `Part.most` should be."""
    rows = []
    for batch in batches:
        for length in seconds:
            for name, work in calls(made, length, batch, device).items():
                row = {"model": name, "batch": batch, "seconds": length}
                with plain_layout(made[name]):
                    row["plain_ms"] = attempt(lambda work=work: median_ms(work, device), name)
                with environment(HIERSPEECH_GRAPHS="off"):
                    row["eager_ms"] = attempt(lambda work=work: median_ms(work, device), name)
                synchronize(device)
                start = time.perf_counter()
                attempt(work, name)
                synchronize(device)
                row["first_ms"] = 1000 * (time.perf_counter() - start)
                row["graph_ms"] = attempt(lambda work=work: median_ms(work, device), name)
                row["recordings"] = made[name].captured.recordings
                rows.append(row)
    return rows


@torch.inference_mode()
def equality(made: dict[str, nn.Module], device: torch.device, seconds: tuple = (1.3, 4.1)) -> list[dict]:
    """Largest difference from the plain layers in exact fp32 (goal 1e-4), with graphs and without."""
    rows, before = [], (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        for length in seconds:
            for name, work in calls(made, length, 2, device).items():
                prepare_for_inference(made[name])  # graphs that were recorded with TF32 are forgotten
                with plain_layout(made[name]):
                    expected = work()
                for choice in ("auto", "off"):
                    with environment(HIERSPEECH_GRAPHS=choice):
                        ours = work()
                    same = ours.shape == expected.shape
                    difference = float((ours - expected).abs().max()) if same else None
                    rows.append(
                        {"model": name, "seconds": length, "graphs": choice, "difference": difference}
                    )
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
        for model in made.values():
            prepare_for_inference(model)
    return rows


def attempt(work: Callable[[], Any], name: str) -> Any:
    """What it gives, or None and its error on stderr: one failure must not cost the rest of a session."""
    try:
        return work()
    except Exception:
        print(f"{name} failed: {traceback.format_exc(limit=3)}", file=sys.stderr, flush=True)
        return None


def main(argv: list[str] | None = None) -> int:
    """Measures all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a dry run")
    parser.add_argument("--voices", nargs="*", default=["base", "lite"])
    arguments = parser.parse_args(argv)
    device, out = torch.device(arguments.device), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    shapes = ((1, 3, 50),) if arguments.small else SHAPES
    made = models(device)
    sizes = {"seconds": (0.1,), "batches": (1,)} if arguments.small else {}
    steps: dict[str, Callable] = {
        "machine": lambda: describe_machine(device),
        "equality": lambda: equality(made, device, **({"seconds": (0.1,)} if arguments.small else {})),
        "activations": lambda: activations(device, shapes),
        "blocks": lambda: blocks(device, shapes),
        "graphs": lambda: graphs(made, device, **sizes),
    }
    found = {}
    for name, step in steps.items():
        found[name] = attempt(step, name)
        for row in found[name] if isinstance(found[name], list) else [found[name]]:
            print(name, json.dumps(row), flush=True)
        (out / "kernels.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    made.clear()
    for voice in arguments.voices:
        command = [
            "infer",
            "--voice",
            voice,
            "--device",
            arguments.device,
            "--batch",
            "1",
            "32",
            "--warm-only",
            "--text",
            TEXT,
        ]
        name = Path(voice).name
        files = [f"--json={out / name}.json", f"--markdown={out / name}.md"]
        attempt(lambda command=command, files=files: benchmark.main([*command, *files]), voice)
    return 0


if __name__ == "__main__":
    sys.exit(main())
