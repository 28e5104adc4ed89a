"""Word error rates and speaker verification against known values."""

import numpy as np
import pytest

from hierspeech.evaluation import METRICS, Item, evaluate
from hierspeech.evaluation.metrics.card import NotMeasured
from hierspeech.evaluation.metrics.speakers import RESEMBLYZER
from hierspeech.evaluation.metrics.verification import Similarity, equal_error_rate, similarity_and_eer
from hierspeech.evaluation.metrics.words import averaged, error_rates, pooled, seed_tts_words, simple_words
from speech.audio import save_audio


def test_the_simple_normaliser():
    assert (
        simple_words("Don\u2019t stop \u2014 it's a well-known  Caf\u00e9!")
        == "don't stop it's a well known caf\u00e9"
    )
    assert simple_words("snake_case 42") == "snake case 42"
    assert simple_words("...") == ""


def test_the_normaliser_of_seed_tts_eval():
    """As run_wer.py does: deleted, not replaced by a space; the straight apostrophe stays, the curly one goes."""
    assert seed_tts_words("It's well-known, isn\u2019t it?  Yes.") == "it's wellknown isnt it yes"
    assert seed_tts_words("\u201cWait\u2026\u201d\u3002 [OK] \u00b7") == "wait ok"


def test_the_same_words_have_no_errors():
    pytest.importorskip("jiwer")  # of the extra `evaluate`
    row = error_rates("one two three", "one two three", "x")
    assert (row["wer_x"], row["cer_x"], row["errors"]) == (0, 0, [0, 0])


def test_errors_are_counted():
    pytest.importorskip("jiwer")
    row = error_rates("the cat sat", "the hat sat down", "x")
    assert row["wer_x"] == pytest.approx(100 * 2 / 3)
    assert row["errors"] == [2, 1 + 5]
    assert error_rates("one two", "", "x")["wer_x"] == 100
    with pytest.raises(NotMeasured, match="no words"):
        error_rates("", "noise", "x")


def test_pooling_weighs_sentences_by_length_and_averaging_does_not():
    pytest.importorskip("jiwer")
    rows = [error_rates("a b c d", "a b c d", "sphinx"), error_rates("e", "f", "sphinx")]
    once = np.ones((1, 2))
    card = METRICS["wer_sphinx"].card
    assert pooled(card, rows)(once)["wer_sphinx"] == pytest.approx([20])
    assert averaged(card, rows)(once)["wer_sphinx"] == pytest.approx([50])


def test_pocketsphinx_hears_the_lite_voice_and_noise_makes_it_worse(tmp_path):
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("jiwer")
    from hierspeech import TextToSpeech

    text = "The old clock on the kitchen wall stopped just before midnight."
    speech = TextToSpeech.from_pretrained("lite", device="cpu")(text, "finn", seed=0)
    wav = speech.audio
    noise = np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    items = []
    for name, level in (("clean", 0.0), ("noise", 10.0)):
        noisy = wav + level * np.sqrt(np.mean(wav**2)) * noise
        save_audio(tmp_path / f"{name}.wav", noisy / np.abs(noisy).max(), speech.sample_rate)
        items.append(Item(name, tmp_path / f"{name}.wav", text))
    rows = {row["id"]: row for row in evaluate(items, ["wer_sphinx"]).rows}
    clean, noise = (rows[name]["values"] for name in ("clean", "noise"))
    assert clean["wer_sphinx"] < 40 < 60 < noise["wer_sphinx"]
    assert clean["cer_sphinx"] < noise["cer_sphinx"]
    heard = rows["clean"]["details"]["wer_sphinx"]["heard"]
    same = evaluate([Item("same", items[0].wav, heard)], ["wer_sphinx"])
    assert same.summary["wer_sphinx"].mean == 0
    assert same.summary["cer_sphinx"].mean == 0


@pytest.mark.parametrize(
    ("text", "language", "why"), [("12 men", "en-us", "digits"), ("Hallo", "de", "English")]
)
def test_pocketsphinx_says_what_it_cannot_judge(tmp_path, text, language, why):
    pytest.importorskip("pocketsphinx")
    save_audio(tmp_path / "a.wav", np.zeros(1600, np.float32) + 0.01, 16000)
    found = evaluate([Item("a", tmp_path / "a.wav", text, language=language)], ["wer_sphinx"])
    assert "wer_sphinx" not in found.summary
    assert why in found.missing["wer_sphinx"]


