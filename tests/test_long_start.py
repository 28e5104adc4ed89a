"""A cold start loads what it takes to speak and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from tiny_voice import build_voice, recording

ROOT = Path(__file__).resolve().parent.parent
# Each takes from a tenth of a second to several seconds to import; none is needed to speak.
HEAVY = (
    "librosa numba transformers tensorboard accelerate scipy sklearn pandas yaml ray matplotlib torchaudio torchvision "
    "huggingface_hub pocketsphinx onnx onnxruntime torch.utils.tensorboard torch._dynamo torch._inductor hierspeech.preparation "
    "hierspeech.official speech.training speech.packs"
).split()


@pytest.mark.parametrize("way", ["--text", "--text-file", "--batch"])
def test_a_run_of_infer_imports_nothing_heavy(tmp_path, way):
    build_voice(tmp_path / "voice", "lite")
    soundfile.write(tmp_path / "ref.wav", recording(1.0), 16000)
    (tmp_path / "words.txt").write_text("Hello. This costs $3.50.")
    (tmp_path / "items.csv").write_text("text,out\nHello.,out.wav\n")
    arguments = {
        "--text": ["Hello. This costs $3.50.", "--out", "out.wav"],
        "--text-file": ["words.txt", "--out", "out.wav"],
        "--batch": ["items.csv"],
    }[way]
    arguments = [way, *arguments, "--voice", "voice", "--ref", "ref.wav", "--device", "cpu"]
    code = (
        f"import json, sys; sys.path.insert(0, {str(ROOT)!r}); import infer; code = infer.main({arguments!r}); "
        "print(json.dumps(sorted(sys.modules))); sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out.wav").exists()
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert not [name for name in HEAVY if name in loaded]
    assert ("hierspeech.pipelines.batches" in loaded) == (way == "--batch")


def test_wrong_arguments_are_answered_before_torch_is_loaded(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import infer; "
        "code = infer.main(['--text', ' ']); print('torch' in sys.modules, code)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "2"]
