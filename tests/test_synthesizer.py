"""The synthesizer and its parts on a tiny configuration: documented shapes, padding, gradients, saving."""

import pytest
import torch

from hierspeech.synthesizer import HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.encoders import SemanticEncoderConfig
from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.model import FlowConfig
from hierspeech.synthesizer.posterior import PosteriorConfig
from hierspeech.synthesizer.prosody import ProsodyConfig
from hierspeech.synthesizer.source import SourceConfig
from speech.config import build
from speech.masks import lengths_to_mask
from speech.modules.style import StyleEncoderConfig
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig

DIM, LATENT, STYLE = 12, 8, 6


def tiny(**changes) -> HierSpeechConfig:
    values = dict(
        audio=AudioConfig(n_fft=64, win_length=64, hop_length=320, n_mels=10),
        semantic=SemanticSpec(dim=DIM),
        style=StyleEncoderConfig(n_mels=10, hidden=8, out=STYLE),
        latent=LATENT,
        encoder=SemanticEncoderConfig(hidden=8, n_layers=2),
        posterior=PosteriorConfig(hidden=8, n_layers=2, wave_channels=[2, 3, 4, 5, 6], kernel_sizes=[3, 5]),
        flow=FlowConfig(n_flows=2, n_blocks=1),
        prosody=ProsodyConfig(n_mels=5, hidden=8, filter_channels=16, n_layers=1),
        source=SourceConfig(hidden=16, kernel_sizes=[3, 5]),
        amp=AMPGeneratorConfig(hidden=64, kernel_sizes=[3, 5], dilations=[1, 3]),
    )
    return HierSpeechConfig(**(values | changes))


@pytest.fixture(scope="module")
def model():
    """A tiny model in which no weight is zero, so that the gates of the flows are open and biases leak."""
    torch.manual_seed(0)
    model = HierSpeech(tiny()).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def inputs(batch: int, frames: int):
    generator = torch.Generator().manual_seed(frames)
    semantic = torch.randn(batch, DIM, frames, generator=generator)
    log_f0 = 5 + 0.3 * torch.randn(batch, 1, 4 * frames, generator=generator)
    style = torch.randn(batch, STYLE, generator=generator)
    return semantic, log_f0, style


@pytest.mark.parametrize(("batch", "frames"), [(1, 7), (3, 12)])
def test_documented_shapes(model, batch, frames):
    semantic, log_f0, style = inputs(batch, frames)
    frame_mask = torch.ones(batch, frames, dtype=torch.bool)
    mel = torch.randn(batch, 10, frames)
    assert model.style_encoder(mel).shape == (batch, STYLE)
    assert model.style_encoder(mel, frame_mask).shape == (batch, STYLE)
    for encode in (model.encode_prior, model.encode_semantic_posterior):
        latent = encode(semantic, log_f0, style, frame_mask)
        assert latent.mean.shape == latent.log_std.shape == (batch, LATENT, frames)
    spec, wav = torch.rand(batch, 33, frames), torch.randn(batch, 1, 320 * frames)
    latent = model.encode_posterior(spec, wav, style, frame_mask)
    z = latent.sample()
    assert z.shape == latent.log_std.shape == (batch, LATENT, frames)
    assert model.prosody_decoder(z, frame_mask[:, None], style).shape == (batch, 5, frames)
    features, log_f0_hat = model.source(z, style)
    assert features.shape == (batch, model.source.out_channels, 4 * frames)
    assert log_f0_hat.shape == (batch, 1, 4 * frames)
    wav, log_f0_hat = model.decode(z, style, log_f0)
    assert wav.shape == (batch, 1, 320 * frames) and log_f0_hat.shape == (batch, 1, 4 * frames)
    assert model.unconditional_style(batch).shape == (batch, STYLE)
    wav = model.infer(semantic, log_f0, style)
    assert wav.shape == (batch, 1, 320 * frames)
    assert wav.isfinite().all() and wav.abs().max() <= 1


@pytest.mark.parametrize("unconditional", [False, True])
def test_infer_of_padded_batch_equals_each_alone(model, unconditional):
    """Whatever is written into the padding: the valid part of each row is that of the row alone, the rest is zero."""
    lengths = [11, 4, 1]
    semantic, log_f0, style = inputs(3, 11)
    options = {"noise_scale": 0.0, "unconditional": unconditional}
    wav = model.infer(semantic, log_f0, style, lengths_to_mask(torch.tensor(lengths)), **options)
    for i, n in enumerate(lengths):
        row = slice(i, i + 1)
        alone = model.infer(semantic[row, :, :n], log_f0[row, :, : 4 * n], style[row], **options)
        assert (wav[row, :, : 320 * n] - alone).abs().max() < 2e-5 * alone.abs().max()
        assert not wav[row, :, 320 * n :].any()


