"""A whole download folder becomes a voice, and what is wrong with one is said in one sentence, before anything is written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_official
import torch
from safetensors.torch import load_file
from test_official_convert import Hostile
from tiny_encoder import make_mms
from tiny_official import PLACES, build_download, tiny_state, write_config
from tiny_voice import build_voice, recording

from hierspeech import SuperResolution, TextToSpeech, VoiceConversion, load_voice
from hierspeech.official import download, published
from hierspeech.official.__main__ import main
from hierspeech.official.components import COMPONENTS, CONVERTIBLE
from hierspeech.official.download import LAYOUT
from hierspeech.official.published import PUBLISHED, file_digest

PARTS = list(LAYOUT)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_official.shrink(monkeypatch)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_official.shrink(monkeypatch)
        return build_download(tmp_path_factory.mktemp("files"))


@pytest.fixture
def folder(files, tmp_path, monkeypatch) -> Path:
    """A download folder with small files of all parts, next to which the test works."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(files, tmp_path / "download")


@pytest.fixture(scope="module")
def mms(tmp_path_factory) -> Path:
    """A tiny random model of the class of MMS-300M, in transformers' format, with more layers than are needed."""
    pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("mms")
    make_mms(tiny_official.SEMANTIC.dim).save_pretrained(path)
    return path


