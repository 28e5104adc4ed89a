"""What a pipeline gives and takes besides samples: metadata, a player for notebooks, dtype, watermark; and from many threads."""

import base64
import io
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_voice import build_voice, recording

import convert as convert_script
import infer
import upsample
from hierspeech import Speech, SuperResolution, TextToSpeech, VoiceConversion
from hierspeech.pipelines.output import SYNTHETIC
from hierspeech.pipelines.voice import pick_device
from speech.audio import read_note, save_audio

pytestmark = pytest.mark.filterwarnings("ignore:the voice was trained on")

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ["Hello, <b>Dr.</b> Smith & co.", "One of the 3.", "Good <pitch=2>bye.", "Nobody, <pl>nikt."]


def test_files_say_that_they_are_synthetic(folder, tmp_path, capsys):
    save_audio(tmp_path / "ref.wav", recording(1.0), 16000)
    assert read_note(tmp_path / "ref.wav") is None and read_note(tmp_path / "no.wav") is None
    (tmp_path / "text.txt").write_text("Hello.")
    (tmp_path / "t.csv").write_text(f"text,out\nHello.,{tmp_path / 'batch.flac'}\n")
    ref, voice = str(tmp_path / "ref.wav"), ["--device", "cpu", "--voice", str(folder)]

    def out(name):
        return ["--out", str(tmp_path / name)]

    for ending in ("wav", "flac", "ogg"):
        assert infer.main([*voice, "--ref", ref, "--text", "Hi.", *out(f"call.{ending}")]) == 0
    assert (
        infer.main([*voice, "--ref", ref, "--text-file", str(tmp_path / "text.txt"), *out("file.wav")]) == 0
    )
    assert infer.main([*voice, "--ref", ref, "--batch", str(tmp_path / "t.csv")]) == 0
    assert infer.main([*voice, "--ref", ref, "--text", "Hi.", "--stream", *out("stream.wav")]) == 0
    assert convert_script.main([*voice, "--ref", ref, "--source", ref, *out("converted.wav")]) == 0
    call = str(tmp_path / "call.ogg")
    assert upsample.main([call, str(tmp_path / "up.wav"), *voice]) == 0
    assert upsample.main([ref, str(tmp_path / "recorded.wav"), *voice]) == 0
    from hierspeech import Denoising

    cleaner = Denoising.from_pretrained(build_voice(tmp_path / "clean", "lite", denoiser=True), "cpu")
    assert cleaner(ref).note is None and cleaner(call).note == SYNTHETIC
    for path in tmp_path.glob("*.*"):
        if path.suffix in (".wav", ".flac", ".ogg"):
            own = path.name in (
                "ref.wav",
                "recorded.wav",
            )  # a person's recording, upsampled, is no synthetic speech
            assert read_note(path) == (None if own else SYNTHETIC), path.name


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.spans, self.sound = [], [], None

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        values = dict(attributes)
        if tag == "audio":
            self.sound = values["src"]
        if "data-start" in values:
            self.spans.append([float(values["data-start"]), float(values["data-end"]), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "span":
            self.spans[-1][2] += data


def test_a_notebook_shows_a_player(tts, prompt):
    speech = tts(TEXTS[0], prompt, seed=0)
    page = speech._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and not re.search(r"https?://", page)
    sound = base64.b64decode(tags.sound.removeprefix("data:audio/wav;base64,"))
    wav, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate == speech.sample_rate and abs(wav - speech.audio).max() < 1e-4
    assert [text for _, _, text in tags.spans] == [word.text for word in speech.words]
    assert tags.spans[1][0] == pytest.approx(speech.words[1].start, abs=1e-3)
    assert "script" not in Speech(recording(0.1), 16000)._repr_html_()
    assert len(Speech(np.zeros(700 * 16000, np.float32), 16000)._repr_html_()) < 1000


def test_eight_threads_give_what_one_gives(folder, prompt):
    """The same voice, one pipeline or several, texts in several languages, all kinds of calls at once."""
    tts = TextToSpeech.from_pretrained(folder, "cpu")
    conversion = VoiceConversion.from_pretrained(folder, "cpu")

    def work(number):
        text = TEXTS[number % len(TEXTS)]
        if number % 3 == 0:
            own = TextToSpeech.from_pretrained(folder, "cpu")
            return own(text, prompt, seed=number, output_sample_rate=24000)
        if number % 3 == 1:
            chunks = list(tts.stream(text, prompt, seed=number))
            words = [word for chunk in chunks for word in chunk.words]
            return Speech(np.concatenate([chunk.audio for chunk in chunks]), 16000, words=words)
        if number % 6 == 5:
            return conversion(recording(0.6), prompt, seed=number)
        return tts(text, recording(0.6), seed=number)

    alone = [work(number) for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(work, range(24)))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.audio, other.audio) and one.words == other.words


def test_dtype_is_the_precision(folder):
    for dtype in (torch.bfloat16, "bfloat16", "torch.bfloat16"):
        assert TextToSpeech.from_pretrained(folder, "cpu", dtype=dtype).voice.dtype == torch.bfloat16
    assert VoiceConversion.from_pretrained(folder, "cpu", dtype=torch.float32).voice.dtype == torch.float32
    with pytest.raises(ValueError, match="dtype float16: expected float32 or bfloat16"):
        SuperResolution.from_pretrained(folder, "cpu", dtype=torch.float16)
    with pytest.raises(ValueError, match="expected one of them"):
        SuperResolution.from_pretrained(folder, "cpu", precision="bf16", dtype=torch.float32)


def test_a_watermark_marks_all_that_goes_out(folder, prompt, tmp_path):
    """Half the samples: a stand-in that is easily seen."""
    heard = []

    def halve(wav, sample_rate):
        heard.append(sample_rate)
        return wav / 2

    plain = TextToSpeech.from_pretrained(folder, "cpu")
    marked = TextToSpeech.from_pretrained(folder, "cpu", watermark=halve)
    assert plain.voice is marked.voice and plain.watermark is None
    expected = plain("Hello.", prompt, seed=0).audio / 2
    assert np.array_equal(marked("Hello.", prompt, seed=0).audio, expected)
    assert np.array_equal(
        next(marked.batch([{"text": "Hello.", "reference": prompt}])).speech.audio, expected
    )
    marked.speak_to_file("Hello.", tmp_path / "a.wav", prompt)
    assert abs(soundfile.read(tmp_path / "a.wav")[0] - expected).max() < 1e-4
    streams = [np.concatenate([c.audio for c in p.stream("Hello.", prompt, seed=0)]) for p in (plain, marked)]
    assert np.array_equal(streams[0] / 2, streams[1])
    conversion = VoiceConversion.from_pretrained(folder, "cpu", watermark=halve)
    whole = VoiceConversion.from_pretrained(folder, "cpu")(
        recording(0.5), prompt, seed=0, output_sample_rate=24000
    )
    assert np.array_equal(
        conversion(recording(0.5), prompt, seed=0, output_sample_rate=24000).audio, whole.audio / 2
    )
    assert set(heard) == {16000, 24000}
    marked.watermark = lambda wav, sample_rate: wav[1:]
    with pytest.raises(ValueError, match="watermark gave samples of shape"):
        marked("Hello.", prompt)


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "hierspeech/py.typed").is_file()
    assert "py.typed" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


