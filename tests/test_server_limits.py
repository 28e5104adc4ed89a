"""What the server refuses and lets go of: too many requests, too much to read, too late, clients that went away, wrong keys."""

import asyncio
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from running_server import Running, build_speaking_voice, running, upload, wav_bytes

pytest.importorskip("fastapi")
openai = pytest.importorskip("openai")

from hierspeech.pipelines.batches import speak_rows  # noqa: E402
from hierspeech.web.responses import ChunkedResponse  # noqa: E402
from hierspeech.web.settings import Settings  # noqa: E402

LONG = "It goes on and on and on, as ever. " * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_speaking_voice(tmp_path_factory.mktemp("limits") / "voice")


@pytest.fixture(scope="module")
def server(folder):
    with running(folder, queue=3, max_upload=300_000, max_seconds=4.0, max_voices=2) as server:
        yield server


@pytest.fixture
def held(server, monkeypatch):
    """Workers stop before each piece of text that is read or spoken, until this event is set."""
    gate = threading.Event()
    for name in ("encode", "stream", "prompt"):
        original = getattr(server.engine.tts, name)

        def waiting(*arguments, original=original, **options):
            gate.wait(20)
            return original(*arguments, **options)

        monkeypatch.setattr(server.engine.tts, name, waiting)
    yield gate
    gate.set()
    server.wait_for(lambda: jobs(server) == 0)


def jobs(server: Running) -> int:
    stats = server.engine.stats()
    return stats.waiting + stats.active


def test_one_request_too_many_is_told_to_come_again(server, held):
    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(server.speak, stream_format=mode) for mode in (None, "audio", None)]
        server.wait_for(lambda: jobs(server) == 3)
        client = openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0)
        with pytest.raises(openai.RateLimitError) as caught:
            client.audio.speech.create(model="tts-1", voice="anna", input="Hello.")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert caught.value.code == "rate_limit_exceeded"
        held.set()
        assert [answer.result().status_code for answer in accepted] == [200, 200, 200]
    assert server.metric('hierspeech_rejected_total{reason="queue"}') == 1


def test_the_clients_own_retries_get_through(server, held):
    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(server.speak) for _ in range(3)]
        server.wait_for(lambda: jobs(server) == 3)
        threading.Timer(0.2, held.set).start()
        client = openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=3)
        answer = client.audio.speech.create(model="tts-1", voice="anna", input="Hi.", response_format="wav")
        assert answer.content[:4] == b"RIFF"
        assert all(answer.result().ok for answer in accepted)


@pytest.mark.parametrize("mode", [None, "audio", "sse"])
def test_what_takes_too_long_is_given_up(folder, mode, monkeypatch):
    with running(folder, timeout=0.2) as server:
        gate = threading.Event()
        for name in ("encode", "stream"):
            original = getattr(server.engine.tts, name)
            monkeypatch.setattr(
                server.engine.tts, name, lambda *a, original=original, **k: gate.wait(5) and original(*a, **k)
            )
        answer = server.speak(stream_format=mode)
        assert answer.status_code == 504 and answer.json()["error"]["code"] == "timeout"
        assert jobs(server) == 0
        gate.set()


