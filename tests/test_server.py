"""The server as OpenAI's own client sees it: speech in every format, streams, events, voices, conversion."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import soundfile
from running_server import build_speaking_voice, running
from tiny_voice import recording

pytest.importorskip("fastapi")
openai = pytest.importorskip("openai")

from hierspeech import TextToSpeech, VoiceConversion  # noqa: E402
from hierspeech.web.formats import MEDIA_TYPES, to_pcm  # noqa: E402

TEXT = "Good morning to you all. It is a fine day, and nobody is in a hurry. Good night."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_speaking_voice(tmp_path_factory.mktemp("server") / "voice")


@pytest.fixture(scope="module")
def server(folder):
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0, timeout=30)


@pytest.fixture(scope="module")
def tts(folder):
    return TextToSpeech.from_pretrained(folder, "cpu")


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """The samples of a response [T] and their rate, by another library's decoder where one knows the format."""
    if name == "pcm":
        return np.frombuffer(data, "<i2") / 32768, 24000
    if name in ("wav", "mp3", "opus"):
        return soundfile.read(io.BytesIO(data))
    import av

    with av.open(io.BytesIO(data)) as file:
        frames = [frame.to_ndarray().ravel() for frame in file.decode(audio=0)]
        wav = np.concatenate(frames)
        return wav / 32768 if wav.dtype == np.int16 else wav, file.streams.audio[0].rate


@pytest.mark.parametrize("mode", [None, "audio"])
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_every_format_decodes_to_the_same_sound(client, tts, name, mode):
    extra = {} if mode is None else {"stream_format": mode}
    answer = client.audio.speech.with_raw_response.create(
        model="tts-1", voice="carl", input=TEXT, response_format=name, extra_body={"seed": 3}, **extra
    )
    assert answer.headers["content-type"] == MEDIA_TYPES[name]
    assert answer.headers["x-sample-rate"] == "24000" and answer.headers["x-seed"] == "3"
    assert ("content-length" in answer.headers) == (mode is None)
    wav, rate = decode(answer.content, name)
    options = {"seed": 3, "output_sample_rate": 24000}
    if mode is None:
        expected = tts(TEXT, "carl", **options).audio
    else:
        expected = np.concatenate([chunk.audio for chunk in tts.stream(TEXT, "carl", **options)])
    assert rate == 24000
    assert len(expected) <= len(wav) <= len(expected) + 3000  # encoders pad
    if name in ("pcm", "wav", "flac"):
        np.testing.assert_allclose(wav, to_pcm(expected) / 32768, atol=2 / 32768)


def test_the_client_streams_to_a_file(client, tmp_path):
    path = tmp_path / "speech.wav"
    speech = client.audio.speech.with_streaming_response
    with speech.create(model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="wav") as answer:
        answer.stream_to_file(path)
    info = soundfile.info(path)
    assert info.samplerate == 24000 and info.duration > 1
    assert "ynthetic" in soundfile.SoundFile(path).comment


def test_a_stream_comes_in_several_chunks(server):
    with server.speak(TEXT, stream_format="audio", stream=True) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        chunks = [chunk for chunk in answer.raw.stream(decode_content=True)]
    assert len(chunks) > 2


def test_a_server_may_stream_by_default(folder):
    with running(folder, stream=True, sample_rate=16000) as server:
        answer = server.speak(TEXT)
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["x-sample-rate"] == "16000"


def test_events(server, tts):
    answer = server.speak(TEXT, stream_format="sse", voice="anna", seed=0)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    events = [json.loads(line[6:]) for line in lines]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    usage = events[-1]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    expected = np.concatenate(
        [chunk.audio for chunk in tts.stream(TEXT, "anna", seed=0, output_sample_rate=24000)]
    )
    np.testing.assert_array_equal(np.frombuffer(data, "<i2"), to_pcm(expected))


def test_words_come_before_the_sound_they_belong_to(server):
    answer = server.speak(TEXT, stream_format="sse", timestamps=True)
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line]
    assert events[0]["type"] == "speech.audio.words"
    heard = 0.0
    words = []
    for event in events[:-1]:
        if event["type"] == "speech.audio.words":
            words += event["words"]
            assert event["words"][0]["start"] >= heard - 0.1
        else:
            heard += len(base64.b64decode(event["audio"])) / 48000
    assert [word["word"].strip(",.") for word in words] == TEXT.replace(",", "").replace(".", "").split()
    assert all(TEXT[word["offset"] :].startswith(word["word"]) for word in words)
    assert all(0 <= word["start"] < word["end"] <= heard + 0.1 for word in words)


