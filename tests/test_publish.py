"""Trained models -> a voice folder: that it speaks, ships in half precision with its cards, and appears whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_voice import DENOISER, build_voice, recording

from denoiser.model import Denoiser
from hierspeech import Denoising, TextToSpeech, VoiceConversion
from hierspeech.pipelines.publish import main
from hierspeech.pipelines.push import check_complete
from speech.audio import save_audio
from speechsr import ISTFTSpeechSR, ISTFTSpeechSRConfig

ROOT = Path(__file__).resolve().parent.parent
CARDS = ROOT / "configs" / "lite" / "cards"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of trained models, and a recording."""
    folder = build_voice(tmp_path_factory.mktemp("runs"), "lite", speechsr=True, denoiser=True)
    save_audio(folder / "someone.wav", recording(), 16000)
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
    ]
    assert main(arguments(runs, out, *more, "--version=3", "--question-rise=7")) == 0, capsys.readouterr().err
    assert "infer.py --voice" in capsys.readouterr().out

    description = json.loads((out / "voice.json").read_text())
    assert description["name"] == "published" and description["version"] == 3
    assert description["question_rise"] == 7
    assert description["speechsr"] == {"24000": "speechsr-24k", "48000": "speechsr-48k"}
    check_complete(out)  # every part, the saved prompt and the card that the hub wants
    assert (out / "README.md").read_text() == (CARDS / "voice.md").read_text()
    assert (out / "ttv" / "README.md").read_text() == (CARDS / "ttv.md").read_text()
    for part in ("ttv", "synthesizer", "phonetic", "speechsr-24k", "denoiser"):
        weights = load_file(out / part / "model.safetensors")
        assert {w.dtype for w in weights.values() if w.is_floating_point()} == {torch.float16}, part

    assert TextToSpeech.from_pretrained(out)("Hello.", output_sample_rate=48000).sample_rate == 48000
    assert VoiceConversion.from_pretrained(out)(recording(), "someone").seconds == 2.0
    assert Denoising.from_pretrained(out)(recording()).seconds == 2.0


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
