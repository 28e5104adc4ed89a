"""Pipelines on tiny random voices of both families: shapes, levels, prompts, pitch, voices that do not fit."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_voice import build_voice, recording

import hierspeech
from hierspeech import SuperResolution, TextToSpeech, VoicePrompt, load_voice
from hierspeech.pipelines.arguments import piece_generator
from hierspeech.pipelines.conversion import move_pitch, piece_bounds
from hierspeech.pipelines.output import change_rate
from hierspeech.pipelines.prompt import as_prompt
from hierspeech.pipelines.recording import prepare_reference
from hierspeech.pipelines.tts import clip_pitch
from hierspeech.pipelines.voice import Voice, find_voice, shipped_voices
from hierspeech.pipelines.voice_pitch import pitch_range
from speech.audio import save_audio
from speech.f0 import extract_f0
from speech.spectrogram import MelSpectrogram

TEXT = "Hello, world. How are you?"


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_text_becomes_speech(tts, prompt, rate):
    speech = tts(TEXT, prompt, seed=0, output_sample_rate=rate)
    assert speech.sample_rate == rate and speech.audio.dtype == np.float32 and speech.audio.ndim == 1
    assert np.isfinite(speech.audio).all() and 0.01 < np.abs(speech.audio).max() <= 0.951
    assert 0.2 < speech.seconds < 60 and speech.unknown == []


def test_equal_seeds_give_equal_speech(tts, prompt):
    first, again, other = (tts("Hello.", prompt, seed=seed).audio for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(tts("Hello.", prompt).audio, tts("Hello.", prompt).audio)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_speed_changes_the_length(tts, prompt):
    slow, fast = (tts(TEXT, prompt, seed=0, speed=speed).seconds for speed in (0.5, 2.0))
    assert slow > 1.5 * fast


def test_sentences_are_spoken_in_turn_with_pauses(tts, prompt):
    calls = []
    speech = tts(TEXT, prompt, seed=0, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    sentences = tts.encode(TEXT)[0]
    alone = [tts.speak(ids, prompt, generator=piece_generator(0, i)) for i, ids in enumerate(sentences)]
    assert len(speech.audio) == sum(map(len, alone)) + 3200


def test_unknown_symbols_are_reported(tts, prompt):
    assert tts("Hello \U0001f600 \ue000 world.", prompt, seed=0).unknown == ["\ue000"]


@pytest.mark.parametrize("text", ["", "  \n", "\ue000"])
def test_text_with_nothing_to_say(tts, prompt, text):
    with pytest.raises(ValueError, match="text"):
        tts(text, prompt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speed": 0}, "speed"),
        ({"speed": math.nan}, "speed"),
        ({"speed": 100}, "speed"),
        ({"noise_scale": -1}, "noise scale"),
        ({"noise_scale_vc": math.nan}, "noise scale vc nan"),
        ({"denoise_ratio": 2}, "denoise ratio 2: expected a number from 0 to 1"),
        ({"denoise_ratio": math.nan}, "denoise ratio nan"),
        ({"level": "loud"}, "level 'loud': expected one of loudness, peak, prompt"),
        ({"output_sample_rate": 44100}, "44100"),
        ({"seed": -1}, "seed"),
        ({"language": "xx-nowhere"}, "xx-nowhere"),
    ],
)
def test_arguments_outside_their_range(tts, prompt, arguments, message):
    with pytest.raises(ValueError, match=message):
        tts("Hello.", prompt, **arguments)


def test_a_reference_is_a_file_an_array_or_a_prompt(tts, tmp_path):
    wav = recording(2.0, sample_rate=48000)
    save_audio(tmp_path / "a.flac", wav, 48000)
    prompts = [tts.prompt(tmp_path / "a.flac"), tts.prompt(wav, sample_rate=48000)]
    prompts[0].save(tmp_path / "a.safetensors")
    prompts.append(tts.prompt(tmp_path / "a.safetensors"))
    for prompt in prompts:
        assert prompt.ttv_style.shape[0] == prompt.synthesizer_style.shape[0] == 1
        assert math.exp(prompt.log_f0_mean) == pytest.approx(120, rel=0.05)
        assert 0.03 < prompt.log_f0_std < 0.12
        torch.testing.assert_close(prompt.ttv_style, prompts[0].ttv_style, rtol=1e-2, atol=1e-2)
    assert torch.equal(prompts[2].ttv_style, prompts[0].ttv_style) and prompts[2].voice == "tiny-1"


def test_the_style_is_that_of_the_style_encoders(tts, prompt):
    wav = torch.from_numpy(prepare_reference(recording(), 16000)[0])
    mel = MelSpectrogram(tts.voice.audio)(wav[None])
    with torch.no_grad():
        torch.testing.assert_close(prompt.ttv_style, tts.voice.ttv.style_encoder(mel))
        style = tts.voice.synthesizer.style_encoder(mel)
    torch.testing.assert_close(prompt.synthesizer_style[:, : style.shape[1]], style)
    assert prompt.synthesizer_style.shape[1] == tts.voice.synthesizer.config.style_size


def test_the_table_of_a_prompt_is_what_the_voice_itself_lacks(tmp_path):
    voice = load_voice(build_voice(tmp_path / "voice", "lite"), "cpu")
    wav = recording()
    prompt, synthesizer = VoicePrompt.from_audio(wav, voice), voice.synthesizer
    heard = torch.from_numpy(prepare_reference(wav, 16000)[0])
    heard = heard[None, : len(heard) // 320 * 320]
    f0 = torch.from_numpy(np.log1p(extract_f0(heard[0].numpy(), f0_max=500.0)))[None, None]
    with torch.inference_mode():
        semantic = voice.semantic_encoder(heard)
        style, table = prompt.synthesizer_style[:, :6], None
        for _ in range(synthesizer.equalizer.config.passes):
            whole = style if table is None else torch.cat([style, table], 1)
            copy, _ = synthesizer.reconstruct(semantic, f0, whole)
            table = synthesizer.equalizer.measure(semantic, heard, copy[:, 0], table)
    torch.testing.assert_close(prompt.synthesizer_style[:, 6:], table, atol=1e-4, rtol=1e-4)
    assert table[:, 4:].abs().max() > 0.1


def test_level_silence_and_length_of_a_reference_do_not_matter_much(tts):
    wav = recording(2.0)
    silence = np.zeros(24000, np.float32)
    plain = prepare_reference(wav, 16000)[0]
    for other in (0.01 * wav, 3 * wav, np.concatenate([silence, wav, silence])):
        prepared, peak = prepare_reference(other, 16000)
        assert abs(len(prepared) - len(plain)) <= 2 * 3200 + 640
        assert np.std(prepared) == pytest.approx(np.std(plain), rel=0.15)
        assert peak == np.abs(other).max()
    assert len(prepare_reference(np.tile(wav, 40), 16000)[0]) == 30 * 16000


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros(32000), "silent"),
        (np.full(32000, 0.5), "silent"),
        (recording(0.1), "0.5 s"),
        (np.pad(recording(0.1), 16000), "0.5 s"),
        (np.where(np.arange(32000) == 9, np.nan, recording()), "finite"),
        (np.where(np.arange(32000) == 9, np.inf, recording()), "finite"),
        (np.zeros((2, 16000)), "shape"),
    ],
)
def test_unusable_references(tts, wav, message):
    with pytest.raises(ValueError, match=message):
        tts("Hello.", wav.astype(np.float32))


def test_a_reference_without_pitch_still_speaks(tts):
    whisper = 0.05 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    prompt = tts.prompt(whisper)
    assert not prompt.has_pitch
    assert np.isfinite(tts("Hello.", prompt, seed=0).audio).all()


def test_a_prompt_of_another_voice_is_refused(tts, prompt, tmp_path):
    other = VoicePrompt(**(vars(prompt) | {"voice": "other-1"}))
    with pytest.raises(ValueError, match="'other-1'.*'tiny-1'"):
        tts("Hello.", other)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a saved voice prompt"):
        tts("Hello.", tmp_path / "bad.safetensors")


def test_shipped_prompts_are_found_by_name(folder, prompt, tmp_path):
    values = json.loads((folder / "voice.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in ("ttv", "synthesizer", "phonetic"):
        (copy / part).symlink_to(folder / part)
    (copy / "voice.json").write_text(json.dumps(values | {"prompts": ["anna"], "speechsr": {}}))
    (copy / "prompts").mkdir()
    prompt.save(copy / "prompts" / "anna.safetensors")
    voice = load_voice(copy, "cpu")
    assert torch.equal(as_prompt(None, voice).ttv_style, prompt.ttv_style)
    assert torch.equal(as_prompt("anna", voice).ttv_style, prompt.ttv_style)
    with pytest.raises(ValueError, match="bert: no such sound file, nor a saved prompt of the voice .anna"):
        as_prompt("bert", voice)


def test_a_voice_without_a_denoiser_says_so(tts, convert, prompt):
    for reference in (recording(), prompt, None):
        with pytest.raises(ValueError, match="denoise ratio 0.5: the voice 'tiny' has no denoiser"):
            tts("Hello.", reference, denoise_ratio=0.5)
    with pytest.raises(ValueError, match="has no denoiser"):
        convert(recording(), prompt, denoise_ratio=1.0)
    assert len(tts("Hello.", prompt, denoise_ratio=0).audio)


def test_a_denoiser_hears_what_the_style_encoders_hear(tts, monkeypatch):
    """Of a voice of ours that is the levelled recording; half of its style is then that of the cleaned one."""
    heard = []

    def denoise(model, wav):
        heard.append(wav.numpy())
        return -0.5 * wav.flip(0)  # another sound

    monkeypatch.setattr("denoiser.windows.denoise", denoise)
    monkeypatch.setattr(tts.voice.description, "denoiser", "denoiser")
    monkeypatch.setattr(Voice, "denoiser", property(lambda _: "model"))
    wav, raw, mixed = (
        recording(1.77),
        tts.prompt(recording(1.77)),
        tts.prompt(recording(1.77), denoise_ratio=0.5),
    )
    prepared = prepare_reference(wav, 16000)[0]
    assert len(heard[0]) % 1600 == 0 and np.array_equal(heard[0][: len(prepared)], prepared)
    assert 0 < len(heard[0]) - len(prepared) <= 1600 and not heard[0][len(prepared) :].any()
    cleaned = torch.from_numpy((-0.5 * heard[0][::-1])[: len(prepared)].copy())
    with torch.no_grad():
        style = tts.voice.ttv.style_encoder(MelSpectrogram(tts.voice.audio)(cleaned[None]))
    torch.testing.assert_close(mixed.ttv_style, 0.5 * raw.ttv_style + 0.5 * style)
    assert mixed.log_f0_mean == raw.log_f0_mean


def test_noise_of_the_synthesizer_follows_unless_it_is_said(tts, prompt):
    both, same, other = (
        tts("Hello.", prompt, seed=0, noise_scale=0.5, noise_scale_vc=scale).audio
        for scale in (None, 0.5, 0.0)
    )
    assert np.array_equal(both, same) and len(both) == len(other) and not np.array_equal(both, other)


@pytest.mark.parametrize("samples", [8000, 12800, 12801, 33333])
def test_conversion_keeps_the_length(convert, prompt, samples):
    speech = convert(recording(3.0)[:samples], prompt, seed=0)
    assert (
        len(speech.audio) == samples and np.isfinite(speech.audio).all() and np.abs(speech.audio).max() > 0.01
    )
    assert len(convert(recording(3.0)[:samples], prompt, output_sample_rate=24000).audio) == round(
        1.5 * samples
    )


def test_conversion_hears_source_and_target(convert):
    source, target, high = recording(1.0), recording(2.0, 90.0), recording(2.0, 220.0)
    a, b, c = (
        convert(x, y, seed=0).audio
        for x, y in ((source, target), (source, high), (source[::-1].copy(), target))
    )
    assert np.abs(a - b).max() > 1e-4 and np.abs(a - c).max() > 1e-4


def test_a_long_source_is_converted_in_pieces(convert, prompt):
    calls = []
    wav = recording(22.0)
    speech = convert(wav, prompt, seed=0, progress=lambda *count: calls.append(count))
    assert len(speech.audio) == len(wav) and calls[-1][0] == calls[-1][1] >= 2


def test_pieces_are_cut_in_pauses():
    wav = recording(50.0)
    wav[15 * 16000 : 15 * 16000 + 3200] = 0
    bounds = piece_bounds(wav, 16000)
    assert bounds[0][0] == 0 and bounds[-1][1] == len(wav)
    assert all(a[1] == b[0] for a, b in zip(bounds, bounds[1:], strict=False))
    assert max(stop - start for start, stop in bounds) <= 20 * 16000
    assert 15 * 16000 <= bounds[0][1] <= 15 * 16000 + 3200


def test_unusable_sources(convert, prompt, tmp_path):
    for wav, message in (
        (np.zeros(16000), "silent"),
        (recording(0.05), "0.1 s"),
        (np.zeros(0), "no samples"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(wav.astype(np.float32), prompt)
    with pytest.raises(ValueError, match="no such sound file"):
        convert(tmp_path / "missing.wav", prompt)


def test_pitch_moves_to_the_targets_mean_and_deviation():
    rng = np.random.default_rng(0)
    f0 = np.exp(rng.normal(math.log(120), 0.1, 400)).astype(np.float32)
    f0[::3] = 0
    moved = move_pitch(f0, pitch_range(f0), (math.log(220), 0.2))
    assert ((moved > 0) == (f0 > 0)).all()
    assert pitch_range(moved, "as_recorded") != pitch_range(moved)  # where every frame counts
    assert pitch_range(moved) == pytest.approx((math.log(220), 0.2), rel=0.03)
    monotone = np.full(100, 120.0, np.float32)
    assert move_pitch(monotone, pitch_range(monotone), (math.log(220), 0.2)) == pytest.approx(220)
    for source, target in (((0.0, 0.0), (5.0, 0.2)), (pitch_range(f0), (0.0, 0.0))):
        assert np.array_equal(move_pitch(f0, source, target), f0)
    assert pitch_range(np.zeros(50)) == (0.0, 0.0)


def test_pitch_under_the_floor_is_unvoiced():
    log_f0 = torch.log(torch.tensor([[[0.0, 40.0, 53.0, 55.0, 200.0]]]) + 1)
    assert (clip_pitch(log_f0, 55.0) > 0).tolist() == [[[False, False, False, True, True]]]


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_super_resolution(folder, rate, tmp_path):
    upsample = SuperResolution.from_pretrained(folder, device="cpu")
    wav = recording(1.0)[:15999]
    speech = upsample(wav, rate)
    assert speech.sample_rate == rate and abs(len(speech.audio) - 15999 * rate / 16000) <= 1
    assert np.isfinite(speech.audio).all() and np.abs(speech.audio).max() <= 0.951


def test_super_resolution_in_pieces_equals_the_whole(folder, monkeypatch):
    voice = load_voice(folder, "cpu")
    wav = recording(2.0)[:31999]
    for rate in (24000, 48000):
        whole = change_rate(wav, voice, rate)
        monkeypatch.setattr("hierspeech.pipelines.output.CHUNK_SAMPLES", 10000)
        pieces = change_rate(wav, voice, rate)
        monkeypatch.undo()
        assert len(whole) == round(31999 * rate / 16000)
        assert np.abs(whole - pieces).max() < 1e-4


def test_pipelines_of_one_voice_share_its_models(folder, tts, convert):
    assert tts.voice is convert.voice is load_voice(folder, "cpu")
    assert tts.voice.synthesizer is convert.voice.synthesizer


def test_parts_that_do_not_fit_are_refused(tmp_path):
    folder = build_voice(tmp_path / "voice", "lite")
    config = json.loads((folder / "ttv" / "config.json").read_text())
    for change in (
        {"semantic": config["semantic"] | {"layer": 2}},
        {"audio": config["audio"] | {"f_min": 20.0}},
    ):
        (folder / "ttv" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=f"{next(iter(change))} .* differs from the ttv's"):
            load_voice(folder, "cpu")


@pytest.mark.parametrize(
    "change", [{"format": 9}, {"name": 3}, {"ttv": "../ttv"}, {"surprise": 1}, {"prompts": ["../../x"]}]
)
def test_broken_voice_descriptions_are_refused(tmp_path, change):
    folder = tmp_path / "voice"
    folder.mkdir()
    values = {"name": "tiny", "ttv": "ttv", "synthesizer": "synthesizer", "semantic_encoder": "phonetic"}
    (folder / "voice.json").write_text(json.dumps(values | change))
    with pytest.raises(ValueError, match="voice.json"):
        load_voice(folder, "cpu")


def test_unknown_voices_and_devices(folder, tmp_path):
    for name in ("nobody", "../nobody", str(tmp_path), ""):
        with pytest.raises(ValueError, match="voice"):
            find_voice(name)
    for device in ("gpu", "cuda:99", "cpu:x", ""):
        with pytest.raises(ValueError, match="device"):
            load_voice(folder, device)


@pytest.mark.parametrize("name", shipped_voices())
def test_shipped_voices_load_with_all_their_prompts(name):
    voice = load_voice(name, "cpu")
    for prompt in (None, *voice.description.prompts):
        assert as_prompt(prompt, voice).has_pitch
    TextToSpeech(voice).encode("A voice that ships is able to speak.")


def test_the_public_names_are_there():
    for name in hierspeech.__all__:
        assert getattr(hierspeech, name).__doc__
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = hierspeech.Nonsense
    root = Path(hierspeech.__file__).parent
    assert (root / "py.typed").is_file()
    assert f'version = "{hierspeech.__version__}"' in (root.parent / "pyproject.toml").read_text()


def test_a_prompt_of_another_voice_of_the_same_name_is_refused(tmp_path):
    tts = TextToSpeech.from_pretrained(build_voice(tmp_path / "voice", "lite"), device="cpu")
    prompt = tts.prompt(recording())
    prompt.synthesizer_style = torch.zeros(1, 99)
    with pytest.raises(
        ValueError, match="styles of \\[6, 99\\] numbers, but the voice 'tiny-1' has \\[6, 166\\]"
    ):
        tts("Hello.", prompt)


def test_a_voice_that_was_made_anew_is_loaded_anew(tmp_path):
    old = load_voice(build_voice(tmp_path / "voice", "lite"), "cpu")
    assert load_voice(tmp_path / "voice", "cpu") is old
    shutil.rmtree(tmp_path / "voice")
    new = load_voice(build_voice(tmp_path / "voice", "lite", denoiser=True), "cpu")
    assert new is not old and new.denoiser is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f0_floor_hz": 0.0}, "f0_floor_hz is 0"),
        ({"max_chars": 0}, "max_chars is 0"),
        ({"noise_scale": float("nan")}, "noise_scale is nan"),
        ({"denoise_ratio": 0.5}, "expected 0 for a voice without a denoiser"),
        ({"speechsr": {"44100": "speechsr"}}, "speechsr names .'44100'."),
    ],
)
def test_descriptions_that_cannot_work_are_refused(tmp_path, changes, message):
    folder = build_voice(tmp_path / "voice", "lite")
    description = json.loads((folder / "voice.json").read_text())
    (folder / "voice.json").write_text(json.dumps(description | changes))
    with pytest.raises(ValueError, match=message):
        load_voice(folder, "cpu")
