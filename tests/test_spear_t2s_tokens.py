"""Sampling and text tokens: what is drawn, in what order a masked model settles, bytes and phonemes with a language each."""

import pytest
import torch

from spear.sampling import (
    Sampling,
    cosine_schedule,
    guide,
    keep_likely,
    least_confident,
    probabilities,
    row_generators,
    sample,
)
from spear.text_tokens import (
    WHISPER_LANGUAGES,
    ByteTokenizer,
    PhonemeTokenizer,
    check_length,
    language_place,
    pad_texts,
)

# --- sampling


def test_top_k_and_top_p_keep_what_they_say():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    kept = keep_likely(logits, Sampling(temperature=1, top_k=2)).isfinite()
    assert kept.tolist() == [[True, True, False, False]]
    for top_p, expected in ((0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 4)):
        assert int(keep_likely(logits, Sampling(temperature=1, top_p=top_p)).isfinite().sum()) == expected
    assert probabilities(logits, Sampling(temperature=0)).tolist() == [[1, 0, 0, 0]]
    cold = probabilities(logits, Sampling(temperature=0.5))
    assert torch.allclose(cold, torch.tensor([[0.25, 0.09, 0.0225, 0.0025]]) / 0.365)


def test_draws_have_the_probabilities_asked_for():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).expand(20000, -1)
    drawn = sample(logits, Sampling(temperature=1), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / 20000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.015)
    two = torch.zeros(2, 4)
    together = sample(two, Sampling(), row_generators(3, 2))
    assert together.tolist() == [int(sample(two[:1], Sampling(), row_generators(3 + i, 1))) for i in range(2)]


def test_guidance_goes_from_the_one_to_the_other():
    a, b = torch.randn(2, 5), torch.randn(2, 5)
    assert torch.equal(guide(a, b, 1.0), b + (a - b)) and torch.equal(guide(a, b, 0.0), b)


def test_the_schedule_ends_and_the_least_confident_are_masked():
    shares = [cosine_schedule(i / 8) for i in range(9)]
    assert shares[0] == 1 and abs(shares[-1]) < 1e-9 and shares == sorted(shares, reverse=True)
    confidence = torch.tensor([[0.1, torch.inf, 0.9, 0.2], [0.5, 0.4, torch.inf, torch.inf]])
    assert least_confident(confidence, torch.tensor([2, 3])).tolist() == [
        [True, False, False, True], [True, True, False, False],
    ]  # fmt: skip


@pytest.mark.parametrize("values", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"guidance": -0.5}])
def test_impossible_sampling_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Sampling(**values)


# --- text tokens


def test_bytes_have_a_language_each_and_padding_has_the_first_language():
    tokenizer = ByteTokenizer()
    mixed = tokenizer.encode([("Zażółć ", "pl"), ("good", "en")], languages=["en", "pl"])
    assert bytes(mixed.ids).decode() == "Zażółć good"
    assert len(mixed.language_ids) == len(mixed.ids) == len("Zażółć good".encode())
    assert mixed.language_ids == [1] * len("Zażółć ".encode()) + [0] * 4
    tagged = tokenizer.encode("good <pl>żółć", "en", ["en", "pl"])
    assert tagged.language_ids == [0] * 5 + [1] * 8
    ids, languages, lengths = pad_texts([mixed, tokenizer.encode("hm", "pl", ["en", "pl"])])
    assert ids[1][2:] == [0] * (lengths[0] - 2) and languages[1] == [1] * lengths[0]
    assert tokenizer.decode(mixed.ids + [0, 0]) == "Zażółć good"
    with pytest.raises(ValueError, match="NUL"):
        tokenizer.encode("a\0b")


def test_the_whisper_table_and_its_aliases():
    assert len(WHISPER_LANGUAGES) == len(set(WHISPER_LANGUAGES)) == 99
    assert [WHISPER_LANGUAGES.index(code) for code in ("en", "zh", "pl", "uk", "su")] == [0, 1, 10, 21, 98]
    for code, place in (
        ("en-us", 0),
        ("Flemish", WHISPER_LANGUAGES.index("nl")),
        ("pt_BR", WHISPER_LANGUAGES.index("pt")),
    ):
        assert language_place(code, ["whisper"]) == place
    assert language_place("en", ["de", "en-us"]) == 1
    with pytest.raises(ValueError, match="does not speak 'fr'"):
        language_place("fr", ["en", "pl"])


def test_phonemes_are_those_of_the_front_end_and_borders_are_no_speech():
    tokenizer = PhonemeTokenizer("phones")
    encoded = tokenizer.encode_phonemes("həlˈoʊ, wˈɜːld")
    assert tokenizer.decode(encoded.ids) == "^həloʊ,wɜːld."
    assert [tokenizer.spoken(i) for i in encoded.ids] == [False] + [True] * 4 + [False] + [True] * 4 + [False]
    assert encoded.language_ids == [0] * len(encoded.ids)


def test_text_is_never_cut():
    check_length([1] * 10, 10)
    with pytest.raises(ValueError, match="11 tokens, the model takes up to 10"):
        check_length([1] * 11, 10)
    with pytest.raises(ValueError, match="empty"):
        check_length([], 10)
