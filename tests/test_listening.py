"""Listening pages in a headless browser, and the analysis of answers against known numbers."""

import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from headless import Page, find_browser

import benchmark
from hierspeech.evaluation.listening import write_listening
from hierspeech.evaluation.listening_results import (
    COLUMNS,
    analyse,
    binomial_p,
    holm,
    krippendorff_alpha,
    wilson,
)
from speech.audio import save_audio

RATE = 16000
needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two systems, three items: tones of 0.1 s whose loudness differs greatly."""
    folder, found = tmp_path_factory.mktemp("sounds"), {}
    t = np.arange(RATE // 10) / RATE
    for number, system in enumerate(("secret-one", "secret-two")):
        found[system] = {}
        for item in range(3):
            wav = (0.01 + 0.3 * number) * np.sin(2 * np.pi * (200 + 90 * item) * t)
            found[system][f"u{item}"] = folder / f"{system}-{item}.wav"
            save_audio(found[system][f"u{item}"], wav.astype(np.float32), RATE)
    return found


def data_of(page: Path) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def write_answers(path: Path, key: dict, listener: str, answers: list[tuple]) -> Path:
    """Answers (first, second, answer) as the page writes them."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, (first, second, answer) in enumerate(answers, 1):
            writer.writerow([key["page"], listener, key["kind"], number, first, second, answer, "3.1", 2])
    return path


def test_a_page_is_blind_and_its_sounds_are_equally_loud(sounds, tmp_path):
    import base64
    import io

    import soundfile

    key_path = write_listening(tmp_path / "page.html", sounds, "ab", title="A <test>")
    text = (tmp_path / "page.html").read_text()
    assert "secret" not in text and "A &lt;test&gt;" in text and "http" not in text
    key, data = json.loads(key_path.read_text()), data_of(tmp_path / "page.html")
    assert set(data["media"]) == set(key["sounds"]) and len(key["sounds"]) == 6
    for trial in data["trials"]:
        systems = {key["sounds"][code]["system"] for code in trial["sounds"]}
        items = {key["sounds"][code]["item"] for code in trial["sounds"]}
        assert systems == set(sounds) and len(items) == 1
    levels = []
    for uri in data["media"].values():
        wav, _ = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        levels.append(float(np.sqrt(np.mean(wav**2))))
    assert max(levels) < 1.3 * min(levels)  # they were 30 times apart


def test_references_are_in_the_page_once(sounds, tmp_path):
    reference = sounds["secret-one"]["u0"]
    write_listening(
        tmp_path / "p.html", sounds, "abx", references=dict.fromkeys(("u0", "u1", "u2"), reference)
    )
    data = data_of(tmp_path / "p.html")
    assert len({trial["x"] for trial in data["trials"]}) == 1 and len(data["media"]) == 7


@pytest.mark.parametrize(
    ("systems", "kind", "options", "message"),
    [
        (2, "beauty", {}, "kind 'beauty'"),
        (1, "ab", {}, "expected two"),
        (2, "abx", {}, "no reference"),
        (2, "mos", {"trials": 0}, "expected a positive"),
    ],
)
def test_a_page_that_cannot_be_made(sounds, tmp_path, systems, kind, options, message):
    some = dict(list(sounds.items())[:systems])
    with pytest.raises(ValueError, match=message):
        write_listening(tmp_path / "p.html", some, kind, **options)
    with pytest.raises(ValueError, match="no item in common"):
        write_listening(tmp_path / "p.html", {"a": {"x": "x.wav"}, "b": {"y": "y.wav"}}, "mos")
    assert not any(tmp_path.iterdir())


def wait(page: Page, script: str) -> None:
    end = time.monotonic() + 20
    while not page.run(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


OPEN = "document.querySelector('#answers button:not(:disabled)') !== null"


@needs_browser
def test_opinion_scores_by_keyboard(sounds, tmp_path):
    key_path = write_listening(tmp_path / "page.html", sounds, "mos", trials=3)
    with Page(tmp_path / "page.html") as page:
        listener = page.run("listener")
        assert re.fullmatch(r"[0-9a-f]{8}", listener)
        assert page.run("document.getElementById('listener').textContent") == listener
        page.key("Enter", 13, "\r")  # "Begin" is in focus
        for number in (1, 2, 3):
            assert page.run("document.getElementById('number').textContent") == f"{number} of 3"
            page.key("4", 52, "4")  # nothing was heard yet: no answer
            assert page.run("answers.filter(Boolean).length") == number - 1
            page.key(" ", 32, " ")
            wait(page, OPEN)
            page.key(str(number + 2), 50 + number, str(number + 2))
        assert page.run("document.getElementById('end').hidden") is False
        page.key("Backspace", 8)
        text = page.run("csv()")
        assert page.problems == []
    (tmp_path / "a.csv").write_text(text)
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["answer"] for row in rows] == ["3", "4", "5"] and rows[0]["listener"] == listener
    results = analyse(key_path, [tmp_path / "a.csv"])
    assert sum(score.ratings for score in results.scores.values()) == 3


