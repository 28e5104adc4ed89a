"""The whole front end: overrides, what cannot be spoken, tokens; and that importing it stays light."""

import pickle
import subprocess
import sys
import time

import pytest

import speech.text as text_package
from speech.text import get_tokenizer, text_to_phonemes
from speech.text.overrides import remove_overrides, split_overrides
from speech.text.symbols import SYMBOL_TO_ID, SYMBOLS
from speech.text.tokenizer import TOKENIZERS


def test_text_to_phonemes():
    phonemes = text_to_phonemes("Dr. Smith has 3 cats.")
    assert phonemes == "dˈɑːktɚ smˈɪθ hɐz θɹˈiː kˈæts."
    assert isinstance(phonemes, str)
    assert phonemes.normalized == "Doctor Smith has three cats."
    assert phonemes.dropped == []


def test_overrides():
    text = "The [Worcester](/wˈʊstɚ/) sauce, [gif](/dʒ'ɪf/)."
    assert text_to_phonemes(text) == "ðə wˈʊstɚ sˈɔːs, dʒˈɪf."
    assert text_to_phonemes(text).normalized == "The Worcester sauce, gif."
    assert remove_overrides(text) == "The Worcester sauce, gif."
    assert text_to_phonemes("[](/a/)") == "a"
    assert text_to_phonemes("pre[x](/g/)post") == text_to_phonemes("pre") + "ɡ" + text_to_phonemes("post")
    assert [segment.phonemes for segment in split_overrides("a [b](/t͡ʃ/) [c](d) [e]")] == [None, "tʃ", None]


def test_unknown_override_symbols_are_reported_by_the_tokenizer():
    encoded = get_tokenizer("ipa178").encode(text_to_phonemes("say [x](/a☃b/)"))
    assert encoded.unknown == ["☃"]


@pytest.mark.parametrize(
    ("text", "language", "normalized", "dropped"),
    [
        ("“Curly” ‘quotes’", "en-us", "“Curly” 'quotes'", []),
        ("café e\u0301", "en-us", "café é", []),
        ("a\u0329b", "en-us", "ab", ["\u0329"]),
        ("a\u200b\ufeffb", "en-us", "ab", []),
        ("a\x07b\ud800\ue000", "en-us", "ab", ["\x07", "\ud800", "\ue000"]),
        ("a\0b", "en-us", "ab", ["\0"]),
        ("你好, привет, Σωκράτης", "en-us", "ni hao, privet, sokrates", []),
        ("日本語", "ja", "", ["日", "本", "語"]),
        ("⌘ key ⿰", "en-us", "key", ["⌘", "⿰"]),
        ("ok 😀", "en-us", "ok 😀", []),
        ("привет, world", "ru", "привет, world", []),
        ("ꓐ 你", "zh", "你", ["ꓐ"]),
        ("", "en-us", "", []),
        (" \n ", "en-us", "", []),
    ],
)
def test_what_cannot_be_spoken_is_reported(text, language, normalized, dropped):
    phonemes = text_to_phonemes(text, language)
    assert phonemes.normalized == normalized
    assert phonemes.dropped == dropped
    assert bool(phonemes) == bool(normalized)


def test_published_cleaner_reports_too():
    assert text_to_phonemes("a 🫠 b é", normalizer="english_cleaners2").dropped == ["🫠"]


def test_emoji_have_names():
    assert text_to_phonemes("😀") == text_to_phonemes("grinning face")


def test_foreign_scripts_are_not_spelled():
    """espeak would say "Chinese letter"."""
    assert "tʃˈaɪniːz" not in text_to_phonemes("你好 hello")


def test_phonemes_survive_pickling():
    phonemes = text_to_phonemes("a ⌘ b")
    again = pickle.loads(pickle.dumps(phonemes))
    assert (again, again.dropped, again.normalized) == (phonemes, ["⌘"], phonemes.normalized)


def test_symbol_table():
    assert len(SYMBOLS) == 178
    assert (SYMBOLS[0], SYMBOLS[16], SYMBOLS[17], SYMBOLS[43], SYMBOLS[69]) == ("_", " ", "A", "a", "ɑ")
    assert (SYMBOLS[173], SYMBOLS[174], SYMBOLS[175], SYMBOLS[176], SYMBOLS[177]) == (
        "↘",
        "'",
        "\u0329",
        "'",
        "ᵻ",
    )
    assert SYMBOL_TO_ID["'"] == 176
    assert (SYMBOL_TO_ID["ɡ"], SYMBOL_TO_ID["g"]) == (92, 49)


def test_ipa_tokenizer():
    tokenizer = get_tokenizer("ipa178")
    assert len(tokenizer) == 178
    encoded = tokenizer.encode("aɡ'☃_")
    assert encoded.ids == [0, 43, 0, 92, 0, 176, 0]
    assert encoded.unknown == ["☃", "_"]
    assert tokenizer.encode("aɡ'", blanks=False).ids == [43, 92, 176]
    assert tokenizer.encode("").ids == [] and tokenizer.encode("☃").ids == []
    assert tokenizer.decode(encoded.ids) == "aɡ'"


def test_english_needs_no_unknown_symbols():
    sentence = "Judge Thatcher's vision: “pure joy” — measured, chewed, sung; who, why? 42 °C!"
    assert get_tokenizer("ipa178").encode(text_to_phonemes(sentence)).unknown == []
    assert get_tokenizer("phones").encode(text_to_phonemes(sentence)).unknown == []


def test_every_tokenizer_keeps_the_contract():
    for name in TOKENIZERS:
        tokenizer = get_tokenizer(name)
        encoded = tokenizer.encode("həlˈoʊ, wˈɜːld! ☃")
        assert tokenizer.name == name
        assert encoded.ids and all(0 <= index < len(tokenizer) for index in encoded.ids)
        assert encoded.unknown == ["☃"]
    with pytest.raises(ValueError, match="unknown tokenizer 'x': known are ipa178"):
        get_tokenizer("x")


def test_exports():
    assert all(hasattr(text_package, name) for name in text_package.__all__)


def test_importing_is_light():
    heavy = "phonemizer num2words unidecode torch numpy espeakng_loader"
    code = (
        f"import sys, speech.text; sys.exit(' '.join(m for m in '{heavy}'.split() if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_front_end_is_quick():
    text_to_phonemes("warm 1")
    start = time.process_time()
    for number in range(100):
        text_to_phonemes(f"On May {number % 28 + 1}, 2024, Dr. Smith paid ${number}.50 for a 5-km ride.")
    assert time.process_time() - start < 2  # measured: 0.1 s
