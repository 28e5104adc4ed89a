"""Batches: every item as in a call of its own, equal references listened to once, bad items named while others go on."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import batches
from hierspeech.pipelines.arguments import piece_generator
from hierspeech.pipelines.batches import BatchItem, make_buckets
from speech.modules.gaussian import draw_noise
from speech.text.chunking import split_text

TEXTS = [
    "Yes.",
    "Hello, world. How are you? I am well.",
    "Good morning, all of you.",
    "Chapter one\n\nNo. Two.",
]


@pytest.fixture(scope="module", params=["lite", "official"])
def tts(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices") / request.param
    build_voice(folder, request.param, speechsr=True, max_chars=20)
    return TextToSpeech.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def prompts(tts):
    return [tts.prompt(recording()), tts.prompt(recording(1.0, 220.0))]


@pytest.fixture(scope="module")
def items(prompts):
    """Texts of several lengths, two voices, three speeds, several seeds."""
    return [
        {"text": text, "reference": prompts[n % 2], "speed": (1.0, 1.5, 0.7)[n % 3], "seed": n + n // 4}
        for n, text in enumerate(TEXTS * 2)
    ]


@pytest.mark.parametrize(("batch_size", "rate"), [(1, 16000), (3, 16000), (16, 48000)])
def test_a_batch_equals_single_calls(tts, items, batch_size, rate):
    options = {"noise_scale": 0.5, "output_sample_rate": rate}
    results = list(tts.batch(items, batch_size=batch_size, **options))
    assert [result.index for result in results] == list(range(len(items)))
    for item, result in zip(items, results, strict=True):
        alone = tts(**item, **options)
        assert result.error is None and len(result.speech.audio) == len(alone.audio) > 600
        assert np.abs(result.speech.audio - alone.audio).max() < 1e-4
        assert result.speech.sample_rate == rate and result.speech.unknown == alone.unknown


def test_windows_do_not_change_what_is_said(tts, items, monkeypatch):
    together = [result.speech.audio for result in tts.batch(items, batch_size=4)]
    monkeypatch.setattr(batches, "WINDOW_BATCHES", 1)
    in_windows = [result.speech.audio for result in tts.batch(iter(items), batch_size=4)]
    assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(together, in_windows, strict=True))


def test_the_first_results_come_before_the_last_items_are_read(tts, prompts, monkeypatch):
    monkeypatch.setattr(batches, "WINDOW_BATCHES", 1)
    read = []

    def source():
        for n in range(9):
            read.append(n)
            yield BatchItem("Yes.", prompts[0])

    results = tts.batch(source(), batch_size=3)
    assert next(results).index == 0 and read == [0, 1, 2]
    assert len(list(results)) == 8


def test_bad_items_are_named_and_the_others_spoken(tts, prompts, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    good = {"text": "Hello.", "reference": prompts[0]}
    bad = [
        ({"text": " "}, "text is empty"),
        ({}, "no text"),
        ({"text": None}, "no text"),
        ({"text": "a", "speed": 100.0}, "speed 100"),
        ({"text": "a", "seed": -1}, "seed -1"),
        ({"text": "a", "language": "xx-nowhere"}, "xx-nowhere"),
        ({"text": "a", "reference": "missing.wav"}, "missing.wav"),
        ({"text": "a", "reference": tmp_path / "silent.wav"}, "silent"),
        ({"text": "a", "pitch": 3}, "unknown pitch: expected some of text"),
    ]
    items = [good] + [{"reference": prompts[0]} | item for item, _ in bad] + [good]
    results = list(tts.batch(items))
    assert np.abs(results[0].speech.audio - results[-1].speech.audio).max() < 1e-4
    for result, (_, message) in zip(results[1:-1], bad, strict=True):
        assert result.speech is None and message in result.error


def test_options_of_the_batch_are_checked_at_once(tts):
    for options, message in (
        ({"speed": 0}, "speed 0"),
        ({"level": "x"}, "level"),
        ({"batch_size": 0}, "batch size 0"),
    ):
        with pytest.raises(ValueError, match=message):
            list(tts.batch(["Hello."], **options))


def test_equal_references_are_listened_to_once(tts, tmp_path, monkeypatch):
    for name, f0 in (("a.wav", 120.0), ("b.wav", 200.0)):
        soundfile.write(tmp_path / name, recording(1.0, f0), 16000)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    heard, listen = [], batches.as_prompt
    monkeypatch.setattr(
        batches, "as_prompt", lambda ref, *rest, **named: heard.append(ref) or listen(ref, *rest, **named)
    )
    items = [
        {"text": "Yes.", "reference": tmp_path / name}
        for name in ("a.wav", "b.wav", "copy.wav", "a.wav", "b.wav")
    ]
    results = [result.speech.audio for result in tts.batch(items)]
    assert [path.name for path in heard] == ["a.wav", "b.wav"]
    assert np.abs(results[0] - results[3]).max() < 1e-4
    assert len(results[0]) != len(results[1]) or np.abs(results[0] - results[1]).max() > 1e-3


def test_sentences_of_like_length_go_together():
    lengths = [3, 50, 4, 48, 5, 49, 5, 1]
    buckets = make_buckets(lengths, 3)
    assert sorted(n for bucket in buckets for n in bucket) == list(range(8)) and max(map(len, buckets)) <= 3
    assert buckets[0] == [1, 5, 3]
    for bucket in buckets:
        padded = max(lengths[n] for n in bucket) * len(bucket)
        assert padded - sum(lengths[n] for n in bucket) <= batches.MAX_PADDING * padded
    assert make_buckets([], 3) == [] and make_buckets([1.0] * 4, 1) == [[0], [1], [2], [3]]


def test_each_row_draws_the_noise_it_has_alone():
    mask = torch.tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]], dtype=torch.bool)
    noise = draw_noise(torch.zeros(2, 4, 5), mask, [piece_generator(3, 0), piece_generator(3, 7)])
    for row, (index, length) in enumerate(((0, 3), (7, 5))):
        alone = draw_noise(torch.zeros(1, 4, length), None, piece_generator(3, index))
        assert torch.equal(noise[row, :, :length], alone[0]) and not noise[row, :, length:].any()
    with pytest.raises(ValueError, match="1 generators for 2 rows"):
        draw_noise(torch.zeros(2, 4, 5), mask, [piece_generator(3, 0)])


def test_numbers_of_a_piece_depend_on_seed_and_index_alone():
    draws = {
        (seed, n): torch.rand(1, generator=piece_generator(seed, n)).item()
        for seed in (0, 1)
        for n in range(4)
    }
    assert len(set(draws.values())) == 8
    assert draws[0, 0] == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()


@pytest.mark.parametrize(
    ("text", "borders"),
    [
        ("One two three four five", ["word", "paragraph"]),
        ("One two, three four five", ["comma", "paragraph"]),
        ("One two; three four five", ["colon", "paragraph"]),
        ("One two three. Four five six.", ["sentence", "paragraph"]),
        ("One.\n\nTwo.\n\n\nThree.", ["paragraph", "section", "paragraph"]),
        ("One.\n\n* * *\n\nThree.", ["section", "section", "paragraph"]),
        ("x" * 130 + ".\nThree.", ["word"] * 6 + ["paragraph", "paragraph"]),
    ],
)
def test_a_piece_knows_what_follows_it(text, borders):
    assert [piece.border for piece in split_text(text, 20)] == borders
