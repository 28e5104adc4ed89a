"""The denoiser: parity with the published MP-SENet, documented shapes, levels, and what its parts must and must not do."""

import numpy as np
import pytest
import torch
from official_fill import golden, official_state_dict, relative_error
from torch import nn
from torch.nn import functional as F

from denoiser import Denoiser, DenoiserConfig
from denoiser.conformer import ConvolutionModule, SelfAttention
from denoiser.spectra import level_gain
from hierspeech.official import load_official
from hierspeech.official.__main__ import main

SMALL = {"channels": 16, "n_blocks": 2, "dense_depth": 2, "conv_kernel": 7, "ffn_expansion": 2}


def small(**changes) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(DenoiserConfig(**SMALL | changes)).eval()


@pytest.fixture(scope="module")
def published():
    """The published architecture under the synthetic weights of the hand-over."""
    return load_official("denoiser", {"generator": official_state_dict("denoiser_mpsenet")})


def circle(phase: torch.Tensor) -> torch.Tensor:
    return torch.polar(torch.ones_like(phase), phase)


class TestParity:
    """In stages, because the first stage has a switch in it that rounding throws: a bin that is real and negative has
    a phase of +pi or -pi by the sign of a rounding error (all of the first frame is real, by reflection)."""

    def test_analysis(self, published):
        values = golden("denoiser")
        wav = values["den.input"][None]
        _, phase = published.analyse(wav * level_gain(wav)[:, None])
        assert relative_error(circle(phase), circle(values["ours.input.phase"])) < 1e-3

    def test_network(self, published):
        values = golden("denoiser")
        wav = values["den.input"][None]
        magnitude, _ = published.analyse(wav * level_gain(wav)[:, None])
        heads = (published.phase_decoder.real, published.phase_decoder.imaginary)
        vector: list[torch.Tensor] = []
        hooks = [head.register_forward_hook(lambda _, __, made: vector.append(made)) for head in heads]
        with torch.no_grad():
            out = published(magnitude, values["ours.input.phase"])
        for hook in hooks:
            hook.remove()
        assert relative_error(out.magnitude, values["den.mag"]) < 1e-5
        # An angle is as exact as the vector is long that it is taken of, and some are a hundredth of the others: what counts is
        # how far the vector's end is off, beside the mean length.
        length = torch.hypot(*vector)[:, 0].transpose(1, 2)
        distance = (circle(out.phase) - circle(values["den.pha"])).abs()
        assert distance.median() < 1e-6
        assert (distance * length / length.mean()).max() < 2e-5

    def test_synthesis(self, published):
        values = golden("denoiser")
        wav = published.synthesise(values["den.mag"], values["den.pha"], 3200)
        assert relative_error(wav / level_gain(values["den.input"][None]), values["den.out"]) < 1e-5

    def test_whole(self, published):
        values = golden("denoiser")
        wav = values["den.input"][None]
        _, phase = published.analyse(wav * level_gain(wav)[:, None])
        if (phase - values["ours.input.phase"]).abs().max() > 1e-3:
            pytest.skip("this machine's FFT rounds phases of pi to the other sign, which the network hears")
        assert relative_error(published.infer(wav), values["den.out"]) < 1e-5

    def test_straight_attention_would_be_noticed(self, published):
        values = golden("denoiser")
        straight = Denoiser(DenoiserConfig()).eval()
        straight.load_state_dict(published.state_dict())
        assert relative_error(straight.infer(values["den.input"][None]), values["den.out"]) > 1e-2


def test_size_of_the_published_model():
    assert sum(p.numel() for p in Denoiser(DenoiserConfig()).parameters()) == 2_048_849


def test_a_published_file_converts_and_loads(tmp_path, capsys):
    state = official_state_dict("denoiser_mpsenet")
    counter = "TSConformer.1.freq_conformer.ccm.ccm.5.num_batches_tracked"
    state[counter] = torch.tensor(2**40 + 1)  # float32 would lose the last digit
    torch.save({"generator": state}, tmp_path / "g_mine")
    assert main(["convert", "denoiser", str(tmp_path / "g_mine"), str(tmp_path / "out")]) == 0
    assert str(tmp_path / "out") in capsys.readouterr().out
    model = Denoiser.from_pretrained(tmp_path / "out")
    norm = model.blocks[1].frequency.convolution.batch_norm
    assert norm.num_batches_tracked.dtype == torch.int64 and norm.num_batches_tracked == 2**40 + 1
    assert torch.equal(norm.running_mean, state[counter.replace("num_batches_tracked", "running_mean")])
    assert model.config.crossed_attention and not model.training
    wav = torch.randn(1, 500)
    assert torch.equal(model.infer(wav), load_official("denoiser", tmp_path / "g_mine").infer(wav))
    assert Denoiser.from_pretrained(tmp_path / "out", trainable=True).training


