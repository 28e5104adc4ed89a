"""Convolutions in place of STFT and inverse STFT give what the modules themselves give (no ONNX needed)."""

import copy

import pytest
import torch
from tiny_voice import AUDIO, DENOISER

from denoiser.model import Denoiser
from hierspeech.export.spectra import replace_spectra
from hierspeech.synthesizer.harmonic import HarmonicSource, HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGenerator, ISTFTGeneratorConfig
from speech.spectrogram import AudioConfig, LinearSpectrogram, MelSpectrogram
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig


def both(module):
    torch.manual_seed(1)
    module = module.eval()
    replaced = replace_spectra(copy.deepcopy(module))
    kinds = [type(part).__name__ for part in replaced.modules()]
    assert any(kind.startswith("_") for kind in kinds), "nothing was replaced"
    return module, replaced


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("config", [AudioConfig(), AudioConfig(n_fft=512, win_length=400, hop_length=160)])
def test_spectrogram(config, power):
    module, replaced = both(LinearSpectrogram(config, power))
    wav = 0.1 * torch.randn(2, 7001)
    close(replaced(wav), module(wav), 1e-4)


def test_mel_spectrogram_replaces_what_is_inside_it():
    module, replaced = both(MelSpectrogram(AUDIO))
    wav = 0.1 * torch.randn(1, 5000)
    close(replaced(wav), module(wav))


@torch.no_grad()
def test_harmonic_source_with_a_mask():
    module, replaced = both(HarmonicSource(HarmonicSourceConfig(channels=8), 4, 6, AUDIO))
    log_f0 = torch.log1p(torch.rand(2, 1, 40) * 100 + 90)
    log_f0[:, :, 12:20] = 0.0
    mask = torch.arange(10) < torch.tensor([[10], [7]])
    close(replaced(None, None, log_f0, mask)[0], module(None, None, log_f0, mask)[0])


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_generator(masked):
    config = ISTFTGeneratorConfig(width=16, layers=1)
    module, replaced = both(ISTFTGenerator(config, 8, 6, 4, AUDIO))
    z, source, style = torch.randn(2, 8, 9), torch.randn(2, 4, 18), torch.randn(2, 6)
    mask = torch.arange(9) < torch.tensor([[9], [6]]) if masked else None
    close(replaced(z, source, style, mask), module(z, source, style, mask))


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.5, 3.0])
@pytest.mark.parametrize("samples", [1, 159, 160, 3333])
def test_super_resolution_of_any_length(scale, samples):
    module, replaced = both(ISTFTSpeechSR(ISTFTSpeechSRConfig(scale=scale, width=16, layers=1)))
    wav = 0.1 * torch.randn(2, 1, samples)
    expected = module(wav)
    close(replaced(wav), expected)
    assert expected.shape[-1] == int(samples * scale)


@torch.no_grad()
def test_denoiser_where_phases_are_known():
    module, replaced = both(Denoiser(DENOISER))
    # The first frame is mirrored at its middle, so the sign of its phases is rounding: it is silent here.
    wav = torch.cat([torch.zeros(1, 400), torch.randn(1, 5000), torch.zeros(1, 400)], 1)
    magnitude, phase = module.analyse(wav)
    close(replaced.analyse(wav)[0], magnitude, 1e-4)
    turned = (replaced.analyse(wav)[1] - phase)[magnitude > 0.1]
    assert turned.abs().max() < 1e-3
    close(replaced.synthesise(magnitude, phase, 5800), module.synthesise(magnitude, phase, 5800), 1e-4)
