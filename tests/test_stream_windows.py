"""Windows of the decoder and of super-resolution: the same samples as in one go, for every kind, length and window size."""

import numpy as np
import pytest
import torch
from tiny_voice import AUDIO, SEMANTIC, STYLE

from hierspeech.synthesizer import windows
from hierspeech.synthesizer.encoders import SemanticEncoderConfig
from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.harmonic import HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGeneratorConfig
from hierspeech.synthesizer.model import FlowConfig, HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.source import SourceConfig
from hierspeech.synthesizer.windows import decode_windows, halo_frames
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig
from speechsr.model import SpeechSR, SpeechSRConfig
from speechsr.stretch import stretch
from speechsr.windows import SpeechSRWindows, alignment, halo_samples

AMP = AMPGeneratorConfig(hidden=64, kernel_sizes=[3, 7], dilations=[1, 3])
ISTFT = ISTFTGeneratorConfig(width=16, layers=3)
SOURCE, HARMONIC = SourceConfig(hidden=16, kernel_sizes=[3]), HarmonicSourceConfig(channels=8)
HARMONIC_AMP = HarmonicSourceConfig(
    channels=8, n_fft=320, hop_length=80
)  # an AMP generator reads features at 200 Hz
DECODERS = {
    "amp and source network": {"amp": AMP, "source": SOURCE, "harmonic": None, "istft": None},
    "amp and harmonic source": {"amp": AMP, "source": None, "harmonic": HARMONIC_AMP, "istft": None},
    "istft and harmonic source": {"amp": None, "source": None, "harmonic": HARMONIC, "istft": ISTFT},
    "istft and no source": {"amp": None, "source": None, "harmonic": None, "istft": ISTFT},
}
SPEECHSR = {
    "amp 48k": SpeechSRConfig(channels=4, kernel_sizes=[3, 7], dilations=[1, 3]),
    "amp 24k": SpeechSRConfig(scale=1.5, channels=4, kernel_sizes=[3, 7], dilations=[1, 3]),
    "istft 48k": ISTFTSpeechSRConfig(width=16, layers=2),
    "istft 24k": ISTFTSpeechSRConfig(scale=1.5, width=16, layers=2),
}


@pytest.fixture(scope="module", params=DECODERS, ids=lambda name: name.replace(" ", "-"))
def decoder(request):
    torch.manual_seed(0)
    config = HierSpeechConfig(
        audio=AUDIO,
        semantic=SEMANTIC,
        style=STYLE,
        latent=8,
        encoder=SemanticEncoderConfig(hidden=8, n_layers=1),
        semantic_posterior=False,
        posterior=None,
        flow=FlowConfig(n_flows=0),
        prosody=None,
        **DECODERS[request.param],
    )
    return HierSpeech(config).eval()


@pytest.fixture(scope="module", params=SPEECHSR, ids=lambda name: name.replace(" ", "-"))
def speechsr(request):
    torch.manual_seed(0)
    config = SPEECHSR[request.param]
    return (ISTFTSpeechSR if request.param.startswith("istft") else SpeechSR)(config).eval()


def latent(model, frames, batch=1):
    torch.manual_seed(frames)
    f0 = torch.rand(batch, 1, 4 * frames) * 150 + 80
    voiced = torch.rand(batch, 1, frames).repeat_interleave(4, -1) > 0.3
    return (
        torch.randn(batch, model.config.latent, frames),
        torch.randn(batch, model.config.style_config.out),
        torch.log1p(f0 * voiced),
    )


