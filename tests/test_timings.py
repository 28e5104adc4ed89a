"""When words and sounds are heard: the caller's words, in order, inside the speech, alike in calls, streams and batches."""

import numpy as np
import pytest
from tiny_voice import recording

from hierspeech import TextToSpeech
from hierspeech.pipelines.timings import Source, Timing, time_sentence
from speech.text import get_tokenizer, text_to_phonemes
from speech.text.marks import Marked
from speech.text.words import find_piece, label_words, map_piece

pytestmark = pytest.mark.filterwarnings("ignore:the voice was trained on")

TEXT = (
    "Hello, Dr. Smith!\n\n* * *\n\nThe 3 [Worcester](/wˈʊstɚ/) sauces — for a day. <pl>Dzień dobry, “panie”."
)
WORDS = "Hello Dr Smith The 3 Worcester sauces for a day Dzień dobry panie".split()


def spoken(text, language="en-us", normalizer=None):
    """What each written word was read as."""
    phonemes = text_to_phonemes(text, language, normalizer)
    words, labels = label_words(text, phonemes)
    assert len(labels) == len(phonemes)
    found = []
    for number, word in enumerate(words):
        assert text[word.start :].startswith(word.text)
        places = [place for place, label in enumerate(labels) if label == number]
        found.append((word.text, phonemes[places[0] : places[-1] + 1] if places else None))
    heard = [label for label in labels if label is not None]
    assert heard == sorted(heard), "words are heard in the order in which they are written"
    return found


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Dr. Smith", "en-us", [("Dr", "dˈɑːktɚ"), ("Smith", "smˈɪθ")]),
        # two words that espeak says as one
        ("One of the best.", "en-us", [("One", "wˈʌn"), ("of", "ʌv"), ("the", "ðə"), ("best", "bˈɛst")]),
        ("for a day", "en-us", [("for", "fɚɹ"), ("a", "ə"), ("day", "dˈeɪ")]),
        (
            "3 cats, e.g. Tom",
            "en-us",
            [("3", "θɹˈiː"), ("cats", "kˈæts"), ("e.g", "fɔːɹ ɛɡzˈæmpəl"), ("Tom", "tˈɑːm")],
        ),
        # one that becomes several, in its context ("fifth" for "5")
        (
            "Jan. 5, 2024",
            "en-us",
            [("Jan", "dʒˈænjuːˌɛɹi"), ("5", "fˈɪfθ"), ("2024", "twˈɛnti twˈɛntifˈɔːɹ")],
        ),
        ("50% & more", "en-us", [("50%", "fˈɪfti pɚsˈɛnt"), ("&", "ænd"), ("more", "mˈɔːɹ")]),
        (
            "kamen 42 Leute",
            "de",
            [("kamen", "kˌɑːmən"), ("42", "tsvˈaɪ ʊntfˈɪɾtsɪç"), ("Leute", "lˈɔøtə")],
        ),
        ("pre[x](/g/)post", "en-us", [("pre", "pɹˈiː"), ("x", "ɡ"), ("post", "pˈoʊst")]),
        ("[New York](/nuːjˈɔːɹk/)", "en-us", [("New York", "nuːjˈɔːɹk")]),
        ("a — b ⌘ .", "en-us", [("a", "ˈeɪ"), ("b", "bˈiː")]),
        ("你好", "zh", [("你", "ni2"), ("好", "χˈɑu2")]),
        ("[](/a/)", "en-us", []),
        ("", "en-us", []),
    ],
)
def test_words_know_their_phonemes(text, language, expected):
    assert spoken(text, language) == expected


def test_a_word_that_gets_nothing_of_its_own_takes_from_its_neighbour():
    """ "$5 million" is said as "five million dollars"."""
    assert spoken("$5 million") == [("$5", "fˈaɪv mˈɪliən"), ("million", "dˈɑːlɚz")]


@pytest.mark.parametrize("normalizer", [None, "english_cleaners2", "none", "generic"])
def test_every_word_of_prose_is_found(normalizer):
    text = (
        "“It was the best of times,” he said; it was the worst of times. In 1859 Mr. Dickens' 1st edition cost "
        "£2.50 — or so I'm told, at 10:30 p.m. on the 3rd of May (that's it!). Call 555-1234 for a well-known "
        "co-worker of the U.S. office; isn't it an hour or so? It'll be 20% off the list for e.g. 1,234 of them."
    )
    found = spoken(text, "en-us", normalizer)
    assert len(found) == len([word for word in text.replace("—", " ").split()])
    assert all(phonemes for _, phonemes in found)
    same = [text_to_phonemes(word, "en-us", normalizer) == said for word, said in found]
    assert np.mean(same) > 0.6  # most words are said as they are alone; shifted labels would make it few


