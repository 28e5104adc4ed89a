"""The importer: what it writes loads again, and what is wrong with a file is said in one sentence."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from official_fill import official_shapes, official_state_dict

import train
from hierspeech.official import load_official, published
from hierspeech.official.__main__ import main
from hierspeech.official.components import COMPONENTS
from hierspeech.official.convert import convert
from hierspeech.official.published import PUBLISHED, file_digest, identify
from hierspeech.official.reading import check_tensors
from speech.checkpoint import folded_state_dict
from speechsr import SpeechSR

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "official"


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


def test_files_of_the_old_format_load_too(tmp_path):
    source = checkpoint(tmp_path / "new.pth")
    torch.save(torch.load(source), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old, new = (load_official("speechsr-48k", tmp_path / f"{name}.pth") for name in ("old", "new"))
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))


def test_the_base_synthesizer_and_its_discriminator_are_the_published_ones():
    """So `start synthesizer` makes a run that configs/base/synthesizer.yaml goes on from."""
    _, _, sections, _, _ = train.read(Path(__file__).parents[1] / "configs/base/synthesizer.yaml", [])
    assert sections.model == COMPONENTS["synthesizer"].config()
    assert sections.recipe.discriminator == COMPONENTS["discriminator-16k"].config()


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
        convert("speechsr-48k", source, tmp_path / "out" / "sr")
    assert [p.name for p in tmp_path.iterdir()] == ["sr.pth"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.to_sparse(), "is stored as sparse_coo"),
        (lambda x: x.to("meta"), "is on the device meta"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "is quantized"),
        (lambda x: x.to(torch.complex64), "is of type complex64"),
        (lambda x: x.to(torch.int8), "is of type int8"),
    ],
)
def test_tensors_of_another_kind_are_named(change, message):
    state = official_state_dict("speechsr48k")
    check_tensors(state, {key: list(x.shape) for key, x in state.items()}, "file")
    state["dec.conv_pre.bias"] = change(state["dec.conv_pre.bias"])
    with pytest.raises(ValueError, match=f"^file: of another kind: dec.conv_pre.bias {message}$"):
        check_tensors(state, {key: list(x.shape) for key, x in state.items()}, "file")


def test_a_pointer_of_git_lfs_is_not_taken_for_damage(tmp_path, capsys):
    pointer = tmp_path / "G_1.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1715101\n")
    for arguments in (
        ["convert", "speechsr-48k", str(pointer)],
        ["start", "speechsr-48k", "--generator", str(pointer)],
    ):
        assert main([*arguments, str(tmp_path / "out")]) == 2
        assert "is a Git LFS pointer, not the weights" in capsys.readouterr().err


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("container", [None, "model", "generator", "optimizer"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch, capsys, container, old_format):
    """Wherever in a file it stands, even where the weights are whole."""
    monkeypatch.chdir(tmp_path)
    state = {"model": official_state_dict("speechsr48k"), "iteration": 1}
    content = Hostile() if container is None else state | {container: Hostile()}
    torch.save(content, "hostile.pth", _use_new_zipfile_serialization=not old_format)
    for command in (
        ["convert", "speechsr-48k", "hostile.pth", "out", "--unverified"],
        ["start", "speechsr-48k", "out", "--generator", "hostile.pth"],
    ):
        assert main(command) == 2
        assert "hostile.pth cannot be read as a PyTorch checkpoint" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.pth"]
    torch.load("hostile.pth", weights_only=False)  # the trap does work
    assert Path("executed").exists()


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = checkpoint(tmp_path / "sr.pth").read_bytes()
    Path("noise.pth").write_bytes(b"no checkpoint at all")
    Path("empty.pth").write_bytes(b"")
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    Path("pointer.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert main(["convert", "speechsr-48k", "sr.pth", "out"]) == 0
    assert capsys.readouterr() == ("wrote out (digest not known)\n", "")
    before = {p.name for p in tmp_path.iterdir()}
    for component, source, folder, message in (
        ("speechsr-48k", "sr.pth", "out", "exists already"),
        ("synthesizer", "sr.pth", "other", "is no synthesizer checkpoint: missing: "),
        ("speechsr-48k", "noise.pth", "other", "cannot be read"),
        ("speechsr-48k", "empty.pth", "other", "cannot be read"),
        ("speechsr-48k", "cut.pth", "other", "cannot be read"),
        ("speechsr-48k", "pointer.pth", "other", "Git LFS pointer"),
        ("speechsr-48k", "absent.pth", "other", "no such file"),
        ("speechsr-48k", "out", "other", "no such file"),
        ("speechsr-48k", "sr.pth", "sr.pth/out", "cannot write"),
        ("vocoder", "sr.pth", "other", "invalid choice: 'vocoder'"),
    ):
        assert main(["convert", component, source, folder]) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1, errors
    assert {p.name for p in tmp_path.iterdir()} == before


def test_published_names_vouch_for_their_content(tmp_path, capsys, monkeypatch):
    """A file of a published name is that file, or is refused, or is taken on request and called unknown."""
    source = checkpoint(tmp_path / "G_100000.pth")
    arguments = ["convert", "speechsr-48k", str(source), str(tmp_path / "out")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "is damaged or not the published file of that name" in message and "--unverified" in message
    assert f"{source.stat().st_size} bytes, expected 1715101" in message
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--unverified"]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "digest not known" in card and file_digest(source) in card

    known = next(file for file in PUBLISHED if file.name == "G_100000.pth")
    size, digest = source.stat().st_size, file_digest(source)
    monkeypatch.setattr(published, "PUBLISHED", (replace(known, size=size),))
    with pytest.raises(ValueError, match="not the published file of that name .sha256"):
        identify("speechsr-48k", source)
    monkeypatch.setattr(published, "PUBLISHED", (replace(known, size=size, sha256=digest),))
    assert identify("speechsr-48k", source).finding == "verified: the published G_100000.pth"
    copy = source.rename(tmp_path / "renamed.pth")
    assert identify("speechsr-48k", copy).published.name == "G_100000.pth"
    with pytest.raises(ValueError, match="is the published speechsr-48k checkpoint, expected a speechsr-24k"):
        identify("speechsr-24k", copy)
    assert identify("speechsr-24k", copy, unverified=True).published is None


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the published SpeechSR checkpoints are not beside the repository"
)
def test_the_real_files_are_verified_and_not_mixed_up(tmp_path):
    """The two SpeechSR models have the same tensors: only the digest tells them apart."""
    for rate in (24, 48):
        source = convert(f"speechsr-{rate}k", REAL / f"speechsr{rate}k.pth", tmp_path / str(rate))
        assert source.finding.startswith("verified: the published G_")
        assert "verified" in (tmp_path / str(rate) / "README.md").read_text()
        with pytest.raises(ValueError, match=f"is the published speechsr-{rate}k checkpoint"):
            convert(f"speechsr-{72 - rate}k", REAL / f"speechsr{rate}k.pth", tmp_path / "other")


def test_module_entry_point(tmp_path):
    command = [sys.executable, "-m", "hierspeech.official", "convert", "speechsr-24k", "absent.pth", "out"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "python -m hierspeech.official: absent.pth: no such file\n"
