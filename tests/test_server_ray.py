"""The server on a local Ray of two replicas: same answers, nothing lost with a replica, clients that go away, and what is refused.

Ray is no part of the test extra: pip install "hierspeech[cluster]" and this file runs, half a minute of it Ray's own start.
"""

import asyncio
import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_voice import build_voice, recording

pytest.importorskip("ray", reason="the extra cluster is not installed")
pytest.importorskip("fastapi", reason="the extra server is not installed")
httpx = pytest.importorskip("httpx2", reason="comes with the extra test")

ROOT = Path(__file__).resolve().parent.parent
SPEECH = "/v1/audio/speech"
LONG = "This is one of many sentences that are said. " * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_voice(tmp_path_factory.mktemp("ray") / "tiny", "lite")


@pytest.fixture(scope="module")
def address(folder):
    import ray
    from ray import serve

    from hierspeech.web.ray_app import NAME, Scale, build
    from hierspeech.web.server import listen
    from hierspeech.web.settings import Settings

    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), os.environ.get("PYTHONPATH", "")]
    )  # for the replicas
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        settings = Settings(voice=str(folder), queue=16, timeout=30.0, max_text=100_000)
        serve.run(build(settings, Scale(replicas=2, cpus=0.5)), name=NAME, route_prefix="/")
        url = f"http://127.0.0.1:{port}"
        _wait(lambda: httpx.get(f"{url}/health").json()["replicas"] == 2)
        yield url
        serve.shutdown()
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def voice(address):
    file = io.BytesIO()
    soundfile.write(file, recording(3.2), 16000, format="WAV")
    answer = httpx.post(
        f"{address}/v1/audio/voices", files={"file": ("me.wav", file.getvalue())}, data={"name": "me"}
    )
    assert answer.status_code == 201
    return answer.json()["id"]


def _wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def body(voice, text="Hello there.", **more):
    return {"model": "tts-1", "input": text, "voice": voice, "response_format": "wav", "seed": 1} | more


def samples(content):
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def test_replicas_answer_as_one_process_does(address, voice, folder):
    from hierspeech import TextToSpeech

    file = io.BytesIO()
    soundfile.write(file, recording(3.2), 16000, format="WAV")
    file.seek(0)
    wav, rate = soundfile.read(file, dtype="float32")
    alone = TextToSpeech.from_pretrained(folder, "cpu")
    expected = alone("Hello there.", wav, sample_rate=rate, seed=1, output_sample_rate=24000)
    answers = [httpx.post(address + SPEECH, json=body(voice)) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert np.abs(samples(answer.content) - expected.audio).max() < 1e-3


def test_nothing_is_lost_when_a_replica_is_killed(address, voice):
    from ray import serve

    from hierspeech.web.ray_app import NAME

    speakers = serve.get_deployment_handle("Speaker", NAME)
    expected = {
        i: httpx.post(address + SPEECH, json=body(voice, LONG[:400], seed=i), timeout=60).content
        for i in range(4)
    }
    streamed = httpx.post(address + SPEECH, json=stream(voice, seed=0), timeout=60).content

    async def one(client, i, places):
        async with places:
            if i == 10:
                pid = await asyncio.to_thread(lambda: speakers.pid.remote().result())
                os.kill(pid, signal.SIGKILL)
            asked = stream(voice, seed=0) if i % 4 == 0 else body(voice, LONG[:400], seed=i % 4)
            return i, await client.post(SPEECH, json=asked)

    async def load():
        places = asyncio.Semaphore(8)
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            return await asyncio.gather(*(one(client, i, places) for i in range(40)))

    answers = asyncio.run(load())
    assert {answer.status_code for _, answer in answers} == {200}
    for i, answer in answers:
        if i % 4 == 0:
            assert len(answer.content) == len(streamed), "no chunk twice, none left out"
            found, wanted = (np.frombuffer(x, "<i2").astype(int) for x in (answer.content, streamed))
            assert np.abs(found - wanted).max() <= 33
        else:
            assert np.abs(samples(answer.content) - samples(expected[i % 4])).max() < 1e-3
    _wait(lambda: httpx.get(f"{address}/health").json()["replicas"] == 2, 60)  # Ray starts another one


def stream(voice, **more):
    return body(voice, LONG[:400], response_format="pcm", stream_format="audio", **more)


def test_a_client_that_goes_away_frees_its_place(address, voice):
    def active():
        return httpx.get(f"{address}/health").json()["queue"]["active"]

    asked = body(voice, LONG * 50, response_format="pcm", stream_format="audio")
    with httpx.stream("POST", address + SPEECH, json=asked, timeout=60) as answer:
        chunks = answer.iter_raw()  # kept: without it httpx closes the answer
        next(chunks)
        assert active() == 1
    _wait(lambda: active() == 0)


def test_errors_are_said_without_tracebacks(address, voice):
    for wrong, status in (
        (body(voice, language="xx"), 400),
        (body("nobody"), 400),
        (stream(voice, language="xx"), 400),
    ):
        answer = httpx.post(address + SPEECH, json=wrong)
        assert answer.status_code == status, answer.text
        assert "Traceback" not in answer.text and answer.json()["error"]["message"].count("\n") == 0


def test_more_than_the_queue_holds_is_refused(address, voice):
    async def load():
        async with httpx.AsyncClient(base_url=address, timeout=120) as client:
            asked = [client.post(SPEECH, json=body(voice, LONG)) for _ in range(30)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    statuses = asyncio.run(load())
    assert set(statuses) == {200, 429} and statuses.count(200) >= 16


def test_arguments_of_ray_s_own_command_line():
    from hierspeech.web.ray_app import Scale, application

    text = {
        "voice": "lite",
        "replicas": "2",
        "max_replicas": "3",
        "cpus": "0.5",
        "stream": "true",
        "api_keys": "a" * 16,
    }
    assert application(text) is not None  # all is text there
    assert application({"replicas": 2, "timeout": 5, "allowed_hosts": ["speech.example.org"]}) is not None
    for wrong, why in (
        ({"replica": "2"}, "unknown argument 'replica'"),
        ({"replicas": "two"}, "replicas 'two': expected int"),
        ({"replicas": "3", "max_replicas": "2"}, "--max-replicas 2"),
        ({"port": "99999"}, "--port 99999"),
    ):
        with pytest.raises(ValueError, match=why):
            application(wrong)
    with pytest.raises(ValueError, match="--cpus-per-replica 0"):
        Scale(cpus=0)
