"""The compiled kernels: their bf16, how they are built, and what happens where they cannot be."""

import ctypes
import platform

import pytest
import torch

from hierspeech.pipelines.voice import load_voice
from speech.fast import prepare_for_inference
from speech.kernels import amp_blocks, build
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speechsr import SpeechSR, SpeechSRConfig


@pytest.fixture
def fresh():
    """`build.library` forgets what it found, before and after."""
    build.library.cache_clear()
    yield
    build.library.cache_clear()


def log_spectral_distance(ours, expected):
    """dB, between waves [B, 1, T]; magnitudes below those of 16-bit rounding noise count as equal."""
    window = torch.hann_window(2048)
    floor = (2**-15 / 12**0.5) * window.square().sum().sqrt()
    spectra = [
        torch.stft(wav[:, 0], 2048, 512, window=window, return_complex=True).abs().clamp(min=floor)
        for wav in (ours, expected)
    ]
    return float((20 * (spectra[0] / spectra[1]).log10()).square().mean(dim=1).sqrt().mean())


def test_bf16_is_close_and_is_another_path():
    if not amp_blocks.has_bf16():
        pytest.skip("this processor has no AVX512-BF16, or there is no compiler")
    torch.manual_seed(0)
    model = prepare_for_inference(SpeechSR(SpeechSRConfig()))
    wav = 0.3 * torch.randn(1, 1, 4000)
    exact = model.infer(wav)
    rounded = prepare_for_inference(model, torch.bfloat16).infer(wav)
    assert 0 < log_spectral_distance(rounded, exact) < 0.5
    assert torch.equal(prepare_for_inference(model).infer(wav), exact)


@pytest.mark.parametrize("channels", [3, 5, 8])
def test_bf16_with_channels_that_fill_no_group(channels):
    if not amp_blocks.has_bf16():
        pytest.skip("this processor has no AVX512-BF16, or there is no compiler")
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, channels, [3, 7]), torch.bfloat16)
    with torch.inference_mode():
        for samples in (1, 50, 3000):
            x = torch.randn(2, channels, samples)
            expected = blocks.mean(x)
            assert (blocks(x) - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an option of x86 compilers")
@pytest.mark.parametrize("march", ["x86-64-v3", "x86-64"])
def test_other_vector_widths(fresh, monkeypatch, tmp_path, march):
    """Eight and four numbers a vector, as processors without AVX-512 have."""
    if not build.compilers():
        pytest.skip("no C++ compiler here")
    flags = [f"-march={march}" if flag.startswith("-march") else flag for flag in build.FLAGS]
    monkeypatch.setattr(build, "FLAGS", flags)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.library().has_bf16() == 0
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, 5, [3, 11]), torch.bfloat16)
    with torch.inference_mode():
        x = torch.randn(2, 5, 700)
        assert torch.allclose(blocks(x), blocks.mean(x), atol=1e-5)
    assert [path.suffix for path in (tmp_path / "hierspeech").iterdir()] == [".so"]


def test_without_a_compiler_the_twin_runs(fresh, monkeypatch):
    monkeypatch.setattr(build, "compilers", lambda: [])
    assert build.library() is None
    assert not amp_blocks.has_bf16()
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, 4, [3]), torch.bfloat16)
    with torch.inference_mode():
        x = torch.randn(1, 4, 30)
        assert torch.allclose(blocks(x), blocks.mean(x), atol=1e-5)
    monkeypatch.setenv("HIERSPEECH_KERNELS", "native")
    build.library.cache_clear()
    with pytest.raises(ValueError, match="expected a working C\\+\\+ compiler"):
        build.library()
    monkeypatch.setenv("HIERSPEECH_KERNELS", "fast")
    build.library.cache_clear()
    with pytest.raises(ValueError, match="HIERSPEECH_KERNELS is 'fast', expected one of auto, native, torch"):
        build.library()


def test_a_broken_compiler_is_passed_over(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "compilers", lambda: [["false"], ["/no/such/compiler"]])
    assert build.library() is None
    assert list((tmp_path / "hierspeech").iterdir()) == []


def test_a_library_is_built_once(fresh, monkeypatch, tmp_path):
    if not build.compilers():
        pytest.skip("no C++ compiler here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(build.library(), ctypes.CDLL)
    build.library.cache_clear()
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built again"))
    assert isinstance(build.library(), ctypes.CDLL)


def test_precision_of_a_voice():
    with pytest.raises(ValueError, match="unknown precision 'int3': expected fp32 or bf16"):
        load_voice("lite", "cpu", precision="int3")
    voice = load_voice("lite", "cpu", precision="bf16")
    assert voice.dtype == torch.bfloat16
    assert load_voice("lite", "cpu") is not voice
