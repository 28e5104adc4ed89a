"""Voices on the Hugging Face hub: pushed to and fetched from a stand-in of it, and local ones that never ask the network."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hub_stand_in import hub
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech, VoiceConversion
from hierspeech.pipelines import push
from speech.hub import is_hub_id

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).resolve().parent.parent
CARD = "---\nlicense: mit\n---\n\n# A tiny voice\n"


@pytest.fixture
def voice(tmp_path):
    folder = build_voice(tmp_path / "voice", "lite", speechsr=True)
    (folder / "README.md").write_text(CARD)
    (folder / "ttv" / "training.pt").write_text("a training state, which is nobody's business")
    for name in (
        "prompts/me.safetensors",
        "runs/a/model.safetensors",
        ".tmp/model.safetensors",
        "old/README.md",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("what voice.json does not name")
    return folder


def run(folder, address, *command, token="hf_right"):
    """Run a command in its own process with the hub at `address`: the library reads the variable at import."""
    env = os.environ | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "home"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)


def test_a_voice_is_pushed_and_speaks_from_there(voice, tmp_path):
    with hub() as server:
        pushed = run(tmp_path, server.address, "-m", "hierspeech.pipelines.push", voice, "somebody/tiny")
        assert (pushed.returncode, pushed.stdout) == (0, f"{server.address}/somebody/tiny\n"), pushed.stderr
        files = server.repositories["somebody/tiny"]
        local = {str(path.relative_to(voice)) for path in voice.rglob("*") if path.is_file()}
        own = {name for name in local if b"voice.json does not name" not in (voice / name).read_bytes()}
        assert files.keys() == own - {"ttv/training.pt"} < local
        assert files["ttv/model.safetensors"] == (voice / "ttv" / "model.safetensors").read_bytes()

        soundfile.write(tmp_path / "ref.wav", recording(), 16000)
        spoken = {}
        for name in ("somebody/tiny", str(voice)):
            arguments = ("--voice", name, "--text", "Hello.", "--ref", "ref.wav", "--device", "cpu")
            result = run(tmp_path, server.address, str(ROOT / "infer.py"), *arguments)
            assert result.returncode == 0, result.stderr
            spoken[name], _ = soundfile.read(tmp_path / "speech.wav")
        assert np.array_equal(*spoken.values()) and np.abs(spoken["somebody/tiny"]).max() > 0.01
        assert sorted(set(server.fetched)) == sorted(files)


def test_what_the_hub_refuses_is_one_sentence(voice, tmp_path):
    module = ("-m", "hierspeech.pipelines.push")
    with hub() as server:
        results = [
            run(tmp_path, server.address, *module, voice, "somebody/tiny", token="hf_wrong"),
            run(tmp_path, server.address, str(ROOT / "infer.py"), "--voice", "no/body", "--text", "Hi."),
        ]
    for result in results:
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr, result.stderr
    assert "somebody/tiny: the hub did not take it" in results[0].stderr
    assert "no/body: no such folder, and the hub did not give it" in results[1].stderr


def test_a_hub_that_is_not_there_is_given_up_soon(tmp_path):
    with socket.socket() as taken:  # bound and not listening: connections to it are refused
        taken.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = run(tmp_path, address, str(ROOT / "infer.py"), "--voice", "some/body", "--text", "Hi.")
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert "some/body: no such folder, and the hub did not give it" in result.stderr
    assert time.monotonic() - begin < 60  # not minutes of retries


def test_local_voices_never_ask_the_network(voice, monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in (voice, "lite"):
        assert len(TextToSpeech.from_pretrained(name, "cpu")("Hello.", recording()).audio) > 1000
        converted = VoiceConversion.from_pretrained(name, "cpu")(recording(), recording(2.0, 200.0))
        assert np.abs(converted.audio).max() > 0.01


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "README.md").unlink(), "README.md: no model card"),
        (lambda f: (f / "README.md").write_text("# no front matter"), "README.md: no model card"),
        (
            lambda f: (f / "speechsr-24000" / "model.safetensors").unlink(),
            "speechsr-24000/model.safetensors is",
        ),
        (lambda f: (f / "ttv" / "config.json").write_text("{}"), "ttv"),
        (
            lambda f: (f / "phonetic" / "model.safetensors").write_bytes(b""),
            "phonetic/model.safetensors: damaged",
        ),
    ],
)
def test_incomplete_voices_are_not_pushed(voice, spoil, message, capsys):
    spoil(voice)
    assert push.main([str(voice), "somebody/tiny"]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../tiny", "/tiny", "some body/tiny", ""])
def test_names_that_are_no_hub_ids(voice, name, capsys):
    assert not is_hub_id(name)
    assert push.main([str(voice), name]) == 2
    assert "no hub id, expected OWNER/NAME" in capsys.readouterr().err
