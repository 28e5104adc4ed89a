"""The denoiser in bands: shapes, what it starts from, batches, and that it learns to take noise away."""

from pathlib import Path

import numpy as np
import pytest
import torch
from make_pack import make_pack

import prepare
import train
from denoiser import BandDenoiser, BandDenoiserConfig, Denoiser, DenoiserConfig, denoise
from denoiser.bands import band_widths
from denoiser.quality import si_sdr_db
from hierspeech.export.graphs import export_part
from hierspeech.export.parts import Cleaning, Part
from hierspeech.pipelines.voice import find_voice
from speech.run_folder import step_folders
from speech.starting import find_published

TINY = Path(__file__).resolve().parent.parent / "configs/tiny/denoiser_bands.yaml"
SMALL = {"n_bands": 8, "channels": 12, "hidden": 10, "n_blocks": 2}


def small(**changes) -> BandDenoiser:
    torch.manual_seed(0)
    return BandDenoiser(BandDenoiserConfig(**SMALL | changes)).eval()


@pytest.mark.parametrize(
    ("n_bins", "n_bands", "rate"), [(257, 32, 16000), (201, 8, 16000), (33, 16, 8000), (33, 1, 16000)]
)
def test_bands_cover_every_bin_once_and_widen_upwards(n_bins, n_bands, rate):
    widths = band_widths(n_bins, n_bands, rate)
    assert len(widths) == n_bands and sum(widths) == n_bins and min(widths) >= 2
    assert n_bands == 1 or widths[-1] >= widths[0]


def test_bands_are_as_wide_as_the_mel_scale_has_it():
    widths = band_widths(257, 32, 16000)
    hz = np.cumsum(widths) / 257 * 8000
    mel = 2595 * np.log10(1 + hz / 700)
    assert np.abs(np.diff(mel)[8:] - mel[-1] / 32).max() < 25  # a bin is 7 to 40 mel there


@pytest.mark.parametrize("sizes", [{}, {"n_fft": 64, "hop_length": 16, "win_length": 48, "n_bands": 5}])
@pytest.mark.parametrize(("batch", "samples"), [(1, 1601), (2, 2000)])
def test_documented_shapes(sizes, batch, samples):
    model = small(**sizes)
    wav = torch.randn(batch, samples)
    magnitude, phase = model.analyse(wav)
    shape = (batch, model.config.n_bins, samples // model.config.hop_length + 1)
    out = model(magnitude, phase)
    assert magnitude.shape == out.magnitude.shape == out.phase.shape == shape
    assert ((out.magnitude >= 0) & (out.magnitude <= 2 * magnitude)).all()
    assert model.infer(wav).shape == (batch, samples)


def test_it_starts_from_what_it_hears():
    model, wav = small(), torch.randn(1, 8000)
    assert si_sdr_db(model.infer(wav), wav).item() > 20


def test_a_batch_gives_what_its_utterances_give_one_by_one():
    model = small()
    wav = torch.randn(3, 4000) * torch.tensor([[1.0], [0.01], [3.0]])
    both = model.infer(wav)
    for one, expected in zip(wav, both, strict=True):
        assert torch.allclose(model.infer(one[None])[0], expected, atol=1e-5 * expected.abs().max().item())


def test_levels_come_back_and_silence_stays_silence():
    model, wav = small(), torch.randn(1, 4000)
    assert torch.allclose(model.infer(0.001 * wav), 0.001 * model.infer(wav), rtol=1e-3, atol=1e-6)
    assert not model.infer(torch.zeros(1, 4000)).any()


def test_every_band_and_frame_is_heard_everywhere():
    model = small()
    magnitude, phase = model.analyse(torch.randn(1, 6000))
    magnitude.requires_grad_()
    model(magnitude, phase).magnitude[0, 3, 2].backward()
    assert magnitude.grad[0, -1].abs().max() > 0 and magnitude.grad[0, :, -1].abs().max() > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"channels": 0}, "channels must be positive, got 0"), ({"n_bands": 200}, "two of the 257 bins"),
     ({"hop_length": 600}, "hop_length < win_length"), ({"compression": 0.0}, "compression must lie above 0")],
)  # fmt: skip
def test_bad_sizes_are_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        BandDenoiserConfig(**change)


