"""search.py: what is drawn, what is kept of it, and that a search goes on where it was stopped."""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from spear_pack import make_token_pack

import search
import train
from speech.config import build, load_yaml
from speech.search import Record, Result, Search, last_figure, ranked, table

ROOT = Path(__file__).resolve().parent.parent
SPACE = {
    "train.lr": {"log": [1e-4, 1e-2]},
    "model.dropout": {"even": [0.0, 0.5]},
    "train.warmup_steps": {"whole": [1, 3]},
    "model.layers": {"choice": [2, 3]},
}


def test_draws_lie_in_the_space_and_cover_it():
    drawn = [Search("loss", SPACE).draw(trial) for trial in range(400)]
    rates = [d["train.lr"] for d in drawn]
    assert all(1e-4 <= r <= 1e-2 for r in rates) and 0.4 < sum(r < 1e-3 for r in rates) / 400 < 0.6
    assert all(0 <= d["model.dropout"] <= 0.5 for d in drawn)
    assert {d["train.warmup_steps"] for d in drawn} == {1, 2, 3} and {d["model.layers"] for d in drawn} == {
        2,
        3,
    }
    assert len(set(rates)) > 390


def test_a_trials_values_stay_what_they_are():
    """However many trials there are, and whatever else is searched."""
    one, more = Search("loss", SPACE), Search("loss", {"train.grad_clip": {"even": [0.1, 1.0]}} | SPACE)
    for trial in range(5):
        drawn = more.draw(trial)
        assert one.draw(trial).items() <= drawn.items()
    assert one.draw(3) == one.draw(3) != one.draw(3, seed=1)
    assert one.draw(3)["train.lr"] != one.draw(4)["train.lr"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"space": {}}, "expected one parameter or more"),
        ({"space": {"a": {"logg": [1, 2]}}}, "space.a: expected one of log"),
        ({"space": {"a": {"log": [0, 1]}}}, "above 0"),
        ({"space": {"a": {"even": [2, 1]}}}, r"\[lowest, highest\]"),
        ({"space": {"a": {"whole": [1, 2.5]}}}, "whole numbers"),
        ({"space": SPACE, "best": "largest"}, "lowest or highest"),
        ({"space": SPACE, "repeats": 0}, "repeats"),
        ({"space": SPACE, "metrik": "x"}, "unknown keys"),
    ],
)
def test_a_bad_space_is_refused_by_name(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(Search, {"metric": "loss"} | values)


def test_the_table_begins_with_the_best_and_ends_with_what_failed():
    space = Search("loss", {"train.lr": {"log": [1e-4, 1e-2]}}, repeats=2)
    results = [
        Result(0, {"train.lr": 1e-3}, [2.0, 3.0], 1.0),
        Result(1, {"train.lr": 9e-3}, [None], 0.1, "failed (log)"),
        Result(2, {"train.lr": 2e-3}, [1.0, 1.5], 1.0),
        Result(3, {"train.lr": 8e-3}, [1.0, math.nan], 1.0),
    ]
    assert [r.trial for r in ranked(results, "lowest")][:2] == [2, 0]
    assert [r.trial for r in ranked(results, "highest")][:2] == [0, 2]
    lines = table(space, results).splitlines()
    assert lines[2] == "| 2 | 1.25 | 0.5 | 0.002 | 1.0 |"
    assert {lines[4].split(" | ")[1], lines[5].split(" | ")[1]} == {"failed (log)", "not a number"}


def test_a_record_is_read_again_and_another_search_refused(tmp_path):
    space, plan = Search("loss", SPACE), {"seed": 0, "config": {"a": 1}}
    Record(tmp_path, space, plan).add(Result(0, space.draw(0), [1.0]))
    assert Record(tmp_path, space, plan).results[0].mean == 1.0
    with pytest.raises(ValueError, match="another config, seed; expected the same"):
        Record(tmp_path, space, {"seed": 1, "config": {"a": 2}})
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(ValueError, match="cannot read"):
        Record(tmp_path, space, plan)


def test_the_shipped_spaces_are_read_and_fit_a_configuration():
    for path in sorted((ROOT / "configs" / "search").glob("*.yaml")):
        space = build(Search, load_yaml(path))
        for trial in range(3):
            drawn = [f"{name}={search._written(value)}" for name, value in space.draw(trial).items()]
            train.read(ROOT / "configs" / "spear" / "t2s.yaml", drawn)


def test_a_search_trains_and_goes_on(tmp_path, capsys, monkeypatch):
    """Two trials through train.py; stopped before the second, it does that one only."""
    pack = make_token_pack(tmp_path / "pack")
    space = tmp_path / "space.yaml"
    space.write_text("metric: semantic\nspace: {train.lr: {log: [1.0e-3, 1.0e-1]}}\n")
    config = str(ROOT / "configs" / "tiny" / "spear_t2s.yaml")
    arguments = [config, str(space), f"data.pack={pack}", "--out", str(tmp_path / "out"), "--trials"]
    trained = []

    def counting(command, log):  # in this process, which saves the seconds that importing takes
        trained.append(log.stem)
        if len(trained) == 2:
            raise KeyboardInterrupt
        with open(log, "a") as file, contextlib.redirect_stdout(file):
            return train.main(command[2:]) != 0

    monkeypatch.setattr(search, "_run", counting)
    assert search.main([*arguments, "2"]) == 130 and "goes on from here" in capsys.readouterr().err
    first = json.loads((tmp_path / "out" / "search.json").read_text())["results"]
    assert [r["trial"] for r in first] == [0] and first[0]["figures"][0] > 0
    assert search.main([*arguments, "2"]) == 0
    assert trained == ["trial_0", "trial_1", "trial_1"]
    results = json.loads((tmp_path / "out" / "search.json").read_text())["results"]
    assert results[0] == first[0] and results[1]["figures"] != results[0]["figures"]
    exact = last_figure(tmp_path / "out" / "trial_1", "semantic")
    assert results[1]["figures"] == [exact]
    assert f"validation semantic {exact:.4g} " in (tmp_path / "out" / "trial_1.log").read_text()
    with pytest.raises(ValueError, match="metric 'loss': the validation gives .*semantic"):
        last_figure(tmp_path / "out" / "trial_1", "loss")
    assert (tmp_path / "out" / "search.md").read_text() in capsys.readouterr().out


def test_a_trial_that_fails_is_a_result_too(tmp_path, capsys, monkeypatch):
    space = tmp_path / "space.yaml"
    space.write_text("metric: semantic\nspace: {train.lr: {log: [1.0e-3, 1.0e-1]}}\n")
    config = str(ROOT / "configs" / "tiny" / "spear_t2s.yaml")
    missing = ["data.pack=nowhere", "--out", str(tmp_path / "out"), "--trials", "1"]
    assert search.main([config, str(space), *missing]) == 0
    assert "failed (" in (tmp_path / "out" / "search.md").read_text()
    assert "nowhere" in (tmp_path / "out" / "trial_0.log").read_text()
    assert search.main([config, str(space), *missing[:-1], "0"]) == 2


def test_it_explains_itself():
    done = subprocess.run([sys.executable, ROOT / "search.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--trials" in done.stdout
