"""The recipe of AlignedTTV: each loss falls on one batch; balanced sampling reaches the batches."""

import json

import numpy as np
import torch
from make_pack import make_pack

import train
from speech.packs import Pack, write_arrays
from speech.text import get_tokenizer, text_to_phonemes
from ttv.aligned_features import add_predicted
from ttv.aligned_recipe import RecipeConfig


def open_recipe(folder, *more):
    arguments = [f"data.pack={folder}", f"train.runs_folder={folder}/runs", *more]
    _, cls, sections, losses, config = train.read("configs/tiny/aligned_ttv.yaml", arguments)
    torch.manual_seed(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses


def test_every_loss_falls_on_one_batch(tmp_path):
    recipe, losses = open_recipe(make_pack(tmp_path), "model.dropout=0.0", "data.max_seconds=2.0")
    batch = next(recipe.batches(0))
    optimizer = torch.optim.AdamW(recipe.modules["ttv"].parameters(), 1e-2)
    values = []
    for step in range(60):
        ((name, turn),) = recipe.turns(batch, step)
        optimizer.zero_grad()
        sum(losses[name][key] * value for key, value in turn.items()).backward()
        optimizer.step()
        values.append({key: value.item() for key, value in turn.items()})
    first, last = values[0], values[-1]
    assert first.keys() == losses["ttv"].keys()
    limits = {
        "durations": 0.2,
        "semantic": 0.9,
        "voiced": 0.5,
    }  # the features are noise: they can only be learnt by heart
    for key, limit in limits.items():
        assert last[key] < limit * first[key], (key, first, last)
    assert last["contour"] < 0.5 * first["contour"]
    assert last["melody"] < 0.5 * first["melody"]


def test_the_melody_alone_is_trained_where_only_it_is_asked_for(tmp_path):
    recipe, _ = open_recipe(make_pack(tmp_path), "recipe.only=[melody]")
    model = recipe.modules["ttv"]
    ((_, turn),) = recipe.turns(next(recipe.batches(0)), 0)
    with torch.no_grad():
        assert turn.keys() == {"melody"} == recipe.validate().keys()
    turn["melody"].backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached and all(name.startswith("melody.") for name in reached)


def test_a_melody_that_is_not_weighed_stays_as_it_is(tmp_path):
    recipe, losses = open_recipe(make_pack(tmp_path))
    del losses["ttv"]["melody"]
    model = recipe.modules["ttv"]
    recipe = type(recipe)(model.config, recipe.data, RecipeConfig(), losses, recipe.train)
    ((_, turn),) = recipe.turns(next(recipe.batches(0)), 0)
    assert turn.keys() == losses["ttv"].keys()
    frozen = {n for n, p in recipe.modules["ttv"].named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith("melody.")}


def test_a_model_without_a_melody_loses_nothing_by_it(tmp_path):
    recipe, losses = open_recipe(make_pack(tmp_path), "model.melody_width=0")
    ((_, turn),) = recipe.turns(next(recipe.batches(0)), 0)
    assert turn.keys() == losses["ttv"].keys() and turn["melody"] == 0 and turn["contour"] > 0


def test_a_rare_language_is_drawn_as_often_as_the_configuration_says(tmp_path):
    make_pack(tmp_path, n_utterances=8)
    path = tmp_path / "utterances.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["language"] = "pl"  # one of six
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shares = {}
    for balance in (1.0, 0.0):
        more = ["model.languages=[en-us, pl]", f"data.language_balance={balance}", "train.batch_size=40"]
        recipe, _ = open_recipe(tmp_path, *more)
        languages = [next(recipe.batches(step)).language_ids[:, 0] for step in range(6)]
        shares[balance] = float(np.mean(torch.cat(languages).numpy()))
    assert 0.1 < shares[1.0] < 0.24 and 0.4 < shares[0.0] < 0.6, shares


def test_each_aligned_token_has_its_language_in_training_and_in_what_is_predicted_for_the_pack(tmp_path):
    make_pack(tmp_path)
    path = tmp_path / "utterances.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["text"], lines[1]["language"] = "cat <pl>kot", "pl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pack = Pack(tmp_path)
    ids = [np.array(pack.read("token_ids", i)) for i in range(6)]
    ids[0] = np.array(get_tokenizer("phones").encode(text_to_phonemes("cat <pl>kot")).ids, np.int16)
    ends = [np.linspace(160 / len(i), 160, len(i)).astype(np.int32) for i in ids]
    write_arrays(tmp_path, ["token_ids", "token_ends"], zip(ids, ends, strict=True))
    recipe, _ = open_recipe(tmp_path, "model.languages=[en-us, pl]", "data.max_seconds=2.0")
    mixed, polish, english = (
        recipe.example(i, np.random.default_rng(0))["language_ids"].tolist() for i in range(3)
    )
    assert mixed == [0] * 4 + [1] * 5  # ^ k ae t, then the boundary, k o t and the end
    assert set(polish) == {1} and set(english) == {0}
    model = recipe.modules["ttv"].eval()
    predicted = []
    for _ in range(2):
        assert add_predicted(tmp_path, model)
        assert not add_predicted(tmp_path, model)  # nothing has changed since
        predicted.append([np.array(Pack(tmp_path).read("predicted", i)) for i in range(3)])
        model.language_embedding.weight.data[1].normal_()
    for before, after, changes in zip(*predicted, [True, True, False], strict=True):
        assert np.array_equal(before, after) != changes
    write_arrays(tmp_path, ["token_ends"], [(e + 1,) for e in ends])
    assert add_predicted(tmp_path, model)
