"""Vectors of a public speaker encoder in a pack: written once, refused from another encoder, read by the recipe's data."""

import sys
import types

import numpy as np
import pytest
import torch
from make_token_pack import make_token_pack

import prepare
from speech.packs import Pack


class Ecapa:
    """As speechbrain's `EncoderClassifier`: 192 numbers of a wav [1, T]."""

    asked = []

    @classmethod
    def from_hparams(cls, source, **_):
        cls.asked.append(source)
        return cls()

    def encode_batch(self, wav):
        assert wav.dtype == torch.float32 and wav.ndim == 2
        return torch.full((1, 1, 192), float(wav.abs().mean()))


@pytest.fixture
def pack(tmp_path, monkeypatch):
    for name in ("speechbrain", "speechbrain.inference", "speechbrain.inference.speaker"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["speechbrain.inference.speaker"].EncoderClassifier = Ecapa
    return make_token_pack(tmp_path / "pack")


def test_vectors_are_written_once(pack, tmp_path, capsys):
    assert prepare.main(["tokens", str(pack), "--speakers", "ecapa"]) == 0
    made = Pack(pack)
    loudness = [np.abs(made.read("wav", i).astype(np.float32) / 32768).mean() for i in range(len(made))]
    for index, expected in enumerate(loudness):
        row = made.read("speaker_vectors", index)
        assert row.shape == (1, 192) and row.dtype == np.float16
        assert row[0, 0] == pytest.approx(expected, rel=1e-2)
    assert prepare.main(["tokens", str(pack), "--speakers", "ecapa"]) == 0
    assert "there already" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    assert prepare.main(["tokens", str(pack), "--speakers", f"ecapa={tmp_path / 'mine'}"]) == 2
    assert "--redo" in capsys.readouterr().err
    assert prepare.main(["tokens", str(pack), "--speakers", f"ecapa={tmp_path / 'mine'}", "--redo"]) == 0
    assert Ecapa.asked[-1] == str(tmp_path / "mine")


def test_what_is_no_encoder_is_refused(pack, tmp_path, monkeypatch, capsys):
    assert prepare.main(["tokens", str(pack), "--speakers", "ears"]) == 2
    assert prepare.main(["tokens", str(pack), "--speakers", f"ecapa={tmp_path / 'nowhere'}"]) == 2
    monkeypatch.setattr(Ecapa, "encode_batch", lambda self, wav: torch.full((1, 1, 192), torch.nan))
    assert prepare.main(["tokens", str(pack), "--speakers", "ecapa"]) == 2
    monkeypatch.setitem(sys.modules, "speechbrain.inference.speaker", None)
    assert prepare.main(["tokens", str(pack), "--speakers", "ecapa"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert "expected ecapa or ecapa=FOLDER" in errors[0] and "no such folder" in errors[1]
    assert "no finite vector" in errors[2] and "pip install speechbrain" in errors[3]
    assert not Pack(pack).has("speaker_vectors")
