"""Every fast path equals the plain eager layout: activation, AMP blocks, whole models; with masks, odd and very short inputs."""

import copy

import pytest
import torch
from plain_layout import plain_layout
from torch.nn import Conv1d, ConvTranspose1d

from hierspeech.synthesizer.generator import AMPGenerator, AMPGeneratorConfig
from hierspeech.synthesizer.source import SourceConfig, SourceNetwork
from speech.fast import prepare_for_inference
from speech.kernels import amp_blocks, build
from speech.kernels.polyphase import tiled_blocks
from speech.modules.resblocks import AMPBlock, HiFiGANBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speech.spectrogram import AudioConfig
from speechsr import SpeechSR, SpeechSRConfig

LENGTHS = (1, 2, 3, 5, 7, 40, 97, 1501)
TOLERANCE = 1e-5  # relative to the largest value; the promise is 1e-4 on waves


@pytest.fixture(params=["native", "torch"])
def path(request, monkeypatch):
    """Each way to run on a CPU: the compiled kernel and its twin."""
    monkeypatch.setenv("HIERSPEECH_KERNELS", request.param)
    build.library.cache_clear()
    try:
        build.library()
    except ValueError:
        pytest.skip("no C++ compiler here")
    yield request.param
    build.library.cache_clear()


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def fill(model):
    """Biases, alphas and betas that are not all alike."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def error(ours, expected):
    return float((ours - expected).abs().max() / expected.abs().max())


def rows_mask(samples):
    """Two rows, the second a third as long."""
    return (torch.arange(samples) < torch.tensor([samples, max(1, samples // 3)])[:, None])[:, None]


@torch.no_grad()
def test_activation(path, threads):
    torch.manual_seed(0)
    activation = prepare_for_inference(fill(Activation1d(5)))
    for samples in (*LENGTHS, 2048, 4100):
        x, mask = 2 * torch.randn(2, 5, samples), rows_mask(samples)
        assert error(activation(x), activation.plain(x)) < TOLERANCE
        assert error(activation(x, mask), activation.plain(x, mask)) < TOLERANCE
        for conv in (
            Conv1d(5, 1, 7, padding=3, bias=False),
            Conv1d(5, 1, 33, padding=16, bias=False),
            Conv1d(5, 1, 101, padding=50, bias=False),  # longer than the kernel's rows have room for
            Conv1d(5, 2, 3, padding=1),
        ):
            expected, ours = conv(activation.plain(x)), activation.into(conv, x)
            assert ours.shape == expected.shape and error(ours, expected) < TOLERANCE
            expected, ours = conv(activation.plain(x, mask)), activation.into(conv, x, mask)
            assert error(ours * mask, expected * mask) < TOLERANCE
    loud = 100 * torch.randn(1, 5, 300)  # many turns of the sine
    assert (activation(loud) - activation.plain(loud)).abs().max() < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("channels", [3, 8, 20])
def test_amp_blocks(path, threads, channels):
    torch.manual_seed(0)
    blocks = prepare_for_inference(fill(MultiKernelBlock(AMPBlock, channels, [3, 7, 11])))
    for samples in LENGTHS:
        x, mask = torch.randn(2, channels, samples), rows_mask(samples)
        assert error(blocks(x), blocks.mean(x)) < TOLERANCE
        assert error(blocks(x, mask) * mask, blocks.mean(x, mask) * mask) < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("tile", [37, 256])
def test_tiles_join_without_a_seam(path, threads, tile):
    torch.manual_seed(0)
    blocks = prepare_for_inference(fill(MultiKernelBlock(AMPBlock, 6, [3, 11])))
    x, mask = torch.randn(2, 6, 1111), rows_mask(1111)
    if path == "native":
        run = amp_blocks.PackedAMPBlocks(blocks.blocks, bf16=False)
    else:

        def run(x, mask=None, tile=tile):
            return tiled_blocks(blocks, x, mask, tile)

    assert error(run(x, tile=tile), blocks.mean(x)) < TOLERANCE
    assert error(run(x, mask, tile=tile) * mask, blocks.mean(x, mask) * mask) < TOLERANCE


@torch.no_grad()
def test_padding_stays_silent_and_an_empty_row_harmless(path):
    torch.manual_seed(0)
    model = prepare_for_inference(fill(MultiKernelBlock(AMPBlock, 4, [3])))
    x, mask = torch.randn(2, 4, 50), torch.zeros(2, 1, 50, dtype=torch.bool)
    mask[0, :, :20] = True
    assert model(x, mask).isfinite().all()
    activated = prepare_for_inference(Activation1d(4))(x, mask)
    assert not activated[0, :, 20:].any() and not activated[1].any()


@pytest.mark.parametrize("samples", [1, 9, 801])
@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_speechsr(path, scale, samples):
    torch.manual_seed(0)
    model = prepare_for_inference(fill(SpeechSR(SpeechSRConfig(scale=scale))))
    wav = 0.3 * torch.randn(2, 1, samples)
    with plain_layout(model):
        expected = model.infer(wav)
    ours = model.infer(wav)
    assert (ours - expected).abs().max() < 1e-4
    assert not torch.equal(ours, expected), "the fast path did not run"


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_long_waves_go_through_speechsr_in_pieces(path, scale, monkeypatch):
    torch.manual_seed(0)
    model = prepare_for_inference(fill(SpeechSR(SpeechSRConfig(scale=scale))))
    monkeypatch.setattr("speechsr.model.PIECE_SAMPLES", 600)
    called = []
    model.register_forward_pre_hook(lambda module, inputs: called.append(inputs[0].shape[-1]))
    for samples in (600, 1200, 1200 + model.config.halo, 1202 + model.config.halo):
        wav = 0.3 * torch.randn(2, 1, samples)
        called.clear()
        ours = model.infer(wav)
        pieces = called.copy()
        with torch.inference_mode():
            assert (ours - model(wav)).abs().max() < 1e-5
        assert len(pieces) == -(-max(samples - model.config.halo, 1) // 600)
        assert max(pieces) <= 600 + 2 * model.config.halo


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 13])
def test_source_and_generator(path, frames):
    torch.manual_seed(0)
    source = SourceNetwork(SourceConfig(hidden=32), 12, 8, AudioConfig())
    generator = AMPGenerator(AMPGeneratorConfig(hidden=64), 12, 8, source.out_channels, AudioConfig())
    models = prepare_for_inference(torch.nn.ModuleList([fill(source), fill(generator)]))
    style = torch.randn(2, 8)
    for mask in (None, rows_mask(frames)[:, 0]):
        z = torch.randn(2, 12, frames) * (1 if mask is None else mask[:, None])
        with plain_layout(models):
            features, log_f0 = source(z, style, None, mask)
            expected = generator(z, features, style, mask)
        fast_features, fast_log_f0 = source(z, style, None, mask)
        assert error(fast_log_f0, log_f0) < TOLERANCE
        assert (generator(z, fast_features, style, mask) - expected).abs().max() < 1e-4


def test_gradients_training_and_exports_take_the_plain_layers(path):
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, 3, [3]))
    x = torch.randn(1, 3, 30, requires_grad=True)
    blocks(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert blocks.blocks[0].activations1[0].act.alpha.grad.abs().sum() > 0
    blocks.fast = lambda *_: pytest.fail("the fast path ran")
    blocks.train()
    with torch.no_grad():
        blocks(x)
    blocks.eval()
    torch.export.export(blocks, (x.detach(),))


@torch.no_grad()
def test_weights_may_change_and_models_be_copied(path):
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, 4, [3]))
    x = torch.randn(1, 4, 30)
    first = blocks(x)
    other = copy.deepcopy(blocks)
    other.blocks[0].convs1[0].weight.mul_(2)
    assert error(other(x), other.mean(x)) < TOLERANCE
    assert error(other(x), first) > 1e-3
    assert torch.equal(blocks(x), first)


@torch.no_grad()
def test_preparing_folds_weight_norm_and_may_be_repeated():
    blocks = MultiKernelBlock(AMPBlock, 4, [3]).train()
    assert any("original0" in name for name in blocks.state_dict())
    assert prepare_for_inference(prepare_for_inference(blocks)) is blocks
    assert not blocks.training
    assert not any("original0" in name for name in blocks.state_dict())
    assert isinstance(blocks.blocks[0].convs1[0].weight, torch.nn.Parameter)
    hifigan = prepare_for_inference(MultiKernelBlock(HiFiGANBlock, 4, [3]))
    assert hifigan(torch.randn(1, 4, 20)).shape == (1, 4, 20)
    with pytest.raises(ValueError, match="dtype is torch.float16, expected"):
        prepare_for_inference(blocks, torch.float16)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kernel", "rate", "inputs", "outputs"),
    [(8, 4, 6, 3), (11, 5, 5, 8), (4, 2, 3, 17), (3, 3, 2, 2), (4, 2, 900, 8)],
)
def test_transposed_convolutions(path, threads, kernel, rate, inputs, outputs):
    torch.manual_seed(0)
    layer = prepare_for_inference(
        ConvTranspose1d(inputs, outputs, kernel, rate, padding=(kernel - rate) // 2)
    )
    for samples in LENGTHS:
        x = torch.randn(2, inputs, samples)
        with plain_layout(layer):
            expected = layer(x)
        ours = layer(x)
        assert ours.shape == expected.shape and error(ours, expected) < TOLERANCE
    assert bool(layer.fast._kept) == (path == "native"), "the kernel runs where there is one"


@torch.no_grad()
def test_the_last_activation_and_its_convolution_are_one_pass_of_the_kernel(path, monkeypatch):
    ran, into_one = [], amp_blocks.PackedActivation.into_one
    monkeypatch.setattr(
        amp_blocks.PackedActivation, "into_one", lambda *given: ran.append(given[1].shape) or into_one(*given)
    )
    activation = prepare_for_inference(Activation1d(5))
    x = torch.randn(1, 5, 40)
    activation.into(Conv1d(5, 1, 7, padding=3, bias=False), x)
    assert len(ran) == (path == "native")
    for conv in (
        Conv1d(5, 1, 7, padding=3),
        Conv1d(5, 2, 7, padding=3, bias=False),
        Conv1d(5, 1, 7, bias=False),
    ):
        activation.into(conv, x)
    assert len(ran) == (path == "native")
