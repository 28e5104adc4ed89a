"""The report: one file that needs no other, opened in a headless browser where there is one."""

import json
import re
import struct
import zlib

import numpy as np
import pytest
import soundfile
from headless import Page, find_browser
from tiny_voice import recording

from hierspeech.evaluation import Item, evaluate
from hierspeech.evaluation.pictures import HEIGHT, levels, picture, png, sound
from hierspeech.evaluation.report import write_report
from speech.audio import save_audio

NASTY = '</script><script>document.title="taken"</script> & "quotes"'


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two systems, three items; `first` lies nearer to the targets but for item b, and its item c is no sound."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    systems = {}
    for system, level in (("first", 0.02), ("second", 0.1)):
        items = []
        for k, name in enumerate("abc"):
            target = folder / f"{name}.wav"
            save_audio(target, recording(0.6 + 0.1 * k, 100 + 40 * k), 16000)
            wav = recording(0.6 + 0.1 * k, 100 + 40 * k)
            level_of_item = 0.3 if (system, name) == ("first", "b") else level
            noise = level_of_item * rng.standard_normal(len(wav)).astype(np.float32)
            save_audio(folder / f"{system}_{name}.wav", wav + noise, 16000)
            text = NASTY if name == "a" else f"Sentence {name}."
            items.append(Item(name, folder / f"{system}_{name}.wav", text, target=target, reference=target))
        if system == "first":
            items[2].wav.write_text("no sound")
        systems[system] = evaluate(items, ["lsd", "timing", "rtf"])
    facts = {"first": {"parameters": "3 million"}, "second": {"first audio, ms": 12}}
    write_report(folder / "report.html", systems, title="Two <systems>", facts=facts)
    return folder / "report.html", systems


def worst_first(systems, column):
    """(id, system) from the largest figure down, those without one last."""
    rows = [(row["values"].get(column), row["id"], name) for name, e in systems.items() for row in e.rows]
    known = sorted((row for row in rows if row[0] is not None), reverse=True)
    return [row[1:] for row in [*known, *(row for row in rows if row[0] is None)]]


