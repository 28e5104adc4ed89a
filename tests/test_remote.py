"""References by URL: fetched once, and what cannot be fetched is named."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
from tiny_voice import recording

import infer
from hierspeech.pipelines import remote
from speech.audio import AudioError


@pytest.fixture(scope="module")
def site():
    """(address, list of paths that were asked for) of a server with /someone.wav, /text and /large."""
    file = io.BytesIO()
    soundfile.write(file, recording(3.2), 16000, format="WAV")
    contents = {"/someone.wav": file.getvalue(), "/text": b"no sound", "/large": b"0" * 200_000}
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = contents.get(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_a_url_speaks_as_the_file_does(tts, site, tmp_path):
    address, asked = site
    path = tmp_path / "someone.wav"
    soundfile.write(path, recording(3.2), 16000)
    here = tts("Hello.", path, seed=1)
    asked.clear()
    for _ in range(2):
        assert np.array_equal(tts("Hello.", f"{address}/someone.wav?v={id(tts)}", seed=1).audio, here.audio)
    assert len(asked) == 1, "fetched once"


def test_a_list_may_hold_urls(tts, site):
    url = f"{site[0]}/someone.wav"
    average, one = tts.prompt([url, url]), tts.prompt(url)
    assert np.allclose(average.ttv_style, one.ttv_style, atol=1e-6)


def test_what_cannot_be_fetched_is_named(tts, site, monkeypatch):
    monkeypatch.setattr(remote, "MAX_BYTES", 100_000)
    for url, why in (
        (f"{site[0]}/nobody.wav", "cannot be fetched (status 404)"),
        (f"{site[0]}/text", "not a sound file"),
        (f"{site[0]}/large", "has more than 100000 bytes"),
        ("http://127.0.0.1:1/someone.wav", "cannot be fetched ("),
        ("http:///someone.wav", "cannot be fetched ("),
        ("https://exa mple/x.wav", "cannot be fetched ("),
    ):
        with pytest.raises(AudioError) as caught:
            tts("Hello.", url)
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_script_takes_a_url(folder, site, tmp_path, capsys):
    arguments = [
        "--text",
        "Hello.",
        "--voice",
        str(folder),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out.wav"),
    ]
    assert infer.main([*arguments, "--ref", f"{site[0]}/someone.wav"]) == 0
    assert infer.main([*arguments, "--ref", f"{site[0]}/nobody"]) == 2
    assert capsys.readouterr().err.strip().endswith("/nobody: cannot be fetched (status 404).")
