"""Published training files become a run folder that `train.py` goes on from: weights, moments, step counters.

The synthetic files state every moment as a function of the weight it belongs to, so that whether each has landed on its
parameter is seen without knowing a name.
"""

import json
import re
from pathlib import Path

import pytest
import tiny_official
import torch
from tiny_official import tiny_state
from wideband import buzz

import train
from hierspeech.official import discriminators, load_official
from hierspeech.official.__main__ import main
from hierspeech.official.components import COMPONENTS
from hierspeech.official.convert import is_constant
from hierspeech.official.fine_tuning import STARTABLE
from hierspeech.synthesizer.model import HierSpeech
from speech.audio import save_audio
from speech.checkpoint import folded_state_dict
from speech.data import Utterance, write_filelist
from speech.modules.discriminators import WaveDiscriminator
from speech.optimization import OptimizerConfig, make_optimizer, update
from speechsr import SpeechSR

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "official"
STEP = 340001.0


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    tiny_official.shrink(monkeypatch)
    monkeypatch.chdir(tmp_path)


def training_file(component: str, path: str, **changes) -> dict:
    """A training file as the published code writes it, AdamW's state counted in its order; returns the content."""
    state = tiny_state(component)
    trained = [tensor for key, tensor in state.items() if not is_constant(key)]
    moments = {
        i: {"step": torch.tensor(STEP), "exp_avg": 0.5 * w, "exp_avg_sq": w.square()}
        for i, w in enumerate(trained)
    }
    group = {"lr": 8.2e-5, "betas": [0.8, 0.99], "eps": 1e-9, "weight_decay": 0.01, "amsgrad": False}
    group |= {"foreach": None, "maximize": False, "capturable": False, "initial_lr": 1e-4}
    optimizer = {"state": moments, "param_groups": [group | {"params": list(range(len(trained)))}]}
    content = {"model": state, "iteration": 39, "optimizer": optimizer, "learning_rate": 1e-4} | changes
    torch.save(content, path)
    return content


def started(component: str, *arguments: str) -> dict:
    """What training.pt holds after `start`, and that the other files are there."""
    assert main(["start", component, "runs/mine", *arguments]) == 0
    folder = Path("runs/mine/step_00000000")
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
        "training.pt",
    }
    return torch.load(folder / "training.pt", weights_only=True)


@pytest.mark.parametrize("component", STARTABLE)
def test_every_weight_and_every_moment_finds_its_parameter(component, capsys):
    files = {"generator": component, "discriminator": STARTABLE[component]}
    contents = {role: training_file(name, f"{role}.pth") for role, name in files.items()}
    stored = started(component, "--generator", "generator.pth", "--discriminator", "discriminator.pth")
    assert (stored["format"], stored["step"], stored["ema"]) == (1, 0, None)
    assert stored["modules"].keys() == stored["optimizers"].keys() == files.keys()
    for role, name in files.items():
        module = COMPONENTS[name].model(COMPONENTS[name].config())
        assert isinstance(
            module, {"generator": (SpeechSR, HierSpeech), "discriminator": WaveDiscriminator}[role]
        )
        module.load_state_dict(stored["modules"][role])
        optimizer = make_optimizer(module, OptimizerConfig())
        optimizer.load_state_dict(stored["optimizers"][role])
        parameters = list(module.parameters())
        assert len(optimizer.state) == len(parameters) == len(contents[role]["optimizer"]["state"])
        for parameter in parameters:
            values = optimizer.state[parameter]
            assert values["step"] == STEP
            assert torch.equal(values["exp_avg"], 0.5 * parameter)
            assert torch.equal(values["exp_avg_sq"], parameter.square())
        # the weights are those of the importer, which the stored outputs of the published code vouch for
        expected = load_official(name, contents[role]["model"]).state_dict()
        folded = folded_state_dict(module)
        assert folded.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(folded[key], tensor, rtol=1e-6, atol=1e-7)
        # and weight norm is as in the file, not split again from the product
        values = {tuple(t.flatten()[:3].tolist()) for t in contents[role]["model"].values()}
        assert all(tuple(p.flatten()[:3].tolist()) in values for p in parameters)
        # AdamW goes on from there
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        assert update(optimizer, 1e-4, None)[1]
        assert {values["step"].item() for values in optimizer.state.values()} == {STEP + 1}
    output = capsys.readouterr().out
    assert "AdamW state of 340001 updates; epoch 39, last learning rate 8.2e-05" in output
    assert "train.runs_folder=runs train.run=mine" in output


