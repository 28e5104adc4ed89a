"""Levels of what the pipelines hand back: loudness, peak or the reference's, and how pieces begin, end and are joined."""

import json

import numpy as np
import pytest
import torch
from tiny_voice import recording

from hierspeech import SuperResolution, VoicePrompt
from hierspeech.pipelines import command_line
from hierspeech.pipelines.output import FULL_PEAK, set_level
from hierspeech.pipelines.pauses import join
from hierspeech.pipelines.voice import LEVELS, VOICES_FOLDER


def test_the_output_has_the_level_that_is_asked_for(tts, convert):
    wav = recording()
    prompt = tts.prompt(wav)
    assert prompt.peak == np.abs(wav).max()
    for speak in (
        lambda level: tts("Hello.", prompt, seed=0, level=level).audio,
        lambda level: convert(recording(1.0, 200.0), prompt, seed=0, level=level).audio,
    ):
        loudness, peak, same = (speak(level) for level in LEVELS)
        assert np.array_equal(loudness, speak(None))
        assert np.abs(peak).max() == pytest.approx(0.999, rel=1e-6)
        assert np.abs(same).max() == pytest.approx(prompt.peak, rel=1e-6)
        assert peak * np.abs(loudness).max() == pytest.approx(0.999 * loudness, abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_of_silence_and_of_next_to_nothing(level):
    assert not set_level(np.zeros(100, np.float32), level, 0.5).any()
    assert set_level(np.zeros(0, np.float32), level, 0.5).shape == (0,)
    faint = np.where(np.arange(100) == 3, 1e-44, 0).astype(np.float32)  # its inverse is beyond float32
    assert np.isfinite(set_level(faint, level, 0.5)).all()
    if level != "loudness":
        assert set_level(faint, level, 0.5).max() == pytest.approx(FULL_PEAK if level == "peak" else 0.5)
        assert set_level(recording(), level, 7.0).max() <= 1.0


def test_prompts_saved_before_they_had_a_peak_still_speak(tts, prompt, tmp_path):
    from safetensors.torch import save_file

    metadata = {"voice": prompt.voice, "log_f0": json.dumps([prompt.log_f0_mean, prompt.log_f0_std])}
    styles = {"ttv_style": prompt.ttv_style, "synthesizer_style": prompt.synthesizer_style}
    save_file(styles, tmp_path / "old.safetensors", metadata)
    assert VoicePrompt.load(tmp_path / "old.safetensors").peak is None
    old, new = (tts("Hello.", x, seed=0).audio for x in (tmp_path / "old.safetensors", prompt))
    assert np.array_equal(old, new)
    with pytest.raises(ValueError, match="level 'prompt': this saved prompt does not know the peak"):
        tts("Hello.", tmp_path / "old.safetensors", level="prompt")
    for peak in ("NaN", "[]", '"x"', "-0.5", "0"):
        save_file(styles, tmp_path / "bad.safetensors", metadata | {"peak": peak})
        with pytest.raises(ValueError, match="not a saved voice prompt"):
            VoicePrompt.load(tmp_path / "bad.safetensors")


def test_pieces_are_joined_without_clicks():
    pieces = [np.ones(100, np.float32), np.ones(3, np.float32), np.ones(50, np.float32)]
    inner, outer = (join(pieces, [7] * len(pieces), 10, fade_ends) for fade_ends in (False, True))
    assert len(inner) == len(outer) == 100 + 7 + 3 + 7 + 50
    assert not inner[100:107].any() and not inner[110:117].any()
    assert (inner[:90] == 1).all() and (inner[127:] == 1).all()
    assert inner[90:100] == pytest.approx(np.arange(10, 0, -1) / 11)
    assert outer[:10] == pytest.approx(np.arange(1, 11) / 11) and np.array_equal(
        outer[-10:], outer[:10][::-1]
    )
    assert np.array_equal(outer[10:157], inner[10:157]) and (pieces[0] == 1).all()


def test_voices_of_ours_begin_and_end_in_silence(tts, prompt):
    ids = tts.encode("Hello.")[0][0]
    alone = tts.speak(ids, prompt, generator=torch.Generator().manual_seed(0))
    spoken = tts("Hello.", prompt, seed=0).audio
    gain = spoken[100] / alone[100]
    assert spoken[0] == pytest.approx(gain * alone[0] / 81, rel=1e-3)
    assert spoken[-1] == pytest.approx(gain * alone[-1] / 81, rel=1e-3)


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_super_resolution_keeps_the_level_or_raises_it_as_the_voice_says(folder, rate, monkeypatch):
    upsample = SuperResolution.from_pretrained(folder, device="cpu")
    own = upsample(0.5 * recording(1.0), rate).audio
    for level, peak in (("peak", 0.999), ("prompt", 0.5 * np.abs(recording(1.0)).max())):
        monkeypatch.setattr(upsample.voice.description, "level", level)
        audio = upsample(0.5 * recording(1.0), rate).audio
        assert np.abs(audio).max() == pytest.approx(peak, rel=1e-6)
        assert audio * np.abs(own).max() == pytest.approx(peak * own, abs=1e-6)


def test_the_command_line_knows_the_levels():
    assert command_line.LEVELS == LEVELS


def test_shipped_prompts_know_their_peaks():
    for path in sorted((VOICES_FOLDER / "lite" / "prompts").iterdir()):
        assert 0 < VoicePrompt.load(path).peak <= 1, path
