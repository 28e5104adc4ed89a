"""infer.py, convert.py and upsample.py from the command line: what they write, and one sentence for every bad input."""

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tiny_voice import build_voice, recording

import convert
import infer
import upsample
from hierspeech import TextToSpeech

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good and bad inputs, by name."""
    folder = tmp_path_factory.mktemp("inputs")
    voice = build_voice(folder / "voice", "lite", prompts=["anna"])
    (voice / "prompts").mkdir()
    prompt = TextToSpeech.from_pretrained(voice, "cpu").prompt(recording())
    prompt.save(voice / "prompts" / "anna.safetensors")
    sounds = {
        "good": recording(1.0),
        "stereo": np.stack([recording(1.0)] * 2, 1),
        "empty": np.zeros(0),
        "silent": np.zeros(16000),
        "short": recording(0.1),
        "nan": np.where(np.arange(16000) == 99, np.nan, recording(1.0)),
    }
    for name, wav in sounds.items():
        soundfile.write(folder / f"{name}.wav", wav, 16000, subtype="FLOAT")
    soundfile.write(folder / "compact.ogg", recording(1.0), 16000)
    (folder / "text.wav").write_text("no sound")
    (folder / "words.txt").write_text("Hello, world.\n", encoding="utf-8")
    (folder / "latin1.txt").write_bytes("caf\xe9".encode("latin-1"))
    (folder / "blank.txt").write_text(" \n")
    return SimpleNamespace(folder=folder, voice=str(voice))


def run(script, files, out, *arguments):
    """Runs the script's main in the folder of inputs; returns its exit code."""
    before = os.getcwd()
    os.chdir(files.folder)
    try:
        return script.main(["--device", "cpu", *out, *arguments])
    finally:
        os.chdir(before)


def infer_with(files, out, *arguments):
    return run(infer, files, ("--out", str(out)), "--voice", files.voice, *arguments)


@pytest.mark.parametrize("reference", ["good.wav", "stereo.wav", "compact.ogg", "anna", None])
def test_infer_speaks(files, tmp_path, capsys, reference):
    out = tmp_path / "out.wav"
    named = ("--ref", reference) if reference else ()
    assert infer_with(files, out, "--text", "Hello, world.", *named) == 0
    info = soundfile.info(out)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16") and info.duration > 0.1
    said, complaints = capsys.readouterr()
    assert str(out) in said and complaints == "" and [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_infer_writes_the_same_twice(files, tmp_path):
    for name in ("a.wav", "b.wav"):
        assert infer_with(files, tmp_path / name, "--text", "Hello.", "--ref", "good.wav") == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_rates_and_formats(files, tmp_path, rate, ending):
    out = tmp_path / f"out.{ending}"
    assert (
        infer_with(files, out, "--text", "Hi.", "--output-sr", str(rate), "--speed", "2", "--seed", "7") == 0
    )
    assert soundfile.info(out).samplerate == rate


@pytest.mark.parametrize("arguments", [("--text-file", "words.txt"), ("--text-file", "-"), ("--text", "-")])
def test_text_comes_from_a_file_or_standard_input(files, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hello, world.")))
    assert infer_with(files, tmp_path / "a.wav", *arguments) == 0
    assert infer_with(files, tmp_path / "b.wav", "--text", "Hello, world.") == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_voices_are_listed(capsys):
    assert infer.main(["--list-voices"]) == 0
    assert capsys.readouterr().err == ""


def test_convert_and_upsample(files, tmp_path):
    out = tmp_path / "out.wav"
    arguments = ("--source", "good.wav", "--ref", "stereo.wav", "--voice", files.voice)
    assert run(convert, files, ("--output", str(out)), *arguments) == 0
    assert soundfile.info(out).frames == 16000
    assert run(upsample, files, (), "good.wav", str(tmp_path / "up.wav"), "--voice", files.voice) == 0
    info = soundfile.info(tmp_path / "up.wav")
    assert (info.samplerate, info.frames) == (48000, 48000)


TEXT = ("--text", "Hello.")
BAD_TEXT = [
    (("--text", ""), "empty"),
    (("--text", " "), "empty"),
    (("--text", "\ue000"), "nothing that can be spoken"),
    ((), "--text"),
    (("--text-file", "missing.txt"), "missing.txt"),
    (("--text-file", "blank.txt"), "empty"),
    (("--text-file", "latin1.txt"), "UTF-8"),
    (("--text-file", "."), "cannot be read"),
    ((*TEXT, "--text-file", "words.txt"), "not allowed with"),
]
BAD_OPTIONS = [
    (("--language", "xx-nowhere"), "xx-nowhere"),
    (("--voice", "nobody"), "nobody"),
    (("--speed", "0"), "speed 0"),
    (("--speed", "nan"), "speed nan"),
    (("--speed", "fast"), "fast"),
    (("--noise-scale", "-1"), "noise scale -1"),
    (("--noise-scale-vc", "nan"), "noise scale vc nan"),
    (("--noise-scale-vc", "x"), "--noise-scale-vc"),
    (("--denoise-ratio", "2"), "denoise ratio 2"),
    (("--denoise-ratio", "nan"), "denoise ratio nan"),
    (("--denoise-ratio", "0.5"), "no denoiser"),
    (("--level", "loud"), "loudness"),
    (("--seed", "-5"), "seed -5"),
    (("--output-sr", "44100"), "44100"),
    (("--device", "gpu"), "gpu"),
    (("--surprise",), "--surprise"),
]
BAD_SOUNDS = [
    ("missing.wav", "no such"),
    ("text.wav", "not a sound file"),
    ("empty.wav", "no samples"),
    ("silent.wav", "silent"),
    ("nan.wav", "finite"),
    (".", "folder"),
    ("x" * 5000, "too long"),
]


def refuse(capsys, code, folder, message):
    """Exit code 2, one line on stderr with the message in it, and nothing written."""
    said, complaints = capsys.readouterr()
    assert code == 2
    assert complaints.count("\n") == 1 and message in complaints and "Traceback" not in complaints
    assert said == "" and list(folder.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), BAD_TEXT)
def test_infer_refuses_text(files, tmp_path, capsys, arguments, message):
    refuse(capsys, infer_with(files, tmp_path / "a.wav", *arguments), tmp_path, message)


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS)
def test_infer_refuses_options(files, tmp_path, capsys, arguments, message):
    refuse(capsys, infer_with(files, tmp_path / "a.wav", *TEXT, *arguments), tmp_path, message)


