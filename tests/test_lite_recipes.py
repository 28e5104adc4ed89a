"""The recipes of the shipped voice through the real train.py: two steps each, on a generated pack."""

import numpy as np
import pytest
import torch
from make_pack import make_pack

import train
from hierspeech.synthesizer.model import HierSpeech
from speech.semantic.phonetic import PhoneticEncoder
from ttv.aligned import AlignedTTV


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


def test_a_pack_of_another_encoder_is_refused(workplace, capsys):
    arguments = [
        "model.semantic.layer=2",
        f"data.pack={workplace / 'pack'}",
        f"train.runs_folder={workplace / 'no'}",
    ]
    assert train.main(["configs/tiny/aligned_ttv.yaml", *arguments]) == 2
    assert "semantic features of" in capsys.readouterr().err


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
