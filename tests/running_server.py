"""A server under uvicorn in a thread, on a free loopback port, with a tiny voice that has two shipped prompts."""

import contextlib
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import soundfile
from tiny_voice import build_voice, recording

for _name in ("fastapi", "uvicorn", "multipart", "prometheus_client", "av"):
    pytest.importorskip(_name)  # the extra "server"

from hierspeech import VoicePrompt, load_voice  # noqa: E402
from hierspeech.web.app import create_app  # noqa: E402
from hierspeech.web.engine import LocalEngine  # noqa: E402
from hierspeech.web.server import listen, make_server  # noqa: E402
from hierspeech.web.settings import Settings  # noqa: E402

PROMPTS = {"anna": 220.0, "carl": 110.0}  # Hz


def build_speaking_voice(folder: Path) -> Path:
    """The tiny lite voice with prompts; it speaks in pieces of at most 40 characters."""
    build_voice(folder, "lite", speechsr=True, max_chars=40)
    (folder / "prompts").mkdir()
    voice = load_voice(folder, "cpu")
    for name, f0 in PROMPTS.items():
        VoicePrompt.from_audio(recording(f0=f0), voice).save(folder / "prompts" / f"{name}.safetensors")
    text = (folder / "voice.json").read_text()
    (folder / "voice.json").write_text(text[:-1] + ', "prompts": ["anna", "carl"]}')
    return folder


class Running:
    """A server that answers at `url`; its engine is there to be looked at."""

    def __init__(self, folder: Path, **settings):
        self.settings = Settings(voice=str(folder), device="cpu", port=0, **settings)
        self.engine = LocalEngine(self.settings)
        self.app = create_app(self.engine, self.settings)
        listener = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.server = make_server(self.app)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()

    def wait_for(self, condition, seconds: float = 20.0) -> None:
        """Waits until something is so."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.005)

    def speak(self, text: str = "Good morning.", **values) -> requests.Response:
        """POST /v1/audio/speech."""
        options = {name: values.pop(name) for name in ("headers", "stream", "timeout") if name in values}
        return requests.post(
            f"{self.url}/v1/audio/speech",
            json={"input": text, "response_format": "pcm"} | values,
            **{"timeout": 30} | options,
        )

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, such as 'hierspeech_disconnected_total'."""
        for row in self.app.state.context.metrics.render().decode().splitlines():
            if row.startswith(line + " "):
                return float(row.split()[-1])
        return 0.0

    def stop(self) -> None:
        """Stops it as a signal would."""
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def running(folder: Path, **settings) -> Iterator[Running]:
    """A server that is ready, for as long as the block lasts."""
    server = Running(folder, **settings)
    try:
        server.wait_for(lambda: server.engine.stats().status != "starting" and server.server.started)
        assert server.engine.stats().status == "ready"
        yield server
    finally:
        server.stop()


def wav_bytes(seconds: float = 1.0, rate: int = 16000) -> bytes:
    """A WAV file of a voice-like sound."""
    buffer = io.BytesIO()
    soundfile.write(buffer, recording(seconds, sample_rate=rate), rate, format="WAV")
    return buffer.getvalue()


def upload(
    server: Running, data: bytes, name: str = "someone", path: str = "voices", **options
) -> requests.Response:
    """POST /v1/audio/voices or /v1/audio/conversions."""
    form = {"files": {"file": ("a.wav", data)}, "data": {"name": name}}
    return requests.post(f"{server.url}/v1/audio/{path}", timeout=30, **form, **options)
