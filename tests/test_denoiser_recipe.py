"""The denoiser's training: its data, its losses, and real steps through `train.py` on generated sound."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from make_pack import make_pack

import train
from denoiser.data import DataConfig, NoisyPieces, Speech, level_range_db
from denoiser.discriminator import MetricDiscriminator, MetricDiscriminatorConfig
from denoiser.losses import complex_loss, compressed_spectrum, phase_loss, polar
from denoiser.model import Denoiser, DenoiserConfig
from denoiser.noise import active_level
from speech.audio import save_audio
from speech.data import Utterance, write_filelist
from speech.run_folder import step_folders
from speech.training import fit, seed_everything

TINY = Path(__file__).resolve().parent.parent / "configs/tiny/denoiser.yaml"


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    return make_pack(tmp_path_factory.mktemp("denoiser") / "pack")


def tiny(pack: Path, runs: Path, *changes: str) -> list[str]:
    return [str(TINY), f"data.pack={pack}", f"train.runs_folder={runs}", *changes]


def recipe_of(pack: Path, runs: Path, *changes: str):
    _, cls, sections, losses, config = train.read(TINY, tiny(pack, runs, *changes)[1:])
    seed_everything(config.seed)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses, config


def test_two_steps_of_the_tiny_configuration(pack, tmp_path, capsys):
    assert train.main(tiny(pack, tmp_path)) == 0
    output = capsys.readouterr().out
    for name in ("generator/phase", "generator/metric", "discriminator/metric", "si_sdr_improvement_db"):
        assert name in output
    folder = step_folders(tmp_path / "tiny_denoiser")[-1]
    wav = Denoiser.from_pretrained(folder).infer(torch.randn(1, 3200))
    assert wav.shape == (1, 3200) and wav.isfinite().all()
    # the whole configuration is kept, and runs as it is
    assert train.main([str(folder / "config.yaml")]) == 0


def test_previews_are_sounds_and_pictures(pack, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train.main(tiny(pack, tmp_path)) == 0
    events = EventAccumulator(str(tmp_path / "tiny_denoiser"))
    events.Reload()
    assert {"noisy_denoised_clean/0", "noisy_denoised_clean/4"} <= set(events.Tags()["images"])
    assert {"noisy/0", "denoised/0", "clean/0"} <= set(events.Tags()["audio"])


def test_every_loss_falls_on_one_batch(pack, tmp_path):
    changes = ["train.max_steps=60", "train.lr=1e-2", "train.precision=fp32", "train.tensorboard=false"]
    changes += [
        "train.validate_every=0",
        "data.snr_db_range=[0, 5]",
        "data.clean_share=0",
        "data.room_share=0",
    ]
    recipe, losses, config = recipe_of(pack, tmp_path, *changes)
    batch = next(recipe.batches(0))
    recipe.batches = lambda start: iter([batch] * 60)
    seen, turns = [], recipe.turns

    def watched(batch, step):
        for module, values in turns(batch, step):
            seen.append((module, {name: value.item() for name, value in values.items()}))
            yield module, values

    recipe.turns = watched
    assert fit(recipe, config, losses, {}) == 60
    generator = [values for module, values in seen if module == "generator"]
    judged = [values["metric"] for module, values in seen if module == "discriminator"]
    share = {name: generator[-1][name] / generator[0][name] for name in generator[0]}
    limits = {"magnitude": 0.3, "phase": 0.95, "complex": 0.6, "consistency": 0.6, "time": 0.7}
    assert all(share[name] < limit for name, limit in limits.items()), share
    assert share.keys() == limits.keys() | {"metric"}
    assert judged[-1] < 0.3 * judged[0]


def test_without_a_metric_loss_no_discriminator_is_built(pack, tmp_path, capsys):
    text = TINY.read_text().replace("  discriminator: {metric: 1.0}\n", "").replace(", metric: 0.05", "")
    (tmp_path / "plain.yaml").write_text(text)
    arguments = [str(tmp_path / "plain.yaml"), *tiny(pack, tmp_path)[1:]]
    assert train.main(arguments) == 0
    assert "discriminator/" not in capsys.readouterr().out
    half = text.replace("time: 0.2", "time: 0.2, metric: 0.05")
    (tmp_path / "half.yaml").write_text(half)
    assert train.main([str(tmp_path / "half.yaml"), *arguments[1:], "train.run=half"]) == 2
    assert "go together" in capsys.readouterr().err


def test_a_run_continued_equals_one_in_one_go(pack, tmp_path):
    for run, stops in [("whole", [4]), ("halves", [2, 4])]:
        for stop in stops:
            changes = [f"train.run={run}", f"train.max_steps={stop}", "train.tensorboard=false"]
            assert train.main(tiny(pack, tmp_path, *changes, "train.lr_decay=1.0")) == 0
    states = [torch.load(step_folders(tmp_path / run)[-1] / "training.pt") for run in ("whole", "halves")]
    for module in ("generator", "discriminator"):
        first, second = (state["modules"][module] for state in states)
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


def test_batches_are_a_function_of_the_step(pack):
    pieces = NoisyPieces(DataConfig(str(pack), seconds=0.5, babble_voices=(1, 2)), 16000, "train")
    stream = pieces.batches(4, 7, 0, 0)
    batches = [next(stream) for _ in range(3)]
    again = next(pieces.batches(4, 7, 2, 0))
    assert torch.equal(again.clean, batches[2].clean) and torch.equal(again.noisy, batches[2].noisy)
    assert not torch.equal(batches[0].noisy, batches[1].noisy)
    assert again.noisy.shape == again.clean.shape == (4, 8000) and again.noisy.dtype == torch.float32


def test_pairs_are_aligned_levelled_and_as_noisy_as_configured(pack):
    config = DataConfig(str(pack), seconds=1.0, snr_db_range=(6.0, 6.0), clean_share=0.0, room_share=0.0,
                        level_db_range=(3.0, 3.0), babble_voices=(1, 2))  # fmt: skip
    pieces = NoisyPieces(config, 16000, "train")
    for seed in range(12):
        clean, noisy = pieces.example(seed % 4, np.random.default_rng(seed))
        ratio = active_level(clean) / np.std(noisy.astype(np.float64) - clean)
        assert 20 * math.log10(ratio) == pytest.approx(6.0, abs=0.1)
        assert 20 * math.log10(noisy.std()) == pytest.approx(3.0, abs=0.01)


def test_the_clean_share_goes_in_unspoiled(pack):
    config = DataConfig(str(pack), seconds=0.5, clean_share=0.3, babble_voices=(1, 2))
    pieces = NoisyPieces(config, 16000, "train")
    pairs = [pieces.example(i % 4, np.random.default_rng(i)) for i in range(200)]
    untouched = np.mean([np.array_equal(clean, noisy) for clean, noisy in pairs])
    assert 0.2 < untouched < 0.4


def test_speakers_of_the_dev_split_are_never_trained_on(pack, monkeypatch):
    config = DataConfig(str(pack), seconds=0.3, noises={"babble": 1.0}, babble_voices=(2, 3))
    pieces = NoisyPieces(config, 16000, "train")
    assert set(pieces.speech.speakers) == {"s0", "s1"}
    assert set(NoisyPieces(config, 16000, "dev").speech.speakers) == {"s2"}
    read, piece = [], pieces.piece
    monkeypatch.setattr(
        pieces, "piece", lambda i, rng: (read.append(pieces.speech.speakers[i]), piece(i, rng))[1]
    )
    for seed in range(20):
        read.clear()
        pieces.spoil(0, np.ones(pieces.samples), 0.0, np.random.default_rng(seed))
        assert read and set(read) == {"s1"}  # babble leaves out the speaker it disturbs


def test_filelists_and_folders_of_recorded_noise(tmp_path):
    rng, lines = np.random.default_rng(0), []
    for i in range(3):
        save_audio(tmp_path / f"{i}.wav", (0.1 * rng.standard_normal(12000)).astype(np.float32), 24000)
        lines.append(Utterance(str(i), f"{i}.wav", f"s{i}", "en-us", ""))
    write_filelist(tmp_path / "clean.txt", lines)
    (tmp_path / "noise/street").mkdir(parents=True)
    pattern = (0.5 * np.sign(np.sin(np.arange(1600) * 0.3))).astype(np.float32)
    save_audio(tmp_path / "noise/street/beep.wav", pattern, 16000)
    config = DataConfig(filelist=str(tmp_path / "clean.txt"), wav_root=str(tmp_path), seconds=1.0,
                        noises={"recorded": 1.0}, noise_folders=[str(tmp_path / "noise")],
                        clean_share=0.0, room_share=0.0, second_noise_share=0.0)  # fmt: skip
    pieces = NoisyPieces(config, 16000, "train")
    assert len(pieces.speech) == 3 and not len(Speech(config, 16000, "dev"))
    clean, noisy = pieces.example(0, np.random.default_rng(0))
    added = noisy - clean
    assert (
        clean.shape == (16000,) and np.abs(clean[8000:]).max() == 0
    )  # half a second of speech, then silence
    assert abs(np.corrcoef(added, np.tile(pattern, 10))[0, 1]) > 0.99  # a short recording repeats


def test_recorded_noise_is_played_at_other_speeds(tmp_path):
    time = np.arange(16000) / 16000
    save_audio(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32), 16000)
    save_audio(tmp_path / "speech.wav", (1e-4 * np.sin(2 * np.pi * 50 * time)).astype(np.float32), 16000)
    write_filelist(tmp_path / "clean.txt", [Utterance("0", "speech.wav", "s", "en-us", "")])
    config = DataConfig(filelist=str(tmp_path / "clean.txt"), wav_root=str(tmp_path), seconds=1.0, noises={"recorded": 1.0},
                        noise_folders=[str(tmp_path)], recorded_speeds=(0.5, 2.0), second_noise_share=0.0)  # fmt: skip
    pieces = NoisyPieces(config, 16000, "train")
    pieces.recorded = [tmp_path / "tone.wav"]
    pitches = [
        np.abs(np.fft.rfft(pieces._noise(0, None, np.random.default_rng(seed))[:8000])).argmax() * 2
        for seed in range(20)
    ]
    assert 500 <= min(pitches) < 800 and 1400 < max(pitches) <= 2000


def test_noisy_recordings_can_be_left_out(pack):
    rng = np.random.default_rng(0)
    hiss, gate = rng.standard_normal(32000), np.repeat([1.0, 1e-3], 16000)
    assert level_range_db(hiss) < 3 and level_range_db(hiss * gate) == pytest.approx(60, abs=3)
    assert len(Speech(DataConfig(str(pack)), 16000, "train")) == 4
    assert len(Speech(DataConfig(str(pack), min_range_db=20.0), 16000, "train")) == 0  # tones without pauses


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("data.pack=null", "expected a pack or a filelist"),
        ("data.noises={thunder: 1}", "unknown kinds ['thunder']"),
        ("data.noises={recorded: 1}", "needs noise_folders"),
        ("data.snr_db_range=[5, 0]", "lower value first"),
        ("data.room_share=2", "share of 0 to 1"),
        ("data.recorded_speeds=[0, 1]", "recorded_speeds: expected factors above 0"),
        ("data.min_range_db=60", "no recordings of clean speech"),
        ("recipe.metric=mos", "recipe.metric: expected one of"),
    ],
)
def test_bad_settings_are_one_sentence(pack, tmp_path, capsys, change, sentence):
    assert train.main(tiny(pack, tmp_path, change)) == 2
    assert sentence in capsys.readouterr().err


def test_pesq_is_refused_where_it_is_not_installed(pack, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pesq", None)
    assert train.main(tiny(pack, tmp_path, "recipe.metric=pesq")) == 2
    assert "pesq is not installed" in capsys.readouterr().err


def test_phase_loss_knows_the_circle():
    phase = torch.rand(2, 9, 7) * 2 * math.pi - math.pi
    assert phase_loss(phase + 2 * math.pi, phase) < 1e-5
    # a constant turn moves the phase only, not its differences
    assert phase_loss(phase + 3.0, phase).item() == pytest.approx(3.0, abs=1e-4)
    assert phase_loss(phase + 4.0, phase).item() == pytest.approx(2 * math.pi - 4.0, abs=1e-4)
    ramp = phase + 0.5 * torch.arange(9.0)[:, None]
    assert phase_loss(ramp, phase).item() > 0.5 + 1.0  # a delay: group delay 0.5, the phase itself more


def test_the_spectrum_for_losses_is_the_model_s_and_has_gradients_at_silence():
    config = DenoiserConfig(
        n_fft=64, hop_length=32, win_length=64, channels=4, heads=2, dense_depth=2, n_blocks=1
    )
    model, wav = Denoiser(config), torch.randn(2, 640)
    spec = compressed_spectrum(wav, 64, 32, 64, config.compression)
    assert complex_loss(spec, polar(*model.analyse(wav))).item() < 1e-5
    silence = torch.zeros(1, 640, requires_grad=True)
    compressed_spectrum(silence, 64, 32, 64, config.compression).square().sum().backward()
    assert silence.grad.isfinite().all()


def test_a_residual_phase_starts_from_the_noisy_one():
    sizes = dict(n_fft=64, hop_length=32, win_length=64, channels=4, heads=2, dense_depth=1, n_blocks=1)
    distance = {}
    for residual in (False, True):
        torch.manual_seed(0)
        model = Denoiser(DenoiserConfig(**sizes, residual_phase=residual)).eval()
        magnitude, phase = model.analyse(torch.randn(1, 6400))
        turned = model(magnitude, phase).phase - phase
        distance[residual] = torch.atan2(turned.sin(), turned.cos()).abs().mean().item()
    assert distance[True] < 0.7 and distance[False] > 1.3


@pytest.mark.parametrize(("batch", "frames"), [(1, 33), (3, 40)])
def test_the_metric_discriminator_gives_scores(batch, frames):
    discriminator = MetricDiscriminator(MetricDiscriminatorConfig(channels=2, layers=2))
    score = discriminator(torch.rand(batch, 33, frames), torch.rand(batch, 33, frames))
    assert score.shape == (batch,) and (score > 0).all() and (score < 1).all()
