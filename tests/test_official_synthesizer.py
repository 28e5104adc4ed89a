"""Parity of the imported synthesizer with the published code, on synthetic weights (spec section 13)."""

from functools import partial

import pytest
import torch
from official_fill import golden, official_state_dict, relative_error, rnd

from hierspeech.official import load_official
from speech.masks import lengths_to_mask

FRAMES = 24
MODULE = 1e-5  # relative tolerance of one module
CHAIN = 1e-4  # of several after each other


@pytest.fixture(scope="module")
def expected():
    return golden("synthesizer")


@pytest.fixture(scope="module")
def model():
    return load_official("synthesizer", official_state_dict("hierspeechpp_synthesizer"))


@pytest.fixture(scope="module")
def inputs():
    mel = 0.5 * rnd(1, [1, 80, 40]) - 3
    semantic = 0.3 * rnd(2, [1, 1024, FRAMES])
    log_f0 = 0.3 * rnd(3, [1, 1, 4 * FRAMES]) + 5
    log_f0[..., 10:20] = 0
    return mel, semantic, log_f0


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def check(ours, expected, tolerance=MODULE):
    error = relative_error(ours, expected)
    print(f"relative error {error:.1e}")
    assert error < tolerance


def test_style_encoder(model, inputs, expected):
    check(model.style_encoder(inputs[0]), expected["syn.style"][..., 0])


@pytest.mark.parametrize("name", ["enc_p_l", "enc_p"])
def test_semantic_encoders(model, inputs, expected, name):
    encode = model.encode_prior if name == "enc_p_l" else model.encode_semantic_posterior
    latent = encode(inputs[1], inputs[2], expected["syn.style"][..., 0])
    check(latent.mean, expected[f"syn.{name}.m"])
    check(latent.log_std, expected[f"syn.{name}.logs"])


def test_flows(model, expected):
    style, mask = expected["syn.style"][..., 0], torch.ones(1, 1, FRAMES, dtype=torch.bool)
    check(model.flow_semantic.inverse(expected["syn.enc_p_l.m"], mask, style), expected["syn.flow_l_reverse"])
    check(
        model.flow_acoustic.inverse(expected["syn.flow_l_reverse"], mask, style), expected["syn.flow_reverse"]
    )
    round_trip = model.flow_acoustic(expected["syn.flow_reverse"], mask, style)
    check(round_trip, expected["syn.flow_forward_of_reverse"])


def test_source_and_generator(model, expected):
    style, z = expected["syn.style"][..., 0], expected["syn.flow_reverse"]
    features, log_f0 = model.source(z, style)
    check(features, expected["syn.sn.feat"])
    check(log_f0, expected["syn.sn.f0"])
    check(model.generator(z, features, style), expected["syn.audio"])


def test_infer(model, inputs, expected):
    mel, semantic, log_f0 = inputs
    style = model.style_encoder(mel)
    infer = partial(model.infer, semantic, log_f0, noise_scale=0.0)
    check(infer(style), expected["syn.voice_conversion_noise0"], CHAIN)
    check(infer(style, unconditional=True), expected["syn.voice_conversion_uncond"], CHAIN)
    pair = model.style_encoder(torch.cat((mel, mel.flip(-1))))
    mixed = 0.7 * pair[:1] + 0.3 * pair[1:]
    check(infer(mixed), expected["syn.voice_conversion_noise_control_ratio0.3"], CHAIN)


def test_posterior_and_prosody_decoder(model, expected):
    style = expected["syn.style"][..., 0]
    spec, wav = 0.2 * rnd(4, [1, 641, FRAMES]).abs(), 0.1 * rnd(5, [1, 1, 320 * FRAMES])
    for frame_mask in (None, torch.ones(1, FRAMES, dtype=torch.bool)):
        latent = model.encode_posterior(spec, wav, style, frame_mask)
        check(latent.mean, expected["syn.enc_q.m"])
        check(latent.log_std, expected["syn.enc_q.logs"])
    mask = torch.ones(1, 1, FRAMES, dtype=torch.bool)
    check(model.prosody_decoder(expected["syn.enc_q.m"], mask, style), expected["syn.mel_decoder"])


def test_published_padding_behaviour(model, inputs, expected):
    """With `official_padding` the leaks of the published code (quirks Q4 and Q5) are reproduced; without it not."""
    mel, semantic, log_f0 = inputs
    style = expected["syn.style"][..., 0]
    style = torch.cat((style, 0.5 * style))
    mask = lengths_to_mask(torch.tensor([24, 16]))[:, None]
    mean = expected["syn.masked.enc_p_l.m"]
    style_mask = lengths_to_mask(torch.tensor([40, 30]))
    parts = (model.semantic_prior, model.flow_semantic)
    try:
        for part in parts:
            part.official_padding = True
        latent = model.semantic_prior(
            torch.cat((semantic, 0.7 * semantic)), log_f0.expand(2, -1, -1), mask, style
        )
        check(latent.mean, mean)
        check(model.flow_semantic(mean, mask, style), expected["syn.masked.flow_l_forward"])
        check(model.flow_semantic.inverse(mean, mask, style), expected["syn.masked.flow_l_reverse"])
        repeated = mel.expand(2, -1, -1)
        check(model.style_encoder(repeated, style_mask, official_padding=True), expected["syn.masked.style"])
        check(model.prosody_decoder(mean, mask, style), expected["syn.masked.mel_decoder"])
    finally:
        for part in parts:
            part.official_padding = False
    ours = model.flow_semantic(mean, mask, style)
    check(ours[:1], expected["syn.masked.flow_l_forward"][:1])
    assert relative_error(ours, expected["syn.masked.flow_l_forward"]) > 1e-3
    assert relative_error(model.style_encoder(repeated, style_mask), expected["syn.masked.style"]) > 1e-3
