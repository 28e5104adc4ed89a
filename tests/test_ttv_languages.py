"""Several languages in one model: inline tags, the language of each token, models that read it, balanced sampling."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from make_pack import make_pack
from test_ttv import tiny_config
from tiny_voice import build_voice, recording

import train
from hierspeech.pipelines.tts import TextToSpeech
from speech.checkpoint import load_tensors
from speech.packs import Pack, write_arrays, write_utterances
from speech.text import get_tokenizer, match_language, split_languages, text_to_phonemes
from ttv import TTV
from ttv.aligned import AlignedTTV, AlignedTTVConfig
from ttv.balance import balance
from ttv.languages import language_ids
from ttv.transcripts import read_phonemes

MIXED = "<en>Hello, <pl>dzień dobry. <de>Guten Tag!"


def test_each_stretch_is_spoken_by_the_rules_of_its_language():
    phonemes = text_to_phonemes(MIXED, "fr")
    alone = [
        text_to_phonemes(*pair) for pair in (("Hello,", "en"), ("dzień dobry.", "pl"), ("Guten Tag!", "de"))
    ]
    assert phonemes == " ".join(alone)
    assert phonemes.languages == ["en"] * len(alone[0]) + ["pl"] * (len(alone[1]) + 1) + ["de"] * (
        len(alone[2]) + 1
    )
    assert phonemes.normalized == "Hello, dzień dobry. Guten Tag!"
    assert text_to_phonemes("dobry", "pl").languages == ["pl"] * len(text_to_phonemes("dobry", "pl"))


@pytest.mark.parametrize(
    "text", ["a < b > c", "<3 you", "use <br/> or <div>", "1<2 and 3>2", "x<qq>y", "List<int>"]
)
def test_signs_that_make_no_tag_are_read_as_before(text):
    assert split_languages(text, "en-us") == [("en-us", text)]
    assert (
        "les" in text_to_phonemes(text) or "ɡɹ" in text_to_phonemes(text) or "lˈɛs" in text_to_phonemes(text)
    )


def test_a_mistyped_tag_is_refused_where_tags_are_used():
    with pytest.raises(ValueError, match="the tag <qq> in the text names no language"):
        text_to_phonemes("<pl>Dzień dobry <qq>hello")


def test_a_tag_keeps_its_normaliser_and_overrides():
    phonemes = text_to_phonemes("<en_US>Dr. [Kokoro](/kˈoʊ/) <de>3 Hunde", "pl")
    assert phonemes.normalized == "Doctor Kokoro 3 Hunde" and "kˈoʊ" in phonemes
    assert set(phonemes.languages) == {"en-us", "de"}
    published = text_to_phonemes("Mrs. <de>Hund <en>Mrs.", "en-us", "english_cleaners2")
    assert published.count(text_to_phonemes("misess")[:4]) == 2


def test_a_text_of_two_languages_is_read_anew_where_a_pack_stores_phonemes(tmp_path):
    texts = ["hello", "<en>cat <pl>kot", "<pl>kot"]
    lines = [{"id": str(i), "language": "en-us", "text": text} for i, text in enumerate(texts)]
    write_utterances(tmp_path, lines)
    write_arrays(tmp_path, ["phonemes"], [(np.frombuffer(b"ab", np.uint8),)] * 3)
    stored, mixed, other = (read_phonemes(Pack(tmp_path), index) for index in range(3))
    assert stored == "ab" and stored.languages == ["en-us"] * 2
    assert mixed == text_to_phonemes(texts[1]) and set(mixed.languages) == {"en", "pl"}
    assert other == text_to_phonemes("kot", "pl") and set(other.languages) == {"pl"}


@pytest.mark.parametrize("name", ["ipa178", "phones"])
def test_every_id_knows_its_language(name):
    phonemes = text_to_phonemes("cat <pl>kot")
    encoded = get_tokenizer(name).encode(phonemes)
    ids = language_ids(phonemes, encoded, ["pl", "en-us"])
    assert len(ids) == len(encoded.ids) and ids == sorted(ids, reverse=True) and set(ids) == {0, 1}
    # "kˈæt" and its blanks; ^ and three sounds
    assert ids.count(1) == {"ipa178": 2 * len("kˈæt"), "phones": 4}[name]
    assert language_ids(phonemes, encoded, []) is None
    with pytest.raises(ValueError, match="the model does not speak 'pl': its languages are en-us, de"):
        language_ids(phonemes, encoded, ["en-us", "de"])


def test_languages_are_matched_as_people_write_them():
    known = ["pt-br", "en-gb", "en-us", "pl"]
    assert [match_language(code, known) for code in ("en", "EN_us", "en-gb", "pt", "pl")] == [2, 2, 1, 0, 3]


def test_models_without_languages_keep_their_weights_and_their_configuration(tmp_path):
    TTV(tiny_config()).save_pretrained(tmp_path)
    assert not any("language" in name for name in load_tensors(tmp_path))
    values = json.loads((tmp_path / "config.json").read_text())
    del values["languages"], values["symbols"]  # as it was written before there were any
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = TTV.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="language_ids were given to a model without languages"):
        model.infer(
            torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 8), language_ids=torch.zeros(1, 3).long()
        )


def models():
    config = tiny_config()
    config.languages = ["en-us", "pl"]
    torch.manual_seed(0)
    yield TTV(config), config.hidden, {"noise_scale": 0.0, "duration_noise_scale": 0.0}
    aligned = AlignedTTVConfig(languages=["en-us", "pl"], width=16)
    yield AlignedTTV(aligned), 16, {"pitch": torch.tensor([[5.0, 0.2]])}


@pytest.mark.parametrize("which", [0, 1], ids=["TTV", "AlignedTTV"])
def test_a_model_speaks_the_language_of_each_token(which):
    model, width, options = list(models())[which]
    model.eval()
    ids, style = torch.randint(7, 40, (1, 9)), torch.randn(1, model.config.style.out)
    embedding = next(m for name, m in model.named_modules() if name.endswith("language_embedding"))
    assert embedding.weight.shape == (2, width) and not embedding.weight.any()

    def spoken(languages):
        return model.infer(ids, style, language_ids=languages, **options).semantic

    first, second = torch.zeros(1, 9, dtype=torch.long), torch.ones(1, 9, dtype=torch.long)
    assert torch.equal(spoken(None), spoken(second))  # until it has learnt a difference
    with torch.no_grad():
        embedding.weight[1] = torch.randn(width)
    mixed = first.clone()
    mixed[:, 5:] = 1
    assert torch.equal(spoken(None), spoken(first))
    different = [spoken(languages) for languages in (first, second, mixed)]
    assert all(
        a.shape != b.shape or not torch.allclose(a, b)
        for a, b in zip(different, different[1:] + different[:1], strict=True)
    )


def test_a_voice_of_two_languages_mixes_them_and_refuses_a_third(tmp_path):
    build_voice(tmp_path, "lite")
    path = tmp_path / "ttv/config.json"
    config = AlignedTTV.from_pretrained(tmp_path / "ttv").config
    config.languages = ["en-us", "pl"]
    AlignedTTV(config).save_pretrained(path.parent)
    tts = TextToSpeech.from_pretrained(tmp_path, "cpu")
    # a tag holds beyond the end of its sentence
    sentences, _ = tts.encode("Hello <pl>dzień dobry. Jak się masz? <en>Fine.")
    merged = [language for sentence in sentences for language in sentence.languages]
    assert merged[0] == 0 and merged[-1] == 0 and Counter(merged)[1] > 15
    assert all(len(sentence) == len(sentence.languages) for sentence in sentences)
    long = tts.encode(("Dzień dobry wszystkim. " * 20).replace("Dzień", "<pl>Dzień", 1))[0]
    assert len(long) > 1 and all(set(sentence.languages) == {1} for sentence in long)
    speech = tts("Hello <pl>dzień dobry", recording(), seed=0)
    assert np.isfinite(speech.audio).all()
    for text, language in (("<de>Guten Tag", None), ("Guten Tag", "de")):
        with pytest.raises(ValueError, match="the model does not speak 'de': its languages are en-us, pl"):
            tts.encode(text, language)


def test_balance():
    languages, speakers = ["en"] * 6 + ["pl"] * 2, ["a"] * 5 + ["b"] + ["c"] * 2
    even = np.ones(8)
    np.testing.assert_allclose(balance(even, languages, speakers), even / 8)
    equal = balance(even, languages, speakers, 0.0, 0.0)
    np.testing.assert_allclose(equal, [0.05] * 5 + [0.25] + [0.25] * 2)
    half = balance(even, languages, speakers, 0.5, 1.0)
    assert half[:6].sum() / half[6:].sum() == pytest.approx(3**0.5)
    weighted = balance(np.array([2.0, 1, 1, 1, 1, 1, 1, 3]), languages, speakers, 0.0, 0.0)
    assert weighted[7] == pytest.approx(3 * weighted[6]) and weighted[6:].sum() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["ttv", "aligned_ttv"])
def test_training_on_two_languages(tmp_path, name, capsys):
    make_pack(tmp_path / "pack")
    lines = [json.loads(line) for line in (tmp_path / "pack/utterances.jsonl").read_text().splitlines()]
    for place, language in enumerate(["en-us", "en-us", "pl", "en", "pl", "en-us"]):
        lines[place]["language"] = language
    (tmp_path / "pack/utterances.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    more = ["model.languages=[en-us, pl]", "data.language_balance=0.3", f"data.pack={tmp_path / 'pack'}"]
    more += [f"train.runs_folder={tmp_path}", "model.semantic={name: phonetic, layer: 1, dim: 8}"]
    assert train.main([f"configs/tiny/{name}.yaml", *more]) == 0
    run = "ttv" if name == "ttv" else "tiny_aligned_ttv"
    weights = load_tensors(tmp_path / run / "step_00000002")
    learnt = next(tensor for key, tensor in weights.items() if key.endswith("language_embedding.weight"))
    assert learnt.shape == (2, 16) and learnt.any()
    capsys.readouterr()
    train.main([f"configs/tiny/{name}.yaml", *more, "model.languages=[en-us]", "train.run=other"])
    assert "the model does not speak 'pl': its languages are en-us" in "".join(capsys.readouterr())
