"""Shared modules of the waveform models: weight norm, flow, alias-free activation, discriminators."""

import pytest
import torch
from torch import nn

from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator, config_48k
from speech.modules.flow import TransformerFlow
from speech.modules.gaussian import DiagonalGaussian
from speech.modules.resblocks import AMPBlock, HiFiGANBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speech.modules.wavenet import WaveNet
from speech.modules.weight_norm import building_without_weight_norm, fold_weight_norm, weight_norm


def test_folding_weight_norm_keeps_the_function():
    torch.manual_seed(0)
    model = nn.Sequential(weight_norm(nn.Conv1d(3, 4, 5)), weight_norm(nn.ConvTranspose1d(4, 2, 4)))
    assert model[1].parametrizations.weight.original0.shape == (4, 1, 1)
    x = torch.randn(2, 3, 9)
    before = model(x)
    assert torch.allclose(fold_weight_norm(model)(x), before, atol=1e-6)
    assert sorted(model.state_dict()) == ["0.bias", "0.weight", "1.bias", "1.weight"]


def test_building_without_weight_norm():
    with building_without_weight_norm():
        plain = WaveNet(4, 3, 2)
    assert {name.rsplit(".", 1)[-1] for name in plain.state_dict()} == {"weight", "bias"}
    assert any("original0" in name for name in WaveNet(4, 3, 2).state_dict())


def test_wavenet_with_and_without_style():
    torch.manual_seed(0)
    x, style = torch.randn(2, 4, 7), torch.randn(2, 3, 1)
    assert WaveNet(4, 3, 2)(x).shape == (2, 4, 7)
    net = WaveNet(4, 3, 2, style_channels=3)
    assert not torch.allclose(net(x, style=style), net(x, style=-style))
    with pytest.raises(ValueError, match="style is missing"):
        net(x)


def test_new_flow_only_flips_and_every_flow_is_inverted():
    torch.manual_seed(0)
    flow = TransformerFlow(6, 5, heads=2, n_flows=3, n_blocks=2).eval()
    x, style, mask = torch.randn(2, 6, 9), torch.randn(2, 5), torch.ones(2, 1, 9, dtype=torch.bool)
    assert torch.equal(flow(x, mask, style), x.flip(1))  # an odd number of flips
    for parameter in flow.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    y = flow(x, mask, style)
    assert not torch.allclose(y, x.flip(1), atol=0.1)
    assert torch.allclose(flow.inverse(y, mask, style), x, atol=1e-4)
    assert torch.equal(TransformerFlow(6, 5, heads=2, n_flows=0)(x, mask, style), x)
    with pytest.raises(ValueError, match="must be even"):
        TransformerFlow(5, 5, heads=1)


@pytest.mark.parametrize("block", [AMPBlock, HiFiGANBlock])
def test_residual_blocks_on_padded_rows(block):
    torch.manual_seed(0)
    blocks = MultiKernelBlock(block, 3, [3, 7], [1, 3])
    x, length = torch.randn(2, 3, 40), 13
    mask = torch.arange(40) < torch.tensor([40, length])[:, None]
    together = blocks(x, mask[:, None])
    assert torch.allclose(together[:1], blocks(x[:1]), atol=1e-6)
    assert torch.allclose(together[1:, :, :length], blocks(x[1:, :, :length]), atol=1e-6)


def test_activation_keeps_its_harmonics_below_nyquist():
    """A tone at 0.35 of the rate: sin^2 makes 0.7, which folds to 0.3 unless it is filtered before sampling."""
    wave = torch.sin(2 * torch.pi * 0.35 * torch.arange(400))[None, None]
    activation = Activation1d(1)
    with torch.no_grad():
        spectra = [torch.fft.rfft(f(wave)[0, 0, 100:300]).abs() for f in (activation, activation.act)]
    aliased = 60  # 0.3 of the rate in 200 samples
    assert spectra[0][aliased] < 0.3 * spectra[1][aliased]


def test_discriminators():
    config = DiscriminatorConfig(stft_sizes=[64, 32], stft_channels=4, periods=[2, 3], period_channels=[3, 4])
    discriminator = WaveDiscriminator(config)
    for batch in (1, 3):
        outputs = discriminator(torch.randn(batch, 1, 301))
        assert [len(output.features) for output in outputs] == [6, 6, 3, 3]
        assert all(output.logits.dim() == 2 and len(output.logits) == batch for output in outputs)
    with pytest.raises(ValueError, match="at least 64 samples, got 63"):
        discriminator(torch.randn(1, 1, 63))
    assert config_48k().stft_sizes[0] == 4096
    with pytest.raises(ValueError, match="at least one"):
        DiscriminatorConfig(stft_sizes=[], periods=[])


def test_gaussian_sample():
    latent = DiagonalGaussian(torch.full((1, 1, 20000), 2.0), torch.full((1, 1, 20000), -1.0))
    z = latent.sample(0.5, generator=torch.Generator().manual_seed(0))
    assert abs(z.mean() - 2) < 0.01 and abs(z.std() - 0.5 / torch.e) < 0.01
    assert torch.equal(latent.sample(0.0), latent.mean)