def refused(capsys, tmp_path: Path, *arguments: str) -> str:
    """Runs an import into `out` that must fail, and leave everything as it was; the sentence it says."""
    before = sorted(p for p in tmp_path.rglob("*"))
    assert main(["import", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1, message
    assert sorted(p for p in tmp_path.rglob("*")) == before
    return message


def test_every_part_that_can_be_converted_has_a_place():
    assert set(LAYOUT) >= set(CONVERTIBLE)
    for file in PUBLISHED:  # a published file is found where the README puts it, under its published name
        assert Path(LAYOUT[file.component].published).parent.match(
            str(Path(LAYOUT[file.component].pattern).parent)
        )
    for component, place in LAYOUT.items():
        assert Path(place.published).name in [f.name for f in PUBLISHED if f.component == component]
        assert Path(place.published).match(place.pattern)


def test_a_download_folder_becomes_a_voice(folder, tmp_path, capsys):
    assert main(["import", "download", "made/voice"]) == 0
    output = capsys.readouterr().out
    for part in PARTS:
        assert f"{part}: " in output and f"converting the {part}\n" in output
        files = {p.name for p in (tmp_path / "made/voice" / part).iterdir()}
        assert files == {"config.json", "model.safetensors", "README.md"}
        digest = file_digest(folder / PLACES[part])
        for card in ("README.md", f"{part}/README.md"):
            text = (tmp_path / "made/voice" / card).read_text()
            assert text.startswith("---\n") and digest in text and "digest not known" in text
    assert output.count("digest not known") == len(PARTS)
    assert "hierspeech.official encoder made/voice facebook/mms-300m" in output
    described = json.loads((tmp_path / "made/voice/voice.json").read_text())
    assert described["recordings"] == "as_recorded" and described["level"] == "peak"
    assert described["denoiser"] == "denoiser" and described["normalizer"] == "english_cleaners2"
    voice = load_voice("made/voice", "cpu")
    assert voice.speechsr(24000).output_rate == 24000 and voice.speechsr(48000).output_rate == 48000
    assert voice.denoiser is not None


def test_the_voice_speaks_and_converts_once_it_has_its_encoder(folder, tmp_path, capsys, mms):
    assert main(["import", "download", "voice"]) == 0
    speak, convert = (kind.from_pretrained("voice", "cpu") for kind in (TextToSpeech, VoiceConversion))
    reference = recording(1.0)
    assert speak("Hello.", reference, seed=0).seconds > 0.02
    assert SuperResolution(speak.voice)(reference, 48000).audio.shape == (48000,)
    with pytest.raises(ValueError, match="hierspeech.official encoder .*voice facebook/mms-300m") as error:
        convert(recording(0.5, 90.0), reference)
    assert str(error.value).count("\n") == 0
    capsys.readouterr()
    assert main(["encoder", "voice", str(mms)]) == 0
    assert capsys.readouterr().out == "wrote voice/mms-300m\n"
    assert convert(recording(0.5, 90.0), reference, seed=0).audio.shape == (8000,)
    layers = {
        key.split("layers.")[1][0]
        for key in load_file("voice/mms-300m/model.safetensors")
        if "layers." in key
    }
    assert layers == set("0123456")
    assert main(["encoder", "voice", str(mms)]) == 2
    assert "exists already" in capsys.readouterr().err
    # the same at once gives the same voice
    assert main(["import", "download", "other", "--semantic-encoder", str(mms)]) == 0
    assert "encoder other" not in capsys.readouterr().out
    assert "`mms-300m/` holds the semantic encoder" in Path("other/README.md").read_text()
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*")) for f in (Path("voice"), Path("other"))]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(("safetensors", "voice.json")):
            assert Path("voice", name).read_bytes() == Path("other", name).read_bytes()


def test_an_encoder_that_is_none_is_refused(folder, tmp_path, capsys, mms):
    assert main(["import", "download", "voice"]) == 0
    broken = shutil.copytree(mms, tmp_path / "broken")
    whole = (mms / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    for source, message in (
        ("nowhere", "nowhere: no such folder, and not a hub id"),
        ("voice/ttv", "voice/ttv"),
        ("broken", "broken"),
    ):
        assert main(["encoder", "voice", source]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert main(["encoder", "download", str(mms)]) == 2
    assert "no voice folder" in capsys.readouterr().err
    assert not any(p.name.startswith((".mms", "mms")) for p in Path("voice").iterdir())
    refused(capsys, tmp_path, "download", "out", "--semantic-encoder", "nowhere")
    refused(capsys, tmp_path, "download", "out", "--semantic-encoder", "broken")


@pytest.mark.parametrize("start", ["..", ".", "logs", "denoiser", "speechsr24k"])
def test_the_folder_above_or_below_will_do(folder, start):
    files = download.find_parts(folder / start)
    assert {part: path.resolve() for part, path in files.items()} == {
        part: folder / place for part, place in PLACES.items() if part in files
    }


def test_two_download_folders_are_not_guessed_between(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "second")
    message = refused(capsys, tmp_path, ".", "out")
    assert "holds several download folders, expected one of them: download, second" in message


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named_with_the_way_out(folder, tmp_path, capsys, part):
    (folder / PLACES[part]).unlink()
    message = refused(capsys, tmp_path, "download", "out")
    assert f"the {part} is missing, expected download/{LAYOUT[part].published}" in message
    assert (f"--without {part} goes on without it" in message) == LAYOUT[part].optional


def test_optional_parts_can_be_left_out(folder, tmp_path, capsys):
    (folder / PLACES["denoiser"]).unlink()
    arguments = ["--without", "denoiser", "--without", "speechsr-24k", "--without", "denoiser"]
    assert main(["import", "download", "out", *arguments]) == 0
    assert "denoiser: left out\n" in capsys.readouterr().out
    described = json.loads(Path("out/voice.json").read_text())
    assert described["denoiser"] is None and described["speechsr"] == {"48000": "speechsr-48k"}
    assert not Path("out/denoiser").exists() and not Path("out/speechsr-24k").exists()
    assert load_voice("out", "cpu").denoiser is None
    assert "invalid choice: 'ttv'" in refused(capsys, tmp_path, "download", "new", "--without", "ttv")


def test_of_several_synthesizers_one_must_be_named(folder, tmp_path, capsys):
    first = folder / PLACES["synthesizer"]
    second = folder / "logs/hierspeechpp_libritts460/hierspeechpp_lt460_ckpt.pth"
    second.parent.mkdir()
    state = tiny_state("synthesizer")
    torch.save({"model": state | {"emb.weight": state["emb.weight"] + 1}, "iteration": 1}, second)
    (second.parent / "D_1.pth").write_bytes(b"a discriminator, which is no choice")
    message = refused(capsys, tmp_path, "download", "out")
    assert "name one with --synthesizer" in message and "D_1" not in message
    assert "mine_ckpt.pth" in message and "hierspeechpp_lt460_ckpt.pth" in message
    message = refused(capsys, tmp_path, "download", "out", "--synthesizer", "other.pth")
    assert "--synthesizer other.pth: no such file" in message
    below = second.relative_to(folder)
    for i, (name, chosen) in enumerate([(first, first), (below, second), (second.name, second)]):
        assert main(["import", "download", f"out{i}", "--synthesizer", str(name)]) == 0
        digest = file_digest(chosen)
        assert digest in Path(f"out{i}/synthesizer/README.md").read_text()
        described = json.loads(Path(f"out{i}/voice.json").read_text())["name"]
        # prompts of one training do not pass for prompts of another
        assert (
            described
            == f"{chosen.stem.removesuffix('_ckpt')}-{digest[:6]}{file_digest(folder / PLACES['ttv'])[:6]}"
        )


def test_what_is_verified_is_said(folder, tmp_path, capsys, monkeypatch):
    names = {part: Path(LAYOUT[part].published).name for part in PARTS}
    known = []
    for part in PARTS:
        path = (folder / PLACES[part]).rename(folder / LAYOUT[part].published)
        entry = next(file for file in PUBLISHED if file.name == names[part])
        known.append(replace(entry, size=path.stat().st_size, sha256=file_digest(path)))
    monkeypatch.setattr(published, "PUBLISHED", tuple(known))
    assert main(["import", "download", "out"]) == 0
    output, card = capsys.readouterr().out, Path("out/README.md").read_text()
    for name in names.values():
        assert f"verified: the published {name}" in output and f"verified: the published {name}" in card
    assert json.loads(Path("out/voice.json").read_text())["name"] == "hierspeechpp_v1.1"
    content = bytearray((folder / LAYOUT["ttv"].published).read_bytes())
    content[content.find(tiny_state("ttv")["pp.conv_pre.weight"].numpy().tobytes())] ^= (
        1  # one bit of a weight
    )
    (folder / LAYOUT["ttv"].published).write_bytes(content)
    message = refused(capsys, tmp_path, "download", "new")
    assert "ttv_lt960_ckpt.pth is damaged or not the published file of that name (sha256" in message
    assert main(["import", "download", "new", "--unverified"]) == 0
    assert capsys.readouterr().out.count("digest not known") == 1


@pytest.mark.parametrize("part", PARTS)
def test_bad_files_in_the_place_of_each_part(folder, tmp_path, capsys, part):
    place = folder / PLACES[part]
    whole = place.read_bytes()
    other = folder / PLACES["ttv" if part != "ttv" else "synthesizer"]
    for content, message in (
        (whole[: len(whole) // 2], "cannot be read as a PyTorch checkpoint"),
        (b"Google Drive - Quota exceeded", "cannot be read as a PyTorch checkpoint"),
        (other.read_bytes(), f"is no {part} checkpoint: missing: "),
    ):
        place.write_bytes(content)
        error = refused(capsys, tmp_path, "download", "made/out")
        assert message in error and place.name in error
    container = {"speechsr-24k": "model", "speechsr-48k": "model", "denoiser": "generator"}.get(part)
    torch.save({container: Hostile()} if container else Hostile(), place)
    assert "cannot be read" in refused(capsys, tmp_path, "download", "made/out", "--unverified")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("synthesizer", {"data__hop_length": 256}, "data.hop_length is 256, expected 320"),
        ("synthesizer", {"model__upsample_rates": [5, 4, 4, 2, 2]}, "model.upsample_rates is [5, 4, 4, 2, 2], expected"),
        (
            "synthesizer",
            {"model__resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 9]]},
            "model.resblock_dilation_sizes is [[1, 3, 5], [1, 3, 5], [1, 3, 9]], expected",
        ),
        ("synthesizer", {"model__cfg": False}, "model.cfg is False, expected True"),
        ("ttv", {"data__sampling_rate": 24000, "model__hidden_channels": 192}, "model.hidden_channels is 192"),
        ("speechsr-24k", {"data__sampling_rate": 48000}, "data.sampling_rate is 48000, expected 24000"),
        ("speechsr-48k", {"data__sampling_rate": 24000}, "data.sampling_rate is 24000, expected 48000"),
        ("denoiser", {"__compress_factor": 0.5}, "compress_factor is 0.5, expected 0.3"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_named(folder, tmp_path, capsys, part, changes, message):
    write_config(part, (folder / PLACES[part]).parent, **changes)
    error = refused(capsys, tmp_path, "download", "out")
    assert f"config.json is not that of a published {part}: " in error and message in error


@pytest.mark.parametrize("part", PARTS)
def test_configs_that_are_none_are_refused_and_missing_ones_are_not(folder, tmp_path, capsys, part):
    config = (folder / PLACES[part]).parent / "config.json"
    for content, message in (("{", "not a readable configuration"), ("[1]", "is no configuration of a")):
        config.write_text(content)
        error = refused(capsys, tmp_path, "download", "out")
        assert f"{config.relative_to(tmp_path)}" in error and message in error
    config.unlink()
    assert main(["import", "download", "out"]) == 0
    assert "; no config.json beside it, the published values are taken\n" in capsys.readouterr().out


def test_values_without_effect_may_be_anything(folder):
    values = {
        "model__n_layers": 3,
        "model__p_dropout": 0.5,
        "model__use_spectral_norm": True,
        "data__mel_fmax": None,
    }
    write_config("synthesizer", (folder / PLACES["synthesizer"]).parent, **values)
    assert main(["import", "download", "out"]) == 0


def test_folders_in_use_or_absent(folder, tmp_path, capsys, monkeypatch):
    assert "nowhere: no such folder" in refused(capsys, tmp_path, "nowhere", "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    assert "full exists already" in refused(capsys, tmp_path, "download", "full")
    assert "cannot write" in refused(capsys, tmp_path, "download", "full/mine.txt/out")
    (tmp_path / "bare").mkdir()
    assert "the synthesizer is missing" in refused(capsys, tmp_path, "bare", "out")
    assert main(["import", "download", "bare"]) == 0  # an empty folder is no obstacle


def test_parts_that_do_not_fit_each_other_are_refused(folder, tmp_path, capsys, monkeypatch):
    config = tiny_official.text_to_vec()
    config.semantic = replace(config.semantic, layer=8)
    monkeypatch.setitem(COMPONENTS, "ttv", replace(CONVERTIBLE["ttv"], config=lambda: config))
    assert "the synthesizer's semantic" in refused(capsys, tmp_path, "download", "made/out")


def test_a_local_voice_asks_nobody_for_its_encoder(tmp_path):
    """Without the folder there is a sentence, and no attempt to reach the hub."""
    voice = load_voice(build_voice(tmp_path / "voice", "official", semantic_encoder="mms-300m"), "cpu")
    with pytest.raises(ValueError, match="has no semantic encoder, which voice conversion needs: `python -m"):
        _ = voice.semantic_encoder
