"""`prepare.py tokens`: into plain and sharded packs, gone on with where it stopped, never two tokenizers mixed."""

import json

import numpy as np
import pytest
import torch
from make_pack import make_pack
from test_prepare_packs import shard

import prepare
from hierspeech.preparation.tokens import add_predicted_tokens, add_semantic_tokens, fit_tokenizer
from spear.codec.model import CompactCodec, CompactCodecConfig
from speech.packs import Pack, write_arrays
from speech.semantic.encoder import SemanticSpec
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig
from speech.semantic.quantizer import SemanticQuantizer, TokenSpec
from speech.token_arrays import (
    require_acoustic_tokens,
    require_predicted_tokens,
    require_semantic_tokens,
    token_note,
)

SPEC = SemanticSpec("phonetic", 1, 8, 50)


@pytest.fixture
def plain(tmp_path):
    return make_pack(tmp_path / "pack", seconds=0.9)


@pytest.fixture
def sharded(plain, tmp_path):
    return shard(Pack(plain), tmp_path / "sharded", [2, 0, 3, 1]).folder


def tokens(*arguments):
    return prepare.main(["tokens", *map(str, arguments)])


def codec_folder(folder, seed=0):
    torch.manual_seed(seed)
    codec = CompactCodec(CompactCodecConfig(n_codebooks=3, codebook_size=16))
    codec.save_pretrained(folder)
    return folder, codec.eval()


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_fitting_and_writing_tokens_in_one_command(kind, request, tmp_path, capsys):
    pack = request.getfixturevalue(kind)
    assert tokens(pack, "--tokenizer", tmp_path / "t", "--fit", 8, "--rate", 25) == 0
    quantizer = SemanticQuantizer.from_pretrained(tmp_path / "t")
    read = Pack(pack)
    assert require_semantic_tokens(read, TokenSpec(SPEC, 8, 25)) == quantizer.spec
    for i in range(len(read)):
        found = read.read("semantic_tokens", i)
        assert found.dtype == np.int16 and len(found) == -(-read.length("semantic", i) // 2)
        x = torch.from_numpy(read.read("semantic", i).astype(np.float32)).T[None]
        assert np.array_equal(found, quantizer.tokens(x)[0].numpy())
        assert np.array_equal(read.read("predicted_tokens", i), found), (
            "this pack's prediction is its features"
        )
    require_predicted_tokens(read, quantizer.spec)
    assert tokens(pack, "--tokenizer", tmp_path / "t", "--fit", 8, "--rate", 25) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert tokens(pack, "--tokenizer", tmp_path / "t", "--fit", 16) == 2
    assert "holds a tokenizer of 8 tokens at 25/s, --fit asks for 16" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_tokens_of_two_tokenizers_never_mix(kind, request, tmp_path, capsys):
    pack = request.getfixturevalue(kind)
    fit_tokenizer(pack, 8).save_pretrained(tmp_path / "a")
    fit_tokenizer(pack, 8, seed=1).save_pretrained(tmp_path / "b")
    assert tokens(pack, "--tokenizer", tmp_path / "a") == 0
    first = token_note(pack, "semantic_tokens")
    assert tokens(pack, "--tokenizer", tmp_path / "b") == 2
    assert "--redo makes them again" in capsys.readouterr().err
    assert token_note(pack, "semantic_tokens") == first
    assert tokens(pack, "--tokenizer", tmp_path / "b", "--redo") == 0
    spec = SemanticQuantizer.from_pretrained(tmp_path / "b").spec
    assert require_semantic_tokens(Pack(pack), spec) == spec
    with pytest.raises(ValueError, match="holds semantic tokens of .* the model wants"):
        require_semantic_tokens(Pack(pack), SemanticQuantizer.from_pretrained(tmp_path / "a").spec)


def test_a_run_that_was_stopped_goes_on_with_the_shards_that_lack_tokens(sharded, tmp_path):
    quantizer = fit_tokenizer(sharded, 8)
    heard = []

    class Stopping(SemanticQuantizer):
        limit = 3

        def tokens(self, semantic, n_frames=None, spec=None):
            heard.append(semantic)
            if len(heard) > self.limit:
                raise KeyboardInterrupt
            return super().tokens(semantic, n_frames, spec)

    stopping = Stopping(quantizer.config)
    stopping.load_state_dict(quantizer.state_dict())
    with pytest.raises(KeyboardInterrupt):
        add_semantic_tokens(sharded, stopping)
    assert not Pack(sharded).has("semantic_tokens") and not list(sharded.rglob("*.part"))
    with pytest.raises(ValueError, match="no 'semantic_tokens'; run prepare.py tokens"):
        require_semantic_tokens(Pack(sharded), quantizer.spec)
    heard.clear()
    stopping.limit = 100
    assert add_semantic_tokens(sharded, stopping)
    assert len(heard) == 4  # of six utterances, the first shard's two are there
    assert require_semantic_tokens(Pack(sharded), quantizer.spec)


def test_features_that_were_made_again_make_the_tokens_again(plain):
    quantizer = fit_tokenizer(plain, 8)
    assert add_semantic_tokens(plain, quantizer) and not add_semantic_tokens(plain, quantizer)
    pack = Pack(plain)
    changed = [(pack.read("semantic", i) * -1,) for i in range(len(pack))]
    before = [pack.read("semantic_tokens", i).copy() for i in range(len(pack))]
    write_arrays(plain, ["semantic"], changed)
    assert add_semantic_tokens(plain, quantizer)
    pack = Pack(plain)
    assert any(not np.array_equal(pack.read("semantic_tokens", i), b) for i, b in enumerate(before))


def test_predicted_tokens_of_another_tokenizer_are_refused(plain):
    add_semantic_tokens(plain, fit_tokenizer(plain, 8))
    with pytest.raises(ValueError, match="predicted_tokens"):
        require_predicted_tokens(Pack(plain), TokenSpec(SPEC, 8, 25))
    assert add_predicted_tokens(plain, fit_tokenizer(plain, 8))
    with pytest.raises(ValueError, match="holds predicted tokens of"):
        require_predicted_tokens(Pack(plain), TokenSpec(SPEC, 9, 25))


def test_a_pack_of_features_alone_needs_no_sound(plain):
    for path in plain.glob("wav.*"):
        path.unlink()
    assert add_semantic_tokens(plain, fit_tokenizer(plain, 8))


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_acoustic_tokens_are_those_of_the_codec_coarsest_first(kind, request, tmp_path, capsys):
    pack = request.getfixturevalue(kind)
    folder, codec = codec_folder(tmp_path / "codec")
    assert tokens(pack, "--codec", folder, "--codebooks", 2) == 0
    read = Pack(pack)
    require_acoustic_tokens(read, codec.spec, 2)
    for i in range(len(read)):
        wav = torch.from_numpy(read.read("wav", i).astype(np.float32) / 32768)[None, None]
        found = read.read("acoustic_tokens", i)
        assert found.dtype == np.int16 and np.array_equal(found, codec.encode(wav, 2)[0].T.numpy())
    with pytest.raises(ValueError, match="of 2 codebooks, the model wants 3"):
        require_acoustic_tokens(read, codec.spec, 3)
    assert tokens(pack, "--codec", folder, "--codebooks", 4) == 2
    assert "--codebooks 4: expected 1 to 3" in capsys.readouterr().err
    other, _ = codec_folder(tmp_path / "other", seed=1)
    assert tokens(pack, "--codec", other, "--codebooks", 2) == 2
    assert "acoustic_tokens of" in capsys.readouterr().err


def test_features_of_another_encoder_are_refused(plain, tmp_path, capsys):
    fit_tokenizer(plain, 8).save_pretrained(tmp_path / "t")
    spec = json.loads((plain / "semantic.spec.json").read_text())
    (plain / "semantic.spec.json").write_text(json.dumps(spec | {"layer": 2}))
    assert tokens(plain, "--tokenizer", tmp_path / "t") == 2
    assert "holds semantic features of" in capsys.readouterr().err
    assert not Pack(plain).has("semantic_tokens")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected --tokenizer FOLDER or --codec NAME"),
        (["--codec", "none-such"], "unknown codec 'none-such'"),
        (["--codec", "none-such", "--check"], "expect --tokenizer"),
        (
            ["--tokenizer", "t", "--fit", 100, "--levels", 3],
            "--fit 100: expected a whole number to the power of 3",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(arguments, says, plain, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tokens(plain, *arguments) == 2
    assert says in capsys.readouterr().err


def test_the_check_says_what_tokens_keep_of_phones(tmp_path, capsys):
    torch.manual_seed(0)
    encoder = PhoneticEncoder(PhoneticEncoderConfig(dim=8, width=16, layers=1)).eval()
    encoder.save_pretrained(tmp_path / "phonetic")
    folder = make_pack(tmp_path / "pack", seconds=0.9)
    arguments = [
        folder,
        "--tokenizer",
        tmp_path / "t",
        "--fit",
        16,
        "--check",
        "--phonetic",
        tmp_path / "phonetic",
    ]
    assert tokens(*arguments) == 2  # the made pack's features are noise, not the encoder's
    assert "encoder of other weights" in capsys.readouterr().err
    pack = Pack(folder)
    with torch.inference_mode():
        wavs = [
            torch.from_numpy(pack.read("wav", i).astype(np.float32) / 32768)[None] for i in range(len(pack))
        ]
        rows = [(encoder(wav)[0].T.half().numpy(),) for wav in wavs]
    write_arrays(folder, ["semantic"], rows)
    assert tokens(*arguments) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("entropy: ", "distortion: ", "phones kept: ", "phones right by the"))
    assert not Pack(folder).has("semantic_tokens")
