"""Training of the text-to-vec model: the utterances it leaves out, its losses, its previews, and two real steps."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from speech.checkpoint import load_tensors
from speech.freezing import set_training
from speech.losses import kl_divergence
from speech.packs import Pack, write_arrays, write_utterances
from speech.semantic.encoder import SemanticSpec
from speech.text.tokenizer import get_tokenizer
from ttv import TTV
from ttv.data import DataConfig, TTVData, collate
from ttv.model import TTVConfig

CONFIG, PITCH_CONFIG = "configs/tiny/ttv.yaml", "configs/base/ttv_pitch.yaml"
SPEC = SemanticSpec(name="noise", layer=0, dim=12)
PHONEMES = ["həlˈoʊ", "wˈɜːld", "tɛst!", "a"]


def make_pack(
    folder: Path,
    frames: list[int],
    phonemes: list[str] = PHONEMES,
    spec: SemanticSpec = SPEC,
    dev: int = 1,
    silent: tuple[int, ...] = (),
    short_wav: tuple[int, ...] = (),
) -> Path:
    """A pack of noise with noise features; the last `dev` utterances are the dev split."""
    rng = np.random.default_rng(0)
    rows, utterances = [], []
    for i, (n, text) in enumerate(zip(frames, phonemes, strict=False)):
        wav = 3000 * rng.standard_normal(320 * (n - 20 if i in short_wav else n) - 100)
        f0 = np.where(np.arange(4 * n) % 40 < 12, 0, 200) * (i not in silent)
        # smooth and of two dimensions, so that there is something to learn
        angles = np.arange(n)[:, None] * rng.uniform(0.05, 0.3, (1, 2)) + rng.uniform(0, 6, (1, 2))
        semantic = np.sin(angles) @ rng.standard_normal((2, spec.dim)) + 0.1 * rng.standard_normal(
            (n, spec.dim)
        )
        letters = np.frombuffer(text.encode(), np.uint8)
        rows.append((wav.astype(np.int16), f0.astype(np.float16), semantic.astype(np.float16), letters))
        split = "dev" if i >= len(frames) - dev else "train"
        utterances.append(
            {"id": f"s/{i}", "speaker": "s", "language": "en-us", "text": "hello", "split": split}
        )
    write_utterances(folder, utterances)
    write_arrays(folder, ["wav", "f0", "semantic", "phonemes"], rows)
    (folder / "semantic.spec.json").write_text(json.dumps(asdict(spec)))
    return folder


def overrides(folder: Path) -> list[str]:
    return [f"data.pack={folder}", f"train.runs_folder={folder}/runs"]


def open_data(folder: Path, splits=("train", "dev"), **options) -> TTVData:
    _, _, sections, _, _ = train.read(CONFIG, [])
    config = DataConfig(pack=str(folder), **options)
    return TTVData(Pack(folder), splits, config, sections.model, slice_frames=12)


def open_recipe(folder: Path, *more: str):
    _, recipe_class, sections, weights, config = train.read(CONFIG, [*overrides(folder), *more])
    torch.manual_seed(0)
    return recipe_class(sections.model, sections.data, sections.recipe, weights, config), weights, config


def test_two_steps_through_the_script(tmp_path):
    make_pack(tmp_path, [40, 55, 33, 47])
    assert train.main([CONFIG, *overrides(tmp_path)]) == 0
    run = tmp_path / "runs" / "ttv"
    model = TTV.from_pretrained(run / "step_00000002")
    out = model.infer(torch.randint(0, 178, (1, 9)), torch.randn(1, 8))
    assert out.semantic.isfinite().all()
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    pictures = {"mel", "alignment", "semantic", "f0", "f0_from_text"}
    assert pictures <= set(events.Tags()["images"]) and events.Tags()["audio"] == ["recording"]
    sizes = {name: (events.Images(name)[-1].height, events.Images(name)[-1].width) for name in pictures}
    # the dev utterance has 47 frames and the phoneme "a", interspersed with blanks
    assert sizes["alignment"] == (3, 47) and sizes["mel"] == (20, 47) and sizes["semantic"] == (24, 47)
    assert sizes["f0"] == sizes["f0_from_text"] == (96, 188)


def test_losses_of_a_step(tmp_path):
    recipe, weights, _ = open_recipe(make_pack(tmp_path, [40, 55, 33, 47]))
    batch = next(recipe.batches(0))
    assert recipe.audio_seconds(batch) == pytest.approx(batch.frame_mask.sum().item() * 0.02)
    ((name, losses),) = recipe.turns(batch, 0)
    assert name == "ttv" and losses.keys() == weights["ttv"].keys()
    assert all(value.isfinite() and value.ndim == 0 for value in losses.values())
    with torch.no_grad():
        figures = recipe.validate()
    assert figures.keys() == losses.keys() | {"pitch_from_text"}


def test_without_a_dev_split_there_is_nothing_to_validate(tmp_path):
    recipe, _, _ = open_recipe(make_pack(tmp_path, [40, 55], dev=0))
    assert len(recipe.data) == 2 and recipe.validate() == {}
    recipe.preview(None, 0)


def overfit(
    recipe, module, weights: dict[str, float], steps: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Trains `module` on one batch with one draw of noise; by how much each loss fell, and from what."""
    batch = next(recipe.batches(0))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, betas=(0.8, 0.99))
    values = []
    for step in range(steps):
        torch.manual_seed(0)
        ((_, losses),) = recipe.turns(batch, step)
        optimizer.zero_grad()
        sum(weight * losses[name] for name, weight in weights.items()).backward()
        optimizer.step()
        values.append({name: loss.item() for name, loss in losses.items()})
    return {name: values[0][name] - values[-1][name] for name in weights}, values[0]


