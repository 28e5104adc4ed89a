"""The page in headless Chromium before a stand-in of the server: speak, hear, see, mark, stop, keep, convert, add a voice."""

import io
import json

import numpy as np
import pytest
import soundfile
from headless import find_browser
from page_browser import Site
from page_stub import RATE, Stub, sound_of

from hierspeech.pipelines.output import SYNTHETIC

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
TEXT = "One two three four five."


@pytest.fixture(scope="module")
def browser():
    """One browser for all; `stub` and `site` make it new for each test."""
    with Stub() as stub, Site(stub.url) as site:
        yield stub, site


@pytest.fixture
def stub(browser):
    browser[0].__dict__.update(requests=[], gone=[], key=None, fail={}, pause=0.0)
    return browser[0]


@pytest.fixture
def site(browser, stub):
    site = browser[1]
    site.problems.clear()
    site.look(1280, 900, calm=True)
    site.run("sessionStorage.clear()")
    reload(site)
    yield site
    assert site.problems == [], "the console shall be empty"


def reload(site):
    site.send("Page.reload")
    site.until("document.readyState === 'complete' && performance.now() < 20000 && !window.page")
    site.run("import('/static/page.js').then((all) => { window.page = all; })")
    site.until("document.querySelectorAll('#voices input, #problem:not(:empty), dialog[open]').length")


def test_speaks_while_it_streams(stub, site):
    stub.pause = 0.03
    site.write("#text", TEXT)
    assert site.text("#count") == f"{len(TEXT)} characters"
    site.click("#voices .voice:nth-child(2) input")
    site.run(
        """window.marked = []; new MutationObserver((changes) => changes.forEach(({ target }) => {
        if (target.className === "heard now" || target.className === "now heard" || target.className === "now")
          if (marked.at(-1) !== target.textContent) marked.push(target.textContent); }))
        .observe(document.getElementById("reading"), { attributes: true, subtree: true }); true"""
    )
    site.press("Enter", 13, control=True)
    site.until("page.take.player.samples > 0")
    assert site.run("page.take.running !== null"), "it is heard before all of it came"
    assert "Speaking" in site.text("#status")
    assert not site.run("document.querySelector('.waiting').checkVisibility()")
    place = site.run("page.take.player.position")
    site.until(f"page.take.player.position > {place} + 0.2")  # the context's time goes on
    heard = """(() => { const { player } = page.take, analyser = player.context.createAnalyser();
      player.output.connect(analyser);
      return new Promise((resolve) => setTimeout(() => { const samples = new Float32Array(analyser.fftSize);
        analyser.getFloatTimeDomainData(samples); resolve(Math.max(...samples.map(Math.abs))); }, 150)); })()"""
    assert site.run(heard) > 0.01
    site.until("document.getElementById('status').textContent.startsWith('Done')")
    marked = site.run("marked")
    assert len(marked) >= 3, "a busy machine may miss a frame, not most of them"
    assert marked == [word for word in TEXT.split() if word in marked]
    assert site.text("#reading") == TEXT
    assert site.run("document.querySelectorAll('#reading .heard').length") == 5
    sent = stub.sent("/v1/audio/speech")[0]
    assert sent == {
        "model": "lite", "voice": "beth", "input": TEXT, "speed": 1, "seed": sent["seed"],
        "response_format": "pcm", "stream_format": "sse", "timestamps": True,
    }  # fmt: skip
    assert site.text("#sound-title") == "Beth speaks"
    assert f"seed {sent['seed']}" in site.text("#facts")
    assert site.text("#time") == "0:01 / 0:01"


