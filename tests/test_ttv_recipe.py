"""Training of the text-to-vec model: the data it refuses or leaves out, its losses, and two real steps."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from speech.audio import save_audio
from speech.data import Utterance, write_filelist
from speech.losses import kl_divergence
from speech.semantic.encoder import SemanticSpec
from ttv import TTV
from ttv.data import DataConfig, TTVData, collate, write_features
from ttv.model import TTVConfig
from ttv.recipe import Recipe

CONFIG = "configs/tiny/ttv.yaml"
SPEC = SemanticSpec(name="noise", layer=0, dim=12)
PHONEMES = ["həlˈoʊ", "wˈɜːld", "tɛst!", "a"]


def make_corpus(
    folder: Path, frames: list[int], phonemes: list[str] = PHONEMES, spec: SemanticSpec = SPEC
) -> None:
    """Noise recordings with noise features."""
    rng = np.random.default_rng(0)
    utterances = []
    for i, (n, text) in enumerate(zip(frames, phonemes, strict=False)):
        wav = folder / f"{i}.wav"
        save_audio(wav, 0.1 * rng.standard_normal(320 * n - 100).astype(np.float32), 16000)
        f0 = np.where(rng.random(4 * n) < 0.5, 0, 200).astype(np.float32)
        semantic = rng.standard_normal((12, n)).astype(np.float16)
        write_features(folder / "features", f"s/{i}", semantic, f0, text, spec)
        utterances.append(Utterance(f"s/{i}", f"{i}.wav", "s", "en-us", "-"))
    write_filelist(folder / "list.txt", utterances)


def overrides(folder: Path) -> list[str]:
    return [
        f"data.filelist={folder}/list.txt",
        f"data.validation_filelist={folder}/list.txt",
        f"data.features={folder}/features",
        f"data.wav_root={folder}",
        f"train.runs_folder={folder}/runs",
    ]


def open_data(folder: Path, **options) -> TTVData:
    _, _, sections, _, _ = train.read(CONFIG, [])
    config = DataConfig(features=str(folder / "features"), wav_root=str(folder), **options)
    return TTVData(str(folder / "list.txt"), config, sections.model, slice_frames=12)


def test_two_steps_through_the_script(tmp_path):
    make_corpus(tmp_path, [40, 55, 33, 47])
    assert train.main([CONFIG, *overrides(tmp_path)]) == 0
    run = tmp_path / "runs" / "ttv"
    model = TTV.from_pretrained(run / "step_00000002")
    out = model.infer(torch.randint(0, 178, (1, 9)), torch.randn(1, 8))
    assert out.semantic.isfinite().all()


def test_losses_of_a_step(tmp_path):
    make_corpus(tmp_path, [40, 55, 33, 47])
    _, _, sections, weights, config = train.read(CONFIG, overrides(tmp_path))
    torch.manual_seed(0)
    recipe = Recipe(sections.model, sections.data, sections.recipe, weights, config)
    batch = next(recipe.batches(0))
    assert recipe.audio_seconds(batch) == pytest.approx(batch.frame_mask.sum().item() * 0.02)
    ((name, losses),) = recipe.turns(batch, 0)
    assert name == "ttv" and losses.keys() == weights["ttv"].keys()
    assert all(value.isfinite() and value.ndim == 0 for value in losses.values())
    with torch.no_grad():
        figures = recipe.validate()
    assert figures.keys() == losses.keys()


def test_a_step_learns(tmp_path):
    """The weighted loss of one batch falls when it is seen again and again."""
    make_corpus(tmp_path, [40, 55, 33])
    _, _, sections, weights, config = train.read(CONFIG, overrides(tmp_path))
    torch.manual_seed(0)
    recipe = Recipe(sections.model, sections.data, sections.recipe, weights, config)
    batch = next(recipe.batches(0))
    optimizer = torch.optim.AdamW(recipe.modules["ttv"].parameters(), lr=3e-3)
    totals = []
    for step in range(12):
        ((name, losses),) = recipe.turns(batch, step)
        total = sum(weights[name][key] * value for key, value in losses.items())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.mean(totals[-5:]) < 0.9 * np.mean(totals[:3])


def test_batches_are_a_function_of_the_step(tmp_path):
    make_corpus(tmp_path, [40, 55, 33, 47])
    _, _, sections, weights, config = train.read(CONFIG, overrides(tmp_path))
    recipe = Recipe(sections.model, sections.data, sections.recipe, weights, config)
    batches = recipe.batches(0)
    next(batches)
    continued, resumed = next(batches), next(recipe.batches(1))
    for name, value in vars(continued).items():
        assert torch.equal(value, getattr(resumed, name)), name


def test_examples_and_their_batch(tmp_path):
    make_corpus(tmp_path, [40, 55])
    data = open_data(tmp_path)
    examples = [data.example(i, np.random.default_rng(0)) for i in range(2)]
    batch = collate(examples)
    assert batch.semantic.shape == (2, 12, 55) and batch.semantic[0, :, 40:].abs().sum() == 0
    assert batch.log_f0.shape == (2, 220) and batch.wav.shape == (2, 55 * 320)
    assert batch.frame_mask.sum(1).tolist() == [40, 55]
    # Blanks lie before, between and after the symbols; CTC targets have none.
    assert batch.text_mask.sum(1).tolist() == [2 * len(text) + 1 for text in PHONEMES[:2]]
    assert batch.ctc_lengths.tolist() == [len(text) for text in PHONEMES[:2]]
    assert batch.phoneme_ids[0, 1::2].tolist()[:6] == batch.ctc_ids[0].tolist()[:6]
    voiced = batch.log_f0 > 0
    torch.testing.assert_close(batch.log_f0[voiced], torch.full((int(voiced.sum()),), np.log(201.0)).float())
    starts = {data.example(0, np.random.default_rng(seed)).slice_start for seed in range(200)}
    assert min(starts) == 0 and max(starts) == 40 - 12


def test_unusable_utterances_are_counted(tmp_path):
    make_corpus(tmp_path, [40, 20, 90, 33], ["abc☃", "abc", "abc", "abcdefghijklmnopq"])
    data = open_data(tmp_path, max_frames=80)
    assert [u.id for u in data.utterances] == ["s/0"]
    assert data.left_out == {
        "shorter than 32 frames": 1,
        "longer than 80 frames": 1,
        "fewer frames than phonemes and blanks": 1,
    }
    assert data.unknown == {"☃": 1}
    with pytest.raises(ValueError, match="no usable utterance"):
        open_data(tmp_path, max_frames=30)


def test_data_that_does_not_fit_is_refused(tmp_path):
    make_corpus(tmp_path, [40], spec=SemanticSpec())
    with pytest.raises(ValueError, match="was made with .*mms-300m.*, the model expects .*noise"):
        open_data(tmp_path)
    (tmp_path / "features/s/0.safetensors").unlink()
    with pytest.raises(ValueError, match="not a readable feature file"):
        open_data(tmp_path)
    make_corpus(tmp_path, [40])
    save_audio(tmp_path / "0.wav", np.zeros(320 * 20, np.float32), 16000)
    with pytest.raises(ValueError, match="the wav has 20.0 frames, its features have 40"):
        open_data(tmp_path).example(0, np.random.default_rng(0))


def test_base_config_is_the_published_model():
    _, _, sections, weights, config = train.read("configs/base/ttv.yaml", [])
    assert asdict(sections.model) == asdict(TTVConfig())
    assert weights == {"ttv": {"semantic": 10, "kl": 0.1, "pitch": 1, "duration": 1, "ctc": 1}}
    assert (config.lr, config.betas, config.eps, config.weight_decay) == (2e-4, (0.8, 0.99), 1e-9, 0.01)


def test_kl_divergence():
    """One sample of it averages to the divergence of two normal distributions; padding does not count."""
    torch.manual_seed(0)
    posterior = torch.distributions.Normal(torch.tensor(0.4), torch.tensor(0.7))
    prior = torch.distributions.Normal(torch.tensor(-0.1), torch.tensor(1.3))
    shape = (1, 4, 50_000)
    z, mask = posterior.sample(shape), torch.ones(1, 50_000, dtype=torch.bool)
    mask[:, 40_000:] = False
    z[:, :, 40_000:] = 1e3

    def constant(value):
        return torch.full(shape, float(value))

    kl = kl_divergence(z, constant(np.log(0.7)), constant(-0.1), constant(np.log(1.3)), mask)
    expected = 4 * torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(kl, expected, rtol=0.02, atol=0)