@pytest.mark.parametrize(("reference", "message"), [*BAD_SOUNDS, ("short.wav", "0.5 s"), ("bert", "anna")])
def test_infer_refuses_references(files, tmp_path, capsys, reference, message):
    refuse(capsys, infer_with(files, tmp_path / "a.wav", *TEXT, "--ref", reference), tmp_path, message)


@pytest.mark.parametrize("script", [infer, convert, upsample])
@pytest.mark.parametrize("name", ["missing/a.wav", "a.xyz", "a", "", "/proc/a.wav"])
def test_unwritable_outputs_are_refused_before_any_work(files, tmp_path, capsys, monkeypatch, script, name):
    monkeypatch.setattr("hierspeech.pipelines.voice.load_voice", lambda *_: pytest.fail("work was done"))
    name = name if name.startswith("/") else str(tmp_path / name)
    arguments = {infer: [*TEXT, "--out", name], convert: ["--source", "good.wav", "--out", name]}
    arguments[upsample] = ["good.wav", name]
    refuse(capsys, run(script, files, (), *arguments[script]), tmp_path, name)


def test_an_input_is_not_replaced(files, capsys):
    before = (files.folder / "good.wav").read_bytes()
    assert run(upsample, files, (), "good.wav", "good.wav", "--voice", files.voice) == 2
    assert run(convert, files, ("--out", "good.wav"), "--source", "good.wav", "--voice", files.voice) == 2
    assert infer_with(files, "good.wav", *TEXT, "--ref", "good.wav") == 2
    assert capsys.readouterr().err.count("replace the input") == 3
    assert (files.folder / "good.wav").read_bytes() == before


@pytest.mark.parametrize(("source", "message"), BAD_SOUNDS)
def test_convert_and_upsample_refuse_sounds(files, tmp_path, capsys, source, message):
    arguments = ("--source", source, "--voice", files.voice)
    refuse(capsys, run(convert, files, ("--out", str(tmp_path / "a.wav")), *arguments), tmp_path, message)
    arguments = (source, str(tmp_path / "a.wav"), "--voice", files.voice)
    refuse(capsys, run(upsample, files, (), *arguments), tmp_path, message)


