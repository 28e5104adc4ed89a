"""Byte pairs of text: fitted on one's own corpus, kept as JSON, and spoken by models that carry them along."""

import json
import pickle

import pytest
import torch
from spear_pack import make_token_pack

pytest.importorskip("tokenizers")

import prepare
from spear.bpe import BpeTokenizer, embed, train_bpe
from spear.text_to_semantic.data import DataConfig, PackPairs
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from spear.text_tokens import ByteTokenizer, text_tokenizer
from speech.packs import Pack

TEXTS = ["the cat sat on the mat", "the hat of the cat", "The rat and the bat", "zażółć gęślą jaźń"] * 3


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bpe") / "bpe.json"
    path.write_text(train_bpe(TEXTS, 280))
    return path


def test_every_text_comes_back_in_fewer_tokens_than_bytes(file):
    tokenizer = text_tokenizer(embed(str(file)))
    assert tokenizer.n_tokens == 280
    for text in (*TEXTS, "unseen: 日本語, emoji 🙂 & a\ttab"):
        encoded = tokenizer.encode(f"  {text} ")
        assert tokenizer.decode(encoded.ids) == text and max(encoded.ids) < 280
    assert len(tokenizer.encode(TEXTS[0]).ids) < len(TEXTS[0]) / 2


def test_equal_texts_give_an_equal_tokenizer_and_others_another():
    assert train_bpe(TEXTS, 270) == train_bpe(TEXTS, 270)
    assert train_bpe(TEXTS, 270) != train_bpe(["something else altogether"] * 20, 270)


def test_transformers_reads_the_file(file):
    transformers = pytest.importorskip("transformers")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
    assert fast("the cat sat").input_ids == text_tokenizer(embed(str(file))).encode("the cat sat").ids


def test_languages_change_at_tokens_and_capitals_count_unless_told_otherwise(file):
    tokenizer = text_tokenizer(embed(str(file)))
    mixed = tokenizer.encode("the cat <pl>gęślą", "en", ["en", "pl"])
    first = len(tokenizer.encode("the cat ").ids)
    assert mixed.language_ids[0] == 0 and mixed.language_ids[-1] == 1
    assert len(mixed.language_ids) == len(mixed.ids)
    assert abs(mixed.language_ids.index(1) - first) <= 1  # the blank at the border is either's
    assert tokenizer.encode("The").ids != tokenizer.encode("the").ids
    small = BpeTokenizer(train_bpe([t.lower() for t in TEXTS], 270, lowercase=True))
    assert small.encode("THE CAT").ids == small.encode("the cat").ids
    with pytest.raises(ValueError, match="does not speak 'de'"):
        tokenizer.encode("das", "de", ["en", "pl"])


def test_spoken_tells_letters_from_signs(file):
    tokenizer = text_tokenizer(embed(str(file)))
    of = {word: tokenizer.encode(word).ids for word in ("the", ".", " ", ",", "ż")}
    assert all(tokenizer.spoken(i) for i in of["the"] + of["ż"])
    assert not any(tokenizer.spoken(i) for i in of["."] + of[" "] + of[","])


def test_a_model_carries_its_tokenizer_in_its_folder(file, tmp_path):
    config = TextToSemanticConfig(tokenizer=str(file), width=16, heads=2, layers=2, positions="none")
    assert config.tokenizer.startswith("bpe:{")
    torch.manual_seed(0)
    model = TextToSemantic(config).eval()
    model.save_pretrained(tmp_path / "model")
    again = TextToSemantic.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    file = text_tokenizer(again.config.tokenizer)
    ids = torch.tensor([file.encode("the cat").ids])
    one, other = (m.generate(ids, seed=0, max_tokens=5).tokens for m in (model, again))
    assert torch.equal(one, other)
    assert pickle.loads(pickle.dumps(file)).encode("the cat").ids == ids[0].tolist()  # data loaders' workers


def test_pairs_of_a_pack_are_read_in_byte_pairs(file, tmp_path):
    pack = make_token_pack(tmp_path / "pack")
    model = TextToSemanticConfig(
        tokens=PackPairs(pack, TextToSemanticConfig(tokens=_spec(pack)), DataConfig(str(pack))).found,
        tokenizer=str(file), width=16, heads=2, layers=2,
    )  # fmt: skip
    pairs = PackPairs(str(pack), model, DataConfig(str(pack)))
    example = pairs.read(0, None)
    assert text_tokenizer(model.tokenizer).decode(example.text.tolist()) == "hello world"
    assert len(example.tokens) == Pack(pack).length("semantic_tokens", 0)
    assert len(example.text) < len(ByteTokenizer().encode("hello world").ids) + 1


def _spec(pack):
    from speech.semantic.encoder import SemanticSpec
    from speech.semantic.quantizer import TokenSpec

    values = json.loads((pack / "semantic_tokens.spec.json").read_text())["spec"]
    return TokenSpec(**values | {"semantic": SemanticSpec(**values["semantic"])})


def test_the_command_reads_packs_and_text_files(tmp_path, capsys):
    pack, lines = make_token_pack(tmp_path / "pack"), tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS))
    assert (
        prepare.main(["bpe", str(pack), str(lines), str(tmp_path / "out" / "bpe.json"), "--size", "262"]) == 0
    )
    assert "262 tokens of 16 texts" in capsys.readouterr().err  # four utterances of `train`, twelve lines
    assert text_tokenizer(embed(str(tmp_path / "out" / "bpe.json"))).n_tokens == 262
    assert prepare.main(["bpe", str(lines), str(tmp_path / "bpe.json"), "--size", "5000"]) == 2
    assert "no more than" in capsys.readouterr().err
    assert prepare.main(["bpe", str(lines), str(tmp_path / "bpe.json"), "--size", "256"]) == 2
    assert "256 bytes" in capsys.readouterr().err
    assert prepare.main(["bpe", str(lines), str(tmp_path / "bpe.txt")]) == 2
    assert ".json" in capsys.readouterr().err and not (tmp_path / "bpe.json").exists()


def test_what_is_no_tokenizer_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="cannot read the tokenizer .*none.json"):
        TextToSemanticConfig(tokenizer=str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="expected the JSON of a tokenizer"):
        TextToSemanticConfig(tokenizer=str(tmp_path / "bad.json"))
    (tmp_path / "bad.json").write_text('{"model": {"type": "none"}}')
    with pytest.raises(ValueError, match="cannot read this tokenizer"):
        TextToSemanticConfig(tokenizer=str(tmp_path / "bad.json"))
    with pytest.raises(ValueError, match="unknown text tokenizer 'words': known are bytes"):
        TextToSemanticConfig(tokenizer="words")