def test_requests_at_a_time_share_batches_and_sound_as_alone(server, tts):
    texts = [f"Sentence number {n}. " * (1 + n % 3) for n in range(12)]
    # one long request keeps the worker busy while the others arrive
    before = server.engine.stats()
    with ThreadPoolExecutor(13) as pool:
        long = pool.submit(server.speak, TEXT * 5, voice="anna")
        answers = list(
            pool.map(lambda n: server.speak(texts[n], voice=["anna", "carl"][n % 2], seed=n), range(12))
        )
        assert long.result().status_code == 200
    after = server.engine.stats()
    for n, answer in enumerate(answers):
        expected = tts(texts[n], ["anna", "carl"][n % 2], seed=n, output_sample_rate=24000).audio
        np.testing.assert_allclose(np.frombuffer(answer.content, "<i2"), to_pcm(expected), atol=5)
    assert after.batches - before.batches < after.batched - before.batched  # some sentences went together


def test_speed_and_openai_voices(client, server):
    def seconds(**values) -> float:
        return len(server.speak(TEXT, **values).content) / 48000

    assert seconds(speed=2.0) < 0.6 * seconds(speed=1.0)
    same = [
        server.speak("Hello.", voice=voice, seed=1).content for voice in ("alloy", "anna", {"id": "anna"})
    ]
    assert same[0] == same[1] == same[2]
    assert (
        server.speak("Hello.", voice="onyx", seed=1).content
        != server.speak("Hello.", voice="ash").content[:0]
    )


def test_prosody_and_mixed_voices(server, tts):
    values = {"pitch_shift": 2.0, "pitch_range": 0.5, "energy": -6.0, "mix": 0.25}
    expected = tts(TEXT, "anna", seed=4, output_sample_rate=24000, mix_with="carl", **values).audio
    answer = server.speak(TEXT, voice="anna", mix_with="carl", seed=4, **values)
    np.testing.assert_allclose(np.frombuffer(answer.content, "<i2"), to_pcm(expected), atol=5)
    chunks = list(tts.stream(TEXT, "anna", seed=4, output_sample_rate=24000, mix_with="carl", **values))
    answer = server.speak(TEXT, voice="anna", mix_with="carl", seed=4, stream_format="audio", **values)
    expected = to_pcm(np.concatenate([chunk.audio for chunk in chunks]))
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<i2"), expected)
    assert server.speak("<mix=0.5>Hello.</mix>", voice="anna").status_code == 400
    assert server.speak("Hello.", mix_with="nobody").json()["error"]["code"] == "voice_not_found"


def test_instructions_are_ignored_and_that_is_said(client):
    answer = client.audio.speech.with_raw_response.create(
        model="gpt-4o-mini-tts", voice="nova", input="Hello.", instructions="Whisper.", response_format="pcm"
    )
    assert answer.headers["x-ignored"] == "instructions"


def test_a_language_that_the_voice_does_not_know_is_warned_of(server):
    assert "x-warning" not in server.speak("Hello.").headers
    assert "trained on en-us, not on pl" in server.speak("Hello.", language="pl").headers["x-warning"]
    assert "Cyrillic" in server.speak("Привет, как дела?").headers["x-warning"]
    assert server.speak("Hello.", language="nowhere").status_code == 400


def test_models(client, server):
    names = [model.id for model in client.models.list()]
    assert names[0] == server.settings.voice and "tts-1" in names
    assert client.models.retrieve("tts-1").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.speech.create(model="whisper-1", voice="alloy", input="Hello.")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n"}, None),
        ({"input": "x" * 5000}, "input"),
        ({"voice": "../../etc/passwd"}, "voice"),
        ({"voice": ""}, "voice"),
        ({"speed": 5}, "speed"),
        ({"speed": 0.1}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"language": "klingon"}, None),
        ({"seed": -1}, "seed"),
        ({"sped": 1}, "sped"),
        ({"timestamps": True}, "timestamps"),
        ({"stream_format": "audio", "input": "..."}, None),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(server, values, param):
    answer = server.speak(**{"text": values.pop("input", "Hello.")} | values)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param
    assert error["message"].endswith(".") and "Traceback" not in error["message"]


