"""SpeechSR's training: its losses, its figures, and real steps through `train.py` on generated recordings."""

import json
import math
from pathlib import Path

import pytest
import torch
from wideband import buzz, write_recordings

import train
from speech.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    frozen,
    generator_loss,
    judge_both,
)
from speech.audio import resample
from speech.modules.discriminators import DiscriminatorConfig, DiscriminatorOutput, WaveDiscriminator
from speech.run_folder import step_folders
from speech.training import fit, seed_everything
from speechsr import SpeechSR
from speechsr.losses import log_spectral_distance, multi_resolution_stft

TINY = Path(__file__).resolve().parent.parent / "configs/tiny/speechsr.yaml"
SPECTRAL = "losses={generator: {mel: 45.0, stft: 2.5}}"


@pytest.fixture
def filelist(tmp_path) -> Path:
    return write_recordings(tmp_path, [(0.4, 48000), (0.25, 48000), (0.3, 96000)])


def tiny(filelist: Path, runs: Path, *changes: str) -> list[str]:
    paths = [f"data.filelist={filelist}", f"data.validation_filelist={filelist}"]
    return [str(TINY), *paths, f"data.wav_root={filelist.parent}", f"train.runs_folder={runs}", *changes]


def recipe_of(arguments: list[str]):
    _, cls, sections, losses, config = train.read(arguments[0], arguments[1:])
    seed_everything(config.seed)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses, config


def losses_on_one_batch(arguments: list[str], steps: int) -> dict[str, list[float]]:
    """`module/loss` -> its value at every step of a run that sees the first batch only."""
    recipe, losses, config = recipe_of(arguments)
    batch = next(recipe.batches(0))
    recipe.batches = lambda start: iter([batch] * steps)
    seen: dict[str, list[float]] = {}
    turns = recipe.turns

    def watched(batch, step):
        for module, values in turns(batch, step):
            for name, value in values.items():
                seen.setdefault(f"{module}/{name}", []).append(value.item())
            yield module, values

    recipe.turns = watched
    assert fit(recipe, config, losses, {}) == steps
    return seen


def still(*modules: str) -> list[str]:
    """Options that let modules learn nothing."""
    return [f"train.optimizers.{module}.lr=1e-12" for module in modules]


OVERFIT = [
    "train.lr=1e-2",
    "train.precision=fp32",
    "train.tensorboard=false",
    "train.validate_every=0",
    "train.batch_size=1",
    "train.save_every=1000",
    "data.segment_samples=1200",
]


def test_two_steps_of_the_tiny_configuration(filelist, tmp_path, capsys):
    assert train.main(tiny(filelist, tmp_path / "runs")) == 0
    output = capsys.readouterr().out
    for name in (
        "generator/mel",
        "generator/stft",
        "generator/features",
        "generator/wavelet_features",
        "discriminator/adversarial",
        "wavelet_discriminator/adversarial",
        "log_spectral_distance_above_plain",
    ):
        assert name in output
    folder = step_folders(tmp_path / "runs/tiny_speechsr")[-1]
    model = SpeechSR.from_pretrained(folder)
    out = model.infer(torch.from_numpy(resample(buzz(0.1, 48000, 5), 48000, 16000))[None, None])
    assert out.shape == (1, 1, 4800) and torch.isfinite(out).all()
    # the whole configuration is kept, and runs as it is
    assert train.main([str(folder / "config.yaml")]) == 0


