"""evaluate.py: what it reads, what it writes, and one sentence for every bad input."""

import csv
import io
import json

import numpy as np
import pytest
from tiny_voice import recording

import evaluate
from hierspeech.evaluation.reading import read_items
from hierspeech.evaluation.tables import cards_table
from speech.audio import save_audio


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with sounds a, b, c, references and targets of the same names, and texts beside a and b."""
    monkeypatch.chdir(tmp_path)
    for folder in ("wavs", "references", "targets"):
        (tmp_path / folder).mkdir()
        for name, f0 in (("a", 110.0), ("b", 160.0), ("c", 210.0)):
            save_audio(tmp_path / folder / f"{name}.wav", recording(0.5, f0), 16000)
    (tmp_path / "wavs" / "a.txt").write_text("Hello\n there.", encoding="utf-8")
    (tmp_path / "wavs" / "b.txt").write_text("\ufeffGood day.", encoding="utf-8")
    (tmp_path / "wavs" / ".hidden.wav").write_text("")
    return tmp_path


def test_a_folder(place):
    items = read_items("wavs", references="references", targets="targets")
    assert [item.id for item in items] == ["a", "b", "c"]
    assert [item.text for item in items] == ["Hello there.", "Good day.", None]
    assert items[1].reference == place.relative_to(place) / "references" / "b.wav"
    assert items[2].target.name == "c.wav"
    one = read_items("wavs", references="references/a.wav")
    assert {str(item.reference) for item in one} == {"references/a.wav"}
    assert read_items("wavs/a.wav")[0].id == "a"


def test_a_list_of_wavs(place):
    (place / "wavs" / "list").write_text(
        "a.wav|Hello.|../references/a.wav|../targets/a.wav|anna\n\nwavs/b.wav\n"
    )
    first, second = read_items("wavs/list", language="de")
    assert (first.text, first.speaker, first.voice, first.language) == ("Hello.", "anna", "anna", "de")
    assert first.reference.samefile("references/a.wav")
    assert first.target.samefile("targets/a.wav")
    assert (second.id, second.text, second.reference, second.voice) == ("b", None, None, None)


def test_a_list_that_names_its_fields(place):
    (place / "list").write_text("id|seconds|wav|language\nx|0.25|wavs/a.wav|de\ny||wavs/b.wav|\n")
    first, second = read_items("list")
    assert (first.id, first.seconds, first.language) == ("x", 0.25, "de")
    assert (second.seconds, second.language) == (None, "en-us")


def test_a_filelist_takes_the_speakers_next_recording_for_reference(place):
    lines = ["1|wavs/a.wav|anna|en-us|Hello", "2|wavs/b.wav|anna|de|a|b", "3|wavs/c.wav|otto||x"]
    (place / "list").write_text("\n".join(lines))
    items = read_items("list")
    assert [item.id for item in items] == ["1", "2", "3"]
    assert [item.reference and item.reference.name for item in items] == ["b.wav", "a.wav", None]
    assert [item.language for item in items] == ["en-us", "de", "en-us"]
    assert items[1].text == "a|b"


def test_names_that_occur_twice_are_told_apart(place):
    (place / "list").write_text("wavs/a.wav\ntargets/a.wav\n")
    assert [item.id for item in read_items("list")] == ["wavs/a", "targets/a"]
    (place / "list").write_text("wavs/a.wav\nwavs/a.wav\n")
    assert [item.id for item in read_items("list")] == ["0000", "0001"]


BAD = {
    "no input": ([], "at least one"),
    "no such place": (["nowhere"], "nowhere: no such folder"),
    "an empty folder": (["empty"], "no sound files"),
    "an empty list": (["blank"], "the list is empty"),
    "a list without the wav": (["lost"], "lost:1: no such sound file missing.wav"),
    "too many fields": (["wide"], "wide:1: expected at most 5 fields"),
    "an unknown field": (["fields"], "fields:1: expected fields of wav"),
    "bad seconds": (["seconds"], "seconds:2: seconds: expected a positive number, got '-1'"),
    "not UTF-8": (["latin"], "not a list in UTF-8"),
    "an unknown metric": (["wavs", "--metrics", "magic"], "got 'magic'"),
    "no metric": (["wavs", "--metrics", ","], "metrics: expected all"),
    "a model of no metric": (["wavs", "--model", "magic=x"], "got 'magic'"),
    "a model without a place": (["wavs", "--model", "wer_whisper"], "METRIC=PLACE"),
    "references that are not there": (["wavs", "--references", "nowhere"], "references: no such folder"),
    "references of other names": (["wavs", "--references", "empty"], "none of the 3 items"),
    "a device of no machine": (["wavs", "--device", "quantum"], "device 'quantum'"),
    "a report in a file": (["wavs", "--out", "blank"], "blank: is a file"),
    "a table in no folder": (["wavs", "--csv", "no/table.csv"], "no such folder"),
    "two systems of one name": (["wavs", "wavs"], "'wavs' is there twice"),
    "a negative number of items": (["wavs", "--report-items", "-1"], "report-items"),
    "an unknown option": (["wavs", "--magic"], "--help"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(place, case, capsys):
    (place / "empty").mkdir()
    (place / "blank").write_text("\n \n")
    (place / "lost").write_text("missing.wav|text")
    (place / "wide").write_text("wavs/a.wav|a|||b|c")
    (place / "fields").write_text("wav|colour\nwavs/a.wav|red")
    (place / "seconds").write_text("wav|seconds\nwavs/a.wav|-1")
    (place / "latin").write_bytes("wavs/a.wav|caf\xe9".encode("latin-1"))
    before = sorted(place.rglob("*"))
    arguments, sentence = BAD[case]
    assert evaluate.main(arguments) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(place.rglob("*")) == before


def test_it_writes_a_table_json_csv_and_a_report(place, capsys):
    arguments = ["wavs", "--targets", "targets", "--metrics", "timing,lsd,rtf", "--out", "report"]
    assert evaluate.main([*arguments, "--json", "all.json", "--csv", "items.csv"]) == 0
    printed = capsys.readouterr().out
    assert "| LSD" in printed
    assert "rtf not measured: no item says how long it took to make" in printed
    assert sorted(path.name for path in (place / "report").iterdir()) == [
        "items.csv",
        "report.html",
        "results.json",
        "rows.jsonl",
    ]
    system = json.loads((place / "all.json").read_text())["systems"]["wavs"]
    assert system["summary"]["lsd"]["mean"] == 0
    assert "rtf" not in system["summary"]
    assert system["header"]["versions"]["numpy"] == np.__version__
    rows = [*csv.DictReader(io.StringIO((place / "items.csv").read_text()))]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert float(rows[0]["lsd"]) == 0
    assert rows[0]["letters_per_second"] != ""
    assert rows[2]["letters_per_second"] == ""  # c has no text: empty, not 0
    assert "rtf" not in rows[0]


def test_two_systems_stand_side_by_side(place, capsys):
    assert evaluate.main(["ours=wavs", "theirs=targets", "--metrics", "timing"]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["figure", "ours", "theirs"]


def test_every_metric_is_listed_with_its_card(capsys):
    from hierspeech.evaluation import METRICS

    assert evaluate.main(["--list-metrics"]) == 0
    printed = capsys.readouterr().out
    for name, metric in METRICS.items():
        assert f"{name}" in printed
        assert metric.card.install in printed


def test_the_documentation_has_every_card():
    from pathlib import Path

    from hierspeech.evaluation import METRICS

    text = (Path(evaluate.__file__).parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    # after a change of cards: put there what `cards_table(METRICS)` prints
    assert cards_table(METRICS) in text
