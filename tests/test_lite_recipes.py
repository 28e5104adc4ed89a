"""The recipes of the shipped voice through the real train.py: two steps each, on a generated pack."""

from pathlib import Path

import numpy as np
import pytest
import torch
from make_pack import make_pack

import train
from hierspeech.synthesizer.model import HierSpeech
from speech.run_folder import load_training_state
from speech.semantic.phonetic import PhoneticEncoder
from speech.training import seed_everything
from ttv.aligned import AlignedTTV

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    make_pack(folder / "pack")
    run(folder, "phonetic")
    return folder


def run(folder, name, *more):
    arguments = [f"data.pack={folder / 'pack'}", f"train.runs_folder={folder / 'runs'}", *more]
    assert train.main([f"configs/tiny/{name}.yaml", *arguments]) == 0
    return folder / "runs" / f"tiny_{name}" / "step_00000002"


def test_phonetic_encoder(workplace):
    encoder = PhoneticEncoder.from_pretrained(workplace / "runs/tiny_phonetic/step_00000002")
    assert encoder(torch.randn(2, 16000)).shape == (2, 8, 50)


def test_previews_of_the_phonetic_encoder(workplace):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(workplace / "runs/tiny_phonetic"))
    events.Reload()
    assert {"mel", "phones_said_above_heard"} <= set(events.Tags()["images"])
    assert events.Tags()["audio"] == ["recording"]


def test_the_phonetic_encoder_learns_one_batch(workplace, tmp_path):
    arguments = [
        f"data.pack={workplace / 'pack'}",
        f"train.runs_folder={tmp_path}",
        "train.batch_seconds=1.2",
    ]
    arguments += [
        "recipe.label_smoothing=0.0",
        "recipe.perturbation.masks=0",
        "train.lr=1e-2",
        "train.max_steps=80",
    ]
    _, cls, sections, losses, config = train.read("configs/tiny/phonetic.yaml", arguments)
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batch = next(recipe.batches(0))
    assert batch[0].shape == (2, 9600)  # 1.2 s in pieces of 0.6 s
    optimizer = torch.optim.AdamW(recipe.modules["encoder"].parameters(), 1e-2)
    values = []
    for step in range(80):
        torch.manual_seed(0)  # one perturbation: the tones differ in pitch only
        ((_, turn),) = recipe.turns(batch, step)
        turn["phones"].backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(turn["phones"].item())
    assert values[-1] < 0.7 * values[0]


def test_aligned_ttv(workplace):
    model = AlignedTTV.from_pretrained(run(workplace, "aligned_ttv"))
    out = model.infer(torch.randint(1, 60, (1, 9)), torch.randn(1, 8), pitch=torch.tensor([[5.0, 0.2]]))
    assert out.semantic.shape[1] == 8 and out.semantic.isfinite().all()


def test_previews_of_text_to_vec_are_pictures(workplace):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run(workplace, "aligned_ttv").parent))
    events.Reload()
    assert {"semantic", "f0", "mel", "alignment"} <= set(events.Tags()["images"])
    assert events.Tags()["audio"] == ["recording"]


def test_synthesizer(workplace):
    phonetic = workplace / "runs/tiny_phonetic/step_00000002"
    model = HierSpeech.from_pretrained(run(workplace, "synthesizer", f"recipe.semantic_encoder={phonetic}"))
    wav = model.infer(torch.randn(1, 8, 11), torch.full((1, 1, 44), 5.0), torch.randn(1, 8))
    assert wav.shape == (1, 1, 3520) and wav.isfinite().all()


