"""Smaller copies of an exported voice: 8-bit weights (onnxruntime's dynamic quantisation), or weights stored in half precision.

int8   the matrices of MatMul and Gemm become 8-bit integers with a scale for each column, their inputs are quantised on the way.
       Convolutions stay as they are: onnxruntime has no fast 8-bit ones for inputs that are quantised on the way.
fp16   every large weight is stored in half precision and widened when the graph is loaded, so that it takes half the room and
       computes as before. No processor here computes in half precision, and most of onnxruntime's operators do not on CPUs.
docs/export.md has sizes, speeds and what is heard.
"""

import importlib.util
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from speech.new_folder import check_free, new_folder

SMALLEST = 1024  # numbers; smaller weights stay in full precision
MAX_HALF = 65504.0
NEEDED = ("onnx", "onnxruntime")
# Kept as they are in int8: the style decides on the whole speech and is computed once, and text-to-vec on rhythm and pitch, of
# which 8 bits make others (docs/export.md has figures).
KEPT = ("style", "ttv_text", "ttv_frames")


def quantise_folder(
    folder: str | Path, out: str | Path, to: str, report: Callable[[str], None] = lambda line: None
) -> None:
    """Writes `out`, an exported voice like `folder` with smaller weights; it appears whole or not at all.

    Args:
        folder: what `export_voice` wrote.
        out: must not exist yet or be empty.
        to: "int8" or "fp16".
        report: gets a line for every part.
    Raises:
        ValueError: no such export, another type, `out` in use, or packages missing, in one sentence.
    """
    makers = {"int8": quantise_int8, "fp16": store_half}
    if to not in makers:
        raise ValueError(f"type {to!r}: expected one of {', '.join(makers)}.")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"quantisation needs the package {missing[0]}: pip install onnx onnxruntime.")
    folder = Path(folder)
    try:
        description: dict[str, Any] = json.loads((folder / "export.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: not an exported voice ({error}).") from error
    check_free(out)
    with new_folder(out) as target:
        for part in description["parts"]:
            source, made = folder / f"{part}.onnx", target / f"{part}.onnx"
            if to == "int8" and part in KEPT:
                shutil.copy(source, made)
            else:
                makers[to](source, made)
            report(f"{part}: {source.stat().st_size / 1e6:.1f} -> {made.stat().st_size / 1e6:.1f} MB")
        if (folder / "prompts").is_dir():
            shutil.copytree(folder / "prompts", target / "prompts")
        text = json.dumps(description | {"weights": to}, indent=2)
        (target / "export.json").write_text(text + "\n", encoding="utf-8")


def quantise_int8(source: Path, target: Path) -> None:
    """One graph with its matrix products in 8 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    del model.graph.value_info[
        :
    ]  # shapes inside the graph as torch noted them, which onnx disputes for transposed weights
    logging.disable(logging.WARNING)  # its advice to prepare the graph, which the exporter has done
    try:
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.disable(logging.NOTSET)


def store_half(source: Path, target: Path) -> None:
    """One graph whose large weights are stored in half precision, each behind a cast to single precision."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < SMALLEST:
            continue
        if np.abs(values).max() > MAX_HALF:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)