@pytest.mark.parametrize(
    ("targets", "impostors", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], 0.0),
        ([0.1, 0.2], [0.8, 0.9], 1.0),
        ([0.9, 0.8, 0.7, 0.2], [0.1, 0.3, 0.4, 0.75], 0.25),  # one of four on both sides at 0.5
        ([0.5, 0.5], [0.5, 0.5], 0.5),  # the same scores cannot be told apart
        ([0.9, 0.4], [0.6, 0.1], 0.5),
        ([0.8, 0.6, 0.3], [0.7, 0.2], 0.5),  # 1/2 is accepted while 1/3 to 2/3 are refused
        ([0.9, 0.5], [0.6, 0.4, 0.3], 1 / 3),  # 1/3 is accepted while 0 to 1/2 are refused
    ],
)
def test_the_equal_error_rate_is_exact(targets, impostors, expected):
    assert equal_error_rate(targets, impostors) == pytest.approx(expected, abs=1e-12)


def test_the_equal_error_rate_of_two_normals():
    """Two unit normals, two apart: the error is Phi(-1) = 0.1587."""
    rng = np.random.default_rng(0)
    rate = equal_error_rate(rng.standard_normal(200_000) + 2, rng.standard_normal(300_000))
    assert rate == pytest.approx(0.158655, abs=0.002)
    assert np.isnan(equal_error_rate([], [0.1]))


@pytest.fixture
def voices(tmp_path):
    """Four items of two speakers; the level of a wav is the angle of its embedding."""
    items = []
    for name, own, reference, speaker in (
        ("a1", 0.0, 0.1, "a"),
        ("a2", 0.2, 0.05, "a"),
        ("b1", 0.9, 0.8, "b"),
        ("b2", 0.3, 0.85, "b"),  # sounds like the other speaker
    ):
        for role, angle in (("wav", own), ("reference", reference)):
            save_audio(tmp_path / f"{name}_{role}.wav", np.full(160, angle, np.float32), 16000)
        items.append(
            Item(
                name,
                tmp_path / f"{name}_wav.wav",
                reference=tmp_path / f"{name}_reference.wav",
                speaker=speaker,
            )
        )
    return items


def angle(wav):
    return np.array([np.cos(wav[0]), np.sin(wav[0])]) * 3  # the length of an embedding is of no account


def test_similarity_nearest_and_eer_of_known_embeddings(voices):
    judge = Similarity(angle, "resemblyzer")
    judge.begin(voices)
    rows = [judge.measure(item) for item in voices]
    assert rows[0]["sim_resemblyzer"] == pytest.approx(np.cos(0.1), abs=1e-3)
    assert [row["nearest_resemblyzer"] for row in rows] == [100, 100, 100, 0]
    assert [(len(row["targets"]), len(row["impostors"])) for row in rows] == [(2, 2)] * 4
    summary = similarity_and_eer(RESEMBLYZER.card, rows)(np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1]]))
    assert summary["nearest_resemblyzer"] == pytest.approx([75, 100, 0])
    # b2's two targets are below its two impostors; all others are apart: 2 of 8 targets, and 2 of 8 impostors
    assert summary["eer_resemblyzer"] == pytest.approx([25, 0, 100])


def test_one_voice_has_a_similarity_but_no_eer(voices, monkeypatch):
    from dataclasses import replace

    metric = replace(RESEMBLYZER, make=lambda model, device: Similarity(angle, "resemblyzer"), packages=())
    found = evaluate(voices[:2], ["sim_resemblyzer"], metrics={"sim_resemblyzer": metric})
    assert list(found.summary) == ["sim_resemblyzer"]
    assert set(found.missing) == {"nearest_resemblyzer", "eer_resemblyzer"}
    assert "one voice" in found.missing["eer_resemblyzer"]


def test_resemblyzer_knows_a_sound_again(tmp_path):
    pytest.importorskip("resemblyzer")  # of no extra: webrtcvad, which it needs, has no wheels
    from tiny_voice import recording

    for name, f0 in (("low", 90.0), ("high", 240.0)):
        save_audio(tmp_path / f"{name}.wav", recording(2.0, f0), 16000)
    low, high = tmp_path / "low.wav", tmp_path / "high.wav"
    items = [
        Item("own", low, reference=low),
        Item("high", high, reference=high),
        Item("other", high, reference=low),
    ]
    rows = {row["id"]: row["values"] for row in evaluate(items, ["sim_resemblyzer"]).rows}
    assert rows["own"]["sim_resemblyzer"] == pytest.approx(1, abs=1e-5)
    assert rows["other"]["sim_resemblyzer"] < 0.95
    assert (rows["own"]["nearest_resemblyzer"], rows["other"]["nearest_resemblyzer"]) == (100, 0)