def test_the_picture_shows_the_sound(site):
    site.write("#text", TEXT)
    site.click("#go")
    site.until("page.take.whole")
    pixels = np.array(
        site.run(
            """(() => { const c = document.getElementById("canvas");
            return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data, c.width]; })()"""
        )
    )
    width = int(pixels[-1])
    image = pixels[:-1].reshape(-1, width, 4)[..., :3]
    spectrogram = image[int(0.45 * len(image)) :]
    darkness = 255 - spectrogram.mean(axis=2)
    middles = [int(width * (n + 0.5) / 5) for n in range(5)]
    lowest = [len(spectrogram) - 1 - darkness[::-1, x - 8 : x + 8].mean(axis=1).argmax() for x in middles]
    assert np.diff(lowest).max() < 0, (
        "each word's tone is higher than the one before, so its line is further up"
    )
    seams = [int(width * n / 5) for n in range(1, 5)]
    assert darkness[:, middles].mean() > 2 * darkness[:, seams].mean()  # it is quiet between the words


def test_of_a_long_sound_a_part_goes_along(site):
    site.write("#text", "word " * 80)
    site.click("#go")
    site.until("page.take.whole")
    seek = "document.getElementById('seek').clientHeight / document.getElementById('canvas').clientHeight"
    assert site.run(seek) == pytest.approx(0.4, abs=0.01)  # the bars, which are of the whole
    site.run("page.take.player.play(13)")
    site.until("page.take.player.position > 13.1")
    assert site.run("page.take.picture.drawn") == "1200,2400"  # by the page: this person wants no motion
    site.look(1280, 900)
    site.until("!['1200,2400', '0,1200'].includes(page.take.picture.drawn)")
    site.click("#stop")


def test_settings_are_sent_and_foreign_languages_are_pointed_out(stub, site):
    site.write("#text", "Guten Tag.")
    site.run(
        """for (const [id, value] of [["speed", 1.25], ["language", "de"], ["seed", 7]]) {
        const n = document.getElementById(id); n.value = value; n.dispatchEvent(new Event("input", { bubbles: true })); }"""
    )
    assert site.text("#speed-shown") == "1.25×"
    assert site.text("#language-note") == "Anna speaks American English; German may be hard to understand."
    site.click("#go")
    site.until("page.take.whole")
    sent = stub.sent("/v1/audio/speech")[0]
    assert (sent["speed"], sent["language"], sent["seed"]) == (1.25, "de", 7)
    assert site.run("document.getElementById('reading').lang") == "de"


def test_stop_breaks_the_request_off(stub, site):
    stub.pause = 0.1
    long = "word " * 60
    site.write("#text", long)
    site.click("#go")
    site.until("page.take.player.samples > 6000")
    assert site.run("document.getElementById('stop').ariaDisabled") == "false"
    site.press("Escape", 27)
    site.until("!page.take.running")
    assert not site.run("page.take.player.playing")
    assert "Stopped" in site.text("#status")
    site.until("true")
    for _ in range(100):
        if stub.gone:
            break
        site.run("new Promise((resolve) => setTimeout(resolve, 50))")
    assert stub.gone == [long], "the server sees that the client went away"
    states = site.run("[...document.querySelectorAll('[data-format]')].map((b) => b.disabled)")
    assert states == [False, True, True, True, True]  # what came can be kept, the rest was never made
    site.click("#play")
    site.until("page.take.player.playing")
    site.click("#stop")
    site.until("!page.take.player.playing")


def test_a_new_sentence_replaces_the_one_that_is_being_made(stub, site):
    stub.pause = 0.05
    site.write("#text", "old " * 40)
    site.click("#go")
    site.until("page.take.player.samples > 0")
    stub.pause = 0.0
    site.write("#text", TEXT)
    site.press("Enter", 13, control=True)
    site.until("page.take.whole")
    assert site.text("#reading") == TEXT
    assert site.run("page.take.player.samples") == len(sound_of(TEXT))
    assert site.text("#problem") == ""


