"""serve.py: wrong arguments in one sentence, keys, and a server that a signal stops in order."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from running_server import build_speaking_voice

pytest.importorskip("fastapi")
import serve  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--port", "x"], "invalid int value"),
        (["--queue", "0"], "--queue 0"),
        (["--timeout", "nan"], "--timeout nan"),
        (["--voice", "nobody"], "unknown voice 'nobody'"),
        (["--device", "abacus"], "unknown device"),
        (["--api-key-file", "missing"], "--api-key-file missing"),
        (["--voices-folder", "missing"], "--voices-folder missing"),
        (["--host", "999.1.1.1"], "--host 999.1.1.1"),
        (["--output-sr", "8000"], "invalid choice"),
    ],
)
def test_wrong_arguments_in_one_sentence(arguments, words, capsys):
    assert serve.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("serve.py: ") and words in error and error.count("\n") == 1


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve.main(["--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be listened at" in capsys.readouterr().err


def test_keys_come_from_file_and_environment(tmp_path, monkeypatch):
    file = tmp_path / "keys"
    file.write_text("# ours\nkey-number-one-0000\n\n  key-number-two-0000  \n")
    monkeypatch.setenv(serve.KEYS_VARIABLE, "key-number-one-0000,key-number-three-0")
    assert serve.read_keys(str(file)) == ("key-number-one-0000", "key-number-three-0", "key-number-two-0000")
    file.write_text("# none\n")
    monkeypatch.delenv(serve.KEYS_VARIABLE)
    assert serve.read_keys(None) == ()
    with pytest.raises(ValueError, match="holds no key"):
        serve.read_keys(str(file))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_it_serves_until_it_is_interrupted(tmp_path):
    voice = build_speaking_voice(tmp_path / "voice")
    command = [sys.executable, "serve.py", "--voice", str(voice), "--device", "cpu", "--port", "0"]
    # as under Docker or systemd, where the log is a pipe that Python would fill first
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        patience = threading.Timer(120, process.kill)  # what never says where it serves is no server
        patience.start()
        try:
            url = re.search(r"http://\S+(?=;)", process.stdout.readline()).group()
            body = {"input": "Hello.", "response_format": "wav"}
            answer = requests.post(f"{url}/v1/audio/speech", json=body, timeout=60)  # waits for the models
            assert answer.status_code == 200 and answer.content[:4] == b"RIFF"
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=30)
        finally:
            patience.cancel()
            process.kill()
    assert (process.returncode, out.strip(), error) == (0, "stopped", "")


def test_the_containers_files_are_there():
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in and all((ROOT / name).exists() for name in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= copied


def test_the_compose_file_names_what_exists():
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["hierspeech"]
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    options = [word for word in service["command"] if word.startswith("--")]
    help_text = subprocess.run(
        [sys.executable, "serve.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert options and all(option in help_text for option in options)