def test_the_page_needs_nothing_else(report):
    text = report[0].read_text(encoding="utf-8")
    assert "{{" not in text.split('<script type="application/json"')[0]
    assert not re.search(r"""(src|href)=["']?(?!data:)\w+:""", text)
    assert "@import" not in text
    assert not [path for path in report[0].parent.iterdir() if path.name.endswith(".tmp")]
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [item["id"] for item in data["items"]] == ["a", "b", "c"]
    assert data["items"][0]["text"] == NASTY
    assert len(data["media"]) == 8  # 6 wavs of which one is none, and 3 targets; each once
    assert "wav" in data["items"][2]["systems"]["second"]
    assert data["items"][2]["systems"]["first"]["wav"] is None


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
def test_the_page_in_a_browser(report):
    path, systems = report
    rows = "[...document.querySelectorAll('#items tr.item')].map(row => [row.dataset.id, row.dataset.system])"
    with Page(path) as page:
        assert page.run("document.title") == "Two <systems>"
        assert page.run("document.querySelector('h1').textContent") == "Two <systems>"
        assert page.run("document.querySelectorAll('#items tr.item audio').length") == 5
        assert page.run(rows) == [list(row) for row in worst_first(systems, "lsd")]  # worst cases first
        assert page.run(rows)[-1] == ["c", "first"]  # what has no figure is last, not best
        assert page.run("document.querySelector('#items th[data-column=lsd]').ariaSort") == "descending"
        assert "not measured" in page.run("document.querySelector('#missing').textContent")
        assert "3 million" in page.run("document.querySelector('#facts').textContent")

        page.run("document.querySelector('#items th[data-column=lsd] button').click()")  # best first
        best = worst_first(systems, "lsd")[:5][::-1]
        assert page.run(rows) == [*map(list, best), ["c", "first"]]
        page.run("document.querySelector('#all').click()")
        page.run("document.querySelector('#items th[data-column=seconds] button').click()")
        assert page.run(rows)[0][0] == "c"

        page.run("document.querySelector('#items button.open').focus()")
        page.key("ArrowDown", 40)
        page.key("Enter", 13, "\r")
        opened = "document.querySelectorAll('tr.detail')"
        assert page.run(f"{opened}.length") == 1
        assert page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
        assert page.run(f"{opened}[0].querySelectorAll('audio').length") == 3  # both systems and the target
        assert page.run(f"{opened}[0].querySelectorAll('svg.f0 path.own').length") >= 2
        widths = f"Promise.all([...{opened}[0].querySelectorAll('img')].map(i => i.decode().then(() => i.naturalWidth)))"
        assert min(page.run(widths)) > 10
        page.key("Enter", 13, "\r")
        assert page.run(f"{opened}.length") == 0

        play = "const a = document.querySelector('audio'); a.muted = true; return a.play().then(() => a.duration)"
        assert page.run(f"(() => {{ {play} }})()") == pytest.approx(0.7, abs=0.3)
        page.run(
            "const find = document.querySelector('#find'); find.value = 'sentence b'; find.dispatchEvent(new Event('input'))"
        )
        assert sorted(page.run(rows)) == [["b", "first"], ["b", "second"]]
        assert page.run("document.title") == "Two <systems>"  # the text of item a is no script
        assert page.problems == []


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
def test_the_browser_test_can_fail(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://localhost:9/x.png'><script>console.error('one'); nonsense()</script>")
    with Page(path) as page:
        problems = json.dumps(page.problems)
    for part in ("localhost:9", '"one"', "nonsense"):
        assert part in problems


def test_only_the_worst_items_have_sounds_if_few_are_asked_for(report, tmp_path):
    write_report(tmp_path / "short.html", report[1], items_with_audio=1)
    text = (tmp_path / "short.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert "wav" in data["items"][1]["systems"]["first"]
    assert "wav" not in data["items"][0]["systems"]["first"]
    assert len(data["media"]) == 3
    assert len(text) < report[0].stat().st_size
    with pytest.raises(ValueError, match="at least one"):
        write_report(tmp_path / "none.html", {})


def test_a_spectrogram_shows_the_tone_where_it_is():
    rate = 16000
    time = np.arange(rate) / rate
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 2000 * time), np.sin(2 * np.pi * 6000 * time))
    pixels = levels(tone.astype(np.float32), rate)
    height, width = pixels.shape
    assert (height, width) == (HEIGHT, 100)
    rows = pixels.argmax(axis=0)
    assert np.abs(rows[5:45] - HEIGHT * 0.75).max() <= 2
    assert np.abs(rows[55:95] - HEIGHT * 0.25).max() <= 2
    assert levels(np.zeros(100, np.float32), rate).max() == 0


def test_the_png_is_one():
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5)
    data = png(pixels)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(data):
        (length,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(kind + body)
        chunks[kind], place = body, place + 12 + length
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (5, 3)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 4)
    unpacked = np.stack([lines[:, 1:] >> 4, lines[:, 1:] & 15], axis=2).reshape(3, 6)[:, :5]
    assert (unpacked == pixels).all()
    assert (lines[:, 0] == 0).all()


def test_sounds_and_pitch_of_a_file(tmp_path):
    import base64
    import io

    save_audio(tmp_path / "a.wav", recording(1.0, 150.0, 22050), 22050)
    uri = sound(tmp_path / "a.wav")
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert rate == 24000  # Opus knows no 22.05 kHz
    assert len(wav) == pytest.approx(24000, abs=600)
    f0 = np.array(picture(tmp_path / "a.wav")["f0"])
    assert len(f0) == pytest.approx(100, abs=2)
    assert np.median(f0[f0 > 0]) == pytest.approx(150, rel=0.12)
