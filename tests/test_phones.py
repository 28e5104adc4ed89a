"""Phones: cutting IPA into sounds, the token ids made of them, and the aligner that uses their ARPAbet names."""

import numpy as np
import pytest

from speech.text.phones import ARPABET, CONSONANTS, NEAREST, VOWELS, PhoneTokenizer, split_units, split_words


def symbols(text):
    tokenizer = PhoneTokenizer()
    return [tokenizer.symbols[i] for i in tokenizer.encode(text).ids]


def test_units_take_the_longest_match_and_stress_goes_to_the_vowel():
    assert split_units("tʃˈɜːtʃ") == ([("tʃ", 0), ("ɜː", 1), ("tʃ", 0)], [])
    assert split_units("sˈɜːʔn̩li")[0] == [("s", 0), ("ɜː", 1), ("ʔ", 0), ("n̩", 0), ("l", 0), ("i", 0)]
    assert split_units("ˈstɹɔːŋ")[0][3] == ("ɔː", 1)  # a stress mark before the syllable


def test_a_sentence_has_one_boundary_between_words_and_an_end():
    assert symbols("həlˈoʊ, wˈɜːld") == [
        ("^", 0), ("h", 0), ("ə", 0), ("l", 0), ("oʊ", 1), (",", 0), ("w", 0), ("ɜː", 1), ("l", 0), ("d", 0), (".", 0),
    ]  # fmt: skip
    assert symbols("ɪz ɪt?")[-1] == ("?", 0)
    assert [s for s, _ in symbols("“ɪz ɪt?” — ˈaɪ.")] == ["^", "ɪ", "z", " ", "ɪ", "t", "?", "aɪ", "."]


def test_text_without_sound_gives_no_tokens():
    assert PhoneTokenizer().encode("").ids == [] and PhoneTokenizer().encode(" ,.?! ").ids == []


def test_foreign_sounds_are_replaced_and_impossible_ones_reported():
    assert split_units("yʁx") == ([("iː", 0), ("ɹ", 0), ("h", 0)], [])
    encoded = PhoneTokenizer().encode("k漢ˈæt")
    assert encoded.unknown == ["漢"] and len(encoded.ids) == 5


def test_every_near_sound_exists():
    for target in NEAREST.values():
        assert all(unit in ARPABET for unit in target.split())


def test_token_ids_are_distinct_and_factors_in_range():
    tokenizer = PhoneTokenizer()
    assert len(tokenizer.ids) == len(tokenizer) == 7 + 3 * len(VOWELS) + len(CONSONANTS)
    assert tokenizer.symbols[0] == ("_", 0)
    units, stresses = zip(*tokenizer.factors(), strict=True)
    assert max(units) == len(tokenizer.units) - 1 and set(stresses) == {0, 1, 2}


def test_the_aligner_accounts_for_every_token():
    """Times made by hand in the aligner's place: silences, a pause that no punctuation announces, two-phone units."""
    pytest.importorskip("pocketsphinx")
    from hierspeech.preparation.alignment import Aligner

    words, end, _ = split_words("kˈæt bˈʌʔn̩")
    expected = [["K", "AE", "T"], ["B", "AH", "T", "AH", "N"]]
    spoken = [("SIL", 0, 10), ("K", 10, 15), ("AE", 15, 25), ("T", 25, 30), ("SIL", 30, 50), ("B", 50, 55), ("AH", 55, 60),
              ("T", 60, 64), ("AH", 64, 68), ("N", 68, 75), ("SIL", 75, 90)]  # fmt: skip
    found = Aligner()._tokens(words, end, expected, spoken)
    tokenizer = PhoneTokenizer()
    assert [tokenizer.symbols[i][0] for i in found.token_ids] == [
        "^",
        "k",
        "æ",
        "t",
        ",",
        "b",
        "ʌ",
        "ʔ",
        "n̩",
        ".",
    ]
    assert found.token_ends.tolist() == [10, 15, 25, 30, 50, 55, 60, 64, 75, 90]
    assert found.phone_ends[-1] == 90 and len(found.phone_ids) == len(spoken)


def test_alignment_of_silence_finds_no_path():
    pytest.importorskip("pocketsphinx")
    from hierspeech.preparation.alignment import Aligner

    assert Aligner().align(np.zeros(1600, np.float32), "ðɪs ɪz ɐ lˈɔŋ sˈɛntəns") is None