@pytest.mark.parametrize(
    ("frames", "sizes"), [(1, [1]), (9, [16]), (9, [1] * 9), (75, [5] * 15), (75, [8, 16])]
)
def test_windows_of_the_decoder_join_to_the_whole(decoder, frames, sizes):
    z, style, log_f0 = latent(decoder, frames, batch=2)
    with torch.inference_mode():
        whole, _ = decoder.decode(z, style, log_f0)
    parts = list(decode_windows(decoder, z, style, log_f0, sizes))
    joined = torch.cat(parts, -1)
    assert joined.shape == whole.shape
    assert (joined - whole).abs().max() < 1e-5
    halo = halo_frames(decoder.config)
    assert [part.shape[-1] // 320 for part in parts[:-1]] == sizes[: len(parts) - 1]
    assert len(parts) == 1 or frames > sizes[0] + halo, "what a halo sees of the end is spoken with it"


def test_the_decoder_reads_no_further_than_its_halo_and_nearly_as_far(decoder):
    """Frames that are not numbers, outside a halo, must leave the window finite: NaN passes through every layer."""
    frames, start, stop, halo = 120, 55, 60, halo_frames(decoder.config)
    z, style, log_f0 = latent(decoder, frames)
    with torch.inference_mode():
        features = None if decoder.source is None else decoder.source(z, style, log_f0)[0]

        def finite(margin):
            """Whether the window is finite when all but `margin` frames around it are NaN."""
            outside = torch.ones(frames, dtype=torch.bool)
            outside[start - margin : stop + margin] = False
            spoiled = z.masked_fill(outside, torch.nan)
            source = None
            if features is not None:
                rate = features.shape[-1] // frames
                source = features.masked_fill(outside.repeat_interleave(rate), torch.nan)
            wav = decoder.generator(spoiled, source, style)
            return bool(wav[..., 320 * start : 320 * stop].isfinite().all())

        assert finite(halo)
        assert not finite(halo - 2), "the halo is wider than it needs to be"


def test_a_window_is_computed_only_when_it_is_asked_for(decoder):
    calls = []
    hook = decoder.generator.register_forward_pre_hook(
        lambda module, inputs: calls.append(inputs[0].shape[-1])
    )
    z, style, log_f0 = latent(decoder, 200)
    parts = decode_windows(decoder, z, style, log_f0, [4] * 50)
    next(parts)
    parts.close()
    hook.remove()
    assert calls == [4 + halo_frames(decoder.config)]


def test_too_short_a_halo_would_be_noticed(decoder, monkeypatch):
    monkeypatch.setattr(windows, "halo_frames", lambda config: 1)
    z, style, log_f0 = latent(decoder, 75)
    with torch.inference_mode():
        whole, _ = decoder.decode(z, style, log_f0)
    joined = torch.cat(list(decode_windows(decoder, z, style, log_f0, [5] * 15)), -1)
    assert (joined - whole).abs().max() > 1e-5


def raised(model, wav):
    """The whole in one go, as `output.change_rate` has it -> [round(T * scale)]."""
    scale = model.config.scale
    padded = np.pad(wav, (0, 0 if float(scale).is_integer() else len(wav) % 2))
    return model.infer(torch.from_numpy(padded)[None, None])[0, 0].numpy()[: round(len(wav) * scale)]


@pytest.mark.parametrize(
    ("samples", "step"), [(1, 1), (2, 1), (37, 5), (999, 1000), (5001, 320), (20001, 777), (20001, 6400)]
)
def test_super_resolution_of_a_growing_signal_is_that_of_the_whole(speechsr, samples, step):
    wav = (np.random.default_rng(samples).standard_normal(samples) * 0.2).astype(np.float32)
    stream = SpeechSRWindows(speechsr)
    parts = [stream.push(wav[at : at + step]) for at in range(0, samples, step)] + [stream.finish()]
    whole = raised(speechsr, wav)
    joined = np.concatenate(parts)
    assert joined.shape == whole.shape
    assert abs(joined - whole).max() < 1e-5


def test_super_resolution_keeps_no_more_than_it_needs(speechsr, monkeypatch):
    sizes = []
    infer = speechsr.infer
    monkeypatch.setattr(speechsr, "infer", lambda wav: (sizes.append(wav.shape[-1]), infer(wav))[1])
    stream = SpeechSRWindows(speechsr)
    for _ in range(50):
        stream.push(np.zeros(1600, np.float32))
    assert max(sizes) <= 1600 + 2 * stream.halo + stream.step and len(stream._wav) <= 2 * stream.halo + 1600


def test_super_resolution_gives_what_is_certain_and_no_less(speechsr):
    halo, step = halo_samples(speechsr.config), alignment(speechsr.config)
    assert halo % step == 0
    stream = SpeechSRWindows(speechsr)
    assert len(stream.push(np.ones(halo, np.float32))) == 0
    assert len(stream.push(np.ones(step, np.float32))) == step * speechsr.config.scale
    assert len(SpeechSRWindows(speechsr).finish()) == 0


def test_super_resolution_reads_no_further_than_its_halo(speechsr):
    step, halo, scale = alignment(speechsr.config), halo_samples(speechsr.config), speechsr.config.scale
    start, stop = 30 * 160, 32 * 160
    wav = torch.randn(1, 1, 62 * 160) * 0.1

    def finite(margin):
        spoiled = torch.full_like(wav, torch.nan)
        spoiled[..., start - margin : stop + margin] = wav[..., start - margin : stop + margin]
        return bool(speechsr(spoiled)[..., int(start * scale) : int(stop * scale)].isfinite().all())

    with torch.inference_mode():
        assert finite(halo) and not finite(halo - 2 * step - 1)


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("samples", [1, 2, 3, 50, 51])
def test_interpolation_is_torch_s(scale, samples):
    x = torch.randn(2, 3, samples, dtype=torch.float64)
    expected = torch.nn.functional.interpolate(x, size=int(samples * scale), mode="linear")
    assert (stretch(x, scale) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_interpolation_far_into_a_signal_is_as_exact_as_at_its_start(scale):
    x = torch.randn(1, 1, 300000)
    tail = stretch(x[..., 200000:], scale)
    assert torch.equal(stretch(x, scale)[..., -tail.shape[-1] + 3 :], tail[..., 3:])


def test_the_published_sizes_have_these_halos():
    """Written down, so that a change of them is seen: 0.74 s, 0.28 s, and samples at 16 kHz."""
    lite = HierSpeechConfig(
        posterior=None, amp=None, source=None, harmonic=HarmonicSourceConfig(), istft=ISTFTGeneratorConfig()
    )
    assert (halo_frames(HierSpeechConfig()), halo_frames(lite)) == (37, 14)
    halos = [halo_samples(SpeechSRConfig(scale=scale)) for scale in (3.0, 1.5)]
    assert [*halos, halo_samples(ISTFTSpeechSRConfig())] == [37, 70, 3520]
