"""Trained models -> a voice folder: that it speaks, ships in half precision with its cards, and appears whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_voice import DENOISER, build_voice, recording

from denoiser.model import Denoiser
from hierspeech import Denoising, TextToSpeech, VoiceConversion, VoicePrompt, load_voice
from hierspeech.pipelines.publish import main
from hierspeech.pipelines.push import check_complete
from hierspeech.synthesizer.model import HierSpeech
from speech.audio import save_audio
from speech.checkpoint import folded_state_dict
from speech.semantic.phonetic import PhoneticEncoder
from speechsr import ISTFTSpeechSR, ISTFTSpeechSRConfig

ROOT = Path(__file__).resolve().parent.parent
CARDS = ROOT / "configs" / "lite" / "cards"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of trained models, and a recording."""
    folder = build_voice(tmp_path_factory.mktemp("runs"), "lite", speechsr=True, denoiser=True)
    save_audio(folder / "someone.wav", recording(), 16000)
    save_audio(folder / "other.wav", recording(f0=200.0), 16000)
    return folder


def arguments(runs: Path, out: Path, *more: str) -> list[str]:
    parts = [f"--{part}={runs / part}" for part in ("ttv", "synthesizer", "phonetic")]
    return [str(out), *parts, *more]


def test_a_whole_voice(runs, tmp_path, capsys):
    out = tmp_path / "published"
    more = [f"--speechsr={runs / 'speechsr-24000'}", f"--speechsr={runs / 'speechsr-48000'}"]
    more += [
        f"--denoiser={runs / 'denoiser'}",
        f"--cards={CARDS}",
        f"--prompt=someone={runs / 'someone.wav'}",
        f"--prompt=both={runs / 'someone.wav'}",
        f"--prompt=both={runs / 'other.wav'}",
    ]
    assert main(arguments(runs, out, *more, "--version=3", "--question-rise=7")) == 0, capsys.readouterr().err
    assert "infer.py --voice" in capsys.readouterr().out

    description = json.loads((out / "voice.json").read_text())
    assert description["name"] == "published" and description["version"] == 3
    assert description["question_rise"] == 7 and description["prompts"] == ["someone", "both"]
    assert description["speechsr"] == {"24000": "speechsr-24k", "48000": "speechsr-48k"}
    check_complete(out)  # every part, the saved prompt and the card that the hub wants
    assert (out / "README.md").read_text() == (CARDS / "voice.md").read_text()
    assert (out / "ttv" / "README.md").read_text() == (CARDS / "ttv.md").read_text()
    for part in ("ttv", "synthesizer", "phonetic", "speechsr-24k", "denoiser"):
        weights = load_file(out / part / "model.safetensors")
        assert {w.dtype for w in weights.values() if w.is_floating_point()} == {torch.float16}, part

    assert TextToSpeech.from_pretrained(out)("Hello.", output_sample_rate=48000).sample_rate == 48000
    assert VoiceConversion.from_pretrained(out)(recording(), "someone").seconds == 2.0
    voice, both = load_voice(out, "cpu"), VoicePrompt.load(out / "prompts" / "both.safetensors")
    heard = [VoicePrompt.from_audio(runs / name, voice) for name in ("someone.wav", "other.wav")]
    assert both.log_f0_mean == pytest.approx(VoicePrompt.average(heard).log_f0_mean)
    torch.testing.assert_close(both.synthesizer_style, VoicePrompt.average(heard).synthesizer_style)
    assert Denoising.from_pretrained(out)(recording()).seconds == 2.0