def test_every_loss_falls_on_one_batch(tmp_path):
    make_pack(tmp_path, [40, 55, 33, 47])
    recipe, weights, _ = open_recipe(tmp_path, "train.batch_size=2", "model.text.dropout=0.0")
    fallen, first = overfit(recipe, recipe.modules["ttv"], weights["ttv"], 60)
    for name in ("semantic", "kl", "pitch", "ctc"):
        assert fallen[name] > 0.4 * first[name], (name, fallen, first)


def test_the_duration_loss_falls_on_one_batch(tmp_path):
    """Alone, since its targets move as long as the rest learns to align; it reads detached values anyway."""
    recipe, _, _ = open_recipe(make_pack(tmp_path, [40, 55, 33, 47]), "train.batch_size=2")
    fallen, _ = overfit(recipe, recipe.modules["ttv"].duration_predictor, {"duration": 1.0}, 25)
    assert fallen["duration"] > 2.0, fallen  # nats per phoneme


def init_folder(folder: Path) -> Path:
    """A tiny TTV as `init` takes it."""
    _, _, sections, _, _ = train.read(CONFIG, [])
    torch.manual_seed(3)
    TTV(sections.model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("source", ["recording", "reconstruction", "text"])
def test_the_pitch_phase_changes_the_pitch_predictor_only(tmp_path, source):
    make_pack(tmp_path, [40, 55, 33, 47])
    start = init_folder(tmp_path / "start")
    small = ["recipe.slice_frames=12", "train.batch_size=3", "train.num_workers=0", "train.device=cpu"]
    arguments = [*overrides(tmp_path), f"init={start}", f"recipe.pitch_from={source}", *small]
    assert train.main([PITCH_CONFIG, *arguments, "train.max_steps=2", "train.validate_every=1"]) == 0
    before, after = (load_tensors(folder) for folder in (start, tmp_path / "runs/ttv_pitch/step_00000002"))
    changed = {name for name in before if not torch.allclose(before[name], after[name], rtol=0, atol=1e-6)}
    assert changed == {name for name in before if name.startswith("pitch_predictor.")}
    state = torch.load(tmp_path / "runs/ttv_pitch/step_00000002/training.pt", weights_only=True)
    trained = [name for name in state["modules"]["ttv"] if name.startswith("pitch_predictor.")]
    assert len(state["optimizers"]["ttv"]["state"]) == len(trained)


def test_the_pitch_phase_learns_what_the_text_gives(tmp_path):
    """On one batch; the frozen parts, dropout among them, stay as they are when the model speaks."""
    make_pack(tmp_path, [40, 55, 33, 47])
    _, cls, sections, weights, config = train.read(
        PITCH_CONFIG,
        [
            *overrides(tmp_path),
            f"init={init_folder(tmp_path / 'start')}",
            "train.batch_size=2",
            "train.num_workers=0",
        ],
    )
    recipe = cls(sections.model, sections.data, sections.recipe, weights, config)
    module = recipe.modules["ttv"]
    set_training(module)
    assert not module.text_encoder.training and module.pitch_predictor.training
    fallen, first = overfit(recipe, module.pitch_predictor, weights["ttv"], 40)
    assert fallen["pitch"] > 0.4 * first["pitch"]


def test_the_pitch_phase_needs_a_trained_model(tmp_path, capsys):
    make_pack(tmp_path, [40, 55])
    assert train.main([CONFIG, *overrides(tmp_path), "recipe.phase=pitch"]) == 2
    assert "recipe.phase pitch goes on from a trained model: expected init=FOLDER" in capsys.readouterr().err
    assert train.main([PITCH_CONFIG, *overrides(tmp_path)]) == 2
    assert "model: init takes the model section from a trained model" in capsys.readouterr().err


def test_batches_are_a_function_of_the_step(tmp_path):
    recipe, _, _ = open_recipe(make_pack(tmp_path, [40, 55, 33, 47]))
    batches = recipe.batches(0)
    next(batches)
    continued, resumed = next(batches), next(recipe.batches(1))
    for name, value in vars(continued).items():
        assert value is getattr(resumed, name) is None or torch.equal(value, getattr(resumed, name)), name


def test_batches_by_seconds(tmp_path):
    recipe, _, _ = open_recipe(make_pack(tmp_path, [40, 55, 33, 47]), "train.batch_seconds=1.7")
    for batch, _ in zip(recipe.batches(0), range(4), strict=False):
        assert batch.frame_mask.numel() <= 1.7 * 50


def test_examples_and_their_batch(tmp_path):
    data = open_data(make_pack(tmp_path, [40, 55], dev=0))
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


def test_unusable_utterances_are_counted_and_named(tmp_path, capsys):
    phonemes = ["abc☃", "abc", "abc", "abcdefghijklmnopq", "", "abc", "abc", "abcd", "abcde"]
    frames = [40, 20, 90, 33, 40, 40, 40, 40, 40]
    make_pack(tmp_path, frames, phonemes, dev=0, silent=(5,), short_wav=(6,))
    data = open_data(tmp_path, max_frames=80, max_phonemes=4)
    assert [data.example(i, np.random.default_rng(0)).id for i in range(len(data))] == ["s/0", "s/7"]
    assert data.left_out == {
        "shorter than 32 frames": ["s/1"],
        "longer than 80 frames": ["s/2"],
        "with more than 4 phonemes": ["s/3", "s/8"],
        "without phonemes": ["s/4"],
        "never voiced": ["s/5"],
        "whose recording, F0 and features differ in length": ["s/6"],
    }
    assert data.unknown == {"☃": 1}
    assert open_data(tmp_path).left_out["with fewer frames than phonemes and blanks"] == ["s/3"]
    recipe, _, _ = open_recipe(tmp_path, "data.max_phonemes=4")
    printed = capsys.readouterr().out
    assert "left out 2 with more than 4 phonemes (s/3, s/8)" in printed and "'☃': 1" in printed


def test_a_pack_without_a_usable_utterance_is_refused(tmp_path, capsys):
    make_pack(tmp_path, [20, 25], dev=0)
    assert train.main([CONFIG, *overrides(tmp_path)]) == 2
    assert (
        "nothing to train on: 0 utterances; left out 2 shorter than 32 frames (s/0, s/1)"
        in capsys.readouterr().err
    )


def test_features_of_another_encoder_are_refused(tmp_path):
    make_pack(tmp_path, [40], spec=SemanticSpec("mms-300m", 7, 12))
    with pytest.raises(ValueError, match="holds semantic features of .*mms-300m.*, the model wants .*noise"):
        open_data(tmp_path)


def test_a_pack_without_phonemes_is_read_by_the_front_end(tmp_path):
    make_pack(tmp_path, [40, 60])
    with_array = open_data(tmp_path).phoneme_ids
    (tmp_path / "phonemes.json").unlink()
    data = open_data(tmp_path)
    assert data.phoneme_ids[0] == get_tokenizer("ipa178").encode(PHONEMES[0]).ids  # "hello"
    assert data.phoneme_ids[0] == with_array[0] and data.phoneme_ids[1] != with_array[1]


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
