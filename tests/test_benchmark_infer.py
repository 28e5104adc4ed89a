"""benchmark.py infer: its table and JSON on a tiny voice; figures are there, not judged."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from plain_layout import plain_layout
from recorded_graph import RepeatedRunner, record_on_cpu
from tiny_voice import build_voice, recording

import benchmark
from hierspeech import VoicePrompt
from hierspeech.benchmarking.inference import Variant, measure, prepared
from hierspeech.benchmarking.machine import OtherWork, PeakMemory, describe_machine
from hierspeech.benchmarking.new_lengths import PASSES
from hierspeech.benchmarking.table import markdown
from hierspeech.pipelines.voice import load_voice

TEXT = "Hello there."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voice")
    build_voice(folder, "official", speechsr=True, prompts=["me"], noise_scale=0.3)
    (folder / "prompts").mkdir()
    voice = load_voice(folder, "cpu")
    VoicePrompt.from_audio(recording(), voice).save(folder / "prompts/me.safetensors")
    return folder


def test_parts_and_totals_are_written_as_a_table_and_as_json(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["infer", f"--voice={folder}", "--batch=1,2", "--rounds=1", "--warm-only", f"--text={TEXT}"]
    assert benchmark.main([*arguments, "--json=f.json", "--markdown=f.md"]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    found = {(row["part"], row["batch"], row["variant"]) for row in figures["rows"]}
    parts = ("text-to-vec", "synthesizer", "super-resolution to 48 kHz", "text to 16 kHz", "text to 48 kHz")
    assert found == {(p, b, v) for p in parts for b in (1, 2) for v in benchmark.INFERENCE_VARIANTS}
    for row in figures["rows"]:
        assert row["rtf"] == pytest.approx(row["seconds"] / row["audio_seconds"]) and row["rtf"] > 0
        if row["variant"] == "reference":
            assert row["times_faster"] == 1.0 and row["max_difference"] is None
        elif row["variant"] == "fp32" and row["part"] != "text-to-vec":
            assert row["max_difference"] < 1e-4
    assert {(row["rate"], row["variant"]) for row in figures["first_audio"]} == {
        (rate, name) for rate in (16000, 48000) for name in benchmark.INFERENCE_VARIANTS
    }
    table = (tmp_path / "f.md").read_text()
    assert table.startswith("`python benchmark.py infer --voice=") and table in capsys.readouterr().out
    assert f"| synthesizer | 2 | bf16 | {figures_of(figures, 'synthesizer', 2, 'bf16')['rtf']:.4f} |" in table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "f.md"]


def figures_of(figures, *key):
    return next(row for row in figures["rows"] if (row["part"], row["batch"], row["variant"]) == key)


def test_variants_are_switched_for_their_turn_only(folder):
    voice = load_voice(folder, "cpu")
    prompt = VoicePrompt.load(folder / "prompts/me.safetensors")
    seen = []

    def watching(name, switch):
        def enter(model):
            seen.append((name, type(model).__name__))
            return switch(model)

        return Variant(name, enter)

    variants = [watching("plain", plain_layout), watching("fast", prepared(torch.float32))]
    before = [part.fast for part in voice.synthesizer.modules() if hasattr(part, "fast")]
    rows = measure(voice, prompt, TEXT, variants, [48000], batch=1, rounds=1)
    assert seen[:6] == [
        (name, kind) for name in ("plain", "fast") for kind in ("TTV", "HierSpeech", "SpeechSR")
    ]
    assert {row.variant for row in rows} == {"plain", "fast"} and any(before)
    assert all(part.fast for part in voice.synthesizer.modules() if hasattr(part, "fast"))


def test_a_slower_variant_is_said_to_be_slower(folder, monkeypatch):
    voice = load_voice(folder, "cpu")
    prompt = VoicePrompt.load(folder / "prompts/me.safetensors")
    now = 0.0

    def tick(seconds=1.0):  # every look at this clock takes a second
        nonlocal now
        now += seconds
        return now

    @contextmanager
    def slow(model):
        handle = model.register_forward_pre_hook(lambda *_: tick(5.0) and None)
        yield model
        handle.remove()

    monkeypatch.setattr("hierspeech.benchmarking.inference.time.perf_counter", tick)
    variants = [Variant("slow", slow), Variant("plain", plain_layout)]
    rows = {(row.part, row.variant): row for row in measure(voice, prompt, TEXT, variants, [48000], 1, 1)}
    row = rows["super-resolution to 48 kHz", "plain"]
    assert (row.seconds, row.times_faster) == (1.0, 6.0)
    assert row.rtf == pytest.approx(1.0 / row.audio_seconds)


def test_memory_is_the_peak_of_the_work_alone():
    with PeakMemory(torch.device("cpu")) as peak:
        torch.ones(25_000_000).sum()  # 100 MB
    if peak.megabytes is not None:
        assert 80 < peak.megabytes < 300


def test_work_of_other_processes_is_noticed_and_own_work_is_not():
    others = OtherWork()
    if others.cores() is None:
        pytest.skip("the system does not tell")
    stop = time.monotonic() + 0.5
    while time.monotonic() < stop:
        pass
    alone, beside = others.cores(), OtherWork()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        time.sleep(1.0)
        cores = beside.cores()
        busy.kill()
    assert cores > 0.1
    assert alone < os.cpu_count() - 0.2  # this process's own core is not among the others


def test_the_machine_is_described():
    machine = describe_machine(torch.device("cpu"))
    assert machine["cpu"] and machine["cores"] >= 1 and machine["threads"] >= 1
    figures = {
        "machine": machine,
        "rows": [],
        "first_audio": [],
        "start_up": {"loading": 1.0},
        "other_cores": 0.25,
    }
    text = markdown(figures, "python benchmark.py infer")
    assert machine["cpu"] in text and "other processes meanwhile: 0.25 cores" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infer", "--variants=fp32,fast"], "expected some of reference, fp32, bf16, got 'fast'"),
        (["infer", "--batch=0"], "batch: expected positive whole numbers such as 1,32, got '0'"),
        (["infer", "--batch=1,x"], "got '1,x'"),
        (["infer", "--rounds=0"], "rounds and threads: expected positive numbers"),
        (["infer", "--json=nowhere/f.json"], "no such folder"),
        (["infer", "--voice=nobody"], "unknown voice 'nobody'"),
        (["infer", "--device=tpu"], "unknown device 'tpu'"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message, capsys):
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_command_for_gpus_from_end_to_end(folder, tmp_path, monkeypatch):
    """With the stand-in for CUDA graphs on a CPU: graphs are recorded for the fast variants, and none for new lengths between."""
    record_on_cpu(monkeypatch, RepeatedRunner)
    monkeypatch.setattr("hierspeech.benchmarking.new_lengths.TEXTS", 6)
    monkeypatch.chdir(tmp_path)
    arguments = [
        "infer",
        f"--voice={folder}",
        "--batch",
        "1",
        "3",
        "--rounds=1",
        "--warm-only",
        f"--text={TEXT}",
    ]
    assert benchmark.main([*arguments, "--variants=reference,fp32", "--json=f.json", "--markdown=f.md"]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert {row["batch"] for row in figures["rows"]} == {1, 3}
    assert all((row["max_difference"] or 0) < 1e-4 for row in figures["rows"])
    lengths = {(row["variant"], row["pass"]): row["recordings"] for row in figures["new_lengths"]}
    assert [lengths["reference", name] for name in PASSES] == [0, 0, 0]
    assert lengths["fp32", "first"] >= 3 and lengths["fp32", "between"] <= 2 and lengths["fp32", "again"] == 0
    assert "| between | 6 | fp32 |" in (tmp_path / "f.md").read_text()
