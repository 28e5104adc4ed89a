"""What runs on a GPU in AMP blocks: the Triton kernel (by Triton's interpreter on a CPU) and the blocks around its twin in torch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recorded_graph import record_on_cpu
from test_fast import error, fill, rows_mask
from test_fast_kernels import PUBLISHED, log_spectral_distance

from hierspeech.official import load_official
from speech.audio import load_audio
from speech.fast import prepare_for_inference
from speech.kernels import build, gpu
from speech.kernels.polyphase import polyphase_activation
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speechsr import SpeechSR, SpeechSRConfig

ROOT = Path(__file__).parents[1]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def triton_cases(device):
    """Errors by case; in a process of its own, since Triton decides while it is imported whether it interprets."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    if device == "cpu":
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, str(ROOT / "tests/triton_cases.py"), device]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return [(name, float(value)) for name, value in map(str.split, run.stdout.splitlines())]


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=needs_triton), pytest.param("cuda", marks=[needs_triton, needs_cuda])],
)
def test_the_triton_kernel_equals_the_plain_layer(device):
    cases = triton_cases(device)
    assert {name for name, _ in cases} == {
        "whole", "masked", "padded", "torch.bfloat16", "torch.float16", "mixed", "loud",
    }  # fmt: skip
    for name, value in cases:
        assert value < (0.04 if name.startswith("torch.") else 1e-5), (name, value)


@pytest.fixture
def as_gpu(monkeypatch):
    recorded = record_on_cpu(monkeypatch)
    monkeypatch.setenv("HIERSPEECH_GRAPHS", "off")
    return recorded


@torch.no_grad()
def test_the_twin_takes_the_same_arguments(as_gpu):
    torch.manual_seed(0)
    activation, x = fill(Activation1d(3)), torch.randn(2, 3, 40)
    bias, rest, mask = torch.randn(3), torch.randn(3), rows_mask(40)
    expected = activation.plain(x + bias[:, None], mask)
    lengths = gpu.mask_lengths(mask)
    assert error(gpu.gpu_activation(activation, x, lengths, bias), expected) < 1e-5
    padded = gpu.gpu_activation(activation, x, lengths, bias, rest, 4, torch.bfloat16)
    assert padded.dtype == torch.bfloat16 and padded.shape == (2, 3, 48)
    wide = torch.nn.functional.pad(expected, (4, 4)) - rest[:, None]
    assert (padded.float() - wide).abs().max() < 0.02


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 7, 300])
def test_blocks_equal_the_plain_layers(as_gpu, samples):
    torch.manual_seed(0)
    blocks = prepare_for_inference(fill(MultiKernelBlock(AMPBlock, 6, [3, 7, 11])))
    x, mask = torch.randn(2, 6, samples), rows_mask(samples)
    before = x.clone()
    assert error(blocks(x), blocks.mean(x)) < 1e-5
    assert error(blocks(x, mask) * mask, blocks.mean(x, mask) * mask) < 1e-5
    assert torch.equal(x, before) and not torch.equal(blocks(x), blocks.mean(x))


def test_16_bits_are_close_for_quiet_sound_too(as_gpu):
    torch.manual_seed(0)
    model = fill(SpeechSR(SpeechSRConfig(channels=8)))  # its biases sound louder than the signal
    wav = 0.01 * torch.randn(1, 1, 4000)
    exact = prepare_for_inference(model).infer(wav)
    rounded = prepare_for_inference(model, torch.bfloat16).infer(wav)
    assert 0 < log_spectral_distance(rounded, exact) < 0.2
    model.stage.fast.silence = None
    model.stage.fast._kept.clear()
    assert log_spectral_distance(model.infer(wav), exact) > 1


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not here")
def test_16_bits_of_the_published_speechsr(as_gpu):
    model = load_official("speechsr-48k", PUBLISHED / "speechsr48k.pth")
    wav = torch.from_numpy(load_audio(ROOT / "examples/reference.wav", 16000)[0][:16000])[None, None]
    exact = prepare_for_inference(model).infer(wav)
    assert log_spectral_distance(prepare_for_inference(model, torch.bfloat16).infer(wav), exact) < 0.2


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
def test_16_bits_with_masks_and_changed_weights(as_gpu, padded):
    torch.manual_seed(0)
    blocks = prepare_for_inference(fill(MultiKernelBlock(AMPBlock, 5, [3, 7])), torch.bfloat16)
    x, mask = torch.randn(2, 5, 100), rows_mask(100) if padded else None
    shown = 1 if mask is None else mask
    for _ in range(2):
        expected = blocks.mean(x, mask) * shown
        assert 1e-5 < error(blocks(x, mask) * shown, expected) < 0.004
        blocks.blocks[0].convs1[1].weight.mul_(3)


def test_without_triton_the_twin_runs_and_native_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    gpu.has_triton.cache_clear()
    assert not gpu.has_triton(torch.device("cuda"))
    gpu.has_triton.cache_clear()
    monkeypatch.setenv("HIERSPEECH_KERNELS", "native")
    with pytest.raises(
        ValueError, match="expected a working Triton on a GPU: the package triton is not installed"
    ):
        gpu.has_triton(torch.device("cuda"))
    monkeypatch.setenv("HIERSPEECH_KERNELS", "none")
    with pytest.raises(ValueError, match="HIERSPEECH_KERNELS is 'none', expected one of"):
        gpu.has_triton(torch.device("cuda"))
    gpu.has_triton.cache_clear()
    assert build.CHOICES == ("auto", "native", "torch")


def test_a_kernel_is_compared_with_its_twin_before_it_is_used():
    def twin(x, alpha, beta, lengths):
        activation = Activation1d(x.shape[1])
        mask = (torch.arange(x.shape[-1]) < lengths[:, None])[:, None]
        return polyphase_activation(activation, x, mask)

    cpu = torch.device("cpu")
    assert gpu._triton_is_right(twin, cpu)
    assert not gpu._triton_is_right(lambda x, *rest: twin(x, *rest) + 1e-2 * (x > 2.5), cpu)


@needs_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_triton_that_fails_is_said_once(capsys, monkeypatch):
    monkeypatch.delenv("HIERSPEECH_KERNELS", raising=False)
    gpu.has_triton.cache_clear()
    assert not gpu.has_triton(torch.device("cuda")) and not gpu.has_triton(torch.device("cuda"))
    gpu.has_triton.cache_clear()
    said = capsys.readouterr().err
    assert (
        said.startswith("hierspeech: no Triton kernel, its twin in torch runs instead (")
        and said.count("\n") == 1
    )
