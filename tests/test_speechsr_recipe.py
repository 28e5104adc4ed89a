"""SpeechSR's training: its data, its losses, and two real steps through `train.py` on generated recordings."""

from pathlib import Path

import numpy as np
import pytest
import torch

import train
from speech.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    frozen,
    generator_loss,
    judge_both,
)
from speech.audio import resample, save_audio
from speech.data import Utterance, write_filelist
from speech.modules.discriminators import DiscriminatorConfig, DiscriminatorOutput, WaveDiscriminator
from speech.run_folder import step_folders
from speech.training import fit, seed_everything
from speechsr.data import DataConfig, SpeechSRData, narrow_by_random_filter
from speechsr.model import SpeechSR

TINY = Path(__file__).resolve().parent.parent / "configs/tiny/speechsr.yaml"


def buzz(seconds: float, rate: int, seed: int) -> np.ndarray:
    """A voiced-like sound with energy up to the band's edge: pulses through a decaying noise."""
    rng = np.random.default_rng(seed)
    pulses = np.zeros(int(seconds * rate), np.float32)
    pulses[:: rate // 120] = 1.0
    kernel = rng.standard_normal(200) * np.exp(-np.arange(200) / 20)
    return (0.2 * np.convolve(pulses, kernel)[: len(pulses)]).astype(np.float32)


@pytest.fixture
def filelist(tmp_path) -> Path:
    lines = []
    for i, (seconds, rate) in enumerate([(0.4, 48000), (0.03, 48000), (0.3, 44100)]):
        save_audio(tmp_path / f"{i}.wav", buzz(seconds, rate, i), rate)
        lines.append(Utterance(str(i), f"{i}.wav", "buzz", "en-us", ""))
    write_filelist(tmp_path / "wideband.txt", lines)
    return tmp_path / "wideband.txt"


def test_pairs_have_their_shapes_and_belong_together(filelist):
    data = SpeechSRData(str(filelist), DataConfig(str(filelist), wav_root=str(filelist.parent)), 16000, 48000)
    for index in range(3):
        narrow, wide = data.example(index, np.random.default_rng(index))
        assert narrow.shape == (3200,) and wide.shape == (9600,)
        assert narrow.dtype == wide.dtype == np.float32 and np.abs(wide).max() <= 1
        # below the lowest cutoff (6 kHz) both hold the same sound at the same time
        a = np.fft.rfft(narrow * np.hanning(3200))[: 3200 * 5 // 16]
        b = np.fft.rfft(wide * np.hanning(9600))[: len(a)] / 3
        assert np.abs(a - b).max() < 0.3 * np.abs(b).max()
    narrow, wide = next(data.batches(2, 0, 0, 0))
    assert narrow.shape == (2, 1, 3200) and wide.shape == (2, 1, 9600)


def test_random_filters_keep_the_low_and_cut_the_high():
    time = np.arange(9600) / 48000
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 7900 * time)
    gains = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        out = narrow_by_random_filter(low, 48000, 16000, (0.8, 0.9), rng)
        assert out.shape == (3200,)
        np.testing.assert_allclose(out[400:-400], low[::3][400:-400], atol=0.13)
        out = narrow_by_random_filter(high, 48000, 16000, (0.8, 0.9), np.random.default_rng(seed))
        gains.append(np.abs(out).max())
    assert np.mean(gains) < 0.5 and np.std(gains) > 0.03  # they cut, and each differently


def test_unfit_recordings_are_refused(filelist, tmp_path):
    folder = str(filelist.parent)
    with pytest.raises(ValueError, match="recorded at 44100 Hz, too narrow to learn 96000 Hz"):
        SpeechSRData(str(filelist), DataConfig(str(filelist), wav_root=folder), 16000, 96000).example(
            2, np.random.default_rng(0)
        )
    with pytest.raises(ValueError, match="3 of 3 recordings missing"):
        SpeechSRData(str(filelist), DataConfig(str(filelist), wav_root=str(tmp_path / "no")), 16000, 48000)
    with pytest.raises(ValueError, match="segment_samples"):
        config = DataConfig(str(filelist), wav_root=folder, segment_samples=1001)
        SpeechSRData(str(filelist), config, 16000, 48000)


def tiny(filelist: Path, runs: Path, *changes: str) -> list[str]:
    paths = [f"data.filelist={filelist}", f"data.validation_filelist={filelist}"]
    return [str(TINY), *paths, f"data.wav_root={filelist.parent}", f"train.runs_folder={runs}", *changes]


def test_two_steps_of_the_tiny_configuration(filelist, tmp_path, capsys):
    assert train.main(tiny(filelist, tmp_path / "runs")) == 0
    output = capsys.readouterr().out
    for name in ("generator/mel", "generator/features", "discriminator/adversarial", "log_spectral_distance"):
        assert name in output
    folder = step_folders(tmp_path / "runs/tiny_speechsr")[-1]
    model = SpeechSR.from_pretrained(folder)
    out = model.infer(torch.from_numpy(resample(buzz(0.1, 48000, 5), 48000, 16000))[None, None])
    assert out.shape == (1, 1, 4800) and torch.isfinite(out).all()
    # the whole configuration is kept, and runs as it is
    assert train.main([str(folder / "config.yaml")]) == 0


def test_the_mel_distance_falls_on_one_batch(filelist, tmp_path):
    arguments = ["losses.generator.adversarial=0.1", "train.lr=1e-2", "train.max_steps=30"]
    arguments += ["train.precision=fp32", "recipe.adversarial_from_step=20", "train.tensorboard=false"]
    arguments += ["train.validate_every=0", "train.batch_size=1", "data.segment_samples=1200"]
    name, cls, sections, losses, config = train.read(TINY, tiny(filelist, tmp_path, *arguments)[1:])
    seed_everything(0)
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batch = next(recipe.batches(0))
    recipe.batches = lambda start: iter([batch] * 30)
    seen = []
    turns = recipe.turns

    def watched(batch, step):
        for module, values in turns(batch, step):
            seen.append((step, module, {k: v.item() for k, v in values.items()}))
            yield module, values

    recipe.turns = watched
    assert fit(recipe, config, losses, {}) == 30
    mels = [values["mel"] for _, module, values in seen if module == "generator"]
    assert mels[-1] < 0.7 * mels[0]
    # before adversarial_from_step there is no discriminator turn
    assert min(step for step, module, _ in seen if module == "discriminator") == 20


def test_sections_that_do_not_fit_are_refused(filelist, tmp_path, capsys):
    for change, message in [
        ("model.scale=1.5", "recipe.mel.sample_rate is 48000, the model gives 24000 Hz"),
        ("data.segment_samples=120", "must reach the largest"),
        ("data.filelist=nowhere.txt", "cannot read the filelist nowhere.txt"),
    ]:
        assert train.main(tiny(filelist, tmp_path / "runs", change)) == 2
        assert message in capsys.readouterr().err


def test_adversarial_losses():
    real = [DiscriminatorOutput(torch.tensor([[1.0, 3.0]]), [torch.ones(2), torch.zeros(2)])]
    fake = [DiscriminatorOutput(torch.tensor([[0.0, 1.0]]), [torch.zeros(2), torch.full((2,), 0.5)])]
    assert discriminator_loss(real, fake) == 2.0 + 0.5
    assert generator_loss(fake) == 0.5
    assert feature_matching_loss(real, fake) == 1.5


def test_judging_together_equals_judging_apart():
    torch.manual_seed(0)
    config = DiscriminatorConfig(stft_sizes=[128], stft_channels=4, periods=[3], period_channels=[4, 8])
    discriminator = WaveDiscriminator(config)
    real, fake = torch.randn(2, 2, 1, 1000).unbind(0)
    together = judge_both(discriminator, real, fake)
    for outputs, wav in zip(together, (real, fake), strict=True):
        for got, expected in zip(outputs, discriminator(wav), strict=True):
            torch.testing.assert_close(got.logits, expected.logits, rtol=1e-4, atol=1e-5)
            for a, b in zip(got.features, expected.features, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_frozen_discriminator_passes_gradients_and_takes_none():
    config = DiscriminatorConfig(stft_sizes=[128], stft_channels=4, periods=[3], period_channels=[4, 8])
    discriminator = WaveDiscriminator(config)
    wav = torch.randn(1, 1, 500, requires_grad=True)
    with frozen(discriminator) as judge:
        outputs = judge(wav)
    generator_loss(outputs).backward()
    assert wav.grad is not None and all(p.grad is None for p in discriminator.parameters())
    assert all(p.requires_grad for p in discriminator.parameters())
