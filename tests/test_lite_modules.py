"""The parts of the shipped voice: shapes, padding, and the signal facts they promise."""

import math

import pytest
import torch

from hierspeech.synthesizer.harmonic import HarmonicSource, HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGenerator, ISTFTGeneratorConfig
from speech.masks import lengths_to_mask
from speech.modules.convnext import ConvNeXtBlock
from speech.modules.style_pooling import StylePooling, StylePoolingConfig
from speech.perturbation import PerturbationConfig, perturb_mel
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig
from speech.spectrogram import AudioConfig
from speech.text.phones import PhoneTokenizer
from ttv.aligned import AlignedTTV, AlignedTTVConfig


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def generator(**values):
    config = ISTFTGeneratorConfig(**({"width": 16, "layers": 2} | values))
    return ISTFTGenerator(config, latent=8, style_channels=6, source_channels=4, audio=AudioConfig()).eval()


def test_convnext_does_not_see_padding():
    block = ConvNeXtBlock(8, style_channels=4).eval()
    x, style = torch.randn(2, 8, 20), torch.randn(2, 4)
    mask = lengths_to_mask(torch.tensor([20, 13]))[:, None].float()
    together = block(x, mask, style)
    alone = block(x[1:, :, :13], None, style[1:])
    torch.testing.assert_close(together[1:, :, :13], alone)
    assert (together[1, :, 13:] == 0).all()


def test_style_pooling_does_not_see_padding():
    model = StylePooling(StylePoolingConfig(n_mels=10, width=8, layers=2, out=6)).eval()
    mel = torch.randn(2, 10, 30)
    together = model(mel, lengths_to_mask(torch.tensor([30, 17])))
    assert together.shape == (2, 6)
    torch.testing.assert_close(together[1:], model(mel[1:, :, :17]), rtol=1e-4, atol=1e-5)


def test_overlap_add_inverts_the_sources_spectrum():
    """A spectrum taken the way the source takes it comes back as the wave, up to the ends of the signal."""
    model = generator()
    config = model.config
    wav = torch.randn(1, 320 * 12)
    pad = (config.n_fft - config.hop_length) // 2
    frames = torch.nn.functional.pad(wav, (pad, pad)).unfold(-1, config.n_fft, config.hop_length)
    spec = torch.fft.rfft(frames * model.window, dim=-1).transpose(1, 2)  # [1, F, K]
    torch.testing.assert_close(model.overlap_add(spec), wav, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("batch", "frames"), [(1, 7), (3, 12)])
def test_generator_shapes(batch, frames):
    wav = generator()(torch.randn(batch, 8, frames), torch.randn(batch, 4, 2 * frames), torch.randn(batch, 6))
    assert wav.shape == (batch, 1, 320 * frames) and wav.isfinite().all()


def test_a_batch_of_two_lengths_equals_each_alone():
    model = generator()
    source = HarmonicSource(HarmonicSourceConfig(channels=4), 8, 6, AudioConfig()).eval()
    z, style = torch.randn(2, 8, 15), torch.randn(2, 6)
    log_f0 = torch.full((2, 1, 60), math.log(150.0))
    log_f0[:, :, 20:30] = 0
    mask = lengths_to_mask(torch.tensor([15, 9]))
    together = model(z, source(z, style, log_f0, mask)[0], style, mask)
    short = model(z[1:, :, :9], source(z[1:], style[1:], log_f0[1:, :, :36])[0], style[1:])
    torch.testing.assert_close(together[1:, :, : 9 * 320], short, rtol=1e-3, atol=1e-4)
    assert (together[1, :, 9 * 320 :] == 0).all()


def test_the_excitation_has_the_pitch_it_was_given_and_unit_power():
    source = HarmonicSource(HarmonicSourceConfig(noise=0.0), 8, 6, AudioConfig()).eval()
    wav = source.excitation(torch.full((1, 1, 400), math.log(200.0 + 1)))[0]
    spectrum = torch.fft.rfft(wav * torch.hann_window(len(wav))).abs()
    hz = torch.arange(len(spectrum)) * 16000 / len(wav)
    for harmonic in (1, 5, 20, 38):
        near = (hz - 200 * harmonic).abs() < 60
        assert hz[near][spectrum[near].argmax()].item() == pytest.approx(200 * harmonic, abs=3)
    assert wav.square().mean().item() == pytest.approx(1.0, rel=0.1)


def test_an_unvoiced_excitation_is_noise_that_repeats_for_equal_input():
    source = HarmonicSource(HarmonicSourceConfig(), 8, 6, AudioConfig()).eval()
    first, again = source.excitation(torch.zeros(1, 1, 100)), source.excitation(torch.zeros(1, 1, 100))
    assert torch.equal(first, again) and 0.2 < first.std() < 0.4
    source.train()
    assert not torch.equal(source.excitation(torch.zeros(1, 1, 100)), first)


def test_perturbation_of_no_strength_changes_nothing_and_a_stretch_moves_bins():
    mel = torch.randn(2, 40, 30)
    still = PerturbationConfig(noise=0.0)
    torch.testing.assert_close(perturb_mel(mel, still, strength=0.0), mel)
    peak = torch.full((64, 40, 5), -5.0)
    peak[:, 20] = 2.0
    moved = perturb_mel(peak, PerturbationConfig(stretch=1.3, level=0, tilt=0, equaliser=0, noise=0)).argmax(
        1
    )
    assert moved.min() >= 15 and moved.max() <= 27 and moved.float().std() > 1
    assert perturb_mel(mel, PerturbationConfig(noise=1.0, masks=2)).isfinite().all()


