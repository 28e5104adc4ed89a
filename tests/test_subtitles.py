"""`infer.py --timestamps`: files as other programs want them, written whole or not at all, alike by every way of speaking."""

import json
import re

import pytest
from tiny_voice import build_voice

import infer
from hierspeech import TextToSpeech
from hierspeech.pipelines.subtitles import cues, write_timestamps
from hierspeech.pipelines.timings import Timing, Timings

pytestmark = pytest.mark.filterwarnings("ignore:the voice was trained on")

TEXT = "Hello, Dr. Smith! “One of the 3” & a [Worcester](/wˈʊstɚ/) day.\n\n* * *\n\nAnd then, <pl>cześć."


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    folder = build_voice(tmp_path_factory.mktemp("voice") / "lite", "lite", max_chars=30, prompts=["me"])
    (folder / "prompts").mkdir()
    from tiny_voice import recording

    TextToSpeech.from_pretrained(folder, "cpu").prompt(recording()).save(folder / "prompts/me.safetensors")
    return str(folder)


def speak(voice, tmp_path, *arguments, out="a.wav"):
    return infer.main(["--device", "cpu", "--voice", voice, "--out", str(tmp_path / out), *arguments])


def timings(text, step=0.25):
    """Each word of a text a step after the other."""
    words = list(re.finditer(r"\w+", text))
    return [Timing(w[0], step * k, step * k + 0.2, w.start()) for k, w in enumerate(words)]


def shown(words, text):
    return ["".join(part for _, part in group).strip() for group in cues(words, text)]


def test_subtitles_show_the_text_as_written():
    text = "He met Dr. Who. “Oh!” said she (of 3).\n\n***\n\nThe <energy=2>end</energy>."
    words = [
        Timing(word, k / 4, k / 4 + 0.2, text.index(word))
        for k, word in enumerate("He met Dr Who Oh said she of 3 The end".split())
    ]
    assert shown(words, text) == ["He met Dr. Who.", "“Oh!” said she (of 3).", "The end."]


def test_subtitles_are_short():
    text = "word " * 200
    words = timings(text, 0.25)
    assert all(len(line) <= 84 for line in shown(words, text))
    assert "".join(shown(words, text)).replace(" ", "") == text.replace(" ", "")
    assert all(group[-1][0].end - group[0][0].start <= 7 for group in cues(timings(text, 2.0), text))
    late = [*timings("a b"), Timing("c", 9.0, 9.1, 4)]
    assert shown(late, "a b c") == ["a b", "c"]


def test_every_form_is_written(voice, tmp_path):
    for ending in ("srt", "vtt", "TextGrid", "json"):
        place = tmp_path / f"words.{ending}"
        assert speak(voice, tmp_path, "--text", TEXT, "--timestamps", str(place)) == 0
        assert place.read_text(encoding="utf-8").endswith("}" if ending == "json" else "\n")
    found = json.loads((tmp_path / "words.json").read_text(encoding="utf-8"))
    assert [w["text"] for w in found["words"]][-3:] == ["And", "then", "cześć"]
    assert all(TEXT[w["offset"] :].startswith(w["text"]) for w in found["words"])
    assert found["phonemes"] and found["seconds"] >= found["words"][-1]["end"]

    srt = (tmp_path / "words.srt").read_text(encoding="utf-8").split("\n\n")
    assert srt[0].startswith("1\n00:00:00,") and "Hello, Dr. Smith!" in srt[0]
    assert "“One of the 3” & a Worcester day." in srt[1].splitlines()[2]
    vtt = (tmp_path / "words.vtt").read_text(encoding="utf-8")
    assert vtt.startswith("WEBVTT\n\n") and "&amp;" in vtt and "<00:00:" in vtt
    assert len(re.findall(r"-->", vtt)) == len(re.findall(r"-->", "".join(srt))) == 3

    grid = (tmp_path / "words.TextGrid").read_text(encoding="utf-8")
    numbers = [float(x) for x in re.findall(r" {12}xm(?:in|ax) = ([\d.]+)", grid)]
    starts, ends = numbers[::2], numbers[1::2]
    tier = starts.index(0.0, 1)  # the second tier begins
    for first, last in ((0, tier), (tier, len(starts))):  # tiers without gaps or overlaps
        assert starts[first + 1 : last] == ends[first : last - 1] and starts[first] == 0
        assert ends[last - 1] == pytest.approx(found["seconds"], abs=1e-4)
        assert all(a < b for a, b in zip(starts[first:last], ends[first:last], strict=True))


def test_files_streams_and_calls_say_the_same(voice, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    for name, way in (("call", ("--text", TEXT)), ("file", ("--text-file", str(text)))):
        assert speak(voice, tmp_path, *way, "--timestamps", str(tmp_path / f"{name}.json")) == 0
    assert (tmp_path / "call.json").read_bytes() == (tmp_path / "file.json").read_bytes()
    assert speak(voice, tmp_path, "--text", TEXT, "--stream", "--timestamps", str(tmp_path / "s.json")) == 0
    call, stream = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("call", "s"))
    assert [w["offset"] for w in call["words"]] == [w["offset"] for w in stream["words"]]


def test_a_file_that_is_gone_on_with_keeps_its_words(voice, tmp_path, monkeypatch):
    from test_long_text import interrupt

    from hierspeech.pipelines.partial import Partial

    tts = TextToSpeech.from_pretrained(voice, "cpu")
    tts.speak_to_file(TEXT, tmp_path / "a.wav", timestamps=tmp_path / "a.json")
    for harm in (None, "notes gone", "half a note"):
        with monkeypatch.context() as patch:
            interrupt(patch, (Partial, "append"), 2)
            with pytest.raises(KeyboardInterrupt):
                tts.speak_to_file(TEXT, tmp_path / "b.wav")
        notes = tmp_path / "b.wav.partial" / "spoken.jsonl"
        assert len(notes.read_text().splitlines()) == 2
        if harm == "notes gone":
            notes.unlink()
        elif harm:
            notes.write_bytes(notes.read_bytes()[:-9])
        written = tts.speak_to_file(TEXT, tmp_path / "b.wav", timestamps=tmp_path / "b.json")
        assert written.resumed == (0 if harm else 2)
        assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
        assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--text", "Hi.", "--timestamps", "words.txt"), "words.txt: expected a name that ends in .srt"),
        (("--text", "Hi.", "--timestamps", "nowhere/words.srt"), "nowhere"),
        (("--batch", "t.csv", "--timestamps", "w.srt"), "--batch"),
        (("--text", "Hi.", "--mode", "spear", "--timestamps", "w.srt"), "--mode spear"),
        (("--text", "<pitch=2>Hi.", "--mode", "spear"), "<pitch=2>"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert infer.main([*arguments, "--device", "cpu"]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_timings_make_valid_files(tmp_path):
    for ending in ("srt", "vtt", "TextGrid", "json"):
        write_timestamps(tmp_path / f"a.{ending}", Timings([], []), "", 1.0)
        assert (tmp_path / f"a.{ending}").exists()
    with pytest.raises(ValueError, match="folder"):
        (tmp_path / "b.srt").mkdir()
        write_timestamps(tmp_path / "b.srt", Timings([], []), "", 1.0)
