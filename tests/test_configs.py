"""Every shipped configuration builds its recipe's sections and model, and names losses for modules that exist."""

from pathlib import Path

import pytest

import train

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_configuration_builds(path):
    name, recipe_class, sections, losses, config = train.read(path, [])
    assert len(path.read_text().splitlines()) <= 80
    assert config.run == path.stem or config.run
    assert losses and all(losses.values())
    for module in losses:
        config.optimizer_of(module)
    assert name in train.RECIPES and isinstance(sections, recipe_class.Config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_unknown_key_is_refused(path):
    for section in ("model", "data", "recipe", "train"):
        with pytest.raises(ValueError, match=f"{section}: unknown keys .*no_such_key"):
            train.read(path, [f"{section}.no_such_key=1"])
    with pytest.raises(ValueError, match="unknown sections"):
        train.read(path, ["no_such_section=1"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.yaml"], "cannot read the configuration nowhere.yaml"),
        (
            ["configs/tiny/speechsr.yaml", "train.batch_size=many"],
            "train.batch_size: expected int, got 'many'",
        ),
        (["configs/tiny/speechsr.yaml", "train.batch_size"], "expected key=value"),
        (["configs/tiny/speechsr.yaml", "recipe.name=nothing"], "recipe.name: expected one of"),
        (["configs/tiny/speechsr.yaml", "losses.generator=1"], "losses.generator: expected loss names"),
        (["configs/tiny/speechsr.yaml", "data.filelist=nowhere.txt"], "nowhere.txt"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert train.main([*arguments, f"train.runs_folder={tmp_path}"]) == 2
    output = capsys.readouterr()
    assert sentence in output.err and output.err.count("\n") == 1 and not output.out
    assert not list(tmp_path.iterdir())


def test_help_and_no_arguments(capsys):
    assert train.main(["--help"]) == 0 and "python train.py CONFIG" in capsys.readouterr().out
    assert train.main([]) == 2
