"""What the page computes of sound, in headless Chromium against numpy: transform, picture, samples, files, and the player's seams."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
from headless import find_browser
from page_browser import Site
from page_stub import RATE, Stub, sound_of

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def site():
    with Stub() as stub, Site(stub.url) as site:
        yield site
        assert site.problems == []


def test_the_transform_is_numpys(site):
    frame = np.random.default_rng(0).standard_normal(1024)
    power = site.run(
        f"import('/static/fft.js').then(({{ FFT }}) => [...new FFT(1024).power({frame.tolist()})])"
    )
    np.testing.assert_allclose(power, np.abs(np.fft.rfft(frame)) ** 2, rtol=1e-9, atol=1e-9)


def test_the_spectrum_has_a_tone_where_it_is(site):
    time = np.arange(RATE) / RATE
    tone = 16000 * np.where(time < 0.5, np.sin(2 * np.pi * 400 * time), np.sin(2 * np.pi * 4100 * time))
    blocks = json.dumps([part.astype(int).tolist() for part in np.split(tone, [77, 1000, 13000])])
    columns, peaks, levels = site.run(
        f"""import('/static/spectrum.js').then(({{ Spectrum }}) => {{ const s = new Spectrum({RATE});
        for (const block of {blocks}) s.push(Int16Array.from(block));
        return [s.columns, [...s.peaks.slice(0, s.columns)], [...s.levels.slice(0, s.columns * 80)]]; }})"""
    )
    assert columns == 100
    assert np.array(peaks[5:45] + peaks[55:]) == pytest.approx(16000 / 32768, rel=0.01)
    bands = np.array(levels).reshape(100, 80)

    def mel(hz):
        return 1127 * np.log(1 + hz / 700)

    for hz, where in ((400, slice(5, 48)), (4100, slice(56, 100))):
        expected = 80 * (mel(hz) - mel(60)) / (mel(11000) - mel(60))
        assert np.abs(bands[where].argmax(axis=1) - expected).max() <= 1.5
    assert bands[10, 70] == 0


def test_a_long_sound_grows_the_spectrum(site):
    columns = site.run(
        f"""import('/static/spectrum.js').then(({{ Spectrum }}) => {{ const s = new Spectrum({RATE});
        s.push(new Int16Array({RATE} * 20)); return s.columns; }})"""
    )
    assert columns == 2000


def test_samples_that_are_cut_in_two_are_put_together(site):
    sound = sound_of("a b").astype("<i2")
    text = base64.b64encode(sound.tobytes()).decode()
    script = f"""import('/static/sound.js').then(({{ PcmReader, fromBase64 }}) => {{
      const bytes = fromBase64("{text}"), reader = new PcmReader(), all = [];
      for (let n = 0; n < bytes.length; n += 333) all.push(...reader.read(bytes.subarray(n, n + 333)));
      return all; }})"""
    assert site.run(script) == sound.tolist()


@pytest.mark.parametrize("synthetic", ["true", "false"])
def test_wav_files_are_right(site, synthetic):
    sound = sound_of("a b c")[:-1]
    text = site.run(
        f"""import('/static/sound.js').then(async ({{ wavFile }}) => {{
        const samples = Int16Array.from({sound.tolist()});
        const blob = wavFile([samples.subarray(0, 500), samples.subarray(500)], {RATE}, {synthetic});
        return new Promise((resolve) => {{ const reader = new FileReader();
          reader.onload = () => resolve(reader.result.split(",")[1]); reader.readAsDataURL(blob); }}); }})"""
    )
    data = base64.b64decode(text)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.samplerate, file.channels, file.subtype) == (RATE, 1, "PCM_16")
        assert (file.read(dtype="int16") == sound).all()
        assert ("comment" in file.copy_metadata()) == (synthetic == "true")


def test_the_player_has_no_seams(site):
    """Into an OfflineAudioContext, whose every sample can be looked at: the sound is there once, whole and unchanged."""
    sound = sound_of("one two three four five six")
    script = f"""import('/static/player.js').then(async ({{ Player }}) => {{
      const context = new OfflineAudioContext(1, {len(sound) + RATE}, {RATE}), player = new Player(() => context);
      context.resume = () => {{}};
      const samples = Int16Array.from({sound.tolist()});
      player.play(0);
      for (let n = 0; n < samples.length; n += 997) player.push(samples.subarray(n, n + 997));
      const rendered = (await context.startRendering()).getChannelData(0);
      player.pause();
      return [[...rendered].map((value) => Math.round(value * 32768)), player.gaps]; }})"""
    heard, gaps = site.run(script)
    heard = np.array(heard)
    begin = int(0.06 * RATE)
    assert (heard[begin : begin + len(sound)] == sound).all()
    assert not heard[:begin].any()
    assert not heard[begin + len(sound) :].any()
    assert gaps == 0


def test_the_player_waits_for_a_slow_stream_and_knows_where_it_is(site):
    script = f"""import('/static/player.js').then(async ({{ Player }}) => {{
      const player = new Player(), block = new Int16Array({RATE} / 5), wait = (ms) => new Promise((r) => setTimeout(r, ms));
      player.play(0);
      player.push(block);
      await wait(900);
      const held = player.position;
      player.push(block);
      player.finish();
      const ended = new Promise((resolve) => player.addEventListener("ended", resolve));
      await ended;
      const seen = [held, player.gaps, player.position, player.playing];
      player.context.close();
      return seen; }})"""
    assert site.run(script) == [pytest.approx(0.2), 1, pytest.approx(0.4), False]


def test_words_are_found_by_characters_not_units(site):
    text = "🙂 “Ja”, ja. 日本"
    words = [
        {"word": "Ja", "start": 0.0, "end": 0.1, "offset": 3},
        {"word": "ja", "start": 0.1, "end": 0.2, "offset": None},
        {"word": "nowhere", "start": 0.2, "end": 0.3, "offset": None},
        {"word": "日", "start": 0.3, "end": 0.4, "offset": 12},
        {"word": "本", "start": 0.4, "end": 0.5, "offset": 13},
    ]
    spans, whole, now = site.run(
        f"""import('/static/reading.js').then(({{ Reading }}) => {{
        const place = document.createElement("p"), reading = new Reading(place, () => {{}});
        reading.load({json.dumps(text)}, "de"); reading.add({json.dumps(words)}); reading.show(0.35);
        return [[...place.children].map((n) => n.textContent), place.textContent, place.querySelector(".now").textContent]; }})"""
    )
    assert spans == ["“Ja”,", "ja.", "日", "本"]
    assert whole == text
    assert now == "日"
