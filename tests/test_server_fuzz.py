"""Whatever is sent, the server answers with sound or with one of its own errors, never with a 500, and goes on."""

import json

import pytest
import requests
from running_server import build_speaking_voice, running

pytest.importorskip("fastapi")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from hierspeech.web.formats import MEDIA_TYPES  # noqa: E402

EXAMPLES = 60
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # a failure is everybody's
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SPECIAL = [
    "[həlˈoʊ]",
    "[",
    "<pl>",
    "<",
    "1,234.5e9",
    "\x00",
    "\ud800",
    "e\u0301",
    "🙂",
    "مرحبا",
    "你好",
    "\u202e",
    "\\",
    "%s",
    "&#1;",
]
texts = st.one_of(
    st.text(max_size=60), st.lists(st.sampled_from(SPECIAL), max_size=5).map(" ".join), st.just("Hello. ")
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def either(valid):
    """Mostly what is expected, now and then anything."""
    return st.one_of(valid, valid, valid, anything)


bodies = st.fixed_dictionaries(
    {"input": either(texts)},
    optional={
        "model": either(st.sampled_from(["tts-1", "gpt-4o-mini-tts"])),
        "voice": either(st.sampled_from(["alloy", "anna"])),
        "response_format": either(st.sampled_from(list(MEDIA_TYPES))),
        "speed": either(st.floats(0.25, 4.0)),
        "seed": either(st.integers(0, 2**63)),
        "language": either(st.sampled_from(["en-us", "pl", "cmn", "ar", "xx"])),
        "stream_format": either(st.sampled_from(["audio", "sse"])),
        "timestamps": either(st.booleans()),
        "instructions": either(st.text(max_size=5)),
    },
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(build_speaking_voice(tmp_path_factory.mktemp("fuzz") / "voice"), max_text=200) as server:
        yield server


def check(answer: requests.Response) -> None:
    if answer.status_code in (200, 201, 204):
        return
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and isinstance(error["message"], str)
    assert "Traceback" not in error["message"] and "/tmp" not in error["message"]


@bounded
@given(body=bodies)
def test_any_values(server, body):
    data = json.dumps(body)  # NaN, halves of surrogate pairs and all
    answer = requests.post(
        f"{server.url}/v1/audio/speech",
        data=data.encode(),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    check(answer)
    if answer.status_code == 200 and body.get("stream_format") == "sse":
        assert '"error"' not in answer.text


@bounded
@given(data=st.one_of(st.binary(max_size=200), anything.map(lambda value: json.dumps(value).encode())))
def test_any_bytes(server, data):
    headers = {"Content-Type": "application/json"}
    check(requests.post(f"{server.url}/v1/audio/speech", data=data, headers=headers, timeout=60))


@bounded
@given(
    data=st.binary(max_size=300),
    head=st.sampled_from(
        [b"", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM"]
    ),
    name=st.text(max_size=100),
    path=st.sampled_from(["voices", "conversions"]),
    voice=st.text(max_size=20),
)
def test_any_recording(server, data, head, name, path, voice):
    form = {"name": name, "voice": voice} if voice else {"name": name}
    try:
        answer = requests.post(
            f"{server.url}/v1/audio/{path}", files={"file": ("x", head + data)}, data=form, timeout=60
        )
    except UnicodeError:
        return  # the client cannot send it
    check(answer)


@bounded
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"]),
    path=st.one_of(
        st.text(max_size=20), st.sampled_from(["static/../app.py", "static/%2e%2e/app.py", "v1/models/x"])
    ),
    prefix=st.sampled_from(["", "v1/audio/voices/", "static/", "v1/audio/"]),
    headers=st.dictionaries(
        st.sampled_from(["Authorization", "Origin", "Content-Type", "Range"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
    ),
)
def test_any_path(server, method, path, prefix, headers):
    try:
        url = f"{server.url}/{prefix}{requests.utils.quote(path, safe='%./')}"
        answer = requests.request(method, url, headers=headers, timeout=60)
    except UnicodeError:
        return
    assert answer.status_code < 500
    assert "create_app" not in answer.text


def test_the_server_still_speaks(server):
    assert server.speak("Hello.").status_code == 200
    assert server.engine.stats().waiting + server.engine.stats().active == 0
