"""Exported voices: every graph gives what its module gives, at lengths and batches that the export never saw.

The voices are random, tiny and shallow, since the exporter takes time by the layer.
"""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_voice import AUDIO, SEMANTIC, STYLE, build_voice, recording

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from hierspeech import TextToSpeech  # noqa: E402
from hierspeech.export.__main__ import main  # noqa: E402
from hierspeech.export.graphs import export_part, export_voice  # noqa: E402
from hierspeech.export.parts import Part, parts_of  # noqa: E402
from hierspeech.export.runtime import OnnxTextToSpeech  # noqa: E402
from hierspeech.pipelines.options import SpeakingOptions  # noqa: E402
from hierspeech.pipelines.prosody import Delivery  # noqa: E402
from hierspeech.pipelines.voice import Voice  # noqa: E402
from hierspeech.synthesizer.encoders import SemanticEncoderConfig  # noqa: E402
from hierspeech.synthesizer.generator import AMPGeneratorConfig  # noqa: E402
from hierspeech.synthesizer.model import FlowConfig, HierSpeech, HierSpeechConfig  # noqa: E402
from hierspeech.synthesizer.source import SourceConfig  # noqa: E402
from speech.audio import load_audio  # noqa: E402
from speech.checkpoint import read_config  # noqa: E402
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig  # noqa: E402
from speechsr.model import SpeechSR, SpeechSRConfig  # noqa: E402
from ttv.aligned import AlignedTTV, AlignedTTVConfig  # noqa: E402
from ttv.model import TTV, DurationConfig  # noqa: E402
from ttv.pitch import PitchConfig  # noqa: E402

TEXT = "Hello there."
ROOT = Path(__file__).resolve().parent.parent


def make_voice(folder: Path, family: str) -> Path:
    """A tiny voice with a prompt named "me"; of the published kind, a generator of two stages stands for all five."""
    parts = {"speechsr": True, "denoiser": family == "lite", "carrier": False}
    build_voice(folder, family, **parts, prompts=["me"], noise_scale=0.3)
    if (
        family == "official"
    ):  # with nothing that the other has tested, since every part takes the exporter seconds
        shutil.rmtree(folder / "speechsr-24000")
        shutil.rmtree(folder / "phonetic")  # imported voices have no encoder at first
        text = (folder / "voice.json").read_text()
        (folder / "voice.json").write_text(text.replace('"24000": "speechsr-24000", ', ""))
        config = HierSpeechConfig(
            audio=AUDIO,
            semantic=SEMANTIC,
            style=STYLE,
            latent=8,
            encoder=SemanticEncoderConfig(hidden=8, n_layers=1),
            semantic_posterior=False,
            posterior=None,
            flow=FlowConfig(n_flows=1, n_blocks=1, mlp_ratio=1),
            prosody=None,
            source=SourceConfig(16, [4], [8], kernel_sizes=[3], dilations=[1]),
            amp=AMPGeneratorConfig(16, [4, 80], [8, 160], kernel_sizes=[3], dilations=[1]),
        )
        HierSpeech(config).save_pretrained(folder / "synthesizer")
        ttv = replace(
            read_config(TTV, folder / "ttv"),
            pitch=PitchConfig(16, [4], [4], kernel_sizes=[3], dilations=[1]),
            duration=DurationConfig(n_flows=2),
        )
        TTV(ttv).save_pretrained(folder / "ttv")
    else:  # the published kind at 24 kHz, super-resolution by frames at 48 kHz
        config = ISTFTSpeechSRConfig(width=16, layers=1, from_hz=6000.0, copy_from_hz=3000.0)
        ISTFTSpeechSR(config).save_pretrained(folder / "speechsr-48000")
    (folder / "prompts").mkdir()
    model = SpeechSR(SpeechSRConfig(3.0 if family == "official" else 1.5, 16000, 4, [3], [1]))
    model.save_pretrained(folder / f"speechsr-{model.output_rate}")
    tts = TextToSpeech.from_pretrained(folder, device="cpu")
    tts.prompt(recording()).save(folder / "prompts/me.safetensors")
    return folder


@pytest.fixture(scope="module", params=["lite", "official"])
def voices(request, tmp_path_factory):
    """The folder of a voice and that of its export, by the command that the README states."""
    folder = make_voice(tmp_path_factory.mktemp("export") / request.param, request.param)
    out = folder.with_name("exported")
    assert main(["--voice", str(folder), "--format", "onnx", str(out)]) == 0
    return folder, out


