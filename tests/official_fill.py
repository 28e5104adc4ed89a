"""The synthetic weights behind the golden parity values (HierSpeech++ hand-over, section 13).

`hierspeech/official/keys.json.gz` lists, per published component, every state-dict key with its shape, in the *official*
names. `official_state_dict` fills such a list with reproducible numbers, so that a parity test needs no download and
exercises the importer's renaming, its weight-norm folding and the arithmetic together.
"""

import gzip
import json
import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

import hierspeech.official

GOLDEN = Path(__file__).parent / "golden"
# The denoiser's activations: all of them come third in a Sequential, but for the mask's, which comes fourth.
PRELU = re.compile(
    r"(dense_conv_[12]|dense_block\.dense_block\.\d|phase_conv)\.2\.weight$|mask_conv\.3\.weight$"
)


@cache
def official_shapes(component: str) -> dict[str, list[int]]:
    """Key -> shape of one published component, e.g. "hierspeechpp_synthesizer" or "ttv_v1"."""
    keys = Path(hierspeech.official.__file__).with_name("keys.json.gz")
    return json.loads(gzip.decompress(keys.read_bytes()))[component]


def rnd(seed: int, shape: list[int] | tuple[int, ...]) -> torch.Tensor:
    """Standard normal float32 numbers of numpy's RandomState(seed): the inputs of section 13."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32))


def _kaiser_taps() -> np.ndarray:
    """The 12 true taps of every `*.filter` buffer (section 3.7), written out independently of the package."""
    half = [0.00202896, 0.00938947, -0.02554346, -0.05765738, 0.12857258, 0.44320980]
    return np.array(half + half[::-1]).reshape(1, 1, 12)


def fill(key: str, shape: list[int]) -> torch.Tensor:
    """The value of one official tensor under the rule of section 13; buffers keep their true values."""
    name = key.rsplit(".", 1)[-1]
    if name == "filter":
        return torch.from_numpy(_kaiser_taps()).float()
    if name == "window":
        return torch.hann_window(shape[0])
    if name == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    n = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    if name == "weight_g":
        value = 0.7 + 0.1 * n
    elif name == "running_var":
        value = 1 + 0.1 * np.abs(n)
    elif PRELU.search(key):
        value = 0.25 + 0.05 * n
    elif name in ("gamma", "slope") or (name == "weight" and len(shape) == 1):
        value = 1 + 0.1 * n
    elif len(shape) >= 2 and name not in ("m", "logs", "emb_rel_k", "emb_rel_v"):
        value = n * 0.5 / np.sqrt(np.prod(shape[1:]))
    else:
        value = 0.1 * n
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def official_state_dict(component: str, prefixes: tuple[str, ...] = ("",)) -> dict[str, torch.Tensor]:
    """A filled state dict of `component` in official names, limited to keys that start with one of `prefixes`."""
    return {
        key: fill(key, shape) for key, shape in official_shapes(component).items() if key.startswith(prefixes)
    }


def golden(name: str) -> dict[str, torch.Tensor]:
    """All arrays of tests/golden/`name`.npz as tensors."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference over the largest expected magnitude; shapes must agree exactly."""
    if ours.shape != expected.shape:
        raise AssertionError(f"shape {tuple(ours.shape)}, expected {tuple(expected.shape)}")
    return ((ours - expected).abs().max() / expected.abs().max()).item()
