"""The command that a first session with a GPU runs (docs/performance_gpu.py), dry: tiny models, a stand-in for CUDA graphs."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from recorded_graph import RepeatedRunner, record_on_cpu
from tiny_voice import build_voice

from hierspeech.pipelines.voice import Voice
from speech.fast import prepare_for_inference
from speech.modules.snake import Activation1d
from speechsr import SpeechSR, SpeechSRConfig

SCRIPT = Path(__file__).parents[1] / "docs" / "performance_gpu.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("performance_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_measures_everything(script, tmp_path, monkeypatch, capsys):
    record_on_cpu(monkeypatch, RepeatedRunner)
    monkeypatch.setattr("speech.kernels.build.library", lambda: None)
    folder = build_voice(tmp_path / "voice", "official") if (tmp_path / "voice").mkdir() is None else None
    voice = Voice(folder, torch.device("cpu"))
    super_resolution = prepare_for_inference(SpeechSR(SpeechSRConfig(channels=4, kernel_sizes=[3])))
    made = {"text-to-vec": voice.ttv, "synthesizer": voice.synthesizer, "SpeechSR": super_resolution}
    monkeypatch.setattr(script, "models", lambda device: made.copy())
    randn = torch.randn

    def fitting(*shape, **options):  # the tiny models' sizes in place of the published ones
        sizes = {256: 6, 1024: 12}
        return randn(*(sizes.get(size, size) if isinstance(size, int) else size for size in shape), **options)

    monkeypatch.setattr(script.torch, "randn", fitting)
    said = []
    monkeypatch.setattr(script.benchmark, "main", said.append)
    assert script.main([f"--out={tmp_path / 'out'}", "--device=cpu", "--small"]) == 0
    assert "failed" not in capsys.readouterr().err
    found = json.loads((tmp_path / "out/kernels.json").read_text())
    assert {row["model"] for row in found["equality"]} == set(made)
    assert all(row["difference"] < 1e-4 for row in found["equality"])
    assert {row["form"] for row in found["blocks"]} == {"plain", "fp32", "16 bits"}
    assert all(row["ms"] > 0 for row in found["activations"] + found["blocks"])
    assert all(row["recordings"] > 0 and row["graph_ms"] > 0 for row in found["graphs"])
    assert [line[2] for line in said] == ["base", "lite"] and all("32" in line for line in said)
    assert all(script.TEXT in line for line in said)


@torch.no_grad()
def test_the_form_for_a_compiler_is_the_activation(script):
    activation, x = Activation1d(3), torch.randn(2, 3, 60)
    inside = slice(6, -6)
    assert torch.allclose(
        script.pure_activation(activation, x)[..., inside], activation(x)[..., inside], atol=1e-5
    )
