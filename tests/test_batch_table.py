"""infer.py --batch: tables of texts, bad rows by file and line, nothing made twice."""

import json
import os
from pathlib import Path

import pytest
import soundfile
from tiny_voice import build_voice, recording

import infer
from hierspeech.pipelines import batch_table
from hierspeech.pipelines.batch_table import read_table

HEAD = "text,ref,out,language,speed,seed\n"


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return build_voice(tmp_path_factory.mktemp("voices") / "tiny", "lite", max_chars=40)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", recording(1.0), 16000)
    soundfile.write(tmp_path / "b.wav", recording(1.0, 200.0), 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def infer_batch(voice, table, *arguments):
    return infer.main(
        ["--batch", table, "--voice", str(voice), "--device", "cpu", "--ref", "a.wav", *arguments]
    )


GOOD = HEAD + 'Hello.,,1.wav,,,\n"Good bye, all.",b.wav,2.flac,en-us,1.5,7\n\n"Two\nlines.",,3.wav,,,\n'


def test_a_table_becomes_the_files_of_single_calls(voice, folder, capsys):
    (folder / "items.csv").write_text(GOOD)
    assert infer_batch(voice, "items.csv", "--noise-scale", "0.5") == 0
    said, complaints = capsys.readouterr()
    assert (
        "items.csv: 3 written, 0 done before, 0 bad; " in said
        and "times as fast" in said
        and complaints == ""
    )
    single = [
        ("1.wav", ["--text", "Hello.", "--ref", "a.wav"]),
        ("2.flac", ["--text", "Good bye, all.", "--ref", "b.wav", "--speed", "1.5", "--seed", "7"]),
        ("3.wav", ["--text", "Two\nlines.", "--ref", "a.wav"]),
    ]
    for name, arguments in single:
        arguments += [
            "--out",
            f"alone-{name}",
            "--noise-scale",
            "0.5",
            "--voice",
            str(voice),
            "--device",
            "cpu",
        ]
        assert infer.main(arguments) == 0
        ours, alone = (soundfile.read(path, dtype="int16")[0].astype(int) for path in (name, f"alone-{name}"))
        assert len(ours) == len(alone) > 600 and abs(ours - alone).max() <= 4  # 1e-4 of 32768


def test_json_lines_are_read_too(voice, folder, capsys):
    rows = [
        {"text": "Hello.", "out": "1.wav", "seed": None},
        {"text": "Bye.", "out": "2.wav", "speed": 2, "ref": "b.wav"},
    ]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert infer_batch(voice, "items.jsonl") == 0
    assert "2 written" in capsys.readouterr().out and Path("1.wav").exists() and Path("2.wav").exists()


BAD_ROWS = [
    (",,x.wav,,,", "text is empty"),
    ("Hi.,,,,,", "out is empty"),
    ("Hi.,,x.mp3,,,", "must end in one of .wav"),
    ("Hi.,,nowhere/x.wav,,,", "the folder nowhere does not exist"),
    ("Hi.,missing.wav,x.wav,,,", "missing.wav: no such sound file"),
    ("Hi.,broken.wav,x.wav,,,", "broken.wav: not a sound file"),
    ("Hi.,a.wav,a.wav,,,", "would replace the reference"),
    ("Hi.,,x.wav,xx-nowhere,,", "xx-nowhere"),
    ("Hi.,,x.wav,,fast,", "speed 'fast': expected a number"),
    ("Hi.,,x.wav,,99,", "speed 99: expected a number from"),
    ("Hi.,,x.wav,,,1.5", "seed '1.5': expected a whole number"),
    ("Hi.,,x.wav,,,-1", "seed -1"),
    ("Hi.,,good.wav,,,", "line 2 writes this file already"),
    ("Hi, you.,,x.wav,,,", "7 columns, expected 6"),
    ("\ue000,,x.wav,,,", "nothing that can be spoken"),
]


def test_bad_rows_are_named_and_counted_while_the_others_go_on(voice, folder, capsys):
    (folder / "broken.wav").write_text("no sound")
    rows = [
        "Hello.,,good.wav,,,",
        *(row.replace("x.wav", f"x{n}.wav") for n, (row, _) in enumerate(BAD_ROWS)),
        "Bye.,,last.wav,,,",
    ]
    (folder / "items.csv").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    assert infer_batch(voice, "items.csv") == 2
    said, complaints = capsys.readouterr()
    assert f"2 written, 0 done before, {len(BAD_ROWS)} bad" in said
    lines = complaints.splitlines()
    for number, (_, message) in enumerate(BAD_ROWS, 3):
        named = [line for line in lines if line.startswith(f"infer.py: items.csv:{number}: ")]
        assert len(named) == 1 and message in named[0]
    assert lines[-1] == f"infer.py: items.csv: {len(BAD_ROWS)} of its rows could not be spoken, see above."
    assert Path("good.wav").exists() and Path("last.wav").exists() and not list(folder.glob("x*.wav"))


def test_bad_lines_of_json_are_rows_too(folder):
    lines = [
        '{"text": "a", "out": "b.wav"}',
        "{",
        "[1]",
        '{"text": "a", "out": 5}',
        '{"text": "a", "out": "b", "pitch": 1}',
    ]
    (folder / "x.jsonl").write_text("\n".join(lines))
    rows = list(read_table(folder / "x.jsonl"))
    assert [row.line for row in rows] == [1, 2, 3, 4, 5] and rows[0].error is None
    for row, message in zip(rows[1:], ("not JSON", "an object", "out 5", "unknown pitch"), strict=True):
        assert message in row.error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "no column 'text'"),
        ("x.csv", b"text,ref\n", "no column 'out'"),
        ("x.csv", b"text,out,pitch\n", "'pitch' are unknown"),
        ("x.csv", b"text,out,out\n", "'out' are unknown or twice"),
        ("x.csv", b'text,out\na,b.wav\n"x,c.wav\n', "x.csv:3: not a table from here on"),
        ("x.csv", b"text,out\n\xff,a.wav\n", "UTF-8"),
        ("x.txt", b"text,out\n", "ends in .csv or .jsonl"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(voice, folder, capsys, name, content, message):
    if content is not None:
        (folder / name).write_bytes(content)
    assert infer_batch(voice, name) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1
    assert (
        infer_batch(voice, name, "--out", "x.wav") == 2
        and "expected none with --batch" in capsys.readouterr().err
    )


def test_rows_that_are_done_are_not_made_again(voice, folder, capsys):
    (folder / "items.csv").write_text(GOOD)
    stamps = {}

    def written(*arguments):
        assert infer_batch(voice, "items.csv", *arguments) == 0
        report = capsys.readouterr().out
        new = [name for name in ("1.wav", "2.flac", "3.wav") if stamps.get(name) != os.stat(name).st_mtime_ns]
        stamps.update({name: os.stat(name).st_mtime_ns for name in ("1.wav", "2.flac", "3.wav")})
        assert f"{len(new)} written, {3 - len(new)} done before" in report
        return new

    assert written() == ["1.wav", "2.flac", "3.wav"]
    assert written() == []
    os.remove("1.wav")
    assert written() == ["1.wav"]
    Path("3.wav").write_bytes(b"touched")
    assert written() == ["3.wav"]
    (folder / "items.csv").write_text(GOOD.replace("all.", "everybody."))
    assert written() == ["2.flac"]
    soundfile.write("b.wav", recording(1.0, 150.0), 16000)  # another recording of the same name
    assert written() == ["2.flac"]
    assert written("--level", "peak") == ["1.wav", "2.flac", "3.wav"]
    with open("items.csv.done", "a") as file:
        file.write('["1.wav", "half a li')  # of a killed process
    assert written("--level", "peak") == []


def test_an_interrupted_table_is_gone_on_with(voice, folder, capsys, monkeypatch):
    (folder / "items.csv").write_text(HEAD + "".join(f"Text {n}.,,{n}.wav,,,\n" for n in range(5)))
    save, saved = batch_table._save, []

    def interrupted(speech, out):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(out)
        return save(speech, out)

    with monkeypatch.context() as patch:
        patch.setattr(batch_table, "_save", interrupted)
        assert infer_batch(voice, "items.csv") == 130
    assert "interrupted, 2 written; the same command goes on with the other 3." in capsys.readouterr().err
    assert infer_batch(voice, "items.csv") == 0
    assert "3 written, 2 done before, 0 bad" in capsys.readouterr().out
