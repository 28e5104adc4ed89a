"""Relative attention against a loop over the published formula, and its behaviour under padding."""

import math

import pytest
import torch

from speech.modules.attention import ChannelLayerNorm, RelativeAttention, TransformerEncoder


def loop_attention(module: RelativeAttention, x: torch.Tensor, valid: int) -> torch.Tensor:
    """The formula position by position, for one item of which the first `valid` positions count."""
    heads, window = module.heads, module.window
    channels = x.shape[1]
    dim = channels // heads
    q, k, v = (conv(x)[0] for conv in (module.conv_q, module.conv_k, module.conv_v))
    out = torch.zeros_like(q)
    for head in range(heads):
        block = slice(head * dim, (head + 1) * dim)
        for i in range(valid):
            scores, values = [], []
            for j in range(valid):
                near = window is not None and abs(j - i) <= window
                key = k[block, j] + (module.emb_rel_k[j - i + window] if near else 0)
                scores.append(q[block, i] @ key / math.sqrt(dim))
                values.append(v[block, j] + (module.emb_rel_v[j - i + window] if near else 0))
            weights = torch.stack(scores).softmax(0)
            out[block, i] = (weights[:, None] * torch.stack(values)).sum(0)
    return module.conv_o(out[None])


@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.parametrize("valid", [1, 3, 11])
@torch.no_grad()
def test_attention_equals_the_formula(window, valid):
    torch.manual_seed(0)
    module = RelativeAttention(8, 2, window).eval()
    x = torch.randn(1, 8, 11)
    mask = (torch.arange(11) < valid)[None, None]
    out = module(x, mask)
    torch.testing.assert_close(
        out[..., :valid], loop_attention(module, x, valid)[..., :valid], rtol=1e-5, atol=1e-6
    )


@torch.no_grad()
def test_no_mask_equals_a_full_mask():
    module = RelativeAttention(8, 2, 4).eval()
    x = torch.randn(2, 8, 5)
    assert torch.equal(module(x), module(x, torch.ones(2, 1, 5, dtype=torch.bool)))


@pytest.mark.parametrize("kernel_size", [3, 4, 9])
@torch.no_grad()
def test_padding_changes_nothing(kernel_size):
    torch.manual_seed(0)
    encoder = TransformerEncoder(8, 16, 2, 2, kernel_size, dropout=0.1).eval()
    short, long = torch.randn(1, 8, 7), torch.randn(1, 8, 13)
    batch = torch.cat([torch.cat([short, torch.randn(1, 8, 6)], dim=2), long])
    mask = torch.arange(13)[None, None] < torch.tensor([7, 13])[:, None, None]
    out = encoder(batch, mask)
    assert out.shape == (2, 8, 13)
    assert out[0, :, 7:].abs().max() == 0
    ones = torch.ones(1, 1, 13, dtype=torch.bool)
    torch.testing.assert_close(out[:1, :, :7], encoder(short, ones[..., :7]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out[1:], encoder(long, ones), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_channel_norm_normalises_channels():
    x = 5 + 3 * torch.randn(2, 64, 3)
    out = ChannelLayerNorm(64)(x)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(1, unbiased=False), torch.ones(2, 3), rtol=1e-3, atol=1e-3)


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match="multiple of heads"):
        RelativeAttention(10, 4)
