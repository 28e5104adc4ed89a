"""Parts of models as graphs of bucketed lengths: what they give, how often they are recorded, and what happens when they cannot be.

On a CPU a stand-in records them (recorded_graph.py); the same tests run with CUDA graphs where there is a GPU.
"""

import copy

import pytest
import torch
from plain_layout import plain_layout
from recorded_graph import RecordedRunner, record_on_cpu
from test_fast import fill
from tiny_voice import build_voice

from hierspeech.pipelines.voice import Voice
from hierspeech.synthesizer.equalizer import articulated
from speech.capture import buckets
from speech.capture.buckets import FRAMES, MOST_GRAPHS, Captured, Part, ladder
from speech.capture.runner import RUNNERS, CudaGraphRunner
from speech.fast import prepare_for_inference
from speechsr import ISTFTSpeechSR, ISTFTSpeechSRConfig, SpeechSR, SpeechSRConfig

TOLERANCE = 1e-4


@pytest.fixture
def recorded(monkeypatch):
    torch.manual_seed(0)
    return record_on_cpu(monkeypatch)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: build_voice(tmp_path_factory.mktemp(family), family) for family in ("official", "lite")}


class Doubler(torch.nn.Module):
    """Twice the sum of the valid units before and at each, so that padding would show."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.captured = Captured(self.capturable_parts())

    def doubled(self, x, style, mask, more=None):
        valid = x if mask is None else x * mask[:, None]
        out = self.factor * valid.flip(-1).cumsum(-1).flip(-1) + style[..., None]
        return out, None, (out if more is None else out + more).repeat_interleave(3, -1)

    def capturable_parts(self):
        inputs = {"x": 1, "style": 0, "mask": 1, "more": 1}
        return [Part("doubled", inputs, (1, 1, 3), "mask", ladder(8, 3, 2), most=64)]

    def run(self, x, style, mask=None, more=None):
        return self.captured(self, "doubled", x=x, style=style, mask=mask, more=more)


def data(batch, units, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, units, generator=generator), torch.randn(batch, 2, generator=generator)


def test_lengths_grow_by_a_third_and_are_few():
    assert len(FRAMES) == 12 and all(length % 8 == 0 for length in FRAMES)
    assert all(1.2 < b / a < 1.45 for a, b in zip(FRAMES, FRAMES[1:], strict=False))
    part = Doubler().capturable_parts()[0]
    assert part.lengths == (8, 16, 32)
    sizes = [part.size(*x) for x in [(1, 1), (1, 8), (2, 9), (5, 8), (1, 33), (3, 32), (33, 1), (1, 0)]]
    assert sizes == [(1, 8), (1, 8), (2, 16), (6, 8), None, None, None, None]


@torch.no_grad()
def test_padding_changes_nothing_and_new_lengths_record_nothing(recorded):
    model = Doubler()
    for turn, (batch, units) in enumerate([(2, 3), (2, 8), (2, 5), (1, 7), (2, 1), (3, 12), (2, 6)]):
        x, style = data(batch, units, turn)
        out, none, wide = model.run(x, style)
        expected = model.doubled(x, style, None)
        assert none is None and torch.allclose(out, expected[0], atol=1e-5)
        assert wide.shape == (batch, 2, 3 * units) and torch.allclose(wide, expected[2], atol=1e-5)
    assert model.captured.recordings == len(recorded) == 3  # of (2, 8), (1, 8), (3, 16)
    assert model.captured.runs == 7 and model.captured.eager == 0


@torch.no_grad()
def test_masks_and_missing_inputs(recorded):
    model = Doubler()
    x, style = data(2, 6)
    mask = torch.arange(6) < torch.tensor([6, 2])[:, None]
    for more in (None, torch.randn(2, 2, 6)):
        for given in (mask, None):
            ours, expected = model.run(x, style, given, more), model.doubled(x, style, given, more)
            assert torch.allclose(ours[0], expected[0], atol=1e-5)
            assert torch.allclose(ours[2], expected[2], atol=1e-5)
    assert (
        model.captured.recordings == 2
    )  # with and without `more`; a mask that is missing is one that is all True


@torch.no_grad()
def test_outputs_are_the_callers_own(recorded):
    model = Doubler()
    first = model.run(*data(1, 5))[0]
    kept = first.clone()
    model.run(*data(1, 6, seed=1))
    assert torch.equal(first, kept)


@torch.no_grad()
def test_what_is_too_large_runs_as_it_is(recorded):
    model = Doubler()
    for batch, units in ((1, 33), (3, 32), (40, 2)):
        x, style = data(batch, units)
        assert torch.equal(model.run(x, style)[0], model.doubled(x, style, None)[0])
    assert (model.captured.recordings, model.captured.eager) == (0, 3)


@torch.no_grad()
def test_weights_that_change_or_move_are_seen(recorded):
    model = Doubler()
    x, style = data(1, 8)
    model.run(x, style)
    for change in (
        lambda: model.factor.mul_(2),
        lambda: setattr(model.factor, "data", torch.tensor(7.0)),
        lambda: setattr(model, "factor", torch.nn.Parameter(torch.tensor(-1.0))),
    ):
        change()
        assert torch.allclose(model.run(x, style)[0], model.doubled(x, style, None)[0], atol=1e-5)
    before = model.captured.recordings
    model.run(x, style)
    assert model.captured.recordings == before == 4


@torch.no_grad()
def test_few_graphs_are_kept(recorded, monkeypatch):
    monkeypatch.setattr(buckets, "MOST_GRAPHS", 2)
    model = Doubler()
    for batch in (1, 2, 1, 3):
        model.run(*data(batch, 4))
    assert model.captured.recordings == 3
    model.run(*data(1, 4))  # was used last but one
    assert model.captured.recordings == 3
    model.run(*data(2, 4))  # was dropped
    assert model.captured.recordings == 4 and MOST_GRAPHS > 20


@torch.no_grad()
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda out: out * float(out.sum()), "not permitted when stream is capturing: _local_scalar_dense"),
        (lambda out: out + torch.randn_like(out), "capturing: randn"),
        (lambda out: out + torch.tensor([1.0, 2.0])[:, None], "capturing: lift_fresh"),
        (lambda out: out + out[out > 0].sum(), "capturing: index"),
    ],
)
def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(recorded, capsys, monkeypatch, spoil, reason):
    plain = Doubler.doubled
    monkeypatch.setattr(
        Doubler, "doubled", lambda self, *a, **k: (spoil(plain(self, *a, **k)[0]), None, None)
    )
    model = Doubler()
    for units in (3, 12):
        assert model.run(*data(1, units))[0].shape == (1, 2, units)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and reason in said
    assert said.startswith("hierspeech: no CUDA graph of Doubler.doubled, it runs kernel by kernel (")
    assert (model.captured.recordings, model.captured.eager) == (0, 2)


@torch.no_grad()
def test_a_graph_that_gives_something_else_is_found_out_at_once(recorded, capsys, monkeypatch):
    class Wrong(RecordedRunner):
        def __call__(self):
            return tuple(None if out is None else out * 1.01 for out in super().__call__())

    monkeypatch.setitem(RUNNERS, "cpu", Wrong)
    model, (x, style) = Doubler(), data(1, 5)
    expected = model.doubled(x, style, None)
    for _ in range(2):
        for own, other in zip(model.run(x, style), expected, strict=True):
            assert own is other is None or torch.equal(own, other)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "(its outputs were not those of the model)" in said
    assert (model.captured.runs, model.captured.eager) == (0, 2)


@torch.no_grad()
def test_too_little_memory_for_one_size_leaves_the_others(recorded, capsys, monkeypatch):
    def runner(function, inputs):
        if inputs["x"].shape[-1] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return RecordedRunner(function, inputs)

    monkeypatch.setitem(RUNNERS, "cpu", runner)
    model = Doubler()
    for units in (12, 20, 12, 4):
        model.run(*data(1, units))
    assert (model.captured.recordings, model.captured.eager) == (1, 3)
    assert capsys.readouterr().err.count("CUDA out of memory") == 1


def test_copies_have_graphs_of_their_own(recorded):
    model = Doubler()
    with torch.no_grad():
        model.run(*data(1, 4))
        other = copy.deepcopy(model)
        other.factor.mul_(3)
        assert torch.allclose(other.run(*data(1, 4))[0], other.doubled(*data(1, 4), None)[0], atol=1e-5)
    assert other.captured.recordings == 1 and model.captured.recordings == 1


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_speechsr(recorded, scale):
    model = prepare_for_inference(
        fill(SpeechSR(SpeechSRConfig(scale=scale, channels=4, kernel_sizes=[3, 5])))
    )
    for batch, samples in ((1, 2), (1, 998), (2, 1000), (1, 5000)):
        wav = 0.3 * torch.randn(batch, 1, samples)
        with plain_layout(model):
            expected = model.infer(wav)
        assert (model.infer(wav) - expected).abs().max() < TOLERANCE
    assert model.captured.recordings == 2
    odd = 0.3 * torch.randn(1, 1, 777)
    with plain_layout(model):
        expected = model.infer(odd)
    assert (model.infer(odd) - expected).abs().max() < TOLERANCE
    assert model.captured.runs == (4 if scale == 1.5 else 5)


@pytest.mark.parametrize("family", ["official", "lite"])
def test_synthesizer_and_its_rows(folders, recorded, family):
    model = Voice(folders[family], torch.device("cpu")).synthesizer
    config = model.config
    for seed, frames in enumerate((5, 70)):
        semantic, style = torch.randn(2, config.semantic.dim, frames), torch.randn(2, config.style_config.out)
        log_f0 = 5 * (torch.rand(2, 1, 4 * frames) > 0.3)
        mask = torch.arange(frames) < torch.tensor([frames, frames // 2 + 1])[:, None]
        for frame_mask in (None, mask):
            inputs = (semantic, log_f0, style, frame_mask, 0.5)
            with plain_layout(model):
                expected = model.infer(*inputs, generator=torch.Generator().manual_seed(seed))
            ours = model.infer(*inputs, generator=torch.Generator().manual_seed(seed))
            assert ours.shape == expected.shape and (ours - expected).abs().max() < TOLERANCE
    parts = 3 if model.source is not None else 2
    assert model.captured.recordings == len(recorded) == 2 * parts
    assert model.captured.runs == 4 * parts and model.captured.eager == 0


def test_styles_with_and_without_a_table_and_articulated_latents(folders, recorded):
    model = Voice(folders["lite"], torch.device("cpu")).synthesizer
    config, frames = model.config, 40
    semantic, log_f0 = torch.randn(1, config.semantic.dim, frames), torch.full((1, 1, 4 * frames), 5.0)
    numbers, wav = torch.randn(1, config.style_config.out), 0.1 * torch.randn(1, 320 * frames)

    def speak() -> list[torch.Tensor]:
        style = model.with_table(numbers, semantic, log_f0, wav)
        z = model.sample_latent(semantic, log_f0, style, noise_scale=0.0)
        _, moved = articulated(model, z, style, log_f0, semantic, wav, 1.0)
        plain = model.infer(semantic, log_f0, numbers, noise_scale=0.0)
        return [style, model.decode(z, style, log_f0)[0], model.decode(moved, style, log_f0)[0], plain]

    with torch.inference_mode():
        with plain_layout(model):
            expected = speak()
        ours = speak() + speak()
    assert model.captured.recordings > 0 and model.captured.eager == 0
    for one, other in zip(ours, expected + expected, strict=True):
        assert one.shape == other.shape and (one - other).abs().max() < TOLERANCE


@pytest.mark.parametrize("copies", [None, 4000.0])
@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_super_resolution_by_spectra(recorded, scale, copies):
    config = ISTFTSpeechSRConfig(scale=scale, width=8, layers=1, copy_from_hz=copies)
    model = prepare_for_inference(fill(ISTFTSpeechSR(config)))
    for batch, samples in ((1, 1), (1, 159), (2, 1000), (2, 1601), (1, 5120)):
        wav = 0.3 * torch.randn(batch, 1, samples)
        with plain_layout(model):
            expected = model.infer(wav)
        ours = model.infer(wav)
        assert ours.shape == expected.shape and (ours - expected).abs().max() < TOLERANCE
    assert model.captured.recordings == 2 and model.captured.runs == 5


@pytest.mark.parametrize(("family", "scale"), [("official", 0.0), ("official", 0.5), ("lite", 0.0)])
def test_text_to_vec(folders, recorded, family, scale):
    model = Voice(folders[family], torch.device("cpu")).ttv
    for lengths in ([9, 9], [30, 12], [33, 2]):
        ids = torch.randint(1, 50, (2, max(lengths)))
        mask = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
        style = torch.randn(2, model.config.style.out)
        for generator in (lambda: torch.Generator().manual_seed(1), lambda: [torch.Generator().manual_seed(n) for n in (1, 2)]):  # fmt: skip
            options = {
                "noise_scale": scale,
                "duration_noise_scale": scale,
                "pitch": torch.tensor([[5.0, 0.2]] * 2),
            }
            with plain_layout(model):
                expected = model.infer(ids, style, mask, **options, generator=generator())
            ours = model.infer(ids, style, mask, **options, generator=generator())
            assert torch.equal(ours.durations, expected.durations)
            assert (ours.semantic - expected.semantic).abs().max() < TOLERANCE
            assert (ours.log_f0 - expected.log_f0).abs().max() < TOLERANCE
    assert model.captured.recordings >= 3 and model.captured.eager == 0


def test_windows_of_a_stream_are_recorded_once_a_length(folders, recorded):
    from hierspeech.synthesizer.windows import decode_windows

    model = Voice(folders["official"], torch.device("cpu")).synthesizer
    z, style = torch.randn(1, model.config.latent, 100), torch.randn(1, model.config.style_config.out)
    log_f0 = 5 * torch.ones(1, 1, 400)
    with plain_layout(model):
        expected = model.decode(z, style, log_f0)[0]
    joined = torch.cat(list(decode_windows(model, z, style, log_f0, iter([3, 7, 20, 20]))), -1)
    assert (joined - expected).abs().max() < TOLERANCE
    assert model.captured.runs >= 5 and model.captured.recordings < model.captured.runs


def test_graphs_are_not_for_training_autocast_or_those_who_say_off(recorded, monkeypatch):
    model = prepare_for_inference(SpeechSR(SpeechSRConfig(channels=4, kernel_sizes=[3])))
    wav = 0.3 * torch.randn(1, 1, 500)
    monkeypatch.setenv("HIERSPEECH_GRAPHS", "off")
    model.infer(wav)
    monkeypatch.setenv("HIERSPEECH_GRAPHS", "auto")
    with torch.autocast("cpu", torch.bfloat16):
        model.infer(wav)
    model.train().infer(wav)
    model.eval()
    assert model.captured.runs == model.captured.recordings == 0
    model.infer(wav)
    assert model.captured.recordings == 1
    monkeypatch.setenv("HIERSPEECH_GRAPHS", "yes")
    with pytest.raises(ValueError, match="HIERSPEECH_GRAPHS is 'yes', expected one of auto, off"):
        model.infer(wav)


def test_on_a_cpu_nothing_is_recorded():
    assert set(RUNNERS) == {"cuda"}
    model = prepare_for_inference(SpeechSR(SpeechSRConfig(channels=4, kernel_sizes=[3])))
    model.infer(0.3 * torch.randn(1, 1, 500))
    assert (model.captured.recordings, model.captured.runs, model.captured.eager) == (0, 0, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_cuda_graphs():
    model = Doubler().cuda()
    assert RUNNERS["cuda"] is CudaGraphRunner
    for turn, units in enumerate((3, 8, 5, 20)):
        x, style = (tensor.cuda() for tensor in data(2, units, turn))
        assert torch.allclose(model.run(x, style)[0], model.doubled(x, style, None)[0], atol=1e-5)
    assert model.captured.recordings == 2 and model.captured.runs == 4
