"""The compiled kernels: their bf16, how they are built, and what happens where they cannot be."""

import ctypes
import platform
from pathlib import Path

import pytest
import torch

from hierspeech.official import load_official
from hierspeech.pipelines.voice import load_voice
from speech.audio import load_audio
from speech.fast import FastBlocks, prepare_for_inference
from speech.kernels import amp_blocks, build
from speech.modules.flow import TransformerFlow
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speech.modules.wavenet import WaveNet
from speechsr import SpeechSR, SpeechSRConfig

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT.parent / "shared" / "official"

needs_bf16 = pytest.mark.skipif(
    not amp_blocks.has_bf16(), reason="this processor has no AVX512-BF16, or there is no compiler"
)


@pytest.fixture
def fresh(monkeypatch):
    """`build.library` forgets what it found, before and after, and what the user's environment says of it."""
    monkeypatch.delenv("HIERSPEECH_KERNELS", raising=False)
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


@needs_bf16
def test_bf16_is_close_and_is_another_path():
    torch.manual_seed(0)
    model = prepare_for_inference(SpeechSR(SpeechSRConfig()))
    wav = 0.3 * torch.randn(1, 1, 4000)
    exact = model.infer(wav)
    rounded = prepare_for_inference(model, torch.bfloat16).infer(wav)
    assert 0 < log_spectral_distance(rounded, exact) < 0.5
    assert torch.equal(prepare_for_inference(model).infer(wav), exact)


@needs_bf16
@pytest.mark.parametrize("kind", ["wavenet", "flow", "small wavenet"])
def test_large_wavenets_and_flows_multiply_in_bf16(kind):
    torch.manual_seed(0)
    channels = 8 if kind == "small wavenet" else 192
    if kind == "flow":
        module = TransformerFlow(channels, 16, heads=2, n_flows=2, n_blocks=1)
        for parameter in module.parameters():  # couplings start out as the identity
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1)
    else:
        module = WaveNet(channels, 5, 3, 16)
    mask, style = torch.ones(2, 1, 40, dtype=torch.bool), torch.randn(2, 16)
    mask[1, :, 30:] = False
    x = torch.randn(2, channels, 40) * mask

    def run():
        return module.inverse(x, mask, style) if kind == "flow" else module(x, mask, style[..., None])

    prepare_for_inference(module)
    with torch.inference_mode():
        exact = run()
    prepare_for_inference(module, torch.bfloat16)
    with torch.inference_mode():
        rounded = run()
    assert rounded.dtype == torch.float32
    difference = float((rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    assert difference == 0 if kind == "small wavenet" else 1e-4 < difference < 0.01
    torch.testing.assert_close(run().detach(), exact, msg="gradients are wanted, so products stay fp32")


@needs_bf16
@pytest.mark.parametrize("channels", [3, 5, 8])
def test_bf16_with_channels_that_fill_no_group(channels):
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, channels, [3, 7]), torch.bfloat16)
    with torch.inference_mode():
        for samples in (1, 50, 3000):
            x = torch.randn(2, channels, samples)
            expected = blocks.mean(x)
            assert (blocks(x) - expected).abs().max() < 0.02 * expected.abs().max()


def blocks_off_zero(channels=8):
    """AMP blocks whose activations are far from zero in silence, as those of trained models, and what they get in silence."""
    torch.manual_seed(0)
    blocks = MultiKernelBlock(AMPBlock, channels, [3, 7, 11])
    for parameter in blocks.parameters():
        if parameter.dim() == 1:
            parameter.data.uniform_(-0.3, 0.3)
    return prepare_for_inference(blocks), torch.empty(channels).uniform_(-0.3, 0.3)