def test_phonetic_features_of_a_padded_batch_equal_each_alone():
    encoder = PhoneticEncoder(PhoneticEncoderConfig(width=16, layers=2, dim=8)).eval()
    wav = torch.randn(2, 320 * 40) * 0.1
    wav[1, 320 * 21 :] = 0  # what a caller pads with
    together = encoder(wav, torch.tensor([320 * 40, 320 * 21]))
    alone = encoder(wav[1:, : 320 * 21])
    assert together.shape == (2, 8, 40)
    torch.testing.assert_close(together[1:, :, :21], alone, rtol=1e-4, atol=1e-5)
    assert (together[1, :, 21:] == 0).all()


def tiny_ttv(melody=0):
    from speech.semantic.encoder import SemanticSpec

    config = AlignedTTVConfig(
        semantic=SemanticSpec("phonetic", 1, 8, 50), style=StylePoolingConfig(width=16, layers=1, out=6), width=16,
        encoder_layers=1, duration_layers=1, decoder_layers=2, pitch_layers=1, melody_width=melody,
    )  # fmt: skip
    return AlignedTTV(config).eval()


@pytest.mark.parametrize("melody", [0, 4])
def test_aligned_ttv_in_a_batch_equals_each_alone(melody):
    model, ids = tiny_ttv(melody), PhoneTokenizer().encode("ðɪs ɪz ɐ tˈɛst").ids
    short = PhoneTokenizer().encode("hˈaɪ").ids
    batch = torch.zeros(2, len(ids), dtype=torch.long)
    batch[0], batch[1, : len(short)] = torch.tensor(ids), torch.tensor(short)
    mask = lengths_to_mask(torch.tensor([len(ids), len(short)]))
    style, pitch = torch.randn(2, 6), torch.tensor([[5.0, 0.2], [4.7, 0.1]])
    together = model.infer(batch, style, mask, pitch=pitch)
    alone = model.infer(torch.tensor([short]), style[1:], pitch=pitch[1:])
    frames = alone.semantic.shape[-1]
    assert int(together.frame_mask[1].sum()) == frames == int(alone.durations.sum())
    torch.testing.assert_close(together.semantic[1:, :, :frames], alone.semantic, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.log_f0[1:, :, : 4 * frames], alone.log_f0, rtol=1e-4, atol=1e-4)
    assert together.log_f0.shape == (2, 1, 4 * together.semantic.shape[-1])


def test_length_scale_makes_speech_longer_and_pitch_follows_the_prompt():
    model, ids = tiny_ttv(), torch.tensor([PhoneTokenizer().encode("ðɪs ɪz ɐ lˈɔŋɡɚ sˈɛntəns").ids])
    style = torch.randn(1, 6)
    with torch.no_grad():
        model.pitch_head.bias[4:] = 5.0  # voiced everywhere
    low, high = (model.infer(ids, style, pitch=torch.tensor([[math.log(hz), 0.0]])) for hz in (100, 200))
    assert torch.expm1(low.log_f0[low.log_f0 > 0]).mean().item() == pytest.approx(100, rel=1e-3)
    assert torch.expm1(high.log_f0[high.log_f0 > 0]).mean().item() == pytest.approx(200, rel=1e-3)
    slow = model.infer(ids, style, length_scale=2.0, pitch=torch.tensor([[5.0, 0.1]]))
    assert slow.semantic.shape[-1] == pytest.approx(2 * low.semantic.shape[-1], abs=2)
    with pytest.raises(ValueError, match="pitch"):
        model.infer(ids, style)


def test_training_and_inference_paths_agree_on_known_durations():
    """With the durations that inference chooses, here three frames a token, the training path gives its features."""
    model, ids = tiny_ttv(), torch.tensor([PhoneTokenizer().encode("sˈɪks").ids])
    with torch.no_grad():
        model.duration_head.weight.zero_()
        model.duration_head.bias.fill_(math.log(1 + 3.0))
        model.pitch_head.bias[4:] = 5.0  # voiced everywhere
    prompt, mask = torch.randn(1, 80, 50), torch.ones(1, 50, dtype=torch.bool)
    out = model.infer(ids, model.style_encoder(prompt, mask), pitch=torch.tensor([[5.0, 0.2]]))
    assert out.durations.tolist() == [[3] * ids.shape[1]]
    with torch.no_grad():
        ends = out.durations.float().cumsum(1)
        trained = model(ids, torch.ones_like(ids, dtype=torch.bool), ends, out.frame_mask, prompt, mask)
    torch.testing.assert_close(trained.semantic, out.semantic, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(trained.log_durations.expm1(), out.durations.float(), rtol=1e-4, atol=1e-4)
    contour = (torch.expm1(out.log_f0[:, 0]).log() - 5.0) / 0.2
    torch.testing.assert_close(contour, trained.contour, rtol=1e-3, atol=1e-3)
    assert (trained.voiced > 0).all()