@needs_browser
def test_choices_and_another_order_for_another_listener(sounds, tmp_path):
    references = {item: sounds["secret-one"][item] for item in ("u0", "u1", "u2")}
    key_path = write_listening(tmp_path / "page.html", sounds, "abx", references=references)
    key = json.loads(key_path.read_text())
    with Page(tmp_path / "page.html") as page:
        orders = []
        for name in ("anna", "bob", "carl", "dora", "anna"):
            page.run(f"start('{name}')")
            orders.append(page.run("JSON.stringify(trials.map(t => t.sounds))"))
        assert orders[0] == orders[4] and len(set(orders)) > 1
        page.run("document.getElementById('begin').click()")
        labels = page.run("[...document.querySelectorAll('#sounds button')].map(b => b.textContent)")
        assert labels == ["X", "A", "B"]
        for k, sound in enumerate("xab"):
            assert not page.run(OPEN)
            page.key(sound, ord(sound.upper()), sound)
            wait(page, f"state.heard.has({k})")
        page.key("2", 50, "2")
        assert page.run("at") == 1 and page.run("answers[0].answer === answers[0].second")
        assert page.run("answers[0].plays") == 3
        page.run("start('anna')")  # as after loading the page again
        assert page.run("document.getElementById('begin').textContent") == "Go on"
        text = page.run("csv()")
        page.run(
            "window.saved = null; URL.createObjectURL = b => { window.saved = b; return '#'; }; save(); 1"
        )
        assert page.run("saved.text()") == text
        assert page.problems == []
    (tmp_path / "a.csv").write_text(text)
    results = analyse(key_path, [tmp_path / "a.csv"])
    row = next(csv.DictReader(text.splitlines()))
    chosen = key["sounds"][row["answer"]]["system"] == "secret-one"
    assert results.preferences[0].chosen == int(chosen) and results.preferences[0].answers == 1


def test_known_numbers_of_the_statistics():
    assert binomial_p(15, 20) == pytest.approx(0.04138947, abs=1e-8)
    assert binomial_p(5, 20) == binomial_p(15, 20) and binomial_p(10, 20) == 1
    assert binomial_p(10, 10) == pytest.approx(2 / 1024) and binomial_p(600, 1200) == 1
    assert wilson(15, 20) == pytest.approx((0.531299, 0.888138), abs=1e-4)
    assert wilson(0, 5)[0] == 0 and wilson(5, 5)[1] == 1
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_krippendorffs_own_example():
    a = [None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3]
    b = [1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None]
    c = [None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4]
    units = [[value for value in unit if value is not None] for unit in zip(a, b, c, strict=True)]
    assert krippendorff_alpha(units, lambda x, y: x != y) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha(units, lambda x, y: (x - y) ** 2) == pytest.approx(0.811, abs=5e-4)
    assert krippendorff_alpha([[1, 1], [2, 2]], lambda x, y: x != y) == 1
    assert krippendorff_alpha([[1], [2]], lambda x, y: x != y) is None
    assert krippendorff_alpha([[1, 1], [1, 1]], lambda x, y: x != y) is None