def test_the_published_model_lies_beside(capsys):
    content = training_file("speechsr-48k", "G.pth")
    stored = started("speechsr-48k", "--generator", "G.pth")
    model, wav = SpeechSR.from_pretrained("runs/mine/step_00000000"), 0.1 * torch.randn(1, 1, 50)
    expected = load_official("speechsr-48k", content["model"])
    torch.testing.assert_close(model.infer(wav), expected.infer(wav))
    assert "new one with random weights" in capsys.readouterr().out
    card = Path("runs/mine/step_00000000/README.md").read_text()
    assert "340001 updates" in card and "`G.pth` (sha256 `" in card and "discriminator: new" in card
    assert stored["optimizers"]["discriminator"]["state"] == {}
    judge = WaveDiscriminator(COMPONENTS["discriminator-48k"].config())
    judge.load_state_dict(stored["modules"]["discriminator"])
    assert all(p.std() > 0 for p in judge.parameters() if p.ndim > 1 and p.numel() > p.shape[0])


def data(folder: Path) -> list[str]:
    """Options for one step of SpeechSR at the published model's size, the discriminator's tiny one, on made recordings."""
    lines = []
    for i in range(2):
        save_audio(folder / f"{i}.wav", buzz(0.3, 48000, i), 48000)
        lines.append(Utterance(str(i), f"{i}.wav", "buzz", "en-us", ""))
    write_filelist(folder / "wideband.txt", lines)
    judge = {"stft_sizes": [512, 256, 128, 64, 32, 16], "stft_channels": 2, "period_channels": [2] * 5}
    options = {f"recipe.discriminator.{key}": json.dumps(value) for key, value in judge.items()}
    options |= {
        "data.filelist": folder / "wideband.txt",
        "data.wav_root": folder,
        "data.segment_samples": 2400,
    }
    options |= {
        "train.runs_folder": "runs",
        "train.run": "mine",
        "train.device": "cpu",
        "train.num_workers": 0,
    }
    options |= {"train.batch_size": 1, "train.max_steps": 1, "train.save_every": 1, "train.validate_every": 0}
    # the published files know no wavelet discriminator
    options["losses"] = "{discriminator: {adversarial: 1}, generator: {mel: 45, adversarial: 1, features: 2}}"
    options |= {"recipe.stft_sizes": "[512]"}
    options |= {"train.tensorboard": "false", "train.precision": "fp32", "data.validation_filelist": "null"}
    return [f"{key}={value}" for key, value in options.items()]


@pytest.mark.parametrize("real", [False, True], ids=["synthetic", "real"])
def test_training_goes_on_with_the_counters_of_the_file(tmp_path, capsys, real):
    generator = Path("G.pth")
    if real and not REAL.is_dir():
        pytest.skip("the published SpeechSR checkpoints are not beside the repository")
    if real:
        generator = REAL / "speechsr48k.pth"
    else:
        training_file("speechsr-48k", "G.pth")
    training_file("discriminator-48k", "D.pth")
    content = torch.load(generator, "cpu", weights_only=True)
    first = content["optimizer"]["state"][0]["step"].item()
    assert first == (100001 if real else STEP)
    before = started("speechsr-48k", "--generator", str(generator), "--discriminator", "D.pth")
    assert train.main([str(ROOT / "configs/base/speechsr_48k.yaml"), *data(tmp_path)]) == 0
    output = capsys.readouterr()
    assert "resuming runs/mine/step_00000000" in output.out + output.err
    after = torch.load("runs/mine/step_00000001/training.pt", weights_only=True)
    assert after["step"] == 1
    for role, steps in (("generator", first), ("discriminator", STEP)):
        old, new = before["optimizers"][role]["state"], after["optimizers"][role]["state"]
        assert {values["step"].item() for values in new.values()} == {steps + 1}
        assert len(new) == len(old) == len(before["modules"][role])
        changed = [not torch.equal(new[i]["exp_avg"], old[i]["exp_avg"]) for i in old]
        assert all(changed)
        for name, weight in before["modules"][role].items():
            moved = (after["modules"][role][name] - weight).abs().max()
            assert 0 < moved < 0.01 + 1e-5 * weight.abs().max()  # a step, not a new start


def test_the_base_configurations_fit():
    """The YAML files describe the published models and discriminators, so that a start is resumed without any option."""
    for rate in (24, 48):
        _, _, sections, _, _ = train.read(ROOT / f"configs/base/speechsr_{rate}k.yaml", [])
        assert sections.model == COMPONENTS[f"speechsr-{rate}k"].config()
        judge = discriminators.config_48k() if rate == 48 else discriminators.config()
        assert sections.recipe.discriminator == judge