def test_replay_seek_and_pause(site):
    site.write("#text", TEXT)
    site.click("#go")
    site.until("document.getElementById('status').textContent.startsWith('Done')")
    site.click("#play")
    site.until("page.take.player.playing && page.take.player.position > 0.1")
    assert site.run("document.getElementById('play').ariaLabel") == "Pause"
    site.click("#play")
    assert not site.run("page.take.player.playing")
    site.run("document.getElementById('seek').focus()")
    site.press("End", 35)
    assert site.run("page.take.player.position") == pytest.approx(1.5, abs=0.02)
    site.press("Home", 36)
    assert site.run("page.take.player.position") == 0
    site.press("ArrowRight", 39)
    assert site.run("page.take.player.position") == pytest.approx(1, abs=0.001)
    site.click("#reading span:nth-of-type(4)")
    site.until("page.take.player.playing")
    assert 0.85 < site.run("page.take.player.position") < 1.3
    assert "of" in site.run("document.getElementById('seek').getAttribute('aria-valuetext')")


def test_downloads(stub, site, tmp_path):
    site.write("#text", TEXT)
    site.click("#go")
    site.until("page.take.whole")
    path = site.download("[data-format=wav]", tmp_path)
    assert path.name == "one-two-three-four-five.wav"
    wav, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert (wav == sound_of(TEXT)).all(), "the file is what was streamed, to the bit"
    with soundfile.SoundFile(path) as file:
        assert file.copy_metadata()["comment"] == SYNTHETIC
    path = site.download("[data-format=opus]", tmp_path)
    assert path.name == "one-two-three-four-five.opus"
    assert path.read_bytes().startswith(b"opus of ")
    live, kept = stub.sent("/v1/audio/speech")
    del (
        live["timestamps"],
        live["stream_format"],
    )  # files are made whole: streamed ones do not know their length
    assert kept == live | {"response_format": "opus"}


def test_converts_a_recording(stub, site, tmp_path):
    soundfile.write(tmp_path / "mine.wav", sound_of("a b c"), RATE)
    site.click("input[value=convert]")
    assert site.text("#go") == "Convert"
    site.click("#go")
    assert "recording to convert" in site.text("#problem") or "convert first" in site.text("#problem")
    site.choose("#source .input", tmp_path / "mine.wav")
    site.until("page.source.file")
    assert "mine.wav, 0.9 s" in site.text("#source .about")
    site.click("#go")
    site.until("page.take.whole")
    form = stub.sent("/v1/audio/conversions")[0]
    assert form["voice"] == "anna"
    assert form["response_format"] == "pcm"
    assert form["file"] == ("mine.wav", (tmp_path / "mine.wav").read_bytes())
    assert site.run("page.take.player.samples") == len(sound_of("a recording in another voice"))
    assert site.text("#reading") == ""
    path = site.download("[data-format=mp3]", tmp_path)
    assert path.name == "mine-anna.mp3"
    assert stub.sent("/v1/audio/conversions")[1]["seed"] == form["seed"]


def test_adds_a_dropped_voice_and_removes_it(stub, site, tmp_path):
    soundfile.write(tmp_path / "grand-father.flac", sound_of("a b c d e f g h i j k"), RATE)
    site.drop("#reference", tmp_path / "grand-father.flac")
    site.until("page.reference.file")
    assert site.run("document.getElementById('voice-name').value") == "grand father"
    site.click("#upload")
    assert "consent" in site.text("#problem")
    assert site.run("document.activeElement.id") == "consent"
    assert not stub.sent("/v1/audio/voices")
    site.click("#consent")
    site.click("#upload")
    site.until("page.voices.list.length === 4")
    sent = stub.sent("/v1/audio/voices")[0]
    assert sent["name"] == "grand father"
    assert sent["file"] == ("grand-father.flac", (tmp_path / "grand-father.flac").read_bytes())
    assert site.run("page.voices.chosen.id") == "v-1"
    assert site.run("document.querySelector('#voices input:checked').value") == "v-1"
    assert site.run("document.getElementById('new-voice').hidden")
    site.click(".remove")
    assert site.text(".remove") == "Sure?"
    site.click(".remove")
    site.until("page.voices.list.length === 3")
    assert ("DELETE", "/v1/audio/voices/v-1", None) in stub.requests
    assert site.run("page.voices.chosen.id") == "anna"


