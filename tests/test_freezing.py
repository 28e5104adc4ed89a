"""Freezing parts of a model, and starting from a part of a voice, in the real loop."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_recipe import LOSSES, GanRecipe

from speech.freezing import freeze, freeze_all_but, set_training
from speech.training import TrainConfig, fit

CONFIG = TrainConfig(
    run="toy", batch_size=4, max_steps=3, num_workers=0, device="cpu", precision="no", log_every=1
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))


def test_frozen_parameters_have_no_place_in_the_optimizer_and_do_not_change(tmp_path):
    config = replace(CONFIG, runs_folder=str(tmp_path), freeze=["inner"])
    recipe = GanRecipe(config)
    before = {name: p.clone() for name, p in recipe.modules["generator"].named_parameters()}
    fit(recipe, config, LOSSES, {})
    for name, parameter in recipe.modules["generator"].named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("inner."), name
    state = torch.load(tmp_path / "toy/step_00000003/training.pt", weights_only=True)
    assert len(state["optimizers"]["generator"]["state"]) == 2  # outer: weight and bias
    # it goes on as it was, and not where something else is frozen
    longer = replace(config, max_steps=4)
    assert fit(GanRecipe(longer), longer, LOSSES, {}) == 4
    other = replace(config, max_steps=5, freeze=[])
    with pytest.raises(ValueError, match="was trained with other frozen parts of generator"):
        fit(GanRecipe(other), other, LOSSES, {})


def test_frozen_parts_stay_in_eval_mode():
    net = Net()
    freeze(net, ["body"])
    set_training(net)
    assert [net.training, net.body.training, net.head.training] == [True, False, True]
    assert not any(part.training for part in net.body) and all(part.training for part in net.head)
    statistics = net.body[1].running_mean.clone()
    assert torch.equal(net.body(torch.ones(2, 3)), net.body(torch.ones(2, 3)))
    assert torch.equal(net.body[1].running_mean, statistics)


def test_prefixes_are_whole_names():
    net = Net()
    freeze(net, ["body.0", "head.0.bias"])
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {"body.0.weight", "body.0.bias", "head.0.bias"}
    for wrong in ("bod", "", "body.2"):  # the last one exists, but has no parameters
        with pytest.raises(ValueError, match=f"Net has no part '{wrong}', expected one of body, head"):
            freeze(Net(), [wrong])


def test_something_has_to_be_left_to_train():
    with pytest.raises(ValueError, match="leave nothing of Net to train"):
        freeze(Net(), ["body", "head"])
    net = Net()
    freeze_all_but(net, ["head"])
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad} == {"head"}


def test_a_part_to_train_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="Net has no part heed to train, expected some of body, head"):
        freeze_all_but(Net(), ["head", "heed"])
