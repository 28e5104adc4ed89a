"""A stand-in for the server, so that the page is tested by itself: the endpoints of docs/server.md with tones for speech."""

import base64
import json
import re
import threading
import time
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

import hierspeech

STATIC = Path(hierspeech.__file__).parent / "web" / "static"
RATE = 24000
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; img-src 'self' data: blob:"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
WORD_SECONDS = 0.3


def sound_of(text: str) -> np.ndarray:
    """A tone a word, int16 [T] at 24 kHz, each a step higher than the one before."""
    time_ = np.arange(int(WORD_SECONDS * RATE)) / RATE
    envelope = np.hanning(len(time_))
    tones = [
        sum(np.sin(2 * np.pi * (180 + 35 * n) * k * time_) / k for k in range(1, 9)) * envelope
        for n in range(len(text.split()))
    ]
    return (5000 * np.concatenate(tones)).astype("<i2")


def words_of(text: str) -> list[dict]:
    found = list(re.finditer(r"\S+", text))
    return [
        {"word": m[0], "start": n * WORD_SECONDS, "end": (n + 1) * WORD_SECONDS, "offset": m.start()}
        for n, m in enumerate(found)
    ]


class Stub:
    """`with Stub() as stub:` serves at `stub.url`; `requests` lists (method, path, body or form), `gone` broken-off ones.

    `key`: the API key to ask for; `fail`: {path: (status, message)}; `pause`: seconds between blocks of a stream.
    """

    def __init__(self):
        self.requests, self.gone, self.key, self.fail, self.pause = [], [], None, {}, 0.0
        self.voices = [
            {"id": name, "name": name, "language": "en-us", "kind": "shipped"}
            for name in ("anna", "beth", "carl")
        ]
        stub = self

        class Handler(_Handler):
            server_of = stub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self) -> "Stub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def sent(self, path: str) -> list:
        return [body for _, at, body in self.requests if at == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Stub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/" or self.path.startswith("/static/"):
            file = STATIC / (self.path.removeprefix("/static/").lstrip("/") or "index.html")
            if file.parent == STATIC and file.is_file():
                return self._answer(200, file.read_bytes(), KINDS[file.suffix])
            return self._error(404, f"no file {self.path}.")
        if self._refused():
            return None
        if self.path == "/v1/models":
            return self._json({"object": "list", "data": [{"id": "lite", "object": "model"}]})
        if self.path == "/v1/audio/voices":
            return self._json({"voices": self.server_of.voices})
        return self._error(404, f"no page {self.path}.")

    def do_POST(self) -> None:
        body = self._body()
        self.server_of.requests.append(("POST", self.path, body))
        if self._refused():
            return None
        if self.path == "/v1/audio/speech":
            if body.get("stream_format") == "sse":
                return self._stream(body)
            return self._sound(sound_of(body["input"]), body["response_format"])
        if self.path == "/v1/audio/voices":
            voice = {"id": "v-1", "name": body["name"], "language": "en-us", "kind": "uploaded"}
            self.server_of.voices.append(voice)
            return self._json(voice, 201)
        if self.path == "/v1/audio/conversions":
            return self._sound(sound_of("a recording in another voice"), body["response_format"])
        return self._error(404, f"no page {self.path}.")

    def do_DELETE(self) -> None:
        self.server_of.requests.append(("DELETE", self.path, None))
        if not self._refused():
            kept = [v for v in self.server_of.voices if not self.path.endswith("/" + v["id"])]
            self.server_of.voices = kept
            self._answer(204, b"", "application/json")

    def _body(self) -> dict:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if kind == "application/json":
            return json.loads(data)
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + data)
        form = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            form[name] = (part.get_filename(), content) if part.get_filename() else content.decode()
        return form

    def _refused(self) -> bool:
        stub = self.server_of
        if stub.key and self.headers["Authorization"] != f"Bearer {stub.key}":
            self._error(401, "no valid API key.")
            return True
        if self.path in stub.fail:
            self._error(*stub.fail[self.path])
            return True
        return False

    def _stream(self, body: dict) -> None:
        """Server-sent events; every word's timing before its sound, blocks of an odd number of bytes."""
        self._head(200, "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sound, words, size = sound_of(body["input"]).tobytes(), words_of(body["input"]), 4801
        try:
            for start in range(0, len(sound), size):
                begun = [w for w in words if start <= w["start"] * RATE * 2 < start + size]
                if begun and body.get("timestamps"):
                    self._event({"type": "speech.audio.words", "words": begun})
                audio = base64.b64encode(sound[start : start + size]).decode()
                self._event({"type": "speech.audio.delta", "audio": audio})
                time.sleep(self.server_of.pause)
                if "BREAK" in body["input"] and start > len(sound) / 2:
                    self._event({"error": {"message": "the voice lost its thread."}})
                    break
            else:
                self._event({"type": "speech.audio.done", "usage": {"input_tokens": 1}})
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server_of.gone.append(body["input"])
            self.close_connection = True

    def _event(self, values: dict) -> None:
        data = f"data: {json.dumps(values)}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _sound(self, sound: np.ndarray, kind: str) -> None:
        data = sound.tobytes() if kind == "pcm" else kind.encode() + b" of " + sound.tobytes()[:100]
        self._answer(200, data, f"audio/{kind}")

    def _json(self, values: dict, status: int = 200) -> None:
        self._answer(status, json.dumps(values).encode(), "application/json")

    def _error(self, status: int, message: str) -> None:
        self._json({"error": {"message": message, "type": "error", "param": None, "code": None}}, status)

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Sample-Rate", str(RATE))

    def _answer(self, status: int, data: bytes, kind: str) -> None:
        self._head(status, kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