def break_off(server: Running, path: str, body: bytes, kind: str, read: int = 0) -> None:
    """Sends a request, reads a little of the answer, and closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        if read:
            assert connection.recv(read)
        else:
            server.wait_for(lambda: jobs(server) == 1)


def speech_json(mode: str) -> bytes:
    return f'{{"input": "{LONG}", "response_format": "pcm"{mode}}}'.encode()


CHUNKED, EVENTS = ', "stream_format": "audio"', ', "stream_format": "sse"'


@pytest.mark.parametrize(
    ("mode", "begun"), [("", False), (CHUNKED, False), (CHUNKED, True), (EVENTS, False), (EVENTS, True)]
)
def test_a_client_that_goes_away_frees_its_place(server, held, mode, begun):
    before = server.metric("hierspeech_disconnected_total")
    if begun:
        held.set()
    break_off(server, "/v1/audio/speech", speech_json(mode), "application/json", 1000 * begun)
    server.wait_for(lambda: jobs(server) == 0, 5)
    server.wait_for(lambda: server.metric("hierspeech_disconnected_total") == before + 1)
    held.set()
    assert server.speak("Hello.").status_code == 200


def test_what_nobody_waits_for_is_not_computed(server):
    """The rest of a long text is never spoken once the client is gone."""
    before = server.engine.stats().batched
    with pytest.raises(requests.exceptions.ReadTimeout):
        server.speak(LONG, timeout=0.1)
    server.wait_for(lambda: jobs(server) == 0, 5)
    server.wait_for(lambda: settled(lambda: server.engine.stats().batched))
    assert server.engine.stats().batched - before < 60  # of the sentences of LONG


def settled(value) -> bool:
    first = value()
    time.sleep(0.2)
    return value() == first


def test_a_conversion_that_nobody_waits_for_ends_between_two_pieces(folder, monkeypatch):
    with running(folder) as server:
        conversion = server.engine._workers[0].conversion
        pieces = []
        gate = threading.Event()
        original = conversion.convert

        def slow(*arguments, **options):
            pieces.append(1)
            gate.wait(10)
            return original(*arguments, **options)

        monkeypatch.setattr(conversion, "convert", slow)
        data = wav_bytes(45.0)
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{server.url}/v1/audio/conversions", files={"file": ("a", data)}, timeout=1.0)
        server.wait_for(lambda: jobs(server) == 0, 5)
        gate.set()
        assert server.speak("Hello.").status_code == 200
        assert len(pieces) == 1


def test_a_client_that_does_not_read_is_let_go():
    ended, closed = [], []

    async def chunks():
        try:
            while True:
                yield b"sound"
        finally:
            closed.append(True)

    async def send(message):
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)  # the connection takes no more

    async def receive():
        await asyncio.sleep(60)

    response = ChunkedResponse(chunks(), "audio/pcm", {}, stall_seconds=0.05, ended=ended.append)
    asyncio.run(asyncio.wait_for(response({"type": "http"}, receive, send), 10))
    assert (ended, closed) == ([False], [True])


@pytest.mark.parametrize("path", ["voices", "conversions"])
def test_recordings_within_limits_only(server, path):
    large = upload(server, b"\0" * 400_000, path=path)
    assert large.status_code == 413 and "bytes" in large.json()["error"]["message"]
    for data, words in (
        (wav_bytes(6.0), "longer than 4 s"),
        (b"not a sound file", "not a sound file"),
        (wav_bytes(0.01), "too short"),
        (b"RIFF" + b"\xff" * 1000, "not a sound file"),
    ):
        answer = upload(server, data, path=path)
        assert answer.status_code == 422 and words in answer.json()["error"]["message"]
        assert "/tmp" not in answer.text and answer.json()["error"]["message"].startswith("the recording:")
    assert upload(server, b"", path=path).status_code == 400
    bad = requests.post(f"{server.url}/v1/audio/{path}", data={"name": "x"}, timeout=30)
    assert bad.status_code == 400 and bad.json()["error"]["param"] == "file"


def test_a_body_without_a_length_is_counted(server):
    def endless():
        for _ in range(1000):
            yield b"x" * 10_000

    answer = requests.post(
        f"{server.url}/v1/audio/speech",
        data=endless(),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 413
    assert requests.post(f"{server.url}/v1/audio/speech", data=b"x" * 200_000, timeout=30).status_code == 413


def test_the_number_of_voices_is_bounded(server):
    made = [upload(server, wav_bytes()).json()["id"] for _ in range(2)]
    full = upload(server, wav_bytes())
    assert full.status_code == 409 and full.json()["error"]["code"] == "too_many_voices"
    for name in made:
        requests.delete(f"{server.url}/v1/audio/voices/{name}", timeout=30)
    assert upload(server, wav_bytes(), name="").status_code == 400
    assert upload(server, wav_bytes(), name="x" * 81).status_code == 400
    assert upload(server, wav_bytes(), name="a\u202eb").status_code == 400


def test_voices_outlive_the_server_in_a_folder(folder, tmp_path):
    with running(folder, voices_folder=tmp_path) as server:
        voice = upload(server, wav_bytes(2.0), name="Zoë").json()
        sound = server.speak("Hello.", voice=voice["id"], seed=0).content
    with running(folder, voices_folder=tmp_path) as server, running(folder, voices_folder=tmp_path) as other:
        assert voice in requests.get(f"{server.url}/v1/audio/voices", timeout=30).json()["voices"]
        assert server.speak("Hello.", voice=voice["id"], seed=0).content == sound
        added = upload(other, wav_bytes(2.0)).json()  # a second server with the same folder
        assert server.speak("Hello.", voice=added["id"]).status_code == 200
        requests.delete(f"{server.url}/v1/audio/voices/{voice['id']}", timeout=30)
        assert other.speak("Hello.", voice=voice["id"]).status_code == 400
        (tmp_path / f"voice_{24 * 'a'}.json").write_text("{}")  # of another server, half deleted
        assert other.speak("Hello.", voice=added["id"]).status_code == 200
    with pytest.raises(ValueError, match="not an uploaded voice"):
        Running(folder, voices_folder=tmp_path)
    (tmp_path / f"voice_{24 * 'a'}.json").unlink()
    assert sorted(path.stem for path in tmp_path.iterdir()) == [added["id"]] * 2


def test_a_server_that_stops_ends_in_order(folder):
    with running(folder, workers=2) as server:
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(server.speak, LONG[:200]) for _ in range(2)]
            # both are in, or a connection that nobody has taken yet is reset
            server.wait_for(lambda: jobs(server) + sum(answer.done() for answer in answers) == len(answers))
            server.stop()
            assert [answer.result().status_code for answer in answers] == [200, 200]
        assert server.engine.stats().status == "closing"
    assert not any(worker.alive for worker in server.engine._workers)


def test_a_broken_voice_is_said_by_health_and_answers(folder, monkeypatch):
    monkeypatch.setattr("hierspeech.pipelines.tts.TextToSpeech.stream", lambda *a, **k: 1 / 0)
    server = Running(folder)
    try:
        server.wait_for(lambda: server.engine.stats().status == "failed" and server.server.started)
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 503
        answer = server.speak("Hello.")
        assert answer.status_code == 503 and "log" in answer.json()["error"]["message"]
    finally:
        server.stop()


def test_an_unexpected_failure_tells_clients_nothing(server, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("hierspeech.web.worker.speak_rows", broken)
    answer = server.speak("Hello.")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"
    assert server.metric('hierspeech_requests_total{endpoint="/v1/audio/speech",status="500"}') == 1
    monkeypatch.undo()
    assert server.speak("Hello.").status_code == 200


def test_a_batch_that_fails_is_spoken_one_by_one(server, monkeypatch, held):
    def short_of_memory(tts, rows, *arguments):
        if len(rows) > 1 or len(rows[0].sentence) > 100:
            raise RuntimeError("out of memory")
        return speak_rows(tts, rows, *arguments)

    monkeypatch.setattr("hierspeech.web.worker.speak_rows", short_of_memory)
    monkeypatch.setattr(server.engine._scheduler, "max_batch", 3)
    texts = ["Hello there.", "It goes on, and on, and on and on", "Hello again."]
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.speak, text) for text in texts]
        server.wait_for(lambda: jobs(server) == 3)
        held.set()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]


def test_a_voice_without_an_encoder_speaks_but_does_not_convert(folder, tmp_path):
    voice = shutil.copytree(folder, tmp_path / "voice")
    shutil.rmtree(voice / "phonetic")
    with running(voice) as server:
        assert server.speak("Hello.").status_code == 200
        answer = upload(server, wav_bytes(), path="conversions")
        assert answer.status_code == 503 and "converts no" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "values",
    [
        {"queue": 0},
        {"timeout": float("nan")},
        {"max_text": -1},
        {"sample_rate": 8000},
        {"api_keys": ("short",)},
    ],
)
def test_settings_outside_their_ranges(values):
    with pytest.raises(ValueError, match="expected"):
        Settings(**values)