def test_synthesizer_judged_by_log_mels_towards_cleaned_targets(workplace):
    from speech.packs import Pack, write_arrays

    opened = Pack(workplace / "pack")
    write_arrays(workplace / "pack", ["clean"], ((opened.read("wav", i) // 2,) for i in range(len(opened))))
    arguments = [f"recipe.semantic_encoder={workplace / 'runs/tiny_phonetic/step_00000002'}"]
    arguments += [
        "recipe.discriminator={stft_sizes: [], periods: [], mel_sizes: [256, 512], mel_channels: 2}"
    ]
    arguments += [
        "data.target=clean",
        "data.target_share=0.6",
        "recipe.mel_gain=16.0",
        f"data.pack={workplace / 'pack'}",
    ]
    _, cls, sections, losses, config = train.read(
        "configs/tiny/synthesizer.yaml",
        [*arguments, "losses.generator.magnitude=8.0", "recipe.adversarial_from=0"],
    )
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batch = next(recipe.batches(0))
    turns = dict(recipe.turns(batch, 0))
    assert set(turns["generator"]) == {"mel", "magnitude", "contrastive", "adversarial", "features"}
    assert all(float(value.detach()) > 0 for value in turns["generator"].values())


def test_discriminators_learn_alone_at_first_where_asked(workplace, capsys):
    arguments = [
        f"recipe.semantic_encoder={workplace / 'runs/tiny_phonetic/step_00000002'}",
        f"data.pack={workplace / 'pack'}",
        f"train.runs_folder={workplace / 'runs'}",
        "train.run=alone",
        "recipe.generator_from=2",
    ]
    assert train.main(["configs/tiny/synthesizer.yaml", *arguments]) == 2
    assert "generator_from 2 and adversarial_from 1: expected one of them 0" in capsys.readouterr().err
    arguments.append("recipe.adversarial_from=0")
    _, cls, sections, losses, config = train.read("configs/tiny/synthesizer.yaml", arguments)
    seed_everything(config.seed)  # the weights that the runs below start with
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batch = next(recipe.batches(0))
    assert [name for name, _ in recipe.turns(batch, 1)] == ["discriminator"]
    assert [name for name, _ in recipe.turns(batch, 2)] == ["discriminator", "generator"]
    states = []
    for steps in (2, 3):
        assert train.main(["configs/tiny/synthesizer.yaml", *arguments, f"train.max_steps={steps}"]) == 0
        folder = workplace / f"runs/alone/step_{steps:08d}"
        states.append(load_training_state(folder, "cpu")["modules"])
    first, later = states
    start = {name: module.state_dict() for name, module in recipe.modules.items()}

    def moved(name, before, after):
        return any(not torch.equal(before[name][key], after[name][key]) for key in before[name])

    assert moved("discriminator", start, first) and not moved("generator", start, first)
    assert moved("generator", first, later)


def test_text_to_vec_is_heard_through_a_trained_synthesizer(workplace, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [
        "configs/tiny/aligned_ttv.yaml",
        f"data.pack={workplace / 'pack'}",
        f"train.runs_folder={tmp_path}",
    ]
    synthesizer = workplace / "runs/tiny_synthesizer/step_00000002"
    assert train.main([*arguments, "train.run=heard", f"recipe.preview_synthesizer={synthesizer}"]) == 0
    events = EventAccumulator(str(tmp_path / "heard"))
    events.Reload()
    assert set(events.Tags()["audio"]) == {"recording", "reconstruction", "synthesis"}
    other = ROOT / "hierspeech/voices/lite"
    assert train.main([*arguments, "train.run=none", f"recipe.preview_synthesizer={other}"]) == 2
    assert "recipe.preview_synthesizer" in capsys.readouterr().err


def test_a_pack_of_another_encoder_is_refused(workplace, capsys):
    arguments = [
        "model.semantic.layer=2",
        f"data.pack={workplace / 'pack'}",
        f"train.runs_folder={workplace / 'no'}",
    ]
    assert train.main(["configs/tiny/aligned_ttv.yaml", *arguments]) == 2
    assert "semantic features of" in capsys.readouterr().err


def test_the_synthesizer_learns_one_batch(workplace):
    """Every loss of the recipe falls on one batch; the adversarial one, which two sides pull at, stays where it can."""
    phonetic = workplace / "runs/tiny_phonetic/step_00000002"
    arguments = [
        f"recipe.semantic_encoder={phonetic}",
        f"data.pack={workplace / 'pack'}",
        "train.batch_size=4",
    ]
    arguments += ["recipe.adversarial_from=40", "data.predicted_rate=0.0", "data.seconds=0.3"]
    arguments += [
        "losses.generator.contrastive=5.0",
        "losses.generator.adversarial=6.0",
        "losses.generator.features=10.0",
        "recipe.adversarial_gain=20.0",
    ]
    _, cls, sections, losses, config = train.read("configs/tiny/synthesizer.yaml", arguments)
    torch.manual_seed(0)
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batch = next(recipe.batches(0))
    optimizers = {name: torch.optim.AdamW(m.parameters(), 5e-3) for name, m in recipe.modules.items()}
    values = []
    # by the mel alone, then judges against a generator that stands still, then the other way round
    for step, learner in enumerate(["generator"] * 40 + ["discriminator"] * 30 + ["generator"] * 40):
        torch.manual_seed(0)  # one perturbation, one piece for the discriminators
        values.append({})
        for module, turn in recipe.turns(batch, step):
            sum(losses[module][name] * value for name, value in turn.items()).backward()
            if module == learner:
                optimizers[module].step()
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            values[-1] |= {f"{module}/{name}": value.item() for name, value in turn.items()}

    def fell_to(name: str, first: int, last: int) -> float:
        return values[last][name] / values[first][name]

    assert fell_to("generator/mel", 0, 109) < 0.7
    # speakers come twice in the batch, so ln 2 is the least
    assert fell_to("generator/contrastive", 0, 109) < 0.8
    assert values[39]["generator/adversarial"] == 0 and "discriminator/adversarial" not in values[39]
    assert fell_to("discriminator/adversarial", 40, 69) < 0.9
    assert fell_to("generator/adversarial", 70, 109) < 0.9
    assert fell_to("generator/features", 70, 109) < 0.9


def test_a_speed_changes_pitch_and_target_alike(workplace):
    from hierspeech.synthesizer.data import DataConfig, Pieces
    from speech.f0 import extract_f0
    from speech.training import TrainConfig

    data = DataConfig(
        str(workplace / "pack"), seconds=0.4, context_seconds=0.4, prompt_seconds=0.5, speeds=[1.25]
    )
    pieces = Pieces(data, TrainConfig(batch_size=1), 8)
    # the second half of the generated utterances is a voiced tone
    examples = [pieces.example(1, np.random.default_rng(seed)) for seed in range(20)]
    voiced = next(e for e in examples if (e["f0"] > 0).all())
    tracked = extract_f0(voiced["wav"][0])
    assert np.median(tracked[tracked > 0]) == pytest.approx(np.median(voiced["f0"]), rel=0.02)
    assert np.median(voiced["f0"]) == pytest.approx(140 * 1.25, rel=0.01)
