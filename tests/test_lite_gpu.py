"""docs/lite_gpu.py, dry: a pack there and a step folder back, through files of limited size."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from make_pack import make_pack

from speech.packs import Pack, write_arrays

SCRIPT = Path(__file__).parents[1] / "docs" / "lite_gpu.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lite_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = make_pack(tmp_path_factory.mktemp("gpu") / "pack")
    made = Pack(folder)
    write_arrays(folder, ["clean"], ((made.read("wav", i) // 2,) for i in range(len(made))))
    return folder


def test_a_pack_travels_in_parts_and_is_the_same_there(script, pack, tmp_path, capsys):
    assert script.main(["pack", str(pack), str(tmp_path / "parts"), "--megabytes", "0.1"]) == 0
    parts = sorted((tmp_path / "parts").iterdir(), reverse=True)
    assert len(parts) > 1 and all(part.stat().st_size < 120_000 for part in parts)
    for part in parts:
        assert script.main(["unpack", str(part), str(tmp_path / "there")]) == 0
    sent, got = Pack(pack), Pack(tmp_path / "there")
    places = {record["id"]: k for k, record in enumerate(sent.utterances)}
    assert len(got) == len(sent)
    assert got.utterances[0]["split"] == "dev"  # few, and wanted there
    for k, record in enumerate(got.utterances):
        index = places[record["id"]]
        assert record == sent.utterances[index]
        for name in ("wav", "clean", "f0", "predicted"):
            assert np.array_equal(got.read(name, k), sent.read(name, index))
    assert script.main(["pack", str(pack), str(tmp_path / "parts")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_what_is_missing_in_a_pack_is_named(script, tmp_path, capsys):
    assert script.main(["pack", str(make_pack(tmp_path / "raw")), str(tmp_path / "out")]) == 2
    assert "has no clean: expected a finished pack" in capsys.readouterr().err


def test_it_trains_on_what_travelled(script, pack, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("train.main", lambda arguments: seen.append(arguments) or 0)
    command = ["train", str(pack), str(tmp_path / "runs"), "7", "train.batch_size=2"]
    assert script.main(command) == 0
    assert {"train.max_steps=7", f"data.pack={pack}", "train.batch_size=2"} <= set(seen[0])
    assert seen[0][0] == script.CONFIG


def test_a_step_folder_comes_back_in_pieces_and_calls(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "PIECE", 1000)
    monkeypatch.setattr(script, "CALL_FILES", 3)
    monkeypatch.setattr(script, "CALL_BYTES", 2500)
    step = tmp_path / "runs" / script.RUN / "step_00000012"
    step.mkdir(parents=True)
    files = {
        "training.pt": bytes(range(256)) * 10,
        "model.safetensors": bytes(range(255, -1, -1)) * 5,
        "config.json": json.dumps({"a": 1}).encode(),
    }
    for name, data in files.items():
        (step / name).write_bytes(data)
    came = tmp_path / "came"
    for call in range(3):
        out = came / f"call{call}"
        assert script.main(["collect", str(tmp_path / "runs"), str(out), "--call", str(call)]) == 0
        assert ("--step 12 --call" in capsys.readouterr().out) == (call < 2)
        assert len(list(out.iterdir())) <= 3 and sum(path.stat().st_size for path in out.iterdir()) <= 2500
        # the weights are of use alone; the training state comes with the last
        run = tmp_path / f"run{call}"
        assert script.main(["restore", str(came), str(run)]) == 0
        error = capsys.readouterr().err
        got = {path.name: path.read_bytes() for path in (run / "step_00000012").iterdir()}
        if call < 2:
            assert got == {name: files[name] for name in ("model.safetensors", "config.json")}
            assert ("pieces of step_00000012/training.pt: left out" in error) == (call == 1)
        else:
            assert got == files
    next(came.rglob("*model.safetensors.01*")).unlink()
    assert script.main(["restore", str(came), str(tmp_path / "other")]) == 2
    assert "1 of 2 pieces of step_00000012/model.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--call", "1"], "--call 1: expected 0 to 0 for step_00000012"),
        (["--step", "7"], "no finished step 7"),
    ],
)
def test_what_cannot_be_collected_is_named(script, tmp_path, capsys, options, message):
    step = tmp_path / "runs" / script.RUN / "step_00000012"
    step.mkdir(parents=True)
    (step / "training.pt").write_bytes(b"1")
    assert script.main(["collect", str(tmp_path / "runs"), str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert script.main(["collect", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no finished step yet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
