"""The page in headless Chromium before serve.py's own application, with a tiny voice: what is asked fits what is answered."""

import threading
import time

import numpy as np
import pytest
import soundfile
from headless import find_browser
from page_browser import Site
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech

pytest.importorskip("fastapi", reason="needs the extra server")
pytest.importorskip("uvicorn", reason="needs the extra server")
pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
TEXT = "A tiny voice, “heard” at 5 o'clock! 🙂 It goes on."
KEY = "a-key-of-more-than-16-letters"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from hierspeech.web.app import create_app
    from hierspeech.web.engine import LocalEngine
    from hierspeech.web.server import listen, make_server
    from hierspeech.web.settings import Settings

    voice = build_voice(tmp_path_factory.mktemp("voice"), "lite", speechsr=True, prompts=["anna"])
    (voice / "prompts").mkdir()
    prompt = TextToSpeech.from_pretrained(voice, "cpu").prompt(recording())
    prompt.save(voice / "prompts" / "anna.safetensors")
    settings = Settings(voice=str(voice), device="cpu", api_keys=(KEY,))
    listener = listen("127.0.0.1", 0)
    server = make_server(create_app(LocalEngine(settings), settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the server does not start"
        time.sleep(0.05)
    with Site(f"http://127.0.0.1:{listener.getsockname()[1]}/") as site:
        site.write("#key", KEY)
        site.key("Enter", 13, "\r")
        site.until("document.querySelectorAll('#voices input').length === 1")
        site.problems.clear()  # the 401 that made it ask for the key
        yield site
        assert site.problems == []
    server.should_exit = True
    thread.join(30)


def test_speaks_plays_marks_and_keeps(site, tmp_path):
    site.write("#text", TEXT)
    site.click("#go")
    site.until("page.take.player.position > 0.05")
    site.until("page.take.whole")
    site.until("document.querySelectorAll('#reading .now').length")
    site.until("document.getElementById('status').textContent.startsWith('Done')")
    seconds = site.run("page.take.player.duration")
    assert seconds > 0.5
    words = site.run("page.take.reading.words.map(({ node, start, end }) => [node.textContent, start, end])")
    for wanted in ("A", "tiny", "voice,", "“heard”", "It", "goes", "on."):
        assert wanted in [word for word, _, _ in words], words
    assert site.text("#reading") == TEXT
    starts = [start for _, start, _ in words]
    assert starts == sorted(starts)
    assert words[-1][2] <= seconds + 0.05
    wav, rate = soundfile.read(site.download("[data-format=wav]", tmp_path))
    assert (rate, len(wav) / rate) == (24000, pytest.approx(seconds))
    assert np.abs(wav).max() > 0
    for kind in ("mp3", "opus", "flac"):
        wav, rate = soundfile.read(site.download(f"[data-format={kind}]", tmp_path))
        assert len(wav) / rate == pytest.approx(seconds, rel=0.3)
    assert site.download("[data-format=aac]", tmp_path).stat().st_size > 100


def test_adds_converts_and_removes(site, tmp_path):
    soundfile.write(tmp_path / "own.wav", recording(4.0, 160), 16000)
    site.choose("#reference .input", tmp_path / "own.wav")
    site.until("page.reference.file")
    site.click("#consent")
    site.click("#upload")
    site.until("page.voices.chosen.kind === 'uploaded'")
    site.click("input[value=convert]")
    site.choose("#source .input", tmp_path / "own.wav")
    site.until("page.source.file")
    site.click("#go")
    site.until("page.take.whole")
    assert site.run("page.take.player.duration") == pytest.approx(4, abs=0.3)
    site.click("#stop")
    site.click(".remove")
    site.click(".remove")
    site.until("page.voices.list.length === 1")
    site.click("input[value=speak]")


def test_refusals_are_told(site, tmp_path):
    site.write("#text", "word " * 1000)
    site.click("#go")
    site.until("document.getElementById('problem').textContent")
    assert "5000 characters" in site.text("#problem")
    assert "4096" in site.text("#problem")
    soundfile.write(tmp_path / "short.wav", recording(0.1), 16000)
    site.choose("#reference .input", tmp_path / "short.wav")
    site.until("page.reference.file")
    site.click("#consent")
    site.click("#upload")
    site.until(
        "document.getElementById('upload').ariaDisabled === 'false' && document.getElementById('problem').textContent"
    )
    assert "second" in site.text("#problem") or "short" in site.text("#problem")
    site.problems[:] = [p for p in site.problems if "status of 4" not in str(p)]
