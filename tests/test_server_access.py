"""Who may ask: keys, the voices that belong to them, and web pages from elsewhere."""

import pytest
import requests
from running_server import build_speaking_voice, running, upload, wav_bytes

pytest.importorskip("fastapi")
openai = pytest.importorskip("openai")

KEYS = ("first-key-0123456789", "second-key-0123456789")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_speaking_voice(tmp_path_factory.mktemp("access") / "voice")


@pytest.fixture(scope="module")
def server(folder):
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def locked(folder):
    with running(folder, api_keys=KEYS) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer "},
    ],
)
def test_a_wrong_key_is_refused(locked, headers):
    answer = locked.speak("Hello.", headers=headers)
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert requests.get(f"{locked.url}/metrics", headers=headers, timeout=30).status_code == 401
    assert requests.get(f"{locked.url}/health", headers=headers, timeout=30).status_code == 200


def test_a_voice_belongs_to_its_key(locked):
    first, second = ({"Authorization": f"Bearer {key}"} for key in KEYS)
    voice = upload(locked, wav_bytes(), headers=first).json()["id"]
    assert locked.speak("Hello.", voice=voice, headers=first).status_code == 200
    assert locked.speak("Hello.", voice=voice, headers=second).status_code == 400
    url = f"{locked.url}/v1/audio/voices"
    assert voice not in requests.get(url, headers=second, timeout=30).text
    assert requests.delete(f"{url}/{voice}", headers=second, timeout=30).status_code == 404
    assert requests.delete(f"{url}/{voice}", headers=first, timeout=30).status_code == 204
    client = openai.OpenAI(api_key=KEYS[1], base_url=f"{locked.url}/v1", max_retries=0)
    assert client.audio.speech.create(model="tts-1", voice="anna", input="Hello.").content
    assert KEYS[0] not in repr(locked.settings)


def test_web_pages_from_elsewhere_are_refused(server):
    assert server.speak("Hi.", headers={"Origin": "https://example.org"}).status_code == 403
    assert server.speak("Hi.", headers={"Host": "example.org"}).status_code == 403
    assert server.speak("Hi.", headers={"Origin": server.url}).status_code == 200
    answer = requests.options(
        f"{server.url}/v1/audio/speech",
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
        timeout=30,
    )
    assert "access-control-allow-origin" not in answer.headers


def test_web_pages_that_were_named_may_call(folder):
    with running(
        folder, cors_origins=("https://example.org",), allowed_hosts=("speech.example.org",)
    ) as server:
        ours = {"Host": "speech.example.org", "Origin": "https://example.org"}
        answer = server.speak("Hi.", headers=ours)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert server.speak("Hi.").status_code == 403  # by another name