def test_opinion_scores_of_several_listeners(sounds, tmp_path):
    key_path = write_listening(tmp_path / "page.html", sounds, "mos")
    key = json.loads(key_path.read_text())
    ratings = {"secret-one": (4, 5, 3), "secret-two": (2, 1, 2)}
    files = []
    for k, listener in enumerate(("anna", "bob", "carl")):
        answers = [
            (code, "", min(5, ratings[s["system"]][int(s["item"][1])] + (k == 2)))
            for code, s in key["sounds"].items()
        ]
        files.append(write_answers(tmp_path / f"{listener}.csv", key, listener, answers))
    results = analyse(key_path, files)
    one, two = results.scores["secret-one"], results.scores["secret-two"]
    assert one.mean == pytest.approx((12 + 12 + 14) / 9) and two.mean == pytest.approx((5 + 5 + 8) / 9)
    assert (one.ratings, one.listeners, one.items) == (9, 3, 3)
    assert 3 <= one.low < one.mean < one.high <= 5 and two.high < one.low
    assert 0.5 < results.agreement < 1 and results.listeners == {"anna": 6, "bob": 6, "carl": 6}
    again = analyse(key_path, [*files, files[0]])
    assert again.scores == results.scores and "6 answers came twice" in again.notes[0]
    text = results.markdown()
    assert text.index("secret-one") < text.index("secret-two") and "3 listeners, 18 answers" in text


def test_preferences_of_several_listeners(sounds, tmp_path):
    key_path = write_listening(tmp_path / "page.html", sounds, "ab")
    key = json.loads(key_path.read_text())
    codes = {(s["system"], s["item"]): code for code, s in key["sounds"].items()}
    files = []
    for k in range(7):  # 7 listeners, 3 items: 20 of 21 for the first system
        pairs = [(codes["secret-two", f"u{n}"], codes["secret-one", f"u{n}"]) for n in range(3)]
        answers = [(a, b, a if (k, n) == (0, 0) else b) for n, (a, b) in enumerate(pairs)]
        files.append(write_answers(tmp_path / f"{k}.csv", key, str(k), answers))
    (one,) = analyse(key_path, files).preferences
    assert one.systems == ("secret-one", "secret-two") and (one.chosen, one.answers) == (20, 21)
    assert one.p == pytest.approx(2 * 22 / 2**21) and one.p_holm == one.p
    assert one.low < one.share < one.high


def test_files_of_another_page_are_refused(sounds, tmp_path):
    key_path = write_listening(tmp_path / "page.html", sounds, "mos")
    key = json.loads(key_path.read_text())
    code = next(iter(key["sounds"]))
    good = write_answers(tmp_path / "good.csv", key, "anna", [(code, "", "4")])
    for rows, message in (
        ([("0000000000", "", "4")], "not of this page"),
        ([(code, "", "6")], "not of this page"),
        ([], "no answers"),
    ):
        with pytest.raises(ValueError, match=message):
            analyse(key_path, [write_answers(tmp_path / "bad.csv", key, "anna", rows)])
    other = write_answers(tmp_path / "other.csv", key | {"page": "ffff"}, "anna", [(code, "", "4")])
    with pytest.raises(ValueError, match="of the page 'ffff'"):
        analyse(key_path, [good, other])
    with pytest.raises(ValueError, match="not a file of a listening page"):
        analyse(key_path, [key_path])
    with pytest.raises(ValueError, match="not the key"):
        analyse(good, [good])


def test_the_commands(sounds, tmp_path, capsys):
    rows = {
        system: {
            "evaluation": {
                "rows": [
                    {"id": item, "wav": str(wav), "reference": None, "text": "words"}
                    for item, wav in of.items()
                ]
            }
        }
        for system, of in sounds.items()
    }
    (tmp_path / "figures.json").write_text(json.dumps({"systems": rows | {"none": {"evaluation": None}}}))
    page = tmp_path / "page.html"
    assert benchmark.main(["listen", str(tmp_path), str(page), "--kind", "mos", "--items", "2"]) == 0
    key = json.loads((tmp_path / "page.key.json").read_text())
    assert len(key["sounds"]) == 4 and "words" not in page.read_text()
    answers = write_answers(tmp_path / "a.csv", key, "anna", [(code, "", "4") for code in key["sounds"]])
    capsys.readouterr()
    line = ["listen-results", str(tmp_path / "page.key.json"), str(answers), "--json", str(tmp_path / "r.json")]  # fmt: skip
    assert benchmark.main(line) == 0 and "| secret-one" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["scores"]["secret-two"]["mean"] == 4
    for arguments, message in (
        ([str(tmp_path), str(page), "--systems", "other"], "no system 'other'"),
        ([str(tmp_path / "nowhere"), str(page)], "not the folder of a comparison"),
        ([str(tmp_path), str(page), "--kind", "abx"], "has no reference"),
    ):
        assert benchmark.main(["listen", *arguments]) == 2
        assert message in capsys.readouterr().err
