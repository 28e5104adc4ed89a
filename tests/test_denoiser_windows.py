"""Windows over long recordings: their memory, their joints, their one gain."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from denoiser import Denoiser, DenoiserConfig, denoise
from denoiser.windows import crossfade, window_starts

CONFIG = DenoiserConfig(channels=8, n_blocks=1, dense_depth=1, conv_kernel=5, heads=2)
WINDOW = {"window_seconds": 0.5, "context_seconds": 0.1, "fade_seconds": 0.05}  # 8000, 1600, 800 samples


class Stub(torch.nn.Module):
    """Stands for a model: applies `change` to each window, and remembers how long they were and with which gain."""

    def __init__(self, change):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.config, self.change, self.lengths, self.gains = CONFIG, change, [], []

    def infer(self, wav, gain):
        self.lengths.append(wav.shape[-1])
        self.gains.append(gain.item())
        return self.change(wav)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Denoiser(CONFIG).eval()


@pytest.mark.parametrize("samples", [1, 399, 7999, 8000])
def test_what_fits_into_a_window_is_cleaned_in_one_piece(model, samples):
    wav = torch.randn(samples)
    assert torch.equal(denoise(model, wav, **WINDOW), model.infer(wav[None])[0])


@pytest.mark.parametrize("samples", [8001, 8099, 8100, 9999, 13600, 13601, 20000, 77777, 160000])
def test_weights_add_up_to_one_everywhere(samples):
    wav = torch.randn(samples)
    assert torch.allclose(denoise(Stub(lambda x: x), wav, **WINDOW), wav, atol=1e-6)


@pytest.mark.parametrize("seconds", [1, 60])
def test_memory_is_that_of_a_window(seconds):
    """Ten minutes at the true size would take minutes; what bounds the memory is the longest piece that the model gets."""
    stub = Stub(lambda x: x)
    denoise(stub, torch.randn(16000 * seconds + 37), **WINDOW)
    assert max(stub.lengths) < 8000 + CONFIG.hop_length
    assert len(stub.lengths) <= 1 + -(-16000 * seconds // (8000 - 4000))


def test_the_network_sees_no_more_than_a_window(model):
    frames = []
    hook = model.register_forward_pre_hook(lambda _, inputs: frames.append(inputs[0].shape[-1]))
    denoise(model, torch.randn(100_000), **WINDOW)
    hook.remove()
    assert len(frames) > 10 and max(frames) <= 8000 // CONFIG.hop_length + 2


@pytest.mark.parametrize("samples", [8200, 15555])
def test_joints_have_heard_what_lies_around_them(samples):
    """A change that reaches as far as the context, and no further, comes out as if there were no windows at all."""
    kernel = torch.rand(1, 1, 2 * 1600 + 1) / 3200

    def smooth(wav):
        return F.conv1d(wav[:, None], kernel, padding=1600)[:, 0]

    wav = torch.randn(samples)
    whole, windowed = smooth(wav[None])[0], denoise(Stub(smooth), wav, **WINDOW)
    assert torch.allclose(windowed, whole, atol=1e-3 * whole.abs().max().item())


def test_the_ends_of_windows_are_not_heard():
    """A model that spoils the first and last tenth of a second of a window: only the recording's own ends have it."""

    def spoil(wav):
        wav = wav.clone()
        wav[:, :1600] = wav[:, -1600:] = 99.0
        return wav

    wav = torch.randn(50_000)
    assert torch.allclose(denoise(Stub(spoil), wav, **WINDOW)[1600:-1600], wav[1600:-1600], atol=1e-6)


def test_fades_are_smooth():
    """Two windows that differ by 1 meet without a step: no neighbours differ by more than the steepest part of a fade."""
    count = iter(range(100))
    out = denoise(Stub(lambda x: torch.full_like(x, next(count))), torch.randn(30_000), **WINDOW)
    assert out[0] == 0 and out[-1] > 3 and (out.diff() >= -1e-6).all() and out.diff().max() < 2 / 800


def test_one_gain_for_the_whole_recording(model):
    """The quiet part is not blown up: it comes out scaled as the loud one is, window by window."""
    wav = torch.cat([0.3 * torch.randn(30_000), 1e-4 * torch.randn(30_000)])
    stub = Stub(lambda x: x)
    denoise(stub, wav, **WINDOW)
    assert stub.gains == pytest.approx([1 / wav.square().mean().sqrt().item()] * len(stub.gains), rel=1e-5)
    clean = denoise(model, wav, **WINDOW)
    # A mask below 2 on |X| ** 0.3 is a factor below 10.1 on |X|.
    assert clean[40_000:].square().mean().sqrt() < 10.1e-4


def test_silence_stays_silence(model):
    assert not denoise(model, torch.zeros(20_000), **WINDOW).any()
    wav = torch.cat([torch.randn(10_000), torch.zeros(30_000)])
    clean = denoise(model, wav, **WINDOW)
    assert clean.isfinite().all() and not clean[20_000:].any()


def test_progress_counts_windows(model):
    seen = []
    denoise(model, torch.randn(20_000), **WINDOW, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))] and len(seen) > 2


def test_fades_may_be_steps():
    wav = torch.randn(30_000)
    out = denoise(Stub(lambda x: x), wav, window_seconds=0.5, context_seconds=0.0, fade_seconds=0.0)
    assert torch.allclose(out, wav, atol=1e-6)


@pytest.mark.parametrize("length", [*range(8100, 9000, 111), 11_999, 12_000, 12_101, 100_000])
def test_windows_cover_a_recording(length):
    starts = window_starts(length, 8000, 4000, 100)
    assert starts[0] == 0 and 0 <= length - (starts[-1] + 8000) < 100
    steps = np.diff(starts)
    assert (steps > 0).all() and (steps <= 4000).all() and not (steps % 100).any()


def test_crossfade_of_neighbours_adds_up():
    assert torch.allclose(crossfade(100, 20, None, 10) + crossfade(100, None, 20, 10), torch.ones(100))


def test_impossible_windows_are_refused(model):
    with pytest.raises(ValueError, match="overlap of 4000"):
        denoise(model, torch.randn(100), window_seconds=0.25, context_seconds=0.1, fade_seconds=0.05)
    for wav in (torch.zeros(0), torch.zeros(1, 100)):
        with pytest.raises(ValueError, match="expected wav of shape"):
            denoise(model, wav)
