"""The text-to-vec model with tiny sizes: shapes, independence of padding, training path, round trip to disk."""

import pytest
import torch

from speech.config import build, load_yaml
from speech.masks import lengths_to_mask
from speech.modules.gaussian import DiagonalGaussian
from speech.modules.weight_norm import building_without_weight_norm
from ttv import TTV, TTVConfig
from ttv.model import log_likelihood


def tiny_config() -> TTVConfig:
    return build(TTVConfig, load_yaml("configs/tiny/ttv.yaml")["model"])


@pytest.fixture
def model() -> TTV:
    """A model whose zero-initialised parts (flow, splines) do something, and whose durations are a few frames."""
    torch.manual_seed(0)
    model = TTV(tiny_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.1)
        model.duration_predictor.flow.mean.fill_(-1.0)  # of log durations, negated
    return model


def text(batch: int, n_ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random phoneme ids [B, S] and styles [B, C]."""
    torch.manual_seed(1)
    return torch.randint(0, 178, (batch, n_ids)), torch.randn(batch, 8)


@pytest.mark.parametrize("batch, n_ids", [(1, 7), (3, 12), (2, 1)])
def test_infer_shapes(model, batch, n_ids):
    ids, style = text(batch, n_ids)
    out = model.infer(ids, style)
    n_frames = int(out.durations.sum(1).max())
    assert out.durations.shape == (batch, n_ids) and out.durations.dtype == torch.int64
    assert out.semantic.shape == (batch, 12, n_frames)
    assert out.log_f0.shape == (batch, 1, 4 * n_frames)
    assert out.frame_mask.shape == (batch, n_frames) and out.frame_mask.dtype == torch.bool
    assert out.frame_mask.sum(1).tolist() == out.durations.sum(1).tolist()
    assert not out.semantic.requires_grad


@pytest.mark.parametrize("lengths", [(5, 12), (9, 3)])
def test_a_padded_batch_equals_each_text_alone(model, lengths):
    ids, style = text(2, max(lengths))
    together = model.infer(
        ids, style, lengths_to_mask(torch.tensor(lengths)), noise_scale=0, duration_noise_scale=0
    )
    for item, length in enumerate(lengths):
        alone = model.infer(
            ids[item : item + 1, :length], style[item : item + 1], noise_scale=0, duration_noise_scale=0
        )
        n = alone.frame_mask.shape[1]
        assert together.durations[item, :length].tolist() == alone.durations[0].tolist()
        assert together.frame_mask[item].sum() == n
        torch.testing.assert_close(together.semantic[item, :, :n], alone.semantic[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.log_f0[item, :, : 4 * n], alone.log_f0[0], rtol=1e-4, atol=1e-5)
        assert together.semantic[item, :, n:].abs().sum() == 0
        assert together.log_f0[item, :, 4 * n :].abs().sum() == 0


def test_options_of_infer(model):
    ids, style = text(1, 9)

    def run(seed=0, **options):
        return model.infer(ids, style, generator=torch.Generator().manual_seed(seed), **options)

    assert torch.equal(run().semantic, run().semantic)
    assert not torch.equal(run(noise_scale=0.5).semantic, run(noise_scale=0.1).semantic)
    assert torch.equal(run(pitch=torch.zeros(1, 2)).semantic, run().semantic)
    steady = {"duration_noise_scale": 0, "noise_scale": 0}
    assert torch.equal(run(0, **steady).semantic, run(1, **steady).semantic)
    assert run(0, **steady, length_scale=3.0).durations.sum() > 1.5 * run(0, **steady).durations.sum()
    with pytest.raises(ValueError, match="length_scale must be positive, got 0"):
        run(length_scale=0)
    with pytest.raises(ValueError, match=r"style has shape \[2, 8\], expected \[1, 8\]"):
        model.infer(ids, torch.randn(2, 8))


def training_batch(text_lengths=(4, 7), frame_lengths=(15, 23), seed=2):
    """Arguments of `forward`."""
    generator = torch.Generator().manual_seed(seed)
    text_mask, frame_mask = (lengths_to_mask(torch.tensor(v)) for v in (text_lengths, frame_lengths))
    ids = torch.randint(0, 178, text_mask.shape, generator=generator) * text_mask
    semantic = torch.randn(len(ids), 12, frame_mask.shape[1], generator=generator) * frame_mask[:, None]
    mel = torch.randn(len(ids), 20, frame_mask.shape[1], generator=generator)
    return ids, text_mask, semantic, frame_mask, mel, torch.zeros(len(ids), dtype=torch.long), 6


@pytest.mark.parametrize(
    "text_lengths, frame_lengths", [((4, 7), (15, 23)), ((1,), (5,)), ((3, 3, 2), (9, 8, 2))]
)
def test_forward_shapes_and_gradients(model, text_lengths, frame_lengths):
    model.train()
    batch, s, n = len(text_lengths), max(text_lengths), max(frame_lengths)
    out = model(*training_batch(text_lengths, frame_lengths))
    assert out.semantic.shape == (batch, 12, n)
    assert out.log_f0.shape == (batch, 1, 24)
    assert out.ctc_logits.shape == (batch, 178, n)
    assert out.duration_nll.shape == (batch,)
    assert out.durations.shape == (batch, s)
    assert out.durations.sum(1).tolist() == list(frame_lengths)
    latents = (out.z_prior, out.posterior.mean, out.posterior.log_std, out.prior.mean, out.prior.log_std)
    assert {tuple(latent.shape) for latent in latents} == {(batch, 16, n)}
    total = (
        sum(x.square().sum() for x in (out.semantic, out.log_f0, out.ctc_logits, *latents))
        + out.duration_nll.sum()
    )
    total.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_forward_ignores_padding(model):
    """Each item of a padded batch has the latents it has alone."""
    ids, text_mask, semantic, frame_mask, mel, start, length = training_batch()
    noise = torch.randn(2, 16, 23)
    sample = DiagonalGaussian.sample
    try:
        DiagonalGaussian.sample = lambda self, mask: (
            (self.mean + noise[: len(mask), :, : mask.shape[2]]) * mask
        )
        with torch.no_grad():
            together = model(ids, text_mask, semantic, frame_mask, mel, start, length)
            alone = model(
                ids[:1, :4], text_mask[:1, :4], semantic[:1, :, :15], frame_mask[:1, :15], mel[:1, :, :15],
                start[:1], length,
            )  # fmt: skip
    finally:
        DiagonalGaussian.sample = sample
    assert together.durations[0, :4].tolist() == alone.durations[0].tolist()
    for name in ("semantic", "ctc_logits", "z_prior"):
        padded = getattr(together, name)[:1]
        torch.testing.assert_close(padded[..., :15], getattr(alone, name), rtol=1e-4, atol=1e-5)
        assert padded[..., 15:].abs().sum() == 0


def test_log_likelihood_is_a_sum_of_normal_densities():
    torch.manual_seed(0)
    z, prior = torch.randn(2, 5, 7), DiagonalGaussian(torch.randn(2, 5, 3), 0.3 * torch.randn(2, 5, 3))
    ll = log_likelihood(z, prior)
    normal = torch.distributions.Normal(prior.mean.unsqueeze(3), prior.log_std.exp().unsqueeze(3))
    torch.testing.assert_close(ll, normal.log_prob(z.unsqueeze(2)).sum(1), rtol=1e-5, atol=1e-4)
    assert ll.shape == (2, 3, 7)


def test_save_and_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = TTV.from_pretrained(tmp_path)
    assert loaded.config == model.config
    ids, style = text(2, 6)
    ours, theirs = (m.infer(ids, style, noise_scale=0, duration_noise_scale=0) for m in (model, loaded))
    torch.testing.assert_close(theirs.semantic, ours.semantic, rtol=1e-5, atol=1e-6)


def test_default_size():
    """The published model has 108,542,704 parameters, 52,224 of which are the magnitudes of weight norm."""
    with torch.device("meta"), building_without_weight_norm():
        model = TTV(TTVConfig())
    assert sum(p.numel() for p in model.parameters()) == 108_542_704 - 52_224


def test_config_is_checked():
    with pytest.raises(ValueError, match="differs from audio.n_mels"):
        build(TTVConfig, {"audio": {"n_mels": 40}})
    with pytest.raises(ValueError, match=r"must multiply to 4, got \[2, 3\]"):
        build(TTVConfig, {"pitch": {"upsample_rates": [2, 3]}})