def other_inputs(part: Part, batch: int, length: int) -> dict[str, torch.Tensor]:
    """Inputs of another batch size and length than the example's."""
    generator = torch.Generator().manual_seed(length)
    inputs = {}
    for name, example in part.inputs.items():
        axes = part.axes.get(name, {})
        if not axes:
            inputs[name] = torch.tensor(0.7)
            continue
        shape = list(example.shape)
        shape[0] = batch
        for axis, axis_name in axes.items():
            if axis:
                shape[axis] = {"ids": 7, "f0_frames": 4 * length, "samples": 400 * length}.get(
                    axis_name, length
                )
        if example.dtype == torch.bool:
            inputs[name] = torch.ones(shape, dtype=torch.bool)
            inputs[name][-1, -2:] = batch == 1
        elif example.is_floating_point():
            inputs[name] = torch.randn(shape, generator=generator)
        else:
            inputs[name] = torch.randint(1, 5, shape, generator=generator)
    if "ends" in inputs:
        inputs["ends"] = inputs["ends"].abs().cumsum(1) * length / 5
    if "log_f0" in inputs:
        inputs["log_f0"] = 5 + 0.1 * inputs["log_f0"]
    if "wav" in inputs:
        inputs["wav"] *= 0.1
    if part.name == "denoiser":
        # The first frame is mirrored at its middle, so its phases are 0 or +-180 degrees, and the sign is rounding.
        inputs["wav"][:, :400] = 0.0
    return inputs


@torch.inference_mode()
def test_every_part_equals_its_module_at_other_lengths_and_batches(voices):
    folder, out = voices
    names = []
    for part in parts_of(Voice(folder, torch.device("cpu"))):
        names.append(part.name)
        session = onnxruntime.InferenceSession(out / f"{part.name}.onnx")
        assert [made.name for made in session.get_outputs()] == part.outputs
        for batch, length in ((1, 5), (1, 61), (3, 20)):
            inputs = other_inputs(part, batch, length)
            expected = part.module.eval()(**inputs)
            expected = expected if isinstance(expected, tuple) else (expected,)
            made = session.run(None, {name: value.numpy() for name, value in inputs.items()})
            for name, ours, theirs in zip(part.outputs, made, expected, strict=True):
                case = f"{part.name}: {name} of batch {batch}, length {length}"
                assert ours.shape == theirs.shape, case
                if theirs.is_floating_point():
                    scale = max(1.0, float(theirs.abs().max()))
                    assert np.abs(ours - theirs.numpy()).max() <= 1e-4 * scale, case
                else:
                    assert np.array_equal(ours, theirs.numpy()), case
    assert {"style", "ttv_text", "ttv_frames", "synthesizer", "speechsr_48000"} <= set(names)
    assert {"denoiser", "semantic_encoder"} & set(names) == (
        {"denoiser", "semantic_encoder"} if folder.name == "lite" else set()
    )


