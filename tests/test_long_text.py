"""Long texts into files: the samples of a single call, resumed byte by byte, in constant memory."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines.long_text import speak_to_file
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.partial import Partial
from hierspeech.pipelines.progress_bar import ProgressBar, clock
from hierspeech.pipelines.timings import Spoken

ROOT = Path(__file__).resolve().parent.parent
TEXT = "Chapter one\n\nHello, world. How are you? I am well.\n\n* * *\n\nAnd you? Good bye, all of you."


@pytest.fixture(scope="module", params=["lite", "official"])
def tts(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices") / request.param
    build_voice(folder, request.param, speechsr=True, max_chars=20)
    return TextToSpeech.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def prompt(tts):
    return tts.prompt(recording())


@pytest.fixture
def small_chunks(monkeypatch):
    """Several chunks of super-resolution in a short text."""
    monkeypatch.setattr("hierspeech.pipelines.output.CHUNK_SAMPLES", 16000)
    monkeypatch.setattr("hierspeech.pipelines.long_text.CHUNK_SAMPLES", 16000)


@pytest.mark.parametrize(("rate", "level"), [(16000, "loudness"), (24000, "peak"), (48000, "prompt")])
def test_a_file_holds_the_samples_of_a_call(tts, prompt, tmp_path, rate, level, small_chunks):
    speech = tts(TEXT, prompt, seed=3, output_sample_rate=rate, level=level)
    speech.save(tmp_path / "call.wav")
    options = SpeakingOptions(seed=3, output_sample_rate=rate, level=level)
    assert tts.speak_to_file(TEXT, tmp_path / "file.wav", prompt, **vars(options)).resumed == 0
    written = speak_to_file(tts, TEXT, tmp_path / "file.wav", prompt, options)
    assert written.seconds == speech.seconds and written.sample_rate == rate and written.resumed == 0
    assert (tmp_path / "file.wav").read_bytes() == (tmp_path / "call.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["call.wav", "file.wav"]


@pytest.mark.parametrize("words", ["Yes.", " ".join(["word"] * 200), "a,b;c - " * 20])
def test_one_word_and_two_hundred(tts, prompt, tmp_path, words, monkeypatch):
    monkeypatch.setattr(tts.voice.description, "max_chars", 200)
    speech = tts(words, prompt, seed=0, speed=4.0)
    speak_to_file(tts, words, tmp_path / "file.flac", prompt, SpeakingOptions(speed=4.0))
    samples = soundfile.read(tmp_path / "file.flac", dtype="float32")[0]
    assert np.isfinite(speech.audio).all() and len(samples) == len(speech.audio) > 600
    assert np.abs(samples - speech.audio).max() < 1e-4


def interrupt(monkeypatch, target, after):
    """Ctrl-C at the (after + 1)th call of a function."""
    calls, function = [0], target[0].__dict__[target[1]]

    def wrapped(*arguments, **named):
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        return function(*arguments, **named)

    monkeypatch.setattr(*target, wrapped)


@pytest.mark.parametrize(("rate", "after"), [(16000, 1), (16000, 4), (48000, 3), (48000, 8)])
def test_an_interrupted_file_becomes_the_same_file(
    tts, prompt, tmp_path, monkeypatch, rate, after, small_chunks
):
    options = SpeakingOptions(seed=5, noise_scale=0.5, output_sample_rate=rate)
    speak_to_file(tts, TEXT, tmp_path / "whole.wav", prompt, options)
    pieces = len(tts.encode(TEXT)[0])
    with monkeypatch.context() as patch:
        interrupt(patch, (Partial, "append"), after)
        with pytest.raises(
            KeyboardInterrupt, match=f"after sentence {min(after, pieces)} of {pieces}; the same"
        ):
            speak_to_file(tts, TEXT, tmp_path / "cut.wav", prompt, options)
    assert not (tmp_path / "cut.wav").exists()
    heard = []
    written = speak_to_file(tts, TEXT, tmp_path / "cut.wav", prompt, options, say=heard.append)
    assert written.resumed == min(after, pieces) and "going on after sentence" in heard[0]
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    assert not (tmp_path / "cut.wav.partial").exists()


def cut_short(tts, prompt, path, monkeypatch, options=None, after=3):
    with monkeypatch.context() as patch:
        interrupt(patch, (Partial, "append"), after)
        with pytest.raises(KeyboardInterrupt):
            speak_to_file(tts, TEXT, path, prompt, options)
    return Path(f"{path}.partial")


def test_an_interrupt_before_the_first_sentence_leaves_nothing(tts, prompt, tmp_path, monkeypatch):
    cut_short(tts, prompt, tmp_path / "a.wav", monkeypatch, after=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["more", "fewer", "no count", "half a count", "no samples"])
def test_whatever_a_killed_process_leaves_behind_is_mended(tts, prompt, tmp_path, monkeypatch, harm):
    speak_to_file(tts, TEXT, tmp_path / "whole.wav", prompt)
    folder = cut_short(tts, prompt, tmp_path / "cut.wav", monkeypatch)
    spoken, state = folder / "spoken.f32", folder / "state.json"
    if harm == "more":
        spoken.write_bytes(spoken.read_bytes() + b"\1" * 999)
    elif harm == "fewer":
        spoken.write_bytes(spoken.read_bytes()[:-4])
    elif harm == "no count":
        state.unlink()
    elif harm == "half a count":
        state.write_text(state.read_text()[:20])
    else:
        spoken.unlink()
    written = speak_to_file(tts, TEXT, tmp_path / "cut.wav", prompt)
    assert written.resumed == (3 if harm == "more" else 0)
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"speed": 1.5},
        {"noise_scale": 0.1},
        {"level": "peak"},
        {"output_sample_rate": 24000},
        {"text": "x"},
    ],
)
def test_another_work_starts_anew_and_says_why(tts, prompt, tmp_path, monkeypatch, change):
    cut_short(tts, prompt, tmp_path / "a.wav", monkeypatch)
    heard, text = [], change.get("text", TEXT)
    options = SpeakingOptions(**{key: value for key, value in change.items() if key != "text"})
    written = speak_to_file(tts, text, tmp_path / "a.wav", prompt, options, say=heard.append)
    assert written.resumed == 0 and len(heard) == 1
    assert next(iter(change)) in heard[0] and heard[0].endswith("starting anew.")
    speak_to_file(tts, text, tmp_path / "b.wav", prompt, options)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_another_recording_of_the_same_name_is_another_reference(tts, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "ref.wav", recording(1.0), 16000)
    cut_short(tts, tmp_path / "ref.wav", tmp_path / "a.wav", monkeypatch)
    soundfile.write(tmp_path / "ref.wav", recording(1.0, f0=200), 16000)
    heard = []
    assert speak_to_file(tts, TEXT, tmp_path / "a.wav", tmp_path / "ref.wav", say=heard.append).resumed == 0
    assert "another reference: starting anew" in heard[0]


def test_foreign_folders_and_busy_ones_are_refused(tts, prompt, tmp_path):
    folder = tmp_path / "a.wav.partial"
    folder.mkdir()
    (folder / "novel.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no unfinished speech"):
        speak_to_file(tts, TEXT, tmp_path / "a.wav", prompt)
    assert (folder / "novel.txt").read_text() == "mine"
    with Partial(tmp_path / "b.wav", {"text": "x"}), pytest.raises(ValueError, match="another process"):
        speak_to_file(tts, TEXT, tmp_path / "b.wav", prompt)


def test_memory_does_not_grow_with_the_text(tts, prompt, tmp_path, monkeypatch):
    wav = recording(5.0)
    monkeypatch.setattr(tts, "speak_piece", lambda *arguments: Spoken(wav, [250]), raising=False)
    monkeypatch.setattr(tts, "encode", lambda text, language: (tts_sentences[: int(text)], []))
    tts_sentences = TextToSpeech.encode(tts, "Hello.")[0] * 100
    peaks = []
    for sentences in ("2", "20", "100"):  # 100: 32 MB of samples
        tracemalloc.start()
        written = speak_to_file(tts, sentences, tmp_path / "a.wav", prompt)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert written.seconds > 5 * int(sentences)
    assert peaks[2] < peaks[0] + 1_000_000, peaks


def test_pauses_follow_punctuation_and_paragraphs(tts, prompt, tmp_path):
    def pause(between, speed=1.0):
        """Seconds between two sentences, or two parts of one."""
        speech = tts(f"One two three{between}Four five six.", prompt, seed=0, speed=speed)
        sentences = tts.encode(f"One two three{between}Four five six.")[0]
        assert len(sentences) == 2, sentences
        return speech.seconds - sum(map(len, spoken(sentences, speed))) / 16000

    def spoken(sentences, speed):
        from hierspeech.pipelines.arguments import piece_generator

        return [
            tts.speak(ids, prompt, speed, 0.333, piece_generator(0, i)) for i, ids in enumerate(sentences)
        ]

    found = [pause(between) for between in (" ", ", ", "; ", "! ", ".\n\n", ".\n\n\n\n", ".\n\n* * *\n\n")]
    assert found == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.5, 1.0, 1.0])
    assert pause(".\n\n", 2.0) == pytest.approx(0.25) and pause(".\n\n", 0.5) == pytest.approx(1.0)


def test_the_bar_tells_how_long_it_still_takes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    stream.isatty = lambda: True
    bar = ProgressBar(stream)
    bar("sentence", 40, 80)  # of an earlier run
    now[0] += 10
    bar("sentence", 50, 80)
    assert stream.getvalue().endswith("sentence 50/80 [" + "#" * 15 + "-" * 9 + "] 0:30 left")
    bar("sentence", 80, 80)
    bar("chunk", 0, 1)
    assert "0:00 left" not in stream.getvalue() and stream.getvalue().endswith(" \n")
    assert "chunk" not in stream.getvalue()  # one thing to do needs no bar
    assert (clock(42.4), clock(725), clock(3723)) == ("0:42", "12:05", "1:02:03")
    silent = io.StringIO()
    ProgressBar(silent)("sentence", 1, 2)
    assert silent.getvalue() == ""


def test_a_killed_script_goes_on_where_it_was(tmp_path):
    """kill -9, then the same command: the file of a run that nobody killed."""
    build_voice(tmp_path / "voice", "lite", max_chars=20)
    soundfile.write(tmp_path / "ref.wav", recording(1.0), 16000)
    (tmp_path / "chapter.txt").write_text("\n\n".join(f"Sentence {n}." for n in range(60)))
    command = [
        sys.executable,
        str(ROOT / "infer.py"),
        "--voice",
        "voice",
        "--ref",
        "ref.wav",
        "--device",
        "cpu",
    ]
    command += ["--text-file", "chapter.txt", "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    state = tmp_path / "cut.wav.partial" / "state.json"

    process = subprocess.Popen([*command, "cut.wav"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = json.loads(state.read_text())["spoken"][0]
    assert process.returncode == -signal.SIGKILL and 0 < done < 60 and not (tmp_path / "cut.wav").exists()

    runs = [
        subprocess.run([*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True)
        for name in ("cut.wav", "whole.wav")
    ]
    assert [run.returncode for run in runs] == [0, 0]
    assert f"going on after sentence {done} of 60" in runs[0].stderr and runs[1].stderr == ""
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
