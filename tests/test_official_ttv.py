"""The imported text-to-vec model against values that the published code computed (hand-over section 13)."""

import pytest
import torch
from official_fill import golden, official_state_dict, relative_error, rnd

from hierspeech.official import load_official

SINGLE, CHAIN = 1e-5, 1e-4  # largest relative error of one module and of a whole path


@pytest.fixture(scope="module")
def model():
    return load_official("ttv", official_state_dict("ttv_v1")).eval()


@pytest.fixture(scope="module")
def expected():
    return golden("ttv")


MEL = 0.5 * rnd(1, [1, 80, 40]) - 3
SEMANTIC = 0.3 * rnd(2, [1, 1024, 24])
FRAMES = torch.ones(1, 1, 24, dtype=torch.bool)
TEXT = torch.ones(1, 1, 21, dtype=torch.bool)


def style_of(expected) -> torch.Tensor:
    return expected["ttv.style"][:, :, 0]


@torch.no_grad()
def test_style(model, expected):
    assert relative_error(model.style_encoder(MEL), style_of(expected)) < SINGLE


@torch.no_grad()
def test_text_encoder(model, expected):
    x, prior = model.text_encoder(expected["ttv.tokens"], TEXT, style_of(expected))
    assert relative_error(x, expected["ttv.enc_p.x"]) < SINGLE
    assert relative_error(prior.mean, expected["ttv.enc_p.m"]) < SINGLE
    assert relative_error(prior.log_std, expected["ttv.enc_p.logs"]) < SINGLE


@pytest.mark.parametrize(
    "name, noise", [("noise0", torch.zeros(1, 2, 21)), ("noise_rs11", rnd(11, [1, 2, 21]))]
)
@torch.no_grad()
def test_durations(model, expected, name, noise):
    x, style = expected["ttv.enc_p.x"], style_of(expected)
    log_durations = model.duration_predictor.infer(x, TEXT, style, noise)
    # The flow amplifies rounding: an independent implementation is 1e-5 away too (hand-over section 13).
    assert relative_error(log_durations.unsqueeze(1), expected[f"ttv.dp.logw_{name}"]) < 3 * SINGLE
    nll = model.duration_predictor(x, TEXT, expected["ttv.dp.w"][:, 0], style, noise)
    assert relative_error(nll, expected[f"ttv.dp.nll_{name}"]) < SINGLE


@torch.no_grad()
def test_posterior_encoder(model, expected):
    posterior = model.posterior_encoder(SEMANTIC, FRAMES, style_of(expected))
    assert relative_error(posterior.mean, expected["ttv.enc_q.m"]) < SINGLE
    assert relative_error(posterior.log_std, expected["ttv.enc_q.logs"]) < SINGLE


@torch.no_grad()
def test_flow(model, expected):
    z, style = expected["ttv.enc_q.m"], style_of(expected)
    assert relative_error(model.flow(z, FRAMES, style), expected["ttv.flow_forward"]) < SINGLE
    assert relative_error(model.flow.inverse(z, FRAMES, style), expected["ttv.flow_reverse"]) < SINGLE


@torch.no_grad()
def test_decoders(model, expected):
    z, style = expected["ttv.enc_q.m"], style_of(expected)
    assert relative_error(model.semantic_decoder(z, FRAMES, style), expected["ttv.w2v_decoder"]) < SINGLE
    assert relative_error(model.phoneme_classifier(z), expected["ttv.phoneme"]) < SINGLE
    assert relative_error(model.pitch_predictor(SEMANTIC, style), expected["ttv.pp"]) < SINGLE
    assert relative_error(model.pitch_predictor(SEMANTIC, style, FRAMES), expected["ttv.pp"]) < SINGLE


def test_infer(model, expected):
    with torch.no_grad():
        style = model.style_encoder(MEL)
    out = model.infer(expected["ttv.tokens"], style, noise_scale=0, duration_noise_scale=0)
    assert relative_error(out.semantic, expected["ttv.infer.w2v"]) < CHAIN
    assert relative_error(out.log_f0, expected["ttv.infer.logf0"]) < CHAIN
    assert out.durations.sum() == 38


def test_infer_between_two_styles(model, expected):
    with torch.no_grad():
        style = 0.7 * model.style_encoder(MEL) + 0.3 * model.style_encoder(MEL.flip(2))
    out = model.infer(expected["ttv.tokens"], style, noise_scale=0, duration_noise_scale=0, length_scale=1.5)
    assert relative_error(out.semantic[:, :8], expected["ttv.infer_nc.w2v"]) < CHAIN
    assert relative_error(out.log_f0, expected["ttv.infer_nc.logf0"]) < CHAIN
