"""benchmark.py compare: a system that fails loses its own rows only, outputs are kept, the header says what figures stand on."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmark
from hierspeech.benchmarking.compare import Options, compare
from hierspeech.benchmarking.compare_report import markdown, write_comparison
from hierspeech.benchmarking.compare_systems import choose
from hierspeech.benchmarking.protocols import read_protocol
from speech.audio import save_audio

SCRIPT = Path(__file__).with_name("systems_for_tests.py")
METRICS = ["timing", "rtf"]


def command(kind: str) -> str:
    return shlex.join([sys.executable, "-u", str(SCRIPT), kind])


def make_protocol(folder: Path, *texts: str):
    """Texts with one reference, in the list format of Seed-TTS-eval."""
    save_audio(folder / "ref.wav", np.zeros(16000, np.float32), 16000)
    lines = [f"u{k}|Said before.|ref.wav|{text}" for k, text in enumerate(texts)]
    (folder / "meta.lst").write_text("\n".join(lines) + "\n")
    return read_protocol("seed_tts_eval_en", [f"root={folder / 'meta.lst'}", "metrics=[timing, rtf]"])


def run(protocol, out: Path, kinds: dict[str, str] | None = None, names=(), **options):
    programs = {name: command(kind) for name, kind in (kinds or {"tone": "tone"}).items()}
    return compare(protocol, choose(list(names), commands=programs), out, Options(**options))


def test_a_bad_system_loses_only_its_rows(tmp_path):
    texts = ("one", "crash", "two", "hang", "three", "garbage", "fail", "four")
    protocol = make_protocol(tmp_path, *texts)
    kinds = {"tone": "tone", "absent": "missing", "broken": "broken", "dead": "dies"}
    result = run(protocol, tmp_path / "out", kinds, ["recorded", "sinc"], timeout_seconds=3)
    tone = result.outcomes["tone"]
    assert [tone.spoken[f"u{k}"].wav is not None for k in range(8)] == [True, False] * 3 + [False, True]
    reasons = {name: row.why for name, row in tone.spoken.items() if row.why}
    assert "code 7" in reasons["u1"] and "within 3 s" in reasons["u3"]
    assert "no answer" in reasons["u5"] and "cannot say that" in reasons["u6"]
    assert result.outcomes["absent"].skipped.startswith("its package is not there; to install: ")
    assert "weights of another size" in result.outcomes["broken"].skipped
    assert "code 3 (no licence)" in result.outcomes["dead"].skipped
    assert "no recordings" in result.outcomes["recorded"].skipped
    assert "it can upsample" in result.outcomes["sinc"].skipped
    assert list(result.evaluations) == ["tone"] and len(result.evaluations["tone"].rows) == 4
    text = markdown(result)
    assert "u1 not spoken: the process ended with code 7" in text and "4 of 8" in text
    assert "absent: skipped: its package is not there" in text


def test_after_three_failures_in_a_row_a_system_is_given_up(tmp_path):
    protocol = make_protocol(tmp_path, "one", "crash", "crash 2", "crash 3", "two")
    result = run(protocol, tmp_path / "out")
    rows = result.outcomes["tone"].spoken
    assert rows["u0"].wav and rows["u4"].wav is None
    assert rows["u4"].why.startswith("given up after 3 failures in a row: the process ended with code 7")


def test_outputs_are_kept_and_a_run_goes_on(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TONE_LOG", str(log))
    protocol = make_protocol(tmp_path, "one", "two", "three")
    out = tmp_path / "out"
    first = run(protocol, out)
    # the first text is said twice: the first time is a warm-up and belongs to no row
    assert log.read_text().split() == ["load", "one", "one", "two", "three"]
    log.write_text("")
    again = run(protocol, out)
    assert log.read_text() == ""  # no process at all
    assert again.evaluations["tone"].summary == first.evaluations["tone"].summary
    assert again.outcomes["tone"].facts == first.outcomes["tone"].facts
    Path(first.outcomes["tone"].spoken["u1"].wav).unlink()
    run(protocol, out)
    assert log.read_text().split() == ["load", "two", "two"]
    log.write_text("")
    run(make_protocol(tmp_path, "one", "two", "three", "four"), out)
    assert log.read_text().split() == ["load", "four", "four"]
    log.write_text("")
    run(make_protocol(tmp_path, "one", "two"), out, fresh=True)
    assert log.read_text().split() == ["load", "one", "one", "two"]


def test_another_reference_or_seed_is_another_output(tmp_path):
    protocol = make_protocol(tmp_path, "one")
    wavs = {run(protocol, tmp_path / "out").outcomes["tone"].spoken["u0"].wav}
    protocol.seed = 5
    wavs.add(run(protocol, tmp_path / "out").outcomes["tone"].spoken["u0"].wav)
    save_audio(tmp_path / "ref.wav", np.ones(16000, np.float32) / 2, 16000)
    wavs.add(run(protocol, tmp_path / "out").outcomes["tone"].spoken["u0"].wav)
    assert len(wavs) == 3


def test_an_absent_stream_and_a_present_one(tmp_path):
    protocol = make_protocol(tmp_path, "one")
    result = run(protocol, tmp_path / "out", {"tone": "tone", "stream": "stream"})
    text = markdown(result)
    assert result.outcomes["stream"].facts["first_audio_seconds"] < 5
    assert "no stream" in text and "12.3 M" in text and " ms " in text


def test_the_header_says_what_figures_stand_on(tmp_path):
    protocol = make_protocol(tmp_path, "one", "two")
    result = run(protocol, tmp_path / "out", {"a": "tone", "b": "tone"})
    header = result.header
    assert header["seed"] == 0 and header["utterances"] == 2 and header["protocol"]["name"] == protocol.name
    assert header["machine"]["cpu"] and header["machine"]["torch"] and header["hierspeech"]
    assert len(header["machines of outputs"]) == 1
    text = write_comparison(result, tmp_path / "out", "python benchmark.py compare")
    assert text.startswith(f"# Comparison: {protocol.name}") and "seed 0" in text
    assert "## Differences to a" in text and "| RTF" in text.partition("## Differences")[2]
    assert "python benchmark.py compare" in text and header["machine"]["cpu"] in text
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["header"]["seed"] == 0 and figures["systems"]["a"]["facts"]["parameters"] == 12_345_678
    assert figures["systems"]["b"]["evaluation"]["summary"]["rtf"]["n"] == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Comparison: seed_tts_eval_en" in page and "12.3 M" in page
    assert not list((tmp_path / "out").glob(".*"))


def test_offline_takes_its_references_from_the_shipped_voice(tmp_path):
    protocol = read_protocol("offline", ["limit=2", "metrics=[timing, rtf]", "own_text=''"])
    result = compare(protocol, choose(["espeak"]), tmp_path, Options(threads=1))
    rows = result.evaluations["espeak"].rows
    assert [row["speaker"] for row in rows] == ["anna", "beth"]
    assert rows[0]["reference"] != rows[1]["reference"] and Path(rows[0]["reference"]).is_file()
    assert Path(rows[0]["reference"]).parent.name == "references"


def test_super_resolution_gets_a_narrow_copy(tmp_path):
    rng = np.random.default_rng(0)
    for speaker in ("p1", "p2"):
        wav = tmp_path / "vctk" / "wav48" / speaker / f"{speaker}_001.wav"
        wav.parent.mkdir(parents=True)
        save_audio(wav, (0.1 * rng.standard_normal(2 * 48000)).astype(np.float32), 48000)
    protocol = read_protocol("speechsr_vctk", [f"root={tmp_path / 'vctk'}", "metrics=[lsd]"])
    result = compare(protocol, choose(["sinc", "recorded", "espeak"]), tmp_path / "out", Options())
    summary = {name: evaluation.summary for name, evaluation in result.evaluations.items()}
    assert summary["recorded"]["lsd"].mean == pytest.approx(0, abs=1e-6)
    assert summary["sinc"]["lsd_high"].mean > 1  # what is above 8 kHz is lost
    assert "it can speak, the protocol asks to upsample" in result.outcomes["espeak"].skipped


def test_the_command(tmp_path, monkeypatch, capsys):
    make_protocol(tmp_path, "one", "two")
    monkeypatch.chdir(tmp_path)
    line = ["compare", "--protocol", "seed_tts_eval_en", "root=meta.lst", "metrics=[rtf]", "--out", "out"]
    assert benchmark.main([*line, "--systems", "", "--command", f"tone={command('tone')}"]) == 0
    assert "| RTF" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "report.html",
        "table.md",
        "figures.json",
        "figures.csv",
    }
    assert benchmark.main([*line, "--systems", "", "--command", f"tone={command('missing')}"]) == 2
    assert "no system said anything" in capsys.readouterr().err
    assert "its package is not there" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--systems", "espeak"], "needs --out"),
        (["--out", "o", "--systems", "espek"], "unknown system 'espek'"),
        (["--out", "o", "--protocol", "none"], "unknown protocol 'none'"),
        (["--out", "o", "--metrics", "beauty", "--systems", "espeak"], "'beauty'"),
        (["--out", "o", "--env", "espeak"], "expected NAME=VALUE"),
        (["--out", "o", "--timeout", "0"], "expected a positive number"),
        (["--out", "o", "limits=3"], "unknown keys"),
        (["--out", "o", "--protocol", "vctk_vc"], "VCTK-Corpus-0.92 is not there"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_systems_can_be_listed(capsys):
    assert benchmark.main(["compare", "--list"]) == 0
    out = capsys.readouterr().out
    assert "| hierspeech " in out and "pip install f5-tts" in out and "spear = spear-ar, spear-nar" in out