def test_two_steps_of_the_tiny_configuration(tmp_path, capsys):
    pack = make_pack(tmp_path / "pack")
    assert train.main([str(TINY), f"data.pack={pack}", f"train.runs_folder={tmp_path}"]) == 0
    assert "si_sdr_improvement_db" in capsys.readouterr().out
    folder = step_folders(tmp_path / "tiny_denoiser_bands")[-1]
    model = BandDenoiser.from_pretrained(folder)
    wav = torch.randn(2000)
    cleaned = denoise(model, wav)
    assert cleaned.shape == wav.shape and cleaned.isfinite().all()
    assert prepare.main(["clean", str(pack), "--denoiser", str(folder)]) == 0  # any denoiser makes targets


def test_noise_is_learnt_away_from_a_tone():
    model, rng = (
        small(n_fft=64, hop_length=32, win_length=64, n_bands=6).train(),
        torch.Generator().manual_seed(1),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    time = torch.arange(3200) / 16000

    def pair():
        clean = torch.sin(2 * torch.pi * (300 + 300 * torch.rand(4, 1, generator=rng)) * time)
        return clean, clean + 0.5 * torch.randn(4, 3200, generator=rng)

    for _ in range(40):
        clean, noisy = pair()
        loss = (model(*model.analyse(noisy)).magnitude - model.analyse(clean)[0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clean, noisy = pair()
    assert (si_sdr_db(model.infer(noisy), clean) - si_sdr_db(noisy, clean)).mean() > 5


@torch.inference_mode()
def test_its_onnx_graph_cleans_alike_at_another_length(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = small(n_fft=64, hop_length=32, win_length=64, n_bands=3, n_blocks=1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    cleaning, axes = Cleaning(model), {"wav": {0: "batch", 1: "samples"}}
    wav = torch.randn(1, 50 * 32)
    wav[:, :64] = 0  # the first frame is mirrored at its middle: the sign of its phases is rounding
    expected = cleaning(wav)
    export_part(
        Part("denoiser", cleaning, {"wav": torch.randn(2, 640)}, axes, ["clean"]), tmp_path / "d.onnx"
    )
    (made,) = onnxruntime.InferenceSession(tmp_path / "d.onnx").run(None, {"wav": wav.numpy()})
    assert np.abs(made - expected.numpy()).max() < 1e-4 * expected.abs().max().item()


def test_8_bits_hold_it(tmp_path):
    model = small(channels=48, hidden=48)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "int8", dtype=torch.int8)
    size = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "int8")]
    wav = torch.randn(1, 8000)
    apart = BandDenoiser.from_pretrained(tmp_path / "int8").infer(wav) - model.infer(wav)
    assert size[1] < 0.4 * size[0] and apart.square().mean() < 1e-4 * wav.square().mean()


def test_the_shipped_denoiser_is_found_by_its_class_or_by_any(tmp_path):
    both = (Denoiser, BandDenoiser)
    folder = find_published(both, find_voice("lite"))
    assert folder.name == "denoiser"
    (tmp_path / "voice").mkdir()
    small().save_pretrained(tmp_path / "voice/a")
    assert find_published(both, tmp_path / "voice").name == "a"
    tiny = {"channels": 8, "n_blocks": 1, "dense_depth": 1, "heads": 2, "conv_kernel": 5}
    Denoiser(DenoiserConfig(**tiny)).save_pretrained(tmp_path / "voice/b")
    with pytest.raises(ValueError, match="holds several Denoiser or BandDenoiser"):
        find_published(both, tmp_path / "voice")
