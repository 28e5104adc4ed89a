"""`prepare.py tables`: an equalizer's tables of every recording, and training that hears what is spoken with them."""

import numpy as np
import pytest
import torch
from make_pack import make_pack
from tiny_voice import SEMANTIC, build_voice

import prepare
from hierspeech import TextToSpeech
from hierspeech.preparation.colours import played
from hierspeech.synthesizer.data import DataConfig, Pieces
from hierspeech.synthesizer.reconstruction import ReconstructionInputs
from speech.packs import Pack
from speech.spectrogram import MelSpectrogram
from speech.training import TrainConfig

OPTIONS = {"seconds": 0.4, "context_seconds": 0.8, "prompt_seconds": 0.5}


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return build_voice(tmp_path_factory.mktemp("voices") / "lite", "lite")


@pytest.fixture(scope="module")
def synthesizer(voice):
    return TextToSpeech.from_pretrained(voice, device="cpu").voice.synthesizer


@pytest.fixture(scope="module")
def pack(tmp_path_factory, voice):
    folder = make_pack(tmp_path_factory.mktemp("packs") / "pack", semantic_dim=SEMANTIC.dim)
    assert prepare.main(["tables", str(folder), "--voice", str(voice), "--speeds", "1,1.1"]) == 0
    return folder


def test_a_table_is_what_the_model_lacks_of_the_recording(pack, voice, synthesizer):
    opened = Pack(pack)
    config = synthesizer.config.equalizer
    tables = opened.read("table", 2)
    assert tables.shape == (2, config.phones * config.bands) and tables.dtype == np.float16
    encoder = TextToSpeech.from_pretrained(voice, device="cpu").voice.semantic_encoder
    for table, speed in zip(tables, (1.0, 1.1), strict=True):
        wav = opened.read("wav", 2).astype(np.float32) / 32768
        wav, f0 = played(wav, opened.read("f0", 2).astype(np.float32), speed)
        assert len(wav) == len(f0) * 80 == int(1.6 / speed * 50) * 320
        assert np.median(f0[f0 > 0]) == pytest.approx(160 * speed)
        with torch.inference_mode():
            heard = torch.from_numpy(wav)[None]
            style = synthesizer.style_encoder(MelSpectrogram(synthesizer.config.audio)(heard))
            log_f0 = torch.from_numpy(np.log1p(f0))[None, None]
            whole = synthesizer.with_table(style, encoder(heard).float(), log_f0, heard)
        known = whole[0, style.shape[1] + config.bands :].numpy()
        assert np.abs(known).max() > 0.1
        np.testing.assert_allclose(table[config.bands :], known, atol=5e-3, rtol=2e-3)
        assert not table[: config.bands].any()


def test_made_once_and_by_one_voice(pack, voice, tmp_path, capsys):
    command = ["tables", str(pack), "--speeds", "1,1.1", "--voice"]
    assert prepare.main([*command, str(voice)]) == 0
    assert "there already" in capsys.readouterr().err
    other = build_voice(tmp_path / "other", "official")
    assert prepare.main([*command, str(other)]) == 2
    assert "expected a synthesizer that has one" in capsys.readouterr().err
    assert prepare.main(["tables", str(pack), "--voice", str(voice), "--speeds", "1,0.9"]) == 2
    assert "--redo makes them again" in capsys.readouterr().err
    assert prepare.main([*command[:2], "--voice", str(voice), "--speeds", "1,1"]) == 2
    assert "expected different ones above 0" in capsys.readouterr().err


def test_pieces_have_the_table_of_their_speed(pack):
    data = DataConfig(str(pack), speeds=[1.0, 1.1], table_rate=1.0, **OPTIONS)
    pieces = Pieces(data, TrainConfig(batch_size=2), SEMANTIC.dim)
    rng = np.random.default_rng(0)
    stored = Pack(pack).read("table", 1).astype(np.float32)
    drawn = [pieces.example(1, rng)["table"] for _ in range(12)]
    seen = {k for k in (0, 1) if any(np.array_equal(stored[k], table) for table in drawn)}
    assert all(any(np.array_equal(row, table) for row in stored) for table in drawn)
    assert seen == {0, 1}
    pieces.data.table_rate = 0.5
    used = [bool(pieces.example(1, rng)["table"].any()) for _ in range(40)]
    assert 8 < sum(used) < 32
    plain = Pieces(DataConfig(str(pack), **OPTIONS), TrainConfig(batch_size=2), SEMANTIC.dim)
    assert next(plain.batches(0)).table.shape == (2, 0)


def test_what_does_not_fit_is_said(pack, tmp_path):
    with pytest.raises(ValueError, match=r"tables of .* are of speeds \[1.0, 1.1\]"):
        Pieces(DataConfig(str(pack), speeds=[1.0, 0.9], table_rate=0.5, **OPTIONS), TrainConfig(), 12)
    bare = make_pack(tmp_path / "pack")
    with pytest.raises(ValueError, match="prepare.py tables"):
        Pieces(DataConfig(str(bare), table_rate=0.5, **OPTIONS), TrainConfig(), 8)
    with pytest.raises(ValueError, match="data.table_rate 2: expected 0 to 1"):
        DataConfig(str(pack), table_rate=2)


def test_training_hears_what_is_spoken_with_a_table(synthesizer):
    torch.manual_seed(0)
    config = synthesizer.config
    semantic, prompt = torch.randn(2, SEMANTIC.dim, 20), torch.randn(2, config.audio.n_mels, 30)
    log_f0 = torch.full((2, 1, 80), 5.0)
    table = 0.5 * torch.randn(2, config.equalizer.phones * config.equalizer.bands)
    table[:, : config.equalizer.bands] = 0
    mask = torch.ones(2, 30, dtype=torch.bool)
    inputs = ReconstructionInputs(semantic, log_f0, prompt, mask, prompt, mask, None, table)
    out = synthesizer(inputs)
    said = synthesizer.infer(semantic, log_f0, torch.cat([out.style.detach(), table], 1), noise_scale=0.0)
    torch.testing.assert_close(out.wav, said)
    inputs.table = None
    plain = synthesizer(inputs).wav
    assert (plain - out.wav).abs().max() > 1e-4 * plain.abs().max()
    inputs.table = torch.zeros_like(table)  # what examples without their table have
    torch.testing.assert_close(synthesizer(inputs).wav, plain)
    parts = list(synthesizer.generator.parameters())
    slopes = torch.autograd.grad(out.wav.square().sum(), parts, allow_unused=True)
    assert all(slope is None or slope.isfinite().all() for slope in slopes)
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)