@torch.no_grad()
def test_parts_on_padded_batch_equal_each_alone(model):
    lengths = [9, 5]
    semantic, log_f0, style = inputs(2, 9)
    mel, z = torch.randn(2, 10, 9), torch.randn(2, LATENT, 9)
    spec, wav = torch.rand(2, 33, 9), torch.randn(2, 1, 9 * 320)
    mask = lengths_to_mask(torch.tensor(lengths))
    flow = model.flow_semantic

    def results(rows, n, mask):
        frames = torch.ones(1, n, dtype=torch.bool) if mask is None else mask
        latent = model.encode_prior(semantic[rows, :, :n], log_f0[rows, :, : 4 * n], style[rows], mask)
        posterior = model.encode_posterior(spec[rows, :, :n], wav[rows, :, : 320 * n], style[rows], mask)
        return {
            "style": model.style_encoder(mel[rows, :, :n], mask)[..., None],
            "prior mean": latent.mean,
            "prior log_std": latent.log_std,
            "posterior mean": posterior.mean,
            "flow": flow(z[rows, :, :n], frames[:, None], style[rows]),
            "flow inverse": flow.inverse(z[rows, :, :n], frames[:, None], style[rows]),
            "prosody": model.prosody_decoder(z[rows, :, :n], frames[:, None], style[rows]),
        }

    together = results(slice(0, 2), 9, mask)
    for i, n in enumerate(lengths):
        for name, alone in results(slice(i, i + 1), n, None).items():
            ours = together[name][i : i + 1, :, : alone.shape[-1]]
            assert torch.allclose(ours, alone, rtol=1e-4, atol=1e-5), name
            assert not together[name][i, :, alone.shape[-1] :].any() or name == "style"


def test_noise_comes_from_the_given_generator(model):
    semantic, log_f0, style = inputs(1, 5)
    first, second = (
        model.infer(semantic, log_f0, style, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    other = model.infer(semantic, log_f0, style, generator=torch.Generator().manual_seed(4))
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, model.infer(semantic, log_f0, style, noise_scale=0.0))


def test_every_parameter_is_trained():
    torch.manual_seed(0)
    model = HierSpeech(tiny()).train()
    semantic, log_f0, style = inputs(2, 6)
    mask = lengths_to_mask(torch.tensor([6, 4]))
    style = model.style_encoder(torch.randn(2, 10, 6), mask) + model.unconditional_style(2)
    acoustic = model.encode_posterior(torch.rand(2, 33, 6), torch.randn(2, 1, 1920), style, mask)
    latents = [model.encode_semantic_posterior(semantic, log_f0, style, mask)]
    latents.append(model.encode_prior(semantic, log_f0, style, mask))
    z = acoustic.sample(mask=mask[:, None])
    total = (
        model.flow_acoustic(z, mask[:, None], style).sum()
        + model.flow_semantic(z, mask[:, None], style).sum()
    )
    total = total + model.prosody_decoder(z, mask[:, None], style).square().sum()
    total = total + sum(latent.sample().square().sum() for latent in latents)
    total = total + sum(x.square().sum() for x in model.decode(z, style, log_f0, mask))
    total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_training_parts_may_be_left_out():
    config = tiny(posterior=None, prosody=None, semantic_posterior=False, flow=FlowConfig(n_flows=0))
    model = HierSpeech(config).eval()
    assert model.posterior is model.prosody_decoder is model.semantic_posterior is None
    assert not list(model.flow_semantic.parameters())
    semantic, log_f0, style = inputs(2, 5)
    assert model.infer(semantic, log_f0, style).shape == (2, 1, 1600)


def test_saved_model_is_the_same(tmp_path, model):
    model.save_pretrained(tmp_path / "model")
    loaded = HierSpeech.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    semantic, log_f0, style = inputs(1, 5)
    ours = loaded.infer(semantic, log_f0, style, noise_scale=0.0)
    assert torch.allclose(ours, model.infer(semantic, log_f0, style, noise_scale=0.0), atol=1e-5)
    assert not any("parametrizations" in name for name in loaded.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amp": None}, "exactly one of the generators"),
        ({"source": None}, "needs one of source and harmonic"),
        ({"style": StyleEncoderConfig(n_mels=11)}, "n_mels 11 must equal audio.n_mels 10"),
        ({"semantic": SemanticSpec(rate_hz=25)}, "rate_hz 25 must equal"),
        ({"amp": AMPGeneratorConfig(hidden=64, upsample_rates=[4, 5, 4, 2, 4])}, "multiply to 640"),
        ({"posterior": PosteriorConfig(down_strides=[8, 5, 4, 1])}, "multiply to 160"),
    ],
)
def test_contradicting_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        HierSpeech(tiny(**changes))


def test_mismatched_inputs_are_refused(model):
    semantic, log_f0, style = inputs(1, 5)
    with pytest.raises(ValueError, match="do not fit"):
        model.infer(semantic, log_f0[..., :-1], style)
    with pytest.raises(ValueError, match="expected 320 a frame"):
        model.encode_posterior(torch.rand(1, 33, 5), torch.randn(1, 1, 1599), style)


def test_config_from_plain_values():
    values = {"latent": 16, "posterior": None, "amp": {"hidden": 256}}
    config = build(HierSpeechConfig, values)
    assert config.latent == 16 and config.posterior is None and config.amp.hidden == 256
    with pytest.raises(ValueError, match="unknown keys"):
        build(HierSpeechConfig, {"gin_channels": 256})
