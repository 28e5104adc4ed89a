"""A voice -> a folder of ONNX graphs that `OnnxTextToSpeech` and any other onnxruntime program can run.

export.json                what a program must know beside the graphs (see `describe`)
style.onnx ttv_text.onnx ttv_frames.onnx synthesizer.onnx
speechsr_48000.onnx denoiser.onnx semantic_encoder.onnx     where the voice has them
prompts/anna.safetensors   the voice's saved prompts, as they are

torch's exporter by torch.export ("dynamo") is used: the older one by tracing knows neither complex numbers nor expm1.
"""

import contextlib
import importlib.util
import inspect
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hierspeech.export.parts import Part, parts_of
from hierspeech.export.spectra import replace_spectra
from hierspeech.pipelines import output, prompt
from hierspeech.pipelines.voice import Voice, load_voice
from hierspeech.synthesizer.model import HierSpeech
from speech.checkpoint import read_config
from speech.new_folder import check_free, new_folder
from ttv import TTV_MODELS

FORMAT = 1
OPSET = 20
NEEDED = ("onnx", "onnxscript")


def export_voice(
    voice: str | Path | Voice, out: str | Path, report: Callable[[str], None] = lambda line: None
) -> None:
    """Exports every part of a voice to the folder `out`, which appears whole or not at all.

    Args:
        voice: a folder, a shipped name or a hub id.
        out: must not exist yet or be empty.
        report: gets a line for every part.
    Raises:
        ValueError: a voice that cannot be loaded, `out` in use, or the packages `NEEDED` missing, in one sentence.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"the export to ONNX needs the package {missing[0]}: pip install onnx onnxscript.")
    check_free(out)
    voice = load_voice(voice, "cpu")
    description = describe(voice)
    with new_folder(out) as folder:
        names = []
        for part in parts_of(voice):
            path = folder / f"{part.name}.onnx"
            export_part(part, path)
            names.append(part.name)
            report(f"{part.name}: {path.stat().st_size / 1e6:.1f} MB")
        if voice.description.prompts:
            shutil.copytree(voice.folder / "prompts", folder / "prompts")
        text = json.dumps({"format": FORMAT, "parts": names} | description, indent=2)
        (folder / "export.json").write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def export_part(part: Part, path: Path) -> None:
    """Writes one graph with its weights inside; the spectra of the part's module are replaced on the way."""
    replace_spectra(part.module).eval()
    parameters = list(inspect.signature(part.module.forward).parameters)
    order = [name for name in parameters if name in part.inputs]  # how torch names the inputs
    shapes = tuple(part.axes.get(name) for name in order)
    with _quietly():
        torch.onnx.export(
            part.module,
            (),
            path,
            kwargs={
                name: part.inputs[name].contiguous() for name in order
            },  # other strides would be inputs too
            input_names=order,
            output_names=part.outputs,
            dynamic_shapes=dict(zip(order, shapes, strict=True)),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.aten.searchsorted.Tensor: _searchsorted},
        )


def describe(voice: Voice) -> dict[str, Any]:
    """The content of export.json besides the names of the parts: the voice's description, and the constants of our pipelines that `runtime` needs."""
    path = voice.folder / voice.description.ttv
    kind = json.loads((path / "config.json").read_text(encoding="utf-8"))["model"]
    config = read_config(TTV_MODELS[kind], path)
    equalizer = read_config(HierSpeech, voice.folder / voice.description.synthesizer).equalizer
    return {
        "voice": asdict(voice.description),
        "sample_rate": voice.sample_rate,
        "text_to_vec": kind,
        "tokenizer": config.tokenizer,
        "symbols": list(getattr(config, "symbols", [])),
        "languages": list(config.languages),
        "prompt_tag": prompt.prompt_tag(voice),
        "equalizer_passes": 0 if equalizer is None else equalizer.passes,
        "f0_max_hz": prompt.F0_MAX_HZ[voice.description.recordings],
        "chunk_samples": output.CHUNK_SAMPLES,
        "context_samples": output.CONTEXT_SAMPLES,
        "rms_db": output.RMS_DB,
        "peak": output.PEAK,
        "full_peak": output.FULL_PEAK,
    }


def _searchsorted(sorted_sequence, values, *, out_int32=False, right=False, side=None, sorter=None):
    """torch.searchsorted(..., right=True), which ONNX lacks: how many of the sequence [B, S] are not above each value [B, N]."""
    from onnxscript import opset18 as op

    assert right and sorter is None, "only the form that the models use"
    below = op.LessOrEqual(op.Unsqueeze(sorted_sequence, [1]), op.Unsqueeze(values, [2]))  # [B, N, S]
    return op.ReduceSum(op.Cast(below, to=7), [2], keepdims=0)  # 7: int64


@contextlib.contextmanager
def _quietly():
    """Keeps torch's notes on its own progress and on missing torchvision from the user's terminal, and its traces from logs."""
    loggers = {
        logging.getLogger(name): logging.getLogger(name).level for name in ("torch.onnx", "torch.__trace")
    }
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
