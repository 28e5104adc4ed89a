"""Phonemes from espeak-ng: parity with the published front end, languages, threads, start-up."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from speech.text.frontend import text_to_phonemes
from speech.text.languages import LANGUAGES, available_languages, find_language
from speech.text.phonemize import espeak_voices, phonemize

GOLDEN = json.loads((Path(__file__).parent / "golden" / "phonemizer_3_2_1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "phonemes"), GOLDEN["cases"].items())
def test_same_as_the_published_front_end(text, phonemes):
    assert text_to_phonemes(text, normalizer="english_cleaners2") == phonemes


def test_plain_english():
    assert phonemize("Hello, world!") == "həlˈoʊ, wˈɜːld!"
    assert phonemize("“Yes” — no…") == "“jˈɛs” — nˈoʊ…"


def test_brackets_are_no_punctuation():
    """phonemizer 3.4 keeps them, and no model knows them."""
    assert phonemize("(a) [b] {c}") == phonemize("a b c")


def test_decimals():
    assert phonemize("3.5") == "θɹˈiː pɔɪnt fˈaɪv"
    assert phonemize("3.5", keep_decimals=False) == "θɹˈiː.fˈaɪv"
    assert phonemize("1,5", "de") == "ˈaɪns kɔmɑː fˈʏnf"
    assert phonemize("Room 5. Then") == "ɹˈuːm fˈaɪv. ðˈɛn"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_nothing_to_say(text):
    assert phonemize(text) == ""


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [("...!", "...!"), ("?", "?"), (", a ,", ", ˈeɪ ,"), ("a\0b", "ɐ bˈiː"), ("a\ud800b", "ɐ bˈiː")],
)
def test_odd_text(text, phonemes):
    assert phonemize(text) == phonemes


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_listed_language_speaks_its_sample(code):
    language = LANGUAGES[code]
    phonemes = text_to_phonemes(language.sample, code)
    assert len(phonemes) >= 8
    assert not phonemes.dropped
    assert any(mark in phonemes for mark in "ˈˌ")
    assert "(" not in phonemes  # espeak's flags for words of another language


def test_languages_differ():
    assert len({phonemize("Paris", code) for code in ("en-us", "fr", "de", "es", "pl", "sv")}) >= 5


def test_find_language():
    assert find_language("EN_us").voice == "en-us"
    assert find_language("fr-fr").code == "fr"
    assert find_language("cmn").code == "zh"
    assert find_language("is").normalizer == "localized"
    assert find_language("en-gb-scotland").normalizer == "english"
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        find_language("xx")
    with pytest.raises(ValueError, match="did you mean .*en-us"):
        find_language("en-uk")
    with pytest.raises(ValueError, match="unknown language ''"):
        phonemize("a", "")


def test_available_languages():
    names = available_languages()
    assert len(names) > 120
    assert names["en-us"] == "English (America)" and "zh" in names and "is" in names
    assert set(LANGUAGES) <= set(names)
    assert set(espeak_voices()) >= {language.voice for language in LANGUAGES.values()}


def test_threads_get_what_one_thread_gets():
    texts = [f"This is sentence number {number}, spoken in a thread." for number in range(30)]
    jobs = [(text, language) for text in texts for language in ("en-us", "de", "fr", "it")]
    alone = [phonemize(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: phonemize(*job), jobs)) == alone


RUN = """
import logging, sys
{code}
from speech.text.phonemize import phonemize
root = logging.getLogger("phonemizer"); handler = logging.NullHandler(); root.addHandler(handler)
assert phonemize("hello") == "həlˈoʊ", phonemize("hello")
assert handler in root.handlers
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(code=code)], capture_output=True, text=True, encoding="utf-8"
    )


def test_first_use_is_quiet_and_leaves_loggers_alone():
    done = run("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_works_under_a_path_too_long_for_espeak(tmp_path):
    """espeak-ng has 160 bytes for its data's path and ends the process if the data is not found."""
    loader = Path(__import__("espeakng_loader").__file__).parent
    deep = tmp_path / ("x" * 90) / ("y" * 90)
    deep.mkdir(parents=True)
    (deep / "espeakng_loader").symlink_to(loader, target_is_directory=True)
    done = run(f"sys.path.insert(0, {str(deep)!r})")
    assert (done.returncode, done.stderr) == (0, "")


def test_many_threads_starting_at_once():
    code = """
from concurrent.futures import ThreadPoolExecutor
from speech.text.phonemize import phonemize as p
with ThreadPoolExecutor(6) as pool:
    assert len(set(pool.map(lambda i: p("hello there"), range(24)))) == 1
"""
    assert run(code).returncode == 0
