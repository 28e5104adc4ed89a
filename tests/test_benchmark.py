"""benchmark.py: training throughput by the loop's own updates, as a table and as JSON."""

import json
from pathlib import Path

import pytest
from make_pack import make_pack

import benchmark

CONFIG = str(Path(__file__).resolve().parent.parent / "configs/tiny/denoiser.yaml")


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    return make_pack(tmp_path_factory.mktemp("benchmark") / "pack")


def test_training_is_timed_in_every_variant_and_leaves_nothing(pack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", CONFIG, f"data.pack={pack}", "--steps=2", "--rounds=1", "--json=figures.json"]
    assert benchmark.main([*arguments, "--variants=bf16,eager"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["bf16", "eager"]
    assert lines[2].split(" | ")[4] == "1.00"  # the first variant is what the ratios refer to
    figures = json.loads((tmp_path / "figures.json").read_text())[CONFIG]
    assert figures.keys() == {"bf16", "eager"}
    for values in figures.values():
        # two pieces of 0.25 s a step
        assert values["audio_seconds_per_second"] == pytest.approx(0.5 * values["steps_per_second"])
        assert values["memory_mb"] > 50
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]  # no run, no TensorBoard


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "data.pack=x"], "expected at least one CONFIG"),
        (
            ["train", CONFIG, "--variants=eager,fast"],
            "expected some of eager, bf16, compile, bf16+compile, got 'fast'",
        ),
        (["train", CONFIG, "--steps=0"], "expected positive numbers, got 0 and 2"),
        (["train", CONFIG, "data.pack=nowhere"], "nowhere: not a pack"),
        (["train", "nowhere.yaml"], "cannot read the configuration nowhere.yaml"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message, capsys):
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