@pytest.mark.parametrize("sizes", [{}, {"n_fft": 64, "hop_length": 16, "win_length": 48, "heads": 2}])
@pytest.mark.parametrize(("batch", "samples"), [(1, 1601), (2, 2000)])
@pytest.mark.parametrize("crossed", [False, True])
def test_documented_shapes(sizes, batch, samples, crossed):
    model = small(crossed_attention=crossed, **sizes)
    config, wav = model.config, torch.randn(batch, samples)
    magnitude, phase = model.analyse(wav)
    shape = (batch, config.n_fft // 2 + 1, samples // config.hop_length + 1)
    assert magnitude.shape == phase.shape == shape
    out = model(magnitude, phase)
    assert out.magnitude.shape == out.phase.shape == shape and out.spec.shape == (*shape, 2)
    assert (
        (0 <= out.magnitude) & (out.magnitude <= 2 * magnitude)
    ).all() and out.phase.abs().max() <= torch.pi
    assert torch.allclose(out.spec.square().sum(-1).sqrt(), out.magnitude, atol=1e-5)
    assert model.synthesise(out.magnitude, out.phase, samples).shape == (batch, samples)
    assert model.infer(wav).shape == (batch, samples)


def test_synthesis_undoes_analysis():
    wav = torch.randn(2, 1234)
    for sizes in ({}, {"n_fft": 64, "hop_length": 16, "win_length": 48}):
        model = small(**sizes)
        assert torch.allclose(model.synthesise(*model.analyse(wav), 1234), wav, atol=1e-4)


@pytest.mark.parametrize("crossed", [False, True])
def test_utterances_of_a_batch_do_not_hear_each_other(crossed):
    model, wav = small(crossed_attention=crossed), torch.randn(3, 1600) * torch.tensor([[1.0], [0.01], [3.0]])
    with torch.no_grad():
        spectra = model.analyse(wav)
        together = model(*spectra).magnitude
        alone = torch.cat([model(*(x[i : i + 1] for x in spectra)).magnitude for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("crossed", [False, True])
def test_attention_runs_along_its_axis(crossed):
    attention = SelfAttention(8, 2, 0.0, crossed)
    x = torch.randn(2, 4, 5, 8)
    with torch.no_grad():
        before = attention(x)
        x[1, 2, 3] += 1.0
        changed = (attention(x) - before).abs().amax(-1) > 0
    expected = torch.zeros(2, 4, 5, dtype=torch.bool)
    expected[(1, slice(None), 3) if crossed else (1, 2)] = True
    assert torch.equal(changed, expected)


def test_crossed_attention_is_that_of_a_sequence_first_module():
    """The quirk itself: torch's module with batch_first=False, given [batch, length, channels]."""
    ours, theirs = SelfAttention(8, 2, 0.0, crossed=True), nn.MultiheadAttention(8, 2)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias.normal_())
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias.normal_())
        x = torch.randn(6, 9, 8)
        normed = F.layer_norm(x, (8,))
        assert torch.allclose(ours(x[None])[0], theirs(normed, normed, normed)[0], atol=1e-6)


def test_convolution_module_is_the_plain_formula():
    module = ConvolutionModule(4, 2, 5, 0.0)
    x = torch.randn(3, 2, 7, 4)
    for training in (True, False):  # the first pass moves the running statistics that the second one uses
        module.train(training)
        norm = nn.BatchNorm1d(8)
        norm.load_state_dict(module.batch_norm.state_dict())
        norm.train(training)
        y = module.norm(x).flatten(0, 1).transpose(1, 2)
        y = module.project(F.silu(norm(module.depthwise(F.glu(module.expand(y), dim=1)))))
        assert torch.allclose(module(x), y.transpose(1, 2).reshape(x.shape), atol=1e-5)
        assert torch.allclose(module.batch_norm.running_mean, norm.running_mean, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 99, 100, 101, 199, 200, 201, 400, 401])
def test_short_recordings_keep_their_length(samples):
    wav = small().infer(torch.randn(1, samples))
    assert wav.shape == (1, samples) and wav.isfinite().all()


def test_level_is_kept():
    model, wav = small(), torch.randn(1, 1000)
    expected = model.infer(wav)
    for factor in (2.0**-20, 2.0**6):  # powers of two are exact
        assert torch.equal(model.infer(factor * wav), factor * expected)


def test_silence_stays_silence():
    wav = torch.randn(3, 900)
    wav[1] = 0.0
    wav[2] *= 1e-30
    clean = small().infer(wav)
    assert clean.isfinite().all() and clean[0].any() and not clean[1:].any()
    assert small().infer(F.pad(wav[:1], (0, 2000))).isfinite().all()


def test_gradients_are_finite_where_there_is_digital_silence():
    model = small().train()
    wav = torch.cat([torch.zeros(2, 1000), torch.randn(2, 1000)], 1).requires_grad_()
    out = model(*model.analyse(wav))
    (model.synthesise(out.magnitude, out.phase, 2000).square().mean() + out.spec.square().mean()).backward()
    assert wav.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_half_precision_training_keeps_phases_in_float32():
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*model.analyse(torch.randn(1, 800)))
    assert out.phase.dtype == out.spec.dtype == torch.float32 and out.spec.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_fft": 402}, "402"),
        ({"hop_length": 400}, "hop_length < win_length"),
        ({"win_length": 401}, "401"),
        ({"heads": 3}, "multiple of heads"),
        ({"conv_kernel": 30}, "30"),
        ({"compression": 0.0}, "compression"),
        ({"n_blocks": 0}, "n_blocks"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DenoiserConfig(**changes)


def test_wrong_input_is_refused():
    for shape in ((100,), (1, 1, 100), (1, 0)):
        with pytest.raises(ValueError, match="expected wav of shape"):
            small().infer(torch.zeros(shape))


def test_phases_of_the_golden_input_are_known():
    """What `TestParity` leans on: only bins that are real can lie on the switch."""
    phase = golden("denoiser")["ours.input.phase"][0].numpy()
    places = np.argwhere(np.pi - np.abs(phase) < 1e-4)
    assert all(bin_ in (0, 200) or frame in (0, phase.shape[1] - 1) for bin_, frame in places)
