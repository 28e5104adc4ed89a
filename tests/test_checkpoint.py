"""Published models: folded storage, exact round trips, and refusals that name what is wrong."""

import json
from dataclasses import dataclass, field

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from speech.checkpoint import Pretrained, config_differences, folded_state_dict
from speech.modules.weight_norm import weight_norm


@dataclass
class Audio:
    n_mels: int = 6


@dataclass
class ToyConfig:
    audio: Audio = field(default_factory=Audio)
    kernels: tuple[int, ...] = (3, 5)


class Toy(nn.Module, Pretrained):
    Config = ToyConfig

    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config = config
        self.convs = nn.ModuleList(weight_norm(nn.Conv1d(config.audio.n_mels, 4, k)) for k in config.kernels)
        self.up = weight_norm(nn.ConvTranspose1d(4, 2, 4))
        self.norm = nn.BatchNorm1d(2)
        self.null = nn.Parameter(torch.randn(2))
        self.register_buffer("window", torch.hann_window(4), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = sum(conv(x)[..., :10] for conv in self.convs)
        return self.norm(self.up(x)) * self.window[1] + self.null[:, None]


class Other(Toy):
    pass


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    model = Toy(ToyConfig(Audio(5)))
    with torch.no_grad():  # norms that differ from the initial ones, as after training
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model(torch.randn(3, 5, 20))  # moves the running statistics
    return model.eval()


X = torch.linspace(-1, 1, 100).view(1, 5, 20)


def test_stored_weights_are_folded_and_loading_keeps_the_function(toy, tmp_path):
    toy.save_pretrained(tmp_path, card="# Toy\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    stored = load_file(tmp_path / "model.safetensors")
    assert not [name for name in stored if "parametrizations" in name] and "convs.0.weight" in stored
    assert json.loads((tmp_path / "config.json").read_text())["model"] == "Toy"
    loaded = Toy.from_pretrained(tmp_path)
    assert not loaded.training and not any(is_parametrized(module) for module in loaded.modules())
    assert loaded.config == toy.config
    assert torch.equal(loaded(X), toy(X))
    assert toy.convs[0].weight is not None and is_parametrized(toy.convs[0])  # saving leaves the model alone


def test_trainable_loading_restores_weight_norm(toy, tmp_path):
    toy.save_pretrained(tmp_path)
    loaded = Toy.from_pretrained(tmp_path, trainable=True)
    assert loaded.training and is_parametrized(loaded.up)
    assert loaded.state_dict().keys() == toy.state_dict().keys()
    torch.testing.assert_close(loaded.eval()(X), toy(X), rtol=1e-6, atol=1e-6)
    loaded(X).sum().backward()
    assert loaded.up.parametrizations.weight.original0.grad is not None


def test_loading_changes_no_later_initialisation(toy, tmp_path):
    toy.save_pretrained(tmp_path)
    torch.manual_seed(3)
    before = nn.Linear(3, 3).weight
    Toy.from_pretrained(tmp_path)
    torch.manual_seed(3)
    assert torch.equal(nn.Linear(3, 3).weight, before)


def test_half_precision_storage(toy, tmp_path):
    toy.save_pretrained(tmp_path, dtype=torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["convs.0.weight"].dtype == torch.float16
    assert stored["norm.num_batches_tracked"].dtype == torch.int64
    loaded = Toy.from_pretrained(tmp_path)
    assert loaded.null.dtype == torch.float32
    torch.testing.assert_close(loaded(X), toy(X), rtol=1e-2, atol=1e-2)
    assert Toy.from_pretrained(tmp_path, dtype=torch.float16).null.dtype == torch.float16


def test_folded_state_dict_of_a_bare_layer():
    layer = weight_norm(nn.Linear(3, 2))
    folded = folded_state_dict(layer)
    assert sorted(folded) == ["bias", "weight"] and torch.equal(folded["weight"], layer.weight)


def test_differences_of_configs_are_named():
    ours, theirs = ToyConfig(Audio(5), kernels=[3, 5]), ToyConfig(Audio(6))
    assert config_differences(ours, theirs) == ["audio.n_mels: 5, expected 6"]
    assert config_differences(theirs, ToyConfig()) == []


def _damage(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _change_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: _damage(f, lambda t: t.pop("up.weight")), r"1 tensors missing \['up.weight'\]"),
        (lambda f: _damage(f, lambda t: t.update(more=torch.ones(1))), r"1 left over \['more'\]"),
        (
            lambda f: _damage(f, lambda t: t.update(null=torch.ones(3))),
            r"null has shape \[3\], expected \[2\]",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"rubbish"), "model.safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: _change_config(f, model="Elsewhere"), "holds a Elsewhere, not a Toy"),
        (lambda f: _change_config(f, format=99), "format 99"),
        (lambda f: _change_config(f, depth=3), r"unknown keys \['depth'\]"),
    ],
)
def test_wrong_folders_are_refused(toy, tmp_path, damage, message):
    toy.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        Toy.from_pretrained(tmp_path)


def test_another_class_and_missing_folders_are_refused(toy, tmp_path):
    toy.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a Toy, not a Other"):
        Other.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        Toy.from_pretrained(tmp_path / "nowhere")


def test_matrices_in_8_bits_are_near_and_half_as_large(tmp_path):
    torch.manual_seed(0)
    wide = Wide(WideConfig())
    with torch.no_grad():
        wide.layer.weight[3] *= 100  # rows of their own scale each
        wide.layer.weight[5] = 0
    wide.save_pretrained(tmp_path / "eight", dtype=torch.int8)
    wide.save_pretrained(tmp_path / "sixteen", dtype=torch.float16)
    stored = load_file(tmp_path / "eight" / "model.safetensors")
    assert stored["layer.weight"].dtype == torch.int8 and stored["conv.weight"].dtype == torch.int8
    assert stored["layer.bias"].dtype == stored["small.weight"].dtype == torch.float16
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("eight", "sixteen")]
    assert sizes[0] < 0.56 * sizes[1]
    again = Wide.from_pretrained(tmp_path / "eight")
    for name in ("layer", "conv"):
        weight, own = getattr(again, name).weight, getattr(wide, name).weight
        step = own.flatten(1).abs().amax(1) / 127
        error = (weight - own).flatten(1).abs().amax(1)
        assert weight.dtype == torch.float32 and bool((error <= 0.5001 * step + 1e-12).all())
        assert bool((error[step > 0] > 0).any())  # it is stored in 8 bits, or nothing would be lost
    assert torch.equal(again.layer.bias, wide.layer.bias.half().float())


@dataclass
class WideConfig:
    channels: int = 96


class Wide(nn.Module, Pretrained):
    """A linear layer, a convolution, and one too small to be worth it."""

    Config = WideConfig

    def __init__(self, config: WideConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.channels, config.channels)
        self.conv = nn.Conv1d(config.channels, config.channels, 3)
        self.small = nn.Linear(config.channels, 2)