def wav_bytes(wav: np.ndarray, rate: int = 16000, format: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, rate, format=format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_voice_is_uploaded_used_and_deleted(server, format):
    voices = f"{server.url}/v1/audio/voices"
    data = wav_bytes(recording(f0=180.0), format=format)
    made = requests.post(
        voices, files={"file": ("../x.wav", data)}, data={"name": "  My   voice "}, timeout=30
    )
    assert made.status_code == 201, made.text
    voice = made.json()
    assert voice["name"] == "My voice" and voice["kind"] == "uploaded" and voice["language"] == "en-us"
    listed = requests.get(voices, timeout=30).json()["voices"]
    assert [item["id"] for item in listed][:2] == ["anna", "carl"] and voice in listed
    mine = server.speak("Hello.", voice=voice["id"], seed=0)
    assert mine.status_code == 200
    assert mine.content != server.speak("Hello.", voice="anna", seed=0).content
    assert requests.delete(f"{voices}/{voice['id']}", timeout=30).status_code == 204
    assert requests.delete(f"{voices}/{voice['id']}", timeout=30).status_code == 404
    assert server.speak("Hello.", voice=voice["id"]).status_code == 400


def test_uploaded_voices_are_fitted_to_their_recordings_where_asked(folder, tts):
    data = recording(f0=180.0)
    with running(folder, adapt=2) as server:
        files = {"file": ("me.wav", wav_bytes(data))}
        made = requests.post(
            f"{server.url}/v1/audio/voices", files=files, data={"name": "Me"}, timeout=60
        ).json()
        answer = server.speak("Hello.", voice=made["id"], seed=0, response_format="wav")
    wav, _ = soundfile.read(io.BytesIO(answer.content))
    heard = (data.clip(-1, 1) * 32767).round() / 32768  # of the 16 bits that were uploaded
    near, plain = (
        tts(
            "Hello.",
            tts.prompt(heard.astype(np.float32), 16000, adapt_steps=steps),
            seed=0,
            output_sample_rate=24000,
        )
        for steps in (2, 0)
    )
    assert np.abs(wav - near.audio).max() < 0.3 * np.abs(wav - plain.audio).max()


def test_shipped_voices_stay(server):
    answer = requests.delete(f"{server.url}/v1/audio/voices/anna", timeout=30)
    assert answer.status_code == 403
    assert server.speak("Hello.", voice="anna").status_code == 200


def test_a_conversion_is_that_of_the_pipeline(server, folder):
    wav = recording(1.5, 150.0)
    answer = requests.post(
        f"{server.url}/v1/audio/conversions",
        files={"file": ("a.wav", wav_bytes(wav))},
        data={"voice": "carl", "response_format": "wav", "seed": "1"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    converted, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    expected = VoiceConversion.from_pretrained(folder, "cpu")(
        wav_read(wav), "carl", seed=1, output_sample_rate=24000, sample_rate=16000
    )
    assert rate == 24000
    np.testing.assert_allclose(converted, expected.audio, atol=2e-4)


def wav_read(wav: np.ndarray) -> np.ndarray:
    """wav [T] as it is after a 16-bit file."""
    return soundfile.read(io.BytesIO(wav_bytes(wav)), dtype="float32")[0]


def test_health_metrics_page_and_headers(server):
    health = requests.get(f"{server.url}/health", timeout=30)
    assert health.status_code == 200 and health.json()["ready"] is True
    assert health.json()["queue"] == {"waiting": 0, "active": 0, "limit": 64}
    server.speak("Hello.")
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    for name in ("requests_total", "first_byte_seconds", "queue_length", "audio_seconds_total", "rejected"):
        assert f"hierspeech_{name}" in text
    page = requests.get(f"{server.url}/", timeout=30)
    assert page.status_code in (200, 404)  # the page is a package of its own
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff" and "server" not in page.headers
    missing = requests.get(f"{server.url}/nothing/here", timeout=30)
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    assert requests.get(f"{server.url}/openapi.json", timeout=30).status_code == 200