def test_records_a_voice(stub, site):
    site.click("#reference .record")
    site.until("page.reference.recorder")
    assert site.text("#status") == "Recording …"
    site.until(
        "document.querySelector('#reference .level').value > 0"
    )  # the beeps of Chromium's own microphone
    site.run("new Promise((resolve) => setTimeout(resolve, 1200))")
    site.click("#reference .record")
    site.until("page.reference.file")
    site.click("#consent")
    site.click("#upload")
    site.until("page.voices.list.length === 4")
    name, data = stub.sent("/v1/audio/voices")[0]["file"]
    assert name == "recording.wav"
    wav, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE
    assert 0.8 < len(wav) / rate < 10
    assert np.abs(wav).max() > 0.01
    stub.voices.pop()


def test_what_is_no_sound_is_said_so(stub, site, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear all")
    site.choose("#reference .input", tmp_path / "letter.txt")
    site.until("document.getElementById('problem').textContent.includes('letter.txt')")
    assert not site.run("page.reference.file")


@pytest.mark.parametrize(
    ("status", "message", "shown"),
    [
        (400, "input has 9999 characters, expected at most 4096.", "9999 characters, expected at most 4096"),
        (429, "queue full", "The server is busy. Try again in a moment."),
        (500, "", "The server failed"),
        (413, "", "too large"),
    ],
)
def test_errors_are_shown_in_plain_words(stub, site, status, message, shown):
    stub.fail["/v1/audio/speech"] = (status, message)
    site.click("#go")
    site.until("document.getElementById('problem').textContent")
    assert shown in site.text("#problem")
    assert site.run("document.getElementById('problem').getAttribute('role')") == "alert"
    assert site.run("document.getElementById('stop').ariaDisabled") == "true"
    assert site.run("document.getElementById('sound').hidden"), "there is none"
    assert {json.dumps(p) for p in site.problems if str(status) not in json.dumps(p)} == set()
    site.problems.clear()  # Chromium itself notes the failed request
    stub.fail.clear()
    site.click("#go")
    site.until("page.take.whole")
    assert site.text("#problem") == ""


def test_a_stream_that_breaks_keeps_what_came(stub, site):
    site.write("#text", "one two BREAK four")
    site.click("#go")
    site.until("document.getElementById('problem').textContent")
    assert site.text("#problem") == "The voice lost its thread."
    assert 0 < site.run("page.take.player.samples") < len(sound_of("a b c d"))
    site.until("!page.take.player.playing")
    assert site.text("#problem") == "The voice lost its thread."  # still there when the sound has ended
    site.write("#text", "")
    site.click("#go")
    assert "Write something" in site.text("#problem")


def test_a_server_that_is_gone(site):
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    site.send("Network.emulateNetworkConditions", offline=True, **offline)
    site.click("#go")
    site.until("document.getElementById('problem').textContent")
    site.send("Network.emulateNetworkConditions", offline=False, **offline)
    assert site.text("#problem") == "The server cannot be reached. Is it still running?"
    assert all("ERR_INTERNET_DISCONNECTED" in json.dumps(p) for p in site.problems)
    site.problems.clear()


def test_the_key_is_asked_for_and_sent(stub, site):
    stub.key = "sesame"
    reload(site)
    site.until("document.getElementById('key-dialog').open")
    assert site.run("document.activeElement.id") == "key"
    site.send("Input.insertText", text="wrong")
    site.key("Enter", 13, "\r")
    site.until("document.getElementById('key-dialog').open && !document.getElementById('key-refused').hidden")
    site.write("#key", "sesame")
    site.key("Enter", 13, "\r")
    site.until("document.querySelectorAll('#voices input').length === 3")
    site.click("#go")
    site.until("page.take.whole")
    assert not site.run("document.getElementById('forget-key').hidden")
    site.click("#forget-key")
    assert site.run("sessionStorage.length") == 0
    assert [p for p in site.problems if "401" not in json.dumps(p)] == []
    site.problems.clear()
