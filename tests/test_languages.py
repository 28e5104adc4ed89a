"""Fourteen scripts through `infer.py --language`, and one clear warning where text, language and voice do not fit."""

import json
import warnings

import pytest
import soundfile
from tiny_voice import build_voice, recording

import infer
from hierspeech import TextToSpeech
from speech.text import LANGUAGES
from speech.text.scripts import LanguageWarning, check_languages, count_scripts, languages_of

SCRIPTS = {
    "de": "Zwölf Boxkämpfer jagen Viktor.",
    "ru": "Съешь же ещё этих мягких булок.",
    "el": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "ar": "مرحبا بالعالم.",
    "he": "שלום עולם.",
    "hi": "नमस्ते दुनिया।",
    "zh": "你好，世界。",
    "ko": "안녕하세요 세계.",
    "ja": "こんにちは、せかい。",
    "th": "สวัสดีชาวโลก",
    "ka": "გამარჯობა მსოფლიო.",
    "hy": "Բարեւ աշխարհ։",
    "bn": "ওহে বিশ্ব।",
    "ta": "வணக்கம் உலகம்.",
}


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A tiny voice that was trained on English, as the shipped one."""
    folder = build_voice(tmp_path_factory.mktemp("voice") / "lite", "lite", prompts=["me"])
    (folder / "prompts").mkdir()
    TextToSpeech.from_pretrained(folder, "cpu").prompt(recording()).save(folder / "prompts/me.safetensors")
    return folder


@pytest.mark.parametrize("code", SCRIPTS)
def test_a_script_is_spoken(voice, tmp_path, capsys, code):
    text, out, words = SCRIPTS[code], tmp_path / "a.wav", tmp_path / "a.json"
    arguments = ["--device", "cpu", "--voice", str(voice), "--language", code, "--text", text]
    assert infer.main([*arguments, "--output", str(out), "--timestamps", str(words)]) == 0
    assert soundfile.info(out).duration > 0.2
    found = json.loads(words.read_text(encoding="utf-8"))["words"]
    spoken = "".join(word["text"] for word in found)
    letters = [character for character in text if character.isalnum()]
    assert [c for c in spoken if c.isalnum()] == letters, "every letter belongs to a word that is spoken"
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if f"not on {code}" in line]) == 1
    assert all(
        "left out" in line or "not on" in line for line in lines
    )  # tones, which the voice does not have


@pytest.mark.parametrize("code", LANGUAGES)
def test_samples_fit_their_language(code):
    assert check_languages(LANGUAGES[code].sample, code, [code]) == []


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("Привет, как дела?", "en-us", "mostly in Cyrillic letters, and en-us is written in Latin ones"),
        ("Привет, как дела?", "en-us", "--language ru or uk"),
        ("Good morning", "ru", "mostly in Latin letters, and ru is written in Cyrillic ones"),
        ("你好，世界。", "en-us", "Han letters, and en-us is written in Latin ones; --language zh or yue"),
        ("こんにちは、せかい。", "zh", "Kana letters, and zh is written in Han ones; --language ja"),
        ("안녕하세요 세계.", "ja", "Hangul letters"),
        ("<el>Good evening <en>sir", "en", "and el is written in Greek ones"),
        ("Dzień dobry.", "pl", "trained on en-us, not on pl"),
        ("Hello. <de>Guten Tag.", "en-us", "trained on en-us, not on de"),
    ],
)
def test_what_does_not_fit_is_said(text, language, said):
    found = check_languages(text, language, ["en-us"])
    assert len(found) == 1 and said in found[0] and found[0].endswith(".") and "\n" not in found[0]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello.", "en-gb"),
        ("The word Москва is Russian.", "en-us"),
        ("你好", "en-us"),  # two letters may be a name
        ("42!", "en-us"),
        ("[Привет](/pɹɪvjˈet/) ok", "en-us"),
        ("", "en-us"),
        ("Hello. <pl>", "en-us"),
    ],
)
def test_what_fits_is_not_mentioned(text, language):
    assert check_languages(text, language, ["en-us"]) == []


def test_scripts():
    assert count_scripts("aж你あア한 1!") == {
        "LATIN": 1,
        "CYRILLIC": 1,
        "CJK": 1,
        "HIRAGANA": 1,
        "KATAKANA": 1,
        "HANGUL": 1,
    }
    assert languages_of("THAI") == ["th"] and "de" in languages_of("LATIN")


def test_the_api_warns_in_every_way_of_speaking(voice):
    tts = TextToSpeech.from_pretrained(voice, "cpu")
    for speak in (
        lambda text: tts(text),
        lambda text: list(tts.stream(text)),
        lambda text: list(tts.batch([text])),
    ):
        with pytest.warns(LanguageWarning, match="Cyrillic") as met:
            speak("Привет, как дела?")
        assert len(met) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            speak("Hello.")


def test_voices_that_know_the_language_do_not_warn(tmp_path):
    tts = TextToSpeech.from_pretrained(build_voice(tmp_path / "v", "official", language="pl"), "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tts("Dzień dobry.", recording())
    with pytest.warns(LanguageWarning, match="trained on pl, not on en"):
        tts("Good morning.", recording(), language="en")