def broken(change) -> dict:
    """The optimizer of a 48 kHz file after `change(optimizer)`."""
    optimizer = training_file("speechsr-48k", "whole.pth")["optimizer"]
    change(optimizer)
    return optimizer


def without(*keys):
    def change(optimizer):
        target = optimizer
        for key in keys[:-1]:
            target = target[key]
        del target[keys[-1]]

    return change


def with_value(value, *keys):
    def change(optimizer):
        target = optimizer
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value(torch.zeros(3), "state", 2, "exp_avg"), r"dec.conv_pre.weight_v: exp_avg \[3\] instead of \[32, 1, 7\]"),
        (with_value(torch.full((32,), torch.nan), "state", 0, "exp_avg_sq"), "dec.conv_pre.bias: exp_avg_sq is not finite"),
        (with_value(-torch.ones(32), "state", 0, "exp_avg_sq"), "dec.conv_pre.bias: exp_avg_sq is negative"),
        (with_value(3, "state", 1, "exp_avg"), "dec.conv_pre.weight_g: exp_avg is a int, expected a tensor"),
        (with_value(torch.tensor(-1.0), "state", 1, "step"), "dec.conv_pre.weight_g: step is tensor"),
        (without("state", 1, "exp_avg_sq"), "dec.conv_pre.weight_g: expected step, exp_avg and exp_avg_sq, got step, exp_avg"),
        (without("state", 1), "the optimizer has no moments for dec.conv_pre.weight_g; --fresh-moments"),
        (without("param_groups", 0, "params", 95), "lists 95 parameters and has the state of 96, expected the 96 of the model"),
        (with_value({}, "state", 96), "lists 96 parameters and has the state of 97, expected the 96"),
        (with_value({}, "state"), "no moments at all, expected those of 96 parameters"),
        (with_value(7, "param_groups"), "not the state of a PyTorch AdamW"),
        (without("param_groups"), "not the state of a PyTorch AdamW"),
        (with_value([3], "state"), "not the state of a PyTorch AdamW"),
    ],
)  # fmt: skip
def test_a_wrong_optimizer_state_is_named(tmp_path, capsys, change, message):
    training_file("speechsr-48k", "G.pth", optimizer=broken(change))
    Path("whole.pth").unlink()
    assert main(["start", "speechsr-48k", "runs/mine", "--generator", "G.pth"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert [p.name for p in tmp_path.iterdir()] == ["G.pth"]


def test_parameters_without_moments_start_without_on_request(capsys):
    training_file("speechsr-48k", "G.pth", optimizer=broken(without("state", 1)))
    stored = started("speechsr-48k", "--generator", "G.pth", "--fresh-moments")
    assert (
        "95 parameters with the AdamW state of 340001 updates, 1 parameters without"
        in capsys.readouterr().out
    )
    assert len(stored["optimizers"]["generator"]["state"]) == 95
    optimizer = make_optimizer(SpeechSR(COMPONENTS["speechsr-48k"].config()), OptimizerConfig())
    optimizer.load_state_dict(stored["optimizers"]["generator"])
    assert all(torch.equal(v["exp_avg_sq"], 4 * v["exp_avg"].square()) for v in optimizer.state.values())


def test_files_that_are_no_start_are_refused(tmp_path, capsys):
    training_file("speechsr-48k", "G.pth")
    training_file("discriminator-24k", "D24.pth")
    torch.save(tiny_state("speechsr-48k"), "bare.pth")
    wrong = tiny_state("speechsr-48k")
    wrong["dec.conv_pre.weight_v"] = torch.zeros(32, 1, 7)
    training_file("speechsr-48k", "zeros.pth", model=wrong)
    whole = Path("G.pth").read_bytes()
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        (["new", "--generator", "bare.pth"], "bare.pth holds no optimizer, expected a training file"),
        (["new", "--generator", "zeros.pth"], "dec.conv_pre.weight_v has a row of zeros"),
        (["new", "--generator", "cut.pth"], "cut.pth cannot be read"),
        (["new", "--generator", "absent.pth"], "absent.pth: no such file"),
        (["new", "--generator", "D24.pth"], "D24.pth is no speechsr-48k checkpoint: missing: "),
        (["new", "--generator", "G.pth", "--discriminator", "D24.pth"], "D24.pth is no discriminator-48k checkpoint"),
        (["full", "--generator", "G.pth"], "full exists already"),
        (["new"], "the following arguments are required: --generator"),
    ):  # fmt: skip
        assert main(["start", "speechsr-48k", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
        assert sorted(tmp_path.rglob("*")) == before
