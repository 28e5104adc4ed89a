"""`prepare.py clean`: further targets of a pack, as long as the recordings, without their noise, made once."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from make_pack import make_pack
from tiny_voice import recording

import prepare
from denoiser.model import Denoiser, DenoiserConfig
from hierspeech.preparation import cleaning
from hierspeech.synthesizer.data import DataConfig, Pieces
from speech.audio import load_audio, save_audio
from speech.packs import Pack, write_arrays, write_utterances
from speech.token_arrays import token_note
from speech.training import TrainConfig


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("denoiser")
    Denoiser(
        DenoiserConfig(channels=8, dense_depth=2, n_blocks=1, heads=2, ffn_expansion=2, conv_kernel=7)
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def pack(tmp_path):
    return make_pack(tmp_path / "pack")


def test_made_once_and_anew_when_asked(pack, denoiser, capsys):
    command = ["clean", str(pack), "--denoiser", str(denoiser)]
    assert prepare.main(command) == 0
    opened = Pack(pack)
    assert all(opened.length("clean", i) == opened.length("wav", i) for i in range(len(opened)))
    assert opened.read("clean", 0).dtype == np.int16
    first = (pack / "clean.bin").stat().st_mtime_ns
    assert prepare.main(command) == 0
    assert "there already" in capsys.readouterr().err
    assert (pack / "clean.bin").stat().st_mtime_ns == first
    assert prepare.main([*command, "--redo"]) == 0
    assert (pack / "clean.bin").stat().st_mtime_ns != first


def test_the_shipped_denoiser_takes_noise_away_from_speech(tmp_path):
    speech = load_audio(Path(__file__).resolve().parent.parent / "examples/reference.wav", 16000)[0][:48000]
    noisy = speech + 0.4 * speech.std() * np.random.default_rng(0).standard_normal(len(speech))
    line = {"id": "u", "speaker": "s", "split": "train", "source": "made", "language": "en-us", "text": ""}
    write_utterances(tmp_path, [line])
    write_arrays(tmp_path, ["wav"], [((0.5 * noisy * 32767).astype(np.int16),)])
    assert prepare.main(["clean", str(tmp_path)]) == 0
    opened = Pack(tmp_path)
    noise = [np.std(2 * opened.read(name, 0) / 32768 - speech) for name in ("wav", "clean")]
    assert noise[1] < 0.7 * noise[0]
    assert token_note(tmp_path, "clean")["spec"]["denoiser"] == "lite"


def test_sources_that_are_suppressed_first(pack, monkeypatch):
    seen = []
    monkeypatch.setattr(cleaning, "rnnoise", lambda: lambda wav: seen.append(len(wav)) or wav)

    def half(wav):
        return wav / 2

    assert cleaning.add_clean(pack, half, "d", "1", noisy=("made",))
    assert len(seen) == len(Pack(pack))
    assert not cleaning.add_clean(pack, half, "d", "1", noisy=("made",))
    with pytest.raises(ValueError, match="holds clean of .*'made'.*; --redo makes them again"):
        cleaning.add_clean(pack, half, "d", "1", noisy=("other",))
    assert cleaning.add_clean(pack, half, "d", "1", noisy=("other",), redo=True)
    assert len(seen) == len(Pack(pack))


def test_a_sharded_pack(tmp_path, denoiser):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in "ab":
        save_audio(corpus / f"{name}.wav", recording(2.0), 16000)
        (corpus / f"{name}.txt").write_text("hello")
    made = tmp_path / "pack"
    assert prepare.main([str(corpus), str(made), "--shard-hours", "0.0005"]) == 0
    assert prepare.main(["clean", str(made), "--denoiser", str(denoiser)]) == 0
    opened = Pack(made)
    assert opened.index is not None and opened.has("clean") and len(opened.first) > 2
    assert [opened.length("clean", i) for i in range(2)] == [opened.length("wav", i) for i in range(2)]


def test_what_cannot_be_is_said(pack, denoiser, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cleaning._rnnoise_library.cache_clear()
    command = ["clean", str(pack), "--denoiser", str(denoiser), "--rnnoise", "made"]
    assert prepare.main(command) == 2
    assert "pip install --no-deps pyrnnoise" in capsys.readouterr().err
    assert not Pack(pack).has("clean")


@pytest.mark.skipif(importlib.util.find_spec("pyrnnoise") is None, reason="pyrnnoise is not installed")
def test_rnnoise_keeps_the_place_of_every_sample():
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    # a voice-like sound: harmonics of a gliding pitch, in syllables
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * time)) / 16000
    wav = sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 3 * time) > 0)
    wav = (0.1 * wav + 0.001 * rng.standard_normal(len(wav))).astype(np.float32)
    clean = cleaning.rnnoise()(wav)
    assert len(clean) == len(wav)
    likeness = [
        np.corrcoef(wav[800:-800], np.roll(clean, lag)[800:-800])[0, 1] for lag in range(-400, 401, 4)
    ]
    assert abs(int(np.argmax(likeness)) * 4 - 400) <= 4


def test_targets_of_the_synthesizer_are_the_clean_ones(pack):
    opened = Pack(pack)
    from speech.packs import write_arrays

    write_arrays(pack, ["clean"], ((opened.read("wav", i) // 2,) for i in range(len(opened))))
    options = {"seconds": 0.4, "context_seconds": 0.8, "prompt_seconds": 0.5}
    for speeds in ([1.0], [1.25]):
        both = []
        for target in ("wav", "clean"):
            data = DataConfig(str(pack), target=target, speeds=speeds, **options)
            pieces = Pieces(data, TrainConfig(batch_size=1), 8)
            both.append(pieces.example(0, np.random.default_rng(3)))
        for name in ("context", "prompt", "f0"):
            np.testing.assert_array_equal(both[0][name], both[1][name])
        np.testing.assert_allclose(both[1]["wav"], both[0]["wav"] / 2, atol=2e-4)
    data = DataConfig(str(pack), target="cleaned", **options)
    with pytest.raises(ValueError, match="cleaned"):
        Pieces(data, TrainConfig(batch_size=1), 8)
