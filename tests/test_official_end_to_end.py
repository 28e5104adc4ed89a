"""The whole way at full size: a download folder, its import on the command line, and the three flows at 48 kHz on the CPU.

The weights are synthetic, of the published names and shapes (97 M synthesizer, 108 M text-to-vec, both SpeechSR, MP-SENet),
so the sounds are noise; sizes, lengths, time and memory are real. MMS-300M is random too, at its true width, with 8 of its
24 layers in the file: more are never read. `pytest -s tests/test_official_end_to_end.py` prints the figures; as a script,
`python tests/test_official_end_to_end.py VOICE [SECONDS_OF_REFERENCE]`, it measures a voice that is there, such as one of
the real weights.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TEXT = "Good morning to you, and to everyone who listens."
SECONDS = 3.0  # of the reference, of the source of conversion, and of the recording for super-resolution
MEMORY_MB = 2500  # importing may not take more


def reset_peak() -> None:
    """Let the kernel forget the process's highest memory (Linux; elsewhere the figures are of the whole run)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_mb() -> float:
    """Highest resident memory of this process since `reset_peak`, mapped files included."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e3
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def measure(voice: str, reference_seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Run the three flows of a voice on made recordings; wall time, real-time factor and peak memory of each step."""
    from tiny_voice import recording

    from hierspeech import SuperResolution, TextToSpeech, VoiceConversion, load_voice

    reference, source = recording(reference_seconds, 150.0), recording(SECONDS, 100.0)
    loaded, prompt, options = load_voice(voice, "cpu"), None, {"seed": 0, "output_sample_rate": 48000}

    def load() -> None:
        _ = loaded.ttv, loaded.synthesizer, loaded.semantic_encoder, loaded.denoiser, loaded.speechsr(48000)

    def listen() -> None:
        nonlocal prompt
        prompt = TextToSpeech(loaded).prompt(reference, denoise_ratio=0.5)

    return {
        "load all models": figures_of(load),
        "listen to the reference, denoise_ratio 0.5": figures_of(listen, reference_seconds),
        "tts": figures_of(lambda: TextToSpeech(loaded)(TEXT, prompt, **options)),
        "vc": figures_of(lambda: VoiceConversion(loaded)(source, prompt, **options)),
        "sr": figures_of(lambda: SuperResolution(loaded)(source, 48000)),
    }


def figures_of(step: Callable[[], Any], seconds: float | None = None) -> dict[str, float]:
    """Time and memory of one step, and what it gives if that is speech; `seconds` of audio that it takes otherwise."""
    import numpy as np

    reset_peak()
    start = time.perf_counter()
    speech = step()
    figures = {"wall_s": time.perf_counter() - start, "peak_mb": peak_mb()}
    if speech is not None:
        seconds = speech.seconds
        figures |= {"sample_rate": speech.sample_rate, "samples": len(speech.audio)}
        figures |= {
            "finite": bool(np.isfinite(speech.audio).all()),
            "loudest": float(np.abs(speech.audio).max()),
        }
    return figures if seconds is None else figures | {"audio_s": seconds, "rtf": figures["wall_s"] / seconds}


def child(*arguments: str) -> subprocess.CompletedProcess:
    """Python in a process of its own on one core, so that its time and memory are its own."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


IMPORT = """
import runpy, sys
from test_official_end_to_end import peak_mb
try:
    runpy.run_module("hierspeech.official", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print(peak_mb(), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five gigabytes are not left lying about."""
    path = tmp_path_factory.mktemp("full_size")
    yield path
    shutil.rmtree(path)


def build_download(folder: Path) -> None:
    """Files of the published names where the published README puts them; their digests are not the published ones."""
    import torch
    from official_fill import official_state_dict
    from tiny_official import write_config

    from hierspeech.official.components import CONVERTIBLE
    from hierspeech.official.download import LAYOUT

    for component, place in LAYOUT.items():
        path = folder / place.published
        path.parent.mkdir(parents=True)
        state = official_state_dict(CONVERTIBLE[component].keys)
        container = {"denoiser": "generator", "speechsr-24k": "model", "speechsr-48k": "model"}.get(component)
        torch.save({container: state} if container else state, path)
        write_config(component, path.parent)


def build_mms(folder: Path) -> None:
    """A random model of the class and width of facebook/mms-300m, 8 layers deep."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=1024,
        num_hidden_layers=8,
        num_attention_heads=16,
        intermediate_size=4096,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        codevector_dim=768,
        proj_codevector_dim=768,
    )
    Wav2Vec2ForPreTraining(config).save_pretrained(folder)


def test_downloads_to_speech_at_full_size(folder):
    pytest.importorskip("transformers")
    build_download(folder / "download")
    build_mms(folder / "mms")
    paths = [str(folder / name) for name in ("download", "voice")]
    arguments = ["import", *paths, "--unverified", "--semantic-encoder", str(folder / "mms")]
    start = time.perf_counter()
    done = child("-c", IMPORT, *arguments)
    wall, peak = time.perf_counter() - start, float(done.stderr.split()[-1])
    print(f"\nimport: {wall:.1f} s, peak {peak:.0f} MB\n{done.stdout}")
    assert peak < MEMORY_MB

    figures = json.loads(child(__file__, str(folder / "voice")).stdout)
    print(table(figures))
    for name in ("tts", "vc", "sr"):
        figure = figures[name]
        assert figure["finite"] and figure["sample_rate"] == 48000 and 0.01 < figure["loudest"] <= 1, name
    assert figures["vc"]["samples"] == figures["sr"]["samples"] == int(SECONDS * 48000)
    # the text-to-vec decides how long its speech is; with these weights it is neither a click nor a minute
    assert 0.5 < figures["tts"]["audio_s"] < 20


def table(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    rows = []
    for name, f in figures.items():
        audio, factor = (f"{f['audio_s']:.1f}", f"{f['rtf']:.1f}") if "rtf" in f else ("", "")
        rows.append(f"| {name} | {audio} | {f['wall_s']:.1f} | {factor} | {f['peak_mb']:.0f} |")
    head = ["| step | audio, s | time, s | real-time factor | peak memory, MB |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    results = measure(sys.argv[1], *map(float, sys.argv[2:]))
    print(table(results), file=sys.stderr)
    print(json.dumps(results))