def test_pieces_are_found_in_their_text():
    text = "One,  two.\n\n***\n\nThree\nfour."
    assert find_piece(text, "Three four.", 3) == text.index("Three")
    assert find_piece(text, "Five", 0) is None and find_piece(text, "", 0) is None
    places = map_piece(text, "One, two.", 0)
    assert [text[place] for place in places] == list("One, two.")


@pytest.mark.parametrize("name", ["phones", "ipa178"])
def test_durations_are_counted_up(name):
    tokenizer, phonemes = get_tokenizer(name), text_to_phonemes("Ah, tea for a bee.")
    ids = tokenizer.encode(phonemes).ids
    source = Source(Marked("  Ah, tea for a bee."), "Ah, tea for a bee.", 2, phonemes, tokenizer)
    timings = time_sentence(source, [1] * len(ids), 0.02)
    assert [word.text for word in timings.words] == ["Ah", "tea", "for", "a", "bee"]
    assert [word.offset for word in timings.words] == [2, 6, 10, 14, 16]
    ends = [0.0, *(word.end for word in timings.words)]
    assert all(end <= word.start < word.end for end, word in zip(ends, timings.words, strict=False))
    sounds = timings.phonemes
    assert "".join(sound.text for sound in sounds) == "".join(c for c in phonemes if c not in " ,.")
    assert all(a.end <= b.start for a, b in zip(sounds, sounds[1:], strict=False))
    for word in timings.words:  # a word is from its first sound to its last
        own = [sound for sound in sounds if word.start <= sound.start and sound.end <= word.end]
        assert (own[0].start, own[-1].end) == (word.start, word.end)
    assert time_sentence(None, [1, 2], 0.02).words == []


def check(speech, text=TEXT):
    assert [word.text for word in speech.words] == WORDS
    for timings in (speech.words, speech.phonemes):
        assert all(0 <= t.start <= t.end <= speech.seconds + 1e-6 for t in timings)
        assert all(a.end <= b.start + 1e-6 for a, b in zip(timings, timings[1:], strict=False))
    assert all(text[w.offset : w.offset + len(w.text)] == w.text for w in speech.words)
    assert speech.phonemes and all(isinstance(t, Timing) and t.end > t.start for t in speech.phonemes)


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("speed", [1.0, 1.7])
def test_calls_batches_and_streams_agree(tts, prompt, monkeypatch, rate, speed):
    options = {"seed": 1, "speed": speed, "output_sample_rate": rate}
    speech = tts(TEXT, prompt, **options)
    check(speech)
    result = next(tts.batch([{"text": TEXT, "reference": prompt}], **options)).speech
    assert (result.words, result.phonemes) == (speech.words, speech.phonemes)

    from hierspeech.pipelines import tts as module
    from speech.text.chunking import is_divider, split_text

    pieces = lambda text, n: [p for p in split_text(text, n) if not is_divider(p)]  # noqa: E731
    monkeypatch.setattr(module, "stream_pieces", pieces)  # the same pieces, so the same features
    chunks = list(tts.stream(TEXT, prompt, **options))
    words = [word for chunk in chunks for word in chunk.words]
    assert [word.text for word in words] == WORDS
    for ours, theirs in zip(words, speech.words, strict=True):
        assert ours.offset == theirs.offset and abs(ours.start - theirs.start) < 1e-3
    heard = 0.0
    for chunk in chunks:  # words come before they are heard
        assert all(word.start >= heard - 1e-6 for word in chunk.words)
        heard += chunk.seconds
    assert sum(len(chunk.phonemes) for chunk in chunks) == len(speech.phonemes)


def test_conversion_has_no_words(convert):
    assert convert(recording(1.0), recording()).words == []


def test_the_shipped_voice_is_silent_between_its_words():
    """Words and pauses fall where sound and silence are."""
    text = "Good morning, everybody.\n\nStop.\n\nThe quick brown fox jumps over the lazy dog."
    speech = TextToSpeech.from_pretrained("lite", "cpu")(text, seed=0)
    power = lambda a, b: float(np.mean(speech.audio[int(a * 16000) : int(b * 16000)] ** 2))  # noqa: E731
    inside = np.median([power(word.start, word.end) for word in speech.words])
    gaps = [(a.end, b.start) for a, b in zip(speech.words, speech.words[1:], strict=False)]
    pauses = [power(a, b) for a, b in gaps if b - a > 0.15]
    assert len(pauses) >= 2 and max(pauses) < inside / 4
