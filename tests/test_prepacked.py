"""Layers with weights in oneDNN's order, and kernels on other threads than torch's: the same values, and none where more is wanted."""

import copy

import pytest
import torch
from plain_layout import plain_layout
from torch import nn

from speech.fast import prepare_for_inference
from speech.kernels import amp_blocks, build, prepacked, teams
from speech.modules.flow import SelfAttention, TransformerFlow
from speech.modules.resblocks import AMPBlock, MultiKernelBlock

needs_operations = pytest.mark.skipif(not prepacked.available(), reason="this torch has no such operations")

LAYERS = {
    "convolution": (lambda: nn.Conv1d(96, 128, 5, padding=2), (2, 96, 40)),
    "dilated": (lambda: nn.Conv1d(96, 128, 3, padding=4, dilation=4, bias=False), (1, 96, 7)),
    "pointwise": (lambda: nn.Conv1d(256, 64, 1), (3, 256, 1)),
    "linear": (lambda: nn.Linear(128, 128), (2, 5, 128)),
    "linear without bias": (lambda: nn.Linear(128, 160, bias=False), (7, 128)),
}


@needs_operations
@torch.inference_mode()
@pytest.mark.parametrize("kind", LAYERS)
def test_packed_layers_equal_plain_ones(kind):
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer = prepare_for_inference(nn.Sequential(make()))
    assert isinstance(layer[0].fast, prepacked.PackedLayer)
    for scale in (1, 3):  # another length than the one that the weights were packed for
        x = torch.randn(*shape[:-1], shape[-1] * scale) if kind[0] != "l" else torch.randn(scale, *shape)
        with plain_layout(layer):
            expected = layer(x)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            with plain_layout(layer):
                rounded = layer(x)
            ours = layer(x)
        assert ours.dtype == rounded.dtype == torch.bfloat16
        torch.testing.assert_close(ours, rounded, rtol=0.02, atol=0.02)


@needs_operations
def test_packed_weights_follow_the_layer_and_its_copies():
    torch.manual_seed(0)
    layer, x = prepare_for_inference(nn.Sequential(nn.Conv1d(128, 128, 1))), torch.randn(1, 128, 20)

    def run(model):
        with torch.inference_mode():
            return model(x)

    first, other = run(layer), copy.deepcopy(layer)
    torch.testing.assert_close(run(other), first)
    with torch.no_grad():
        layer[0].weight.mul_(2)
        layer[0].bias.mul_(2)
    torch.testing.assert_close(run(layer), 2 * first)
    torch.testing.assert_close(run(other), first)
    assert set(other.state_dict()) == {"0.weight", "0.bias"}


def test_asking_whether_the_operations_are_there_draws_no_random_numbers():
    prepacked.available.cache_clear()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    prepacked.available()
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_releases_without_the_operations_run_plain_layers(monkeypatch):
    class Without:
        def __getattr__(self, name):
            raise AttributeError(name)

    prepacked.available.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", Without())
    try:
        layer = prepare_for_inference(nn.Sequential(nn.Conv1d(128, 128, 1)))
    finally:
        prepacked.available.cache_clear()
    assert not hasattr(layer[0], "fast")


def test_gradients_and_exports_see_plain_layers():
    layer, x = prepare_for_inference(nn.Sequential(nn.Conv1d(128, 128, 3, padding=1))), torch.randn(1, 128, 20)
    layer(x).sum().backward()
    assert layer[0].weight.grad is not None
    with torch.no_grad():
        operations = {node.target for node in torch.export.export(layer, (x,)).graph.nodes}
    assert any("conv1d" in str(name) for name in operations) and not any(
        "mkldnn" in str(n) for n in operations
    )


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(96, 96, 3, stride=2),
        nn.Conv1d(96, 96, 300, groups=96),
        nn.Conv1d(96, 96, 3, padding="same"),
        nn.Conv1d(96, 96, 3, padding_mode="replicate"),
        nn.Conv1d(8, 8, 3),
        nn.Bilinear(96, 96, 4),
    ],
)
def test_other_layers_are_left_alone(layer):
    prepare_for_inference(nn.Sequential(layer))
    assert not hasattr(layer, "fast")


def test_a_text_to_vec_whose_pitch_becomes_phases_is_left_alone():
    from hierspeech import TextToSpeech

    voice = TextToSpeech.from_pretrained("lite").voice
    packed = [
        sum(isinstance(getattr(part, "fast", None), prepacked.PackedLayer) for part in model.modules())
        for model in (voice.ttv, voice.synthesizer)
    ]
    assert packed[0] == 0 and (packed[1] > 20 or not prepacked.available())


@torch.inference_mode()
def test_attention_by_products_is_attention():
    torch.manual_seed(0)
    attention = SelfAttention(32, 2)
    x, mask = torch.randn(3, 50, 32), torch.arange(50) < torch.tensor([50, 20, 1])[:, None]
    for keys in (None, mask):
        expected = attention(x, keys)
        with torch.autocast("cpu", torch.bfloat16):
            ours = attention(x, keys)
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), expected, rtol=0.02, atol=0.02)


@needs_operations
@torch.inference_mode()
def test_a_prepared_flow_is_the_flow():
    torch.manual_seed(0)
    flow = TransformerFlow(64, 16, heads=2, n_flows=2, n_blocks=1)
    for parameter in flow.parameters():  # couplings start out as the identity
        nn.init.normal_(parameter, std=0.1)
    mask = (torch.arange(40) < torch.tensor([40, 30])[:, None])[:, None]
    x, style = torch.randn(2, 64, 40) * mask, torch.randn(2, 16)
    prepare_for_inference(flow)
    with plain_layout(flow):
        expected = flow.inverse(x, mask, style)
    ours = flow.inverse(x, mask, style)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(ours, expected), "the fast path did not run"


@pytest.mark.skipif(build.library() is None, reason="no C++ compiler here")
@torch.inference_mode()
def test_kernels_run_on_threads_of_their_own_where_torch_lends_none(monkeypatch):
    torch.manual_seed(0)
    blocks = prepare_for_inference(MultiKernelBlock(AMPBlock, 8, [3, 7]))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for samples in (5, 700, 60_000):  # on one tile together, and on tiles of their own
            x = torch.randn(1, 8, samples)
            lent = blocks(x)
            with monkeypatch.context() as patch:
                patch.setattr(teams, "_team", lambda: None)
                assert torch.equal(blocks(x), lent)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(
    build.library() is None or "OpenMP" not in torch.__config__.parallel_info() or teams._team() is None,
    reason="torch has another OpenMP, or none",
)
@torch.inference_mode()
def test_fewer_threads_than_asked_for_do_all_the_work(monkeypatch):
    """As where a limit on threads is set: they do not wait for one that never comes."""
    torch.manual_seed(0)
    activations = prepare_for_inference(MultiKernelBlock(AMPBlock, 8, [3]))
    parallel, count = teams._team()
    start = amp_blocks.library().in_team

    def with_two(parallel, count, threads, *rest):
        start(parallel, count, type(threads)(2), *rest)

    x = torch.randn(1, 8, 700)
    expected = activations(x)

    class Library:
        in_team = staticmethod(with_two)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        monkeypatch.setattr(teams, "library", Library)
        assert torch.equal(activations(x), expected)
    finally:
        torch.set_num_threads(before)
