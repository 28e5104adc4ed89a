"""`python -m hierspeech.official extend`: more languages and symbols, and not a bit of change to what was there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_official
import torch
from tiny_official import build_download
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.official.__main__ import main
from hierspeech.official.extend import extend
from speech.checkpoint import load_tensors
from ttv import TTV

TEXT = "The quick brown fox."


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """A tiny voice imported from published files."""
    folder = tmp_path_factory.mktemp("official")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_official.shrink(monkeypatch)
        build_download(folder / "files", ["synthesizer", "ttv"])
        without = [f"--without={part}" for part in ("speechsr-24k", "speechsr-48k", "denoiser")]
        assert main(["import", str(folder / "files"), str(folder / "voice"), *without]) == 0
    return folder / "voice"


def spoken(voice: Path, text: str = TEXT, **options) -> np.ndarray:
    tts = TextToSpeech.from_pretrained(voice, "cpu")
    sentences, _ = tts.encode(text, **options)
    prompt = tts.prompt(recording())
    generator = torch.Generator().manual_seed(1)
    return np.concatenate([tts.speak(sentence, prompt, generator=generator) for sentence in sentences])


def test_an_imported_voice_gains_languages_and_symbols_and_speaks_as_before(official, tmp_path, capsys):
    out = tmp_path / "more"
    assert main(["extend", str(official), str(out), "--languages", "pl,de", "--symbols", "12"]) == 0
    assert f"train it with init={out}" in capsys.readouterr().out
    before, after = (TTV.from_pretrained(folder / "ttv") for folder in (official, out))
    assert after.config.languages == ["en-us", "pl", "de"] and after.config.symbols == ["1", "2"]
    assert after.config.text.n_symbols == 180 and before.config.text.n_symbols == 178
    tts = TextToSpeech.from_pretrained(out, "cpu")
    assert tts.encode(TEXT)[0][0] == TextToSpeech.from_pretrained(official, "cpu").encode(TEXT)[0][0]
    assert np.array_equal(spoken(out), spoken(official))
    # what was there is there bit for bit, what is new is zero
    old, new = load_tensors(official / "ttv"), load_tensors(out / "ttv")
    for name, tensor in new.items():
        rows = len(old[name]) if name in old else 0
        assert rows == 0 or torch.equal(tensor[:rows], old[name]), name
        assert len(tensor) == rows or not tensor[rows:].any(), name
    grown = {name for name in new if name not in old or len(new[name]) != len(old[name])}
    embedding = "text_encoder.embedding.weight"
    assert grown == {embedding, "text_encoder.language_embedding.weight", "phoneme_classifier.weight"}
    # and the new symbols are read
    sentences, unknown = tts.encode("[ma](/ma12/) <pl>kot")
    assert (
        178 in sentences[0] and 179 in sentences[0] and not unknown and set(sentences[0].languages) == {0, 1}
    )
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in official.iterdir())
    assert "added the languages pl, de and the symbols 1 2" in (out / "ttv/README.md").read_text()


def test_a_model_can_gain_more_than_once(official, tmp_path):
    extend(official / "ttv", tmp_path / "first", ["pl"])
    extend(tmp_path / "first", tmp_path / "second", ["de"], ["3"])
    model = TTV.from_pretrained(tmp_path / "second")
    assert model.config.languages == ["en-us", "pl", "de"] and model.config.symbols == ["3"]


def test_an_aligned_voice_gains_languages(tmp_path):
    build_voice(tmp_path / "voice", "lite")
    extend(tmp_path / "voice", tmp_path / "more", ["pl"])
    assert np.array_equal(spoken(tmp_path / "more"), spoken(tmp_path / "voice"))
    assert np.array_equal(spoken(tmp_path / "more", "kot"), spoken(tmp_path / "more", "<en>kot"))


def test_half_precision_stays_what_it_is(tmp_path):
    build_voice(tmp_path / "voice", "official")
    TTV.from_pretrained(tmp_path / "voice/ttv").save_pretrained(tmp_path / "voice/ttv", dtype=torch.float16)
    extend(tmp_path / "voice", tmp_path / "more", ["pl"])
    assert {t.dtype for t in load_tensors(tmp_path / "more/ttv").values()} == {torch.float16}
    assert np.array_equal(spoken(tmp_path / "more"), spoken(tmp_path / "voice"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "expected languages or symbols to gain, got neither"),
        (["--languages", "qqq"], "unknown language 'qqq'"),
        (["--languages", "pl,en_US"], "the model speaks en-us already: its languages are en-us"),
        (["--languages", "pl,pl"], "expected different codes"),
        (["--symbols", "1ə"], "expected single characters that are new to ipa178, got ['ə']"),
        (["--symbols", "11"], "expected single characters that are new to ipa178, got ['1', '1']"),
    ],
)
def test_what_cannot_be_gained_is_refused(official, tmp_path, more, sentence, capsys):
    assert main(["extend", str(official), str(tmp_path / "out"), *more]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_is_no_text_to_vec_is_refused(official, tmp_path, capsys):
    assert main(["extend", str(official / "synthesizer"), str(tmp_path / "out"), "--languages", "pl"]) == 2
    assert "holds a HierSpeech, expected one of TTV, AlignedTTV" in capsys.readouterr().err
    assert main(["extend", str(tmp_path), str(tmp_path / "out"), "--languages", "pl"]) == 2
    assert "not a readable model description" in capsys.readouterr().err
    shutil.copytree(official, tmp_path / "taken")
    assert main(["extend", str(official), str(tmp_path / "taken"), "--languages", "pl"]) == 2
    assert "exists already" in capsys.readouterr().err
    build_voice(tmp_path / "lite", "lite")
    assert main(["extend", str(tmp_path / "lite"), str(tmp_path / "out"), "--symbols", "1"]) == 2
    assert "the tokenizer phones has a fixed inventory" in capsys.readouterr().err
