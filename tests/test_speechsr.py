"""SpeechSR: documented shapes, and its arithmetic against the formula written out once more."""

import pytest
import torch
from torch.nn import functional as F

from speechsr import SpeechSR, SpeechSRConfig


@pytest.mark.parametrize("scale", [1.5, 3.0])
@pytest.mark.parametrize(("batch", "samples"), [(1, 161), (2, 100)])
def test_documented_shapes(scale, batch, samples):
    model = SpeechSR(SpeechSRConfig(scale=scale, channels=4))
    wav = model.infer(torch.randn(batch, 1, samples))
    assert wav.shape == (batch, 1, int(samples * scale))
    assert wav.abs().max() <= 1
    assert model.output_rate == 16000 * scale


def test_size_of_the_published_model():
    assert sum(p.numel() for p in SpeechSR(SpeechSRConfig()).parameters()) == 131_904


def test_interpolation_is_linear_and_driven_by_the_size():
    """With blocks that pass everything through, the output is a plain resampling of conv_pre's output."""
    torch.manual_seed(0)
    model = SpeechSR(SpeechSRConfig(scale=1.5, channels=4))
    model.stage.forward = model.activation_post.forward = lambda x, mask: x
    wav = 0.1 * torch.randn(1, 1, 7)
    features = F.conv1d(F.pad(wav, (3, 3)), model.conv_pre.weight, model.conv_pre.bias)[0]  # [4, 7]
    position = (torch.arange(10) + 0.5) * 7 / 10 - 0.5
    position = position.clamp(0, 6)
    low = position.floor().long().clamp(max=5)
    x = features[:, low] + (position - low) * (features[:, low + 1] - features[:, low])
    expected = torch.tanh(F.conv1d(F.pad(x[None], (3, 3)), model.conv_post.weight))
    assert torch.allclose(model(wav), expected, atol=1e-6)


def test_wrong_input_is_refused():
    model = SpeechSR(SpeechSRConfig(channels=4))
    for shape in ((1, 100), (1, 2, 100), (1, 1, 0)):
        with pytest.raises(ValueError, match="expected wav of shape"):
            model.infer(torch.zeros(shape))
    with pytest.raises(ValueError, match="whole output rate"):
        SpeechSRConfig(scale=1.00001)