@pytest.mark.parametrize(
    "option", [("--output-sr", "1"), ("--voice", "nobody"), ("--surprise",), ("--device", "x")]
)
def test_convert_and_upsample_refuse_options(files, tmp_path, capsys, option):
    out = str(tmp_path / "a.wav")
    voice = ("--voice", files.voice)
    code = run(convert, files, ("--out", out), "--source", "good.wav", *voice, *option[:-1], option[-1])
    refuse(capsys, code, tmp_path, option[-1])
    refuse(capsys, run(upsample, files, (), "good.wav", out, *voice, *option), tmp_path, option[-1])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--denoise-ratio", "2"), "denoise ratio 2"),
        (("--denoise-ratio", "nan"), "denoise ratio nan"),
        (("--denoise-ratio", "0.5"), "no denoiser"),
        (("--noise-scale", "nan"), "noise scale nan"),
        (("--noise-scale-vc", "0"), "--noise-scale-vc"),
        (("--level", "loud"), "loudness"),
    ],
)
def test_convert_refuses_options(files, tmp_path, capsys, option, message):
    arguments = ("--source", "good.wav", "--ref", "good.wav", "--voice", files.voice, *option)
    refuse(capsys, run(convert, files, ("--out", str(tmp_path / "a.wav")), *arguments), tmp_path, message)


@pytest.mark.parametrize(
    "options", [("--level", "peak"), ("--level", "prompt"), ("--denoise-ratio", "0"), ("--level", "loudness")]
)
def test_levels_and_no_denoising_from_the_command_line(files, tmp_path, options):
    highest = np.abs(soundfile.read(files.folder / "good.wav")[0]).max()
    for script, what in ((infer, ("--text", "Hello.")), (convert, ("--source", "good.wav"))):
        out = tmp_path / f"{script.__name__}.wav"
        arguments = (*what, "--ref", "good.wav", "--voice", files.voice, *options)
        assert run(script, files, ("--out", str(out)), *arguments) == 0
        peak = {"peak": 0.999, "prompt": highest}.get(options[1])
        assert peak is None or np.abs(soundfile.read(out)[0]).max() == pytest.approx(peak, abs=1e-3)


def test_a_damaged_voice_is_refused(files, tmp_path, capsys):
    voice = build_voice(tmp_path / "voice", "lite")
    (voice / "synthesizer" / "model.safetensors").write_bytes(b"not weights")
    (tmp_path / "out").mkdir()
    code = infer_with(files, tmp_path / "out" / "a.wav", *TEXT, "--ref", "good.wav", "--voice", str(voice))
    refuse(capsys, code, tmp_path / "out", "model.safetensors")


def test_what_is_missing_is_said_before_the_work(files, tmp_path, capsys, monkeypatch):
    """Not after a reference was denoised, or a whole text spoken."""
    monkeypatch.setattr("hierspeech.pipelines.prompt.VoicePrompt.from_audio", lambda *_: pytest.fail("work"))
    (tmp_path / "out").mkdir()
    out = str(tmp_path / "out" / "a.wav")
    broken = build_voice(tmp_path / "broken", "lite", speechsr=True)
    (broken / "speechsr-48000" / "model.safetensors").unlink()
    code = infer_with(files, out, *TEXT, "--ref", "good.wav", "--voice", str(broken), "--output-sr", "48000")
    refuse(capsys, code, tmp_path / "out", "speechsr-48000")
    deaf = build_voice(tmp_path / "deaf", "lite", semantic_encoder="nothing")
    arguments = ("--source", "good.wav", "--ref", "good.wav", "--voice", str(deaf))
    refuse(
        capsys, run(convert, files, ("--out", out), *arguments), tmp_path / "out", "has no semantic encoder"
    )


def test_an_interruption_says_that_nothing_was_written(files, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hierspeech.pipelines.voice.load_voice", interrupt)
    monkeypatch.setattr("hierspeech.pipelines.pipeline.load_voice", interrupt)
    assert infer_with(files, tmp_path / "a.wav", *TEXT, "--ref", "good.wav") == 130
    assert capsys.readouterr().err == "infer.py: interrupted, nothing written.\n"


def test_as_a_program(files, tmp_path):
    """The real thing, once with and once without success; --help does not load torch."""
    command = [
        sys.executable,
        str(ROOT / "infer.py"),
        "--voice",
        files.voice,
        "--text",
        "Hello.",
        "--device",
        "cpu",
    ]
    good = subprocess.run(
        [*command, "--out", "a.wav"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert good.returncode == 0 and good.stderr == "" and soundfile.info(tmp_path / "a.wav").duration > 0.1
    bad = subprocess.run(
        [*command, "--ref", "none.wav"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1 and "none.wav" in bad.stderr
    code = "import sys, infer\ntry: infer.main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    help_ = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert help_.stdout.endswith("False\n")