def test_an_equalizer_is_added_without_training(runs, tmp_path, capsys):
    """A synthesizer without one gets it, with the phones of the voice's own encoder; its networks stay as they are."""
    plain = HierSpeech.from_pretrained(runs / "synthesizer")
    plain = HierSpeech(replace(plain.config, equalizer=None)).eval()
    plain.save_pretrained(tmp_path / "plain")
    out, prompt = tmp_path / "published", f"--prompt=someone={runs / 'someone.wav'}"
    more = [f"--synthesizer={tmp_path / 'plain'}", "--int8=phonetic", prompt]
    assert main(arguments(runs, out, *more, "--equalizer")) == 0, capsys.readouterr().err
    voice = load_voice(out, "cpu")
    assert voice.synthesizer.config.equalizer.phones == voice.semantic_encoder.config.n_phones
    torch.testing.assert_close(
        voice.synthesizer.equalizer.weight, voice.semantic_encoder.classifier.weight, atol=1e-3, rtol=0
    )
    own, added = folded_state_dict(plain), folded_state_dict(voice.synthesizer)
    assert added.keys() - own.keys() == {"equalizer.weight", "equalizer.bias"}
    for name, weight in own.items():  # float16 in the folder
        torch.testing.assert_close(added[name], weight, atol=1e-5, rtol=1e-3)
    saved = VoicePrompt.load(out / "prompts" / "someone.safetensors").synthesizer_style
    assert saved.shape[1] == voice.synthesizer.config.style_size > 6 and saved[:, 6:].any()
    # an encoder of its own for a voice that has an equalizer: its phones are that encoder's from then on
    encoder = PhoneticEncoder.from_pretrained(runs / "phonetic")
    torch.nn.init.ones_(encoder.classifier.weight)
    encoder.save_pretrained(tmp_path / "other")
    again = tmp_path / "again"
    assert main([str(again), f"--voice={out}", f"--phonetic={tmp_path / 'other'}"]) == 0, (
        capsys.readouterr().err
    )
    assert bool((load_voice(again, "cpu").synthesizer.equalizer.weight == 1).all())
    without = tmp_path / "without"
    assert main(arguments(runs, without, *more)) == 0, capsys.readouterr().err
    assert load_voice(without, "cpu").synthesizer.equalizer is None


def test_eight_bits_for_a_part_that_is_not_given_is_refused(runs, tmp_path, capsys):
    assert main(arguments(runs, tmp_path / "published", "--int8=denoiser")) == 2
    assert (
        "int8 'denoiser': expected a part that is given here (ttv, phonetic, synthesizer)"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "published").exists()


def test_a_model_of_spectra_serves_both_rates(runs, tmp_path, capsys):
    model = ISTFTSpeechSR(ISTFTSpeechSRConfig(width=8, layers=1, copy_from_hz=4000.0))
    model.save_pretrained(tmp_path / "istft")
    out = tmp_path / "published"
    assert main(arguments(runs, out, f"--speechsr={tmp_path / 'istft'}")) == 0, capsys.readouterr().err
    assert json.loads((out / "voice.json").read_text())["speechsr"] == {
        "24000": "speechsr-48k",
        "48000": "speechsr-48k",
    }
    tts = TextToSpeech.from_pretrained(out)
    assert [tts.voice.speechsr(rate).output_rate for rate in (24000, 48000)] == [24000, 48000]
    # in its place, one that gives 48 kHz only: nothing points at a model that has gone
    again = tmp_path / "again"
    assert main([str(again), f"--voice={out}", f"--speechsr={runs / 'speechsr-48000'}"]) == 0
    assert json.loads((again / "voice.json").read_text())["speechsr"] == {"48000": "speechsr-48k"}


def test_parts_that_do_not_fit_leave_no_folder(runs, tmp_path, capsys):
    Denoiser(type(DENOISER)(**(vars(DENOISER) | {"sample_rate": 8000}))).save_pretrained(
        tmp_path / "denoiser"
    )
    out = tmp_path / "published"
    assert main(arguments(runs, out, f"--denoiser={tmp_path / 'denoiser'}")) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "the denoiser works at 8000 Hz, expected 16000 Hz" in message
    assert [path.name for path in tmp_path.iterdir()] == ["denoiser"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prompt=someone"], "prompt 'someone': expected NAME=WAV"),
        (["--prompt=someone=nothing.wav"], "nothing.wav"),
        (["--cards=nowhere"], "nowhere: no such folder of model cards"),
        (["--ttv=nowhere"], "nowhere"),
        (["--ttv={runs}/synthesizer"], "HierSpeech"),
    ],
)
def test_bad_arguments_are_one_sentence(runs, tmp_path, capsys, more, message):
    more = [argument.format(runs=runs) for argument in more]
    assert main(arguments(runs, tmp_path / "published", *more)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_kept(runs, tmp_path, capsys):
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "mine.txt").write_text("mine")
    assert main(arguments(runs, tmp_path / "published")) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "published").iterdir()] == ["mine.txt"]


def test_the_shipped_voice_can_be_pushed():
    """Its folder is what the hub gets: complete, with a card and front matter."""
    folder = ROOT / "hierspeech" / "voices" / "lite"
    check_complete(folder)
    assert (folder / "README.md").read_text() == (CARDS / "voice.md").read_text()