class Perth:
    """As the package of that name has it."""

    def apply_watermark(self, wav, watermark=None, sample_rate=32000, **_):
        assert sample_rate == 24000
        return 0.5 * wav.astype(np.float64)


def test_perth_marks_by_name(folder, prompt, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "perth", types.SimpleNamespace(PerthImplicitWatermarker=Perth))
    marked = TextToSpeech.from_pretrained(folder, "cpu", watermark="perth")
    plain = TextToSpeech.from_pretrained(folder, "cpu")
    said = [tts("hello there", prompt, seed=1, output_sample_rate=24000) for tts in (marked, plain)]
    assert said[0].audio.dtype == np.float32
    assert np.array_equal(said[0].audio, 0.5 * said[1].audio)

    monkeypatch.setitem(sys.modules, "perth", types.SimpleNamespace(PerthImplicitWatermarker=None))
    arguments = ["--text", "Hello.", "--voice", str(folder), "--out", str(tmp_path / "out.wav")]
    assert infer.main([*arguments, "--watermark", "perth"]) == 2
    assert infer.main([*arguments, "--watermark", "ink"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert "pip install 'hierspeech[watermark]'" in errors[0]
    assert errors[1] == "infer.py: watermark 'ink': expected one of perth."
    assert not (tmp_path / "out.wav").exists()


def test_a_gpu_of_apple_s_is_taken_where_it_is(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        assert pick_device("auto").type != "mps", "nobody has tried it yet"
        if there:
            assert pick_device("mps") == torch.device("mps")
        else:
            with pytest.raises(ValueError, match="device 'mps' is not there"):
                pick_device("mps")
