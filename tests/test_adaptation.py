"""Prompts that follow their recording by gradient descent, and the command that saves a voice."""

import numpy as np
import pytest
import torch
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import enrol
from hierspeech.pipelines.adaptation import _Pieces, adapt
from hierspeech.pipelines.prompt import VoicePrompt, equalized
from hierspeech.pipelines.recording import prepare_reference
from speech.audio import save_audio
from speech.mel_loss import MelLoss, mels_of_sizes


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return build_voice(tmp_path_factory.mktemp("voice") / "v", "lite", denoiser=True)


@pytest.fixture(scope="module")
def tts(voice):
    return TextToSpeech.from_pretrained(voice)


def numbers(prompt):
    """The synthesizer's style without the equalizer's table, which is measured and not fitted."""
    return prompt.synthesizer_style[:, :6]


def distance(tts, prompt, wav):
    """Of the recording spoken again with the prompt's style."""
    pieces = _Pieces(wav, tts.voice, None)
    semantic, log_f0, target = pieces.semantic, pieces.log_f0, pieces.wav
    with torch.no_grad():
        again, _ = tts.voice.synthesizer.reconstruct(semantic, log_f0, numbers(prompt))
        mel, magnitude = MelLoss(mels_of_sizes([256, 512, 1024, 2048])).distances(
            target * 16, again[:, 0] * 16
        )
    return float(10 * mel + 8 * magnitude)


@pytest.mark.parametrize("seconds", [1.2, 3.0])  # of the shorter one all is taken in every step
def test_an_adapted_prompt_speaks_its_recording_more_like_it(tts, seconds):
    wav, seen = recording(seconds), []
    plain = tts.prompt(wav)
    adapted = tts.prompt(wav, adapt_steps=15, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 15) for k in range(15)]
    assert distance(tts, adapted, wav) < 0.99 * distance(tts, plain, wav)
    assert torch.equal(adapted.ttv_style, plain.ttv_style) and adapted.log_f0_mean == plain.log_f0_mean
    assert not torch.equal(numbers(adapted), numbers(plain))
    # the table is that of the fitted style, towards the recording as it is: what is fitted is towards a cleaned one
    pieces = _Pieces(wav, tts.voice, None)
    heard = prepare_reference(wav, 16000)[0][None, : pieces.wav.shape[1]]
    with torch.inference_mode():
        measured = equalized(numbers(adapted), heard, pieces.f0, tts.voice)
    torch.testing.assert_close(adapted.synthesizer_style, measured)


def test_adaptation_repeats_itself_and_changes_no_model(tts):
    wav, before = recording(1.0), {k: v.clone() for k, v in tts.voice.synthesizer.state_dict().items()}
    first, second = (tts.prompt(wav, adapt_steps=3).synthesizer_style for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad
    assert all(torch.equal(before[k], v) for k, v in tts.voice.synthesizer.state_dict().items())
    assert all(p.grad is None for p in tts.voice.synthesizer.parameters())


def test_a_voice_with_flows_and_latents_adapts(tmp_path):
    tts = TextToSpeech.from_pretrained(build_voice(tmp_path / "v", "official"))
    wav = recording(1.0)
    plain, adapted = tts.prompt(wav), tts.prompt(wav, adapt_steps=2)
    assert adapted.synthesizer_style.isfinite().all()
    assert not torch.equal(numbers(adapted), numbers(plain))
    # the table is that of the fitted style, towards the recording as it is: what is fitted is towards a cleaned one
    pieces = _Pieces(wav, tts.voice, None)
    heard = prepare_reference(wav, 16000)[0][None, : pieces.wav.shape[1]]
    with torch.inference_mode():
        measured = equalized(numbers(adapted), heard, pieces.f0, tts.voice)
    torch.testing.assert_close(adapted.synthesizer_style, measured)


def test_no_steps_change_nothing_and_wrong_ones_are_refused(tts):
    wav = recording(1.0)
    prompt = tts.prompt(wav)
    assert adapt(prompt, wav, tts.voice, 0) is prompt
    with pytest.raises(ValueError, match="adaptation steps 1001: expected 0 to 1000"):
        tts.prompt(wav, adapt_steps=1001)
    with pytest.raises(ValueError, match="expected one recording"):
        tts.prompt(prompt, adapt_steps=5)
    with pytest.raises(ValueError, match="expected one recording"):
        tts.prompt([wav, wav], adapt_steps=5)


def test_enrolling_saves_a_prompt_that_speaks(tts, voice, tmp_path, capsys):
    for k, f0 in enumerate((120.0, 200.0)):
        save_audio(tmp_path / f"{k}.wav", recording(1.0, f0), 16000)
    names, out = [str(tmp_path / f"{k}.wav") for k in range(2)], tmp_path / "someone.safetensors"
    assert enrol.main([*names, "--adapt", "2", "--voice", str(voice), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    saved = VoicePrompt.load(out)
    expected = VoicePrompt.average([tts.prompt(name, adapt_steps=2) for name in names])
    assert torch.allclose(saved.synthesizer_style, expected.synthesizer_style, atol=1e-5)
    assert np.isfinite(tts("Hello.", str(out), seed=0).audio).all()
    assert out.stat().st_size < 2000


def test_enrolling_says_what_is_wrong_in_a_sentence(voice, tmp_path, capsys):
    save_audio(tmp_path / "a.wav", recording(1.0), 16000)
    a = str(tmp_path / "a.wav")
    for arguments, said in (
        ([a, "--out", str(tmp_path / "b.wav")], "ends in .safetensors"),
        ([str(tmp_path / "none.wav"), "--out", str(tmp_path / "b.safetensors")], "none.wav"),
        ([a, "--adapt", "-1", "--out", str(tmp_path / "b.safetensors")], "--adapt -1"),
    ):
        assert enrol.main([*arguments, "--voice", str(voice)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not (tmp_path / "b.safetensors").exists()
