"""`--stream` of infer.py and convert.py: WAV and raw samples into a pipe, a file that is valid while it grows, quiet ends."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_voice import build_voice, recording

import convert
import infer
from hierspeech.pipelines.output import SYNTHETIC, Speech
from hierspeech.pipelines.stream_files import (
    HEADER_BYTES,
    check_stream_output,
    wav_header,
    write_stream,
)

ROOT = Path(__file__).resolve().parent.parent
TEXT = "Hello there. This is the second sentence, and it is longer than the first one. Then comes a third."


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voice")
    return build_voice(folder, "lite")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.wav"
    soundfile.write(path, recording(), 16000)
    return path


def options(voice, reference):
    return ["--voice", str(voice), "--ref", str(reference), "--device", "cpu"]


def run_script(name, *arguments, **named):
    command = [sys.executable, str(ROOT / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, **named)


def test_infer_streams_to_a_file_and_to_a_pipe_alike(voice, reference, tmp_path):
    out = tmp_path / "out.wav"
    assert infer.main([*options(voice, reference), "--text", TEXT, "--stream", "--out", str(out)]) == 0
    wav, rate = soundfile.read(out, dtype="int16")
    assert rate == 16000 and len(wav) > 16000 and [path.name for path in tmp_path.iterdir()] == ["out.wav"]

    piped = run_script("infer.py", *options(voice, reference), "--text", TEXT, "--stream", "--out", "-")
    assert piped.returncode == 0 and b"16000 Hz" in piped.stderr
    assert piped.stdout[:HEADER_BYTES] == wav_header(16000, None)
    assert np.array_equal(np.frombuffer(piped.stdout[HEADER_BYTES:], "<i2"), wav)
    assert soundfile.read(io.BytesIO(piped.stdout), dtype="int16")[0].shape == wav.shape


def test_convert_streams_raw_samples_to_a_pipe(voice, reference):
    piped = run_script(
        "convert.py", *options(voice, reference), "--source", reference, "--stream", "pcm", "--out", "-"
    )
    assert piped.returncode == 0 and len(piped.stdout) == 2 * 2 * 16000


def test_convert_streams_to_a_file(voice, reference, tmp_path, capsys):
    out = tmp_path / "out.wav"
    given = [*options(voice, reference), "--source", str(reference), "--stream", "--out", str(out)]
    assert convert.main([*given, "--output-sr", "48000"]) == 0
    assert soundfile.info(out).frames == 2 * 48000 and str(out) in capsys.readouterr().out


def test_a_closed_pipe_ends_quietly(voice, reference):
    given = [*options(voice, reference), "--text", TEXT * 20, "--stream", "pcm", "--out", "-"]
    command = [sys.executable, str(ROOT / "infer.py"), *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1000)
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(timeout=120) == 0


def chunks(n, error=None, seen=None):
    try:
        for index in range(n):
            yield Speech(np.full(800, 0.1 * (index + 1), np.float32), 16000, ["x"] if index == 1 else [])
        if error is not None:
            raise error
    finally:
        if seen is not None:
            seen.append("closed")


def test_the_file_is_valid_after_every_chunk(tmp_path, capsys):
    out = tmp_path / "out.wav"
    lengths = []

    def watched():
        for chunk in chunks(3):
            yield chunk
            lengths.append(soundfile.info(out).frames)

    assert write_stream(watched(), str(out)) == ["x"]
    assert lengths == [800, 1600, 2400] and "0.15 s at 16000 Hz" in capsys.readouterr().out
    wav, _ = soundfile.read(out, dtype="int16")
    assert wav[0] == round(0.1 * 32767) and wav[-1] == round(0.3 * 32767)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("the voice gave nonsense.")])
def test_what_an_interrupt_leaves_is_valid_and_named(tmp_path, error):
    out, seen = tmp_path / "out.wav", []
    with pytest.raises(type(error), match=r"; .*out.wav got the first 0.10 s\.") as caught:
        write_stream(chunks(2, error, seen), str(out))
    assert str(caught.value).startswith(str(error).rstrip(".") or "interrupted")
    assert soundfile.info(out).frames == 1600 and seen == ["closed"]


def test_nothing_is_touched_before_the_first_chunk(tmp_path):
    out = tmp_path / "out.wav"
    out.write_bytes(b"kept")
    with pytest.raises(ValueError, match=r"^nothing to say$"):
        write_stream(chunks(0, ValueError("nothing to say")), str(out))
    assert out.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--stream", "--out", "out.flac"), "ends in .wav"),
        (("--stream", "pcm", "--out", "out.wav"), "--out -"),
        (("--stream", "--out", "missing/out.wav"), "missing"),
        (("--stream", "mp3", "--out", "-"), "mp3"),
        (("--stream", "--out", "out.wav", "--ref", "out.wav"), "replace the input"),
        (("--stream", "--out", "out.wav", "--speed", "9"), "speed"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    voice, reference, tmp_path, monkeypatch, capsys, arguments, said
):
    monkeypatch.chdir(tmp_path)
    if "--ref" in arguments:
        (tmp_path / "out.wav").write_bytes(reference.read_bytes())
    before = sorted(os.listdir(tmp_path))
    assert infer.main([*options(voice, reference), "--text", "Hi.", *arguments]) == 2
    message = capsys.readouterr()
    assert said in message.err and message.err.count("\n") == 1 and message.out == ""
    assert sorted(os.listdir(tmp_path)) == before


def test_a_terminal_gets_no_samples(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="terminal"):
        check_stream_output("-", "wav")


def test_the_header_is_that_of_libsndfile(tmp_path):
    header = wav_header(24000, 200)
    soundfile.write(tmp_path / "a.wav", np.zeros(100, np.int16), 24000)
    plain = (tmp_path / "a.wav").read_bytes()
    assert header[8:36] + header[-8:] == plain[8:44]  # but for the note between them
    (tmp_path / "b.wav").write_bytes(header + plain[44:])
    with soundfile.SoundFile(tmp_path / "b.wav") as file:
        assert file.comment == SYNTHETIC and (len(file), file.samplerate) == (100, 24000)
