"""What a run starts with besides published weights: modules from files; and what it falls back to on this CPU."""

import pytest
import torch
from test_training import config, make, run, state_of
from toy_recipe import PlainRecipe

from hierspeech.pipelines.extract import main as extract
from speech.precision import has_bf16
from speech.run_folder import step_folders


@pytest.fixture
def trained(tmp_path):
    """A step folder of a run with a generator and a discriminator."""
    run(make(config(tmp_path / "a")))
    return step_folders(tmp_path / "a/toy")[-1]


def test_discriminators_of_one_run_start_another(trained, tmp_path, capsys):
    out = tmp_path / "judges.safetensors"
    assert extract([str(trained), "discriminator", str(out)]) == 0
    assert f"train.init_modules={{discriminator: {out}}}" in capsys.readouterr().out
    theirs = state_of(tmp_path / "a/toy")["modules"]["discriminator"]
    settings = dict(init_modules={"discriminator": str(out)}, max_steps=1, lr=1e-30)
    recipe = make(config(tmp_path / "b", **settings), seed=3)
    fresh = {key: value.clone() for key, value in recipe.modules["discriminator"].state_dict().items()}
    run(recipe)
    for key, value in recipe.modules["discriminator"].state_dict().items():
        assert torch.equal(value, theirs[key].half().float())
    assert any(not torch.equal(fresh[key], theirs[key].half().float()) for key in fresh)


def test_a_resumed_run_keeps_its_own_modules(trained, tmp_path):
    out = tmp_path / "judges.safetensors"
    assert extract([str(trained), "discriminator", str(out)]) == 0
    run(make(config(tmp_path / "b", max_steps=2), seed=3))
    before = state_of(tmp_path / "b/toy")["modules"]["discriminator"]
    run(
        make(
            config(tmp_path / "b", max_steps=3, lr=1e-30, init_modules={"discriminator": str(out)}),
            seed=3,
        )
    )
    after = state_of(tmp_path / "b/toy")["modules"]["discriminator"]
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_files_of_other_modules_are_refused_by_name(trained, tmp_path, capsys):
    out = tmp_path / "generator.safetensors"
    assert extract([str(trained), "generator", str(out)]) == 0
    for files, message in (
        ({"discriminator": str(out)}, "is of another discriminator"),
        ({"judge": str(out)}, "no module 'judge'; the recipe has"),
        ({"discriminator": str(tmp_path / "none.safetensors")}, "cannot read"),
    ):
        with pytest.raises(ValueError, match=f"train.init_modules: .*{message}"):
            run(make(config(tmp_path / "b", init_modules=files)))
    capsys.readouterr()
    assert extract([str(trained), "judge", str(out)]) == 2
    assert "holds the modules discriminator, generator, expected 'judge'" in capsys.readouterr().err
    assert extract([str(tmp_path), "discriminator", str(out)]) == 2
    assert "no training.pt in it" in capsys.readouterr().err


def test_a_cpu_without_bf16_trains_in_fp32_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("speech.training.has_bf16", lambda device: False)
    recipe = make(config(tmp_path, max_steps=1, precision="bf16"), cls=PlainRecipe)
    run(recipe, {"generator": {"mel": 1.0}})
    assert recipe.dtype == torch.float32 and "training in fp32" in capsys.readouterr().err


def test_bf16_is_asked_of_cpus_only(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=False)
    assert not has_bf16("cpu") and has_bf16("cuda:1")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    assert has_bf16("cpu")
