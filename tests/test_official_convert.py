"""The importer: what it writes loads again, and what is wrong with a file is said in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from official_fill import official_shapes, official_state_dict

from hierspeech.official import load_official
from hierspeech.official.__main__ import main
from hierspeech.official.components import COMPONENTS
from hierspeech.official.convert import convert
from speech.checkpoint import folded_state_dict
from speechsr import SpeechSR

ROOT = Path(__file__).parents[1]


def checkpoint(path: Path, **changes) -> Path:
    """A synthetic 48 kHz training file; a change of None removes that tensor."""
    state = official_state_dict("speechsr48k") | changes
    state = {key: value for key, value in state.items() if value is not None}
    torch.save({"model": state, "iteration": 22, "optimizer": {"state": {}}, "learning_rate": 1e-4}, path)
    return path


def test_converted_folder_loads(tmp_path):
    source = checkpoint(tmp_path / "sr.pth")
    convert("speechsr-48k", source, tmp_path / "new" / "sr")
    assert sorted(p.name for p in (tmp_path / "new").rglob("*")) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "sr",
    ]
    model, wav = SpeechSR.from_pretrained(tmp_path / "new" / "sr"), torch.randn(1, 1, 50)
    assert torch.equal(model.infer(wav), load_official("speechsr-48k", source).infer(wav))
    trainable = SpeechSR.from_pretrained(tmp_path / "new" / "sr", trainable=True)
    assert torch.allclose(trainable.infer(wav), model.infer(wav), atol=1e-6)


def test_weight_norm_is_folded():
    state = official_state_dict("speechsr48k")
    g, v = state["dec.conv_pre.weight_g"], state["dec.conv_pre.weight_v"]
    expected = g * v / v.square().sum(dim=(1, 2), keepdim=True).sqrt()
    assert torch.allclose(load_official("speechsr-48k", state).conv_pre.weight, expected, atol=1e-6)


@pytest.mark.parametrize("name", COMPONENTS)
def test_rename_covers_every_published_tensor(name):
    """Without any weights: the renamed keys and folded shapes are exactly those of our model."""
    part = COMPONENTS[name]
    with torch.device("meta"):
        model = part.model(part.config())
    expected = {key: list(tensor.shape) for key, tensor in folded_state_dict(model).items()}
    ours = {}
    for key, shape in part.shapes().items():
        if not key.endswith((".filter", ".window", ".weight_g")):
            key = key.removesuffix("_v") if key.endswith(".weight_v") else key
            shape = shape[1:] if key.endswith((".emb_rel_k", ".emb_rel_v")) else shape
            assert part.rename(key) not in ours, key
            ours[part.rename(key)] = shape
    assert ours == expected


KEY = "dec.resblocks.1.convs2.0.weight_v"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({KEY: None}, f"is no speechsr-48k checkpoint: missing: {KEY}$"),
        ({KEY: torch.zeros(32, 32, 3)}, rf"misshapen: {KEY} \[32, 32, 3\] instead of \[32, 32, 7\]$"),
        ({KEY: torch.zeros(32, 32, 7)}, f"{KEY} has a row of zeros"),
        ({KEY: torch.full((32, 32, 7), torch.nan)}, f"not finite: {KEY}$"),
        ({"dec.extra.weight": torch.zeros(1)}, "left over: dec.extra.weight$"),
        ({"dec.note": "text"}, "dec.note is a str, expected a tensor$"),
        ({"dec.activation_post.upsample.filter": torch.ones(1, 1, 12)}, "upsample.filter differs"),
        ({key: None for key in official_shapes("speechsr48k") if "convs1" in key}, "and 24 more$"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, changes, message):
    source = checkpoint(tmp_path / "sr.pth", **changes)
    with pytest.raises(ValueError, match=message):
        convert("speechsr-48k", source, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["sr.pth"]


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "sr.pth")
    torch.save(Hostile(), tmp_path / "hostile.pth")
    (tmp_path / "noise.pth").write_bytes(b"no checkpoint at all")
    assert main(["convert", "speechsr-48k", "sr.pth", "out"]) == 0
    assert capsys.readouterr() == ("wrote out\n", "")
    for component, source, folder, message in (
        ("speechsr-48k", "sr.pth", "out", "exists already"),
        ("synthesizer", "sr.pth", "other", "is no synthesizer checkpoint: missing: "),
        ("speechsr-48k", "hostile.pth", "other", "cannot be read"),
        ("speechsr-48k", "noise.pth", "other", "cannot be read"),
        ("speechsr-48k", "absent.pth", "other", "no such file"),
    ):
        assert main(["convert", component, source, folder]) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1, errors
    assert {p.name for p in tmp_path.iterdir()} == {"sr.pth", "hostile.pth", "noise.pth", "out"}


def test_module_entry_point(tmp_path):
    command = [sys.executable, "-m", "hierspeech.official", "convert", "speechsr-24k", "absent.pth", "out"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: absent.pth: no such file\n"