@torch.inference_mode()
def test_a_synthesizer_with_a_carrier(tmp_path):
    voice = Voice(build_voice(tmp_path / "voice", "lite"), torch.device("cpu"))
    part = next(part for part in parts_of(voice) if part.name == "synthesizer")
    cases = [other_inputs(part, batch, length) for batch, length in ((1, 5), (1, 61), (3, 20))]
    expected = [part.module.eval()(**inputs) for inputs in cases]
    export_part(part, tmp_path / "synthesizer.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "synthesizer.onnx")
    for inputs, theirs in zip(cases, expected, strict=True):
        (made,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        # The pitch is summed to the phase of pulses that are heard as they are, and its last digits with it.
        assert np.abs(made - theirs.numpy()).max() < 1e-3 * max(1.0, float(theirs.abs().max()))


def test_equal_noise_gives_equal_speech(voices):
    folder, out = voices
    tts, onnx = TextToSpeech.from_pretrained(folder, device="cpu"), OnnxTextToSpeech(out, threads=1)
    prompt = tts.prompt("me")
    (sentence,), _ = onnx.reader.encode(TEXT)
    assert sentence == tts.encode(TEXT)[0][0]
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    theirs = tts.speak(sentence, prompt, 1.2, noise_scale=0.3, generator=first)

    def draw(shape):
        return torch.randn(shape, generator=second).numpy()

    ours = onnx.speak(sentence, onnx.prompt("me"), draw, 1.2, 0.3)
    assert ours.shape == theirs.shape  # durations are exact
    # The lite source sums the pitch to a phase, which adds up the last digits of the pitch as well.
    assert np.abs(ours - theirs).max() < 1e-3 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize(
    "text", ["<pitch=+4>Hello <range=0.5>there, <energy=6>friend.", "Are you coming with us, friend?"]
)
def test_marks_and_questions_sound_as_in_the_pipeline(voices, text):
    folder, out = voices
    tts, onnx = TextToSpeech.from_pretrained(folder, device="cpu"), OnnxTextToSpeech(out, threads=1)
    tts.voice.description.question_rise = onnx.voice["question_rise"] = 7.0
    (sentence,), _ = onnx.reader.encode(text)
    (other,), _ = tts.encode(text)
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    delivery = Delivery(tts.prompt("me"), SpeakingOptions(noise_scale=0.3, noise_scale_vc=0.3))
    theirs = tts.speak_piece(other, delivery, first).wav

    def draw(shape):
        return torch.randn(shape, generator=second).numpy()

    ours = onnx.speak(sentence, onnx.prompt("me"), draw, 1.0, 0.3)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-3 * max(1.0, np.abs(theirs).max())
    if folder.name == "official" and "?" in text:
        return  # its untrained source network pays no heed to a few frames of pitch
    sentence.source = None  # what says of which words the ids are: without it nothing can be shaped
    second.manual_seed(5)
    assert np.abs(onnx.speak(sentence, onnx.prompt("me"), draw, 1.0, 0.3) - theirs).max() > 1e-3


def test_marks_of_speed_and_pauses_count_in_exports_and_mixtures_are_refused(voices):
    onnx = OnnxTextToSpeech(voices[1], threads=1)
    plain, _ = onnx("Hello. There you are.", "me", seed=1)
    paused, _ = onnx("Hello. <pause=2.0> There you are.", "me", seed=1)
    slow, _ = onnx("<speed=0.5>Hello. There you are.", "me", seed=1)
    assert len(paused) > len(plain) + 24000 and len(slow) > 1.5 * len(plain)
    with pytest.raises(ValueError, match="the mark <mix=0.5> in the text: exported voices do not mix"):
        onnx("Hello. <mix=0.5>There.", "me")
    with pytest.raises(ValueError, match="pitch shift 40: expected a number from -12 to 12"):
        onnx("Hello.", "me", pitch_shift=40)


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_whole_texts_are_spoken_at_every_rate(voices, rate):
    _, out = voices
    tts = OnnxTextToSpeech(out, threads=1)
    wav, sample_rate = tts("Hello. How are you?", "me", seed=1, output_sample_rate=rate)
    again, _ = tts("Hello. How are you?", "me", seed=1, output_sample_rate=rate)
    assert sample_rate == rate and wav.dtype == np.float32 and np.isfinite(wav).all()
    assert 0.01 < np.abs(wav).max() <= 0.9501 and np.array_equal(wav, again)


def test_a_recording_is_heard_as_the_pipelines_hear_it(voices):
    folder, out = voices
    theirs = TextToSpeech.from_pretrained(folder, device="cpu").prompt(recording())
    ours = OnnxTextToSpeech(out, threads=1).prompt(recording(), 16000)
    assert np.allclose(ours.ttv_style, theirs.ttv_style.numpy(), atol=1e-4)
    assert np.allclose(ours.synthesizer_style, theirs.synthesizer_style.numpy(), atol=1e-4)
    assert ours.pitch == pytest.approx((theirs.log_f0_mean, theirs.log_f0_std))


def test_speaking_needs_no_torch(voices, tmp_path):
    _, out = voices
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from hierspeech.export.__main__ import main\n"
        f"sys.exit(main(['speak', {str(out)!r}, '--text', 'Hello.', '--ref-prompt', 'me', '--out', 'x.wav', "
        "'--threads', '1']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    wav, rate = load_audio(tmp_path / "x.wav")
    assert rate == 16000 and len(wav) > 1000


def test_a_model_of_several_languages_takes_their_places(tmp_path):
    config = AlignedTTVConfig(AUDIO, languages=["en-us", "pl"], width=16, encoder_layers=1, duration_layers=1)
    torch.manual_seed(0)
    model = AlignedTTV(config).eval()
    model.language_embedding.weight.data.normal_()
    from hierspeech.export.parts import _text_to_vec

    part = next(_text_to_vec(model))
    export_part(part, tmp_path / "text.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    inputs = other_inputs(part, 2, 9) | {"language_ids": torch.tensor([[0, 1] * 3 + [0]] * 2)}
    feed = {name: value.numpy() for name, value in inputs.items()}
    with torch.no_grad():
        expected = part.module(**inputs)
    assert np.abs(session.run(None, feed)[0] - expected[0].numpy()).max() < 1e-5
    feed["language_ids"] *= 0
    assert np.abs(session.run(None, feed)[0] - expected[0].numpy()).max() > 1e-3


def test_refusals_are_one_sentence(tmp_path, capsys, monkeypatch):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    for arguments, message in (
        (["--voice", "lite", str(taken)], "exists already"),
        (["--voice", "nobody", str(tmp_path / "out")], "unknown voice 'nobody'"),
        (["--format", "tflite", "out"], "invalid choice: 'tflite'"),
        (["speak", str(taken), "--text", "Hi.", "--out", str(tmp_path / "x.wav")], "not an exported voice"),
        (["speak", str(taken), "--text", " ", "--out", str(tmp_path / "x.wav")], "the text is empty"),
        (["speak", str(taken), "--text", "Hi.", "--out", str(tmp_path / "x.mp3")], "must end in one of"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package onnx: pip install"):
        export_voice("lite", tmp_path / "out")
