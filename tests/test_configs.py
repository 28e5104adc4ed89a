"""Every shipped configuration builds its recipe's sections and model, and names losses for modules that exist."""

from pathlib import Path

import pytest
from tiny_voice import build_voice

import train
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from speech.config import load_yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(
    path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in ("benchmarks", "search")
)  # those are protocols, and spaces of search.py


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """What has to be said besides a configuration: a voice to start from where the model section is taken from one."""
    folder = tmp_path_factory.mktemp("voices")
    voices = {family: build_voice(folder / family, family) for family in ("lite", "official")}
    voices["tokens"] = folder / "tokens"
    TextToSemantic(TextToSemanticConfig(width=16, heads=2, layers=2)).save_pretrained(voices["tokens"])
    of_recipe = {"aligned_ttv": "lite", "ttv": "official", "synthesizer": "lite", "hierspeech": "official"}
    of_recipe |= {"t2s_low_resource": "tokens", "phonetic": "lite"}

    def arguments(path):
        values = load_yaml(path)
        if values["model"] != "init":
            return []
        return [f"init={voices[of_recipe[values['recipe']['name']]]}"]

    return arguments


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_configuration_builds(path, start):
    name, recipe_class, sections, losses, config = train.read(path, start(path))
    assert len(path.read_text().splitlines()) <= 80
    assert config.run == path.stem or config.run
    assert losses and all(losses.values())
    for module in losses:
        config.optimizer_of(module)
    assert name in train.RECIPES and isinstance(sections, recipe_class.Config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_unknown_key_is_refused(path, start):
    for section in ("model", "data", "recipe", "train"):
        from_init = section == "model" and start(path)
        expected = "model is 'init'" if from_init else f"{section}: unknown keys .*no_such_key"
        with pytest.raises(ValueError, match=expected):
            train.read(path, [*start(path), f"{section}.no_such_key=1"])
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