@needs_bf16
@torch.inference_mode()
@pytest.mark.parametrize("channels", [5, 8])
def test_bf16_has_no_error_in_silence_and_little_beside_a_whisper(channels):
    blocks, silence = blocks_off_zero(channels)
    informed = amp_blocks.PackedAMPBlocks(blocks.blocks, True, silence)
    ignorant = amp_blocks.PackedAMPBlocks(blocks.blocks, True)
    still = silence[None, :, None].expand(1, -1, 700)
    middle = slice(200, 500)  # at the ends zeros are padded, which are not silence
    for whisper in (0, 1e-3):
        x = still + whisper * torch.randn_like(still)
        exact = blocks(x)[..., middle]
        errors = [float((run(x)[..., middle] - exact).abs().max()) for run in (informed, ignorant)]
        assert errors[0] < 1e-6 + 0.02 * whisper, errors
        assert errors[1] > 20 * errors[0], errors


@needs_bf16
@torch.inference_mode()
def test_bf16_is_right_whatever_silence_is_said_to_be_at_the_ends_too():
    blocks, silence = blocks_off_zero()
    for samples in (1, 50, 3000):
        x = torch.randn(2, 8, samples)
        mask = (torch.arange(samples) < torch.tensor([samples, samples // 2])[:, None])[:, None]
        expected = blocks.mean(x, mask) * mask
        for said in (silence, 3 * torch.ones(8)):
            ours = amp_blocks.PackedAMPBlocks(blocks.blocks, True, said)(x, mask)
            assert (ours - expected).abs().max() < 0.03 * expected.abs().max()


@needs_bf16
def test_bf16_of_a_model_that_is_not_zero_in_silence():
    """The trouble of the published SpeechSR with weights of our own: without knowing silence it is above 1 dB."""
    torch.manual_seed(0)
    model = prepare_for_inference(SpeechSR(SpeechSRConfig()))
    for parameter in (*model.stage.parameters(), model.conv_pre.bias):
        if parameter.dim() == 1:
            parameter.data.uniform_(-0.3, 0.3)
    wav = 0.1 * torch.randn(1, 1, 8000)
    wav[..., 2000:4000] += 0.3 * torch.sin(torch.arange(2000) / 13)
    exact = prepare_for_inference(model).infer(wav)
    assert log_spectral_distance(prepare_for_inference(model, torch.bfloat16).infer(wav), exact) < 0.5
    model.stage.fast = FastBlocks(bf16=True)
    assert log_spectral_distance(model.infer(wav), exact) > 1


@needs_bf16
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not here")
@pytest.mark.parametrize("rate", ["24k", "48k"])
def test_bf16_of_the_published_speechsr_is_within_half_a_decibel(rate):
    model = load_official(f"speechsr-{rate}", PUBLISHED / f"speechsr{rate}.pth")
    wav = torch.from_numpy(load_audio(ROOT / "examples" / "reference.wav", 16000)[0][:32000])[None, None]
    exact = prepare_for_inference(model).infer(wav)
    assert log_spectral_distance(prepare_for_inference(model, torch.bfloat16).infer(wav), exact) < 0.3


def test_errors_of_bf16_taps_cancel():
    torch.manual_seed(0)
    weight = torch.randn(8, 8, 11)
    packed = amp_blocks.round_taps(weight).float()
    assert (packed - weight).abs().max() < 2**-7 * weight.abs().max()
    assert (packed.sum(-1) - weight.sum(-1)).abs().max() < 2**-8 * weight.abs().max()
    assert (weight.bfloat16().float().sum(-1) - weight.sum(-1)).abs().max() > 2**-8 * weight.abs().max()


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
        up = torch.nn.ConvTranspose1d(5, 11, 11, 5, padding=3)
        expected = up(x)
        assert torch.allclose(prepare_for_inference(up)(x), expected, atol=1e-5) and up.fast._kept
        conv, activation = torch.nn.Conv1d(5, 1, 33, padding=16, bias=False), Activation1d(5)
        expected = conv(activation(x))
        assert torch.allclose(prepare_for_inference(activation).into(conv, x), expected, atol=1e-5)
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