def test_previews_are_sounds_and_pictures(filelist, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train.main(tiny(filelist, tmp_path / "runs")) == 0
    events = EventAccumulator(str(tmp_path / "runs/tiny_speechsr"))
    events.Reload()
    tags = events.Tags()
    assert {"input/0", "output/0", "truth/0", "truth/1"} <= set(tags["audio"])
    assert {"input_output_truth/0", "input_output_truth/1"} <= set(tags["images"])
    picture = events.Images("input_output_truth/0")[0]
    assert (picture.height, picture.width) == (3 * 20, 9600 // 120)
    assert events.Audio("input/0")[0].sample_rate == 16000
    assert events.Audio("truth/0")[0].sample_rate == 48000
    assert "validation/log_spectral_distance_above" in tags["scalars"]


def test_spectral_losses_fall_on_one_batch(filelist, tmp_path):
    seen = losses_on_one_batch(tiny(filelist, tmp_path, *OVERFIT, SPECTRAL, "train.max_steps=80"), 80)
    assert seen.keys() == {"generator/mel", "generator/stft"}
    for name, values in seen.items():
        assert values[-1] < 0.6 * values[0], name


def test_judges_learn_from_one_batch_and_then_teach(filelist, tmp_path):
    """First the generator stands still and each judge's loss falls, then the judges do and each of theirs falls."""
    losses = {judge: {"adversarial": 1} for judge in ("discriminator", "wavelet_discriminator")}
    losses["generator"] = {"adversarial": 1, "wavelet_adversarial": 1, "features": 2, "wavelet_features": 2}
    arguments = tiny(filelist, tmp_path, *OVERFIT, f"losses={json.dumps(losses)}")
    seen = losses_on_one_batch([*arguments, *still("generator"), "train.max_steps=40"], 40)
    for judge in ("discriminator", "wavelet_discriminator"):
        assert seen[f"{judge}/adversarial"][-1] < 0.4 * seen[f"{judge}/adversarial"][0]
    judges = still("discriminator", "wavelet_discriminator")
    seen = losses_on_one_batch([*arguments, *judges, "train.max_steps=100"], 100)
    for name in losses["generator"]:
        assert seen[f"generator/{name}"][-1] < 0.6 * seen[f"generator/{name}"][0], name


def test_with_all_learning_every_loss_stays_sane(filelist, tmp_path):
    seen = losses_on_one_batch(tiny(filelist, tmp_path, *OVERFIT, "train.lr=3e-3", "train.max_steps=40"), 40)
    for judge, prefix in (("discriminator", ""), ("wavelet_discriminator", "wavelet_")):
        values = seen[f"{judge}/adversarial"]
        # 2 is what one of the four parts of a judge loses that is always wrong
        assert 0 < min(values) and values[-1] < values[0] and max(values) < 2 * 4
        assert max(seen[f"generator/{prefix}adversarial"]) < 4 * 4
        assert max(seen[f"generator/{prefix}features"]) < 10
    assert seen["generator/mel"][-1] < 0.75 * seen["generator/mel"][0]


def test_only_spectral_distances_teach_before_the_adversarial_step(filelist, tmp_path):
    arguments = [*OVERFIT, "recipe.adversarial_from_step=3", "train.max_steps=5"]
    seen = losses_on_one_batch(tiny(filelist, tmp_path, *arguments), 5)
    assert len(seen["generator/mel"]) == 5
    assert len(seen["discriminator/adversarial"]) == len(seen["wavelet_discriminator/adversarial"]) == 2
    for name in ("adversarial", "features", "wavelet_adversarial", "wavelet_features"):
        assert seen[f"generator/{name}"][:3] == [0, 0, 0] and all(seen[f"generator/{name}"][3:])


@pytest.mark.parametrize(
    ("losses", "modules"),
    [
        ("{generator: {stft: 1}}", {"generator"}),
        (
            "{discriminator: {adversarial: 1}, generator: {mel: 45, features: 2}}",
            {"generator", "discriminator"},
        ),
        (
            "{wavelet_discriminator: {adversarial: 1}, generator: {mel: 45, wavelet_adversarial: 1}}",
            {"generator", "wavelet_discriminator"},
        ),
    ],
)
def test_a_loss_is_computed_only_where_it_is_named(filelist, tmp_path, losses, modules):
    recipe, weights, _ = recipe_of(tiny(filelist, tmp_path, f"losses={losses}"))
    assert recipe.modules.keys() == modules
    turns = {name: set(values) for name, values in recipe.turns(next(recipe.batches(0)), 0)}
    assert turns == {name: set(values) for name, values in weights.items()}


def test_a_run_continued_equals_one_in_one_go(filelist, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    changes = ["train.max_steps=4", "train.save_every=2", "train.validate_every=0", "train.tensorboard=false"]
    assert train.main(tiny(filelist, whole, *changes)) == 0
    assert train.main(tiny(filelist, parts, *changes, "train.max_steps=2")) == 0
    assert train.main(tiny(filelist, parts, *changes)) == 0
    a, b = (
        torch.load(folder / "tiny_speechsr/step_00000004/training.pt", weights_only=True)["modules"]
        for folder in (whole, parts)
    )
    assert {"generator", "discriminator", "wavelet_discriminator"} == a.keys() == b.keys()
    for module in a:
        for name, weight in a[module].items():
            assert torch.equal(weight, b[module][name]), name


def test_validation_figures_are_repeatable_and_plain_is_the_resampler(filelist, tmp_path):
    recipe, _, _ = recipe_of(tiny(filelist, tmp_path))
    figures = recipe.validate()
    assert figures == recipe.validate()

    # a generator that resamples has the figures of a plain resampler
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, wav):
            return torch.from_numpy(resample(wav[0, 0].numpy(), 16000, 48000))[None, None]

    recipe.modules["generator"] = Plain()
    plain = recipe.validate()
    for place in ("", "_above"):
        name = f"log_spectral_distance{place}"
        assert plain[name] == plain[f"{name}_plain"] == figures[f"{name}_plain"]
    # what a resampler lacks, it lacks above 8 kHz
    assert plain["log_spectral_distance_above"] > 1.1 * plain["log_spectral_distance"]


def test_log_spectral_distance_by_hand():
    wav = torch.randn(2, 9600)
    assert log_spectral_distance(wav, wav, 48000) == 0
    # 20 dB are 2 bels of power everywhere
    assert log_spectral_distance(0.1 * wav, wav, 48000).item() == pytest.approx(2.0, abs=0.01)
    spectrum = torch.fft.rfft(wav)
    spectrum[:, 1600:] *= 10  # of 4801 bins up to 24 kHz: from 8 kHz on
    louder = torch.fft.irfft(spectrum)
    assert log_spectral_distance(louder, wav, 48000, 8000.0).item() == pytest.approx(2.0, abs=0.1)
    assert log_spectral_distance(louder, wav, 48000).item() == pytest.approx(2 * (2 / 3) ** 0.5, abs=0.1)
    assert log_spectral_distance(wav[:, :100], wav[:, :100], 48000) == 0  # a short piece


def test_multi_resolution_stft_by_hand():
    wav = torch.randn(2, 2400)
    assert multi_resolution_stft(wav, wav, [512, 128]) == 0
    # halves: a convergence of 0.5 and a log distance of ln 2, at every size
    expected = 0.5 + torch.log(torch.tensor(2.0))
    torch.testing.assert_close(multi_resolution_stft(0.5 * wav, wav, [512, 128]), expected, atol=1e-3, rtol=0)
    silent = torch.zeros(1, 600, requires_grad=True)
    multi_resolution_stft(silent, torch.zeros(1, 600), [512]).backward()
    assert silent.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.scale=1.5", "recipe.mel.sample_rate is 48000, the model gives 24000 Hz"),
        ("data.segment_samples=120", "must reach the largest of recipe.discriminator.stft_sizes [256, 128]"),
        ("recipe.stft_sizes=[4096]", "must reach the largest of recipe.stft_sizes [4096]"),
        ("recipe.stft_sizes=[]", "stft_sizes: expected multiples of 4"),
        ("data.filelist=nowhere.txt", "cannot read the filelist nowhere.txt"),
        (
            "losses={generator: {mle: 1}}",
            "losses.generator: expected some of ['adversarial', 'features', 'mel'",
        ),
        (
            "losses={generator: {mel: 1, features: 1}}",
            "discriminator and the generator's adversarial or features",
        ),
        (
            "losses={wavelet_discriminator: {adversarial: 1}, generator: {mel: 1}}",
            "got a wavelet_discriminator and the losses []",
        ),
    ],
)
def test_sections_that_do_not_fit_are_refused(filelist, tmp_path, capsys, change, message):
    assert train.main(tiny(filelist, tmp_path / "runs", change)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


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


def test_the_stft_floor_decides_what_is_too_quiet_to_hear():
    torch.manual_seed(0)
    quiet = 1e-5 * torch.randn(1, 4096)  # about 1e-6 in each bin
    heard = [multi_resolution_stft(quiet, 3 * quiet, [512], floor).item() for floor in (1.0, 1e-4, 1e-9)]
    assert heard[0] == pytest.approx(heard[1])
    assert heard[2] - heard[0] == pytest.approx(math.log(3), rel=0.05)
