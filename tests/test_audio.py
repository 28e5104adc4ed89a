"""Sound files in and out: formats, rates, refusals, atomic writing; loudness, silence; spectrograms; masks."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_voice import recording

from speech.audio import (
    AudioError,
    block_power,
    check_writable,
    load_audio,
    resample,
    save_audio,
    set_loudness,
    trim_silence,
)
from speech.masks import lengths_to_mask
from speech.spectrogram import AudioConfig, LinearSpectrogram, MelSpectrogram, mel_filterbank


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_what_is_saved_is_loaded_again(tmp_path, name):
    wav = recording(1.0)
    save_audio(tmp_path / name, wav, 16000)
    again, rate = load_audio(tmp_path / name)
    assert rate == 16000 and again.dtype == np.float32 and again.shape == wav.shape
    assert np.abs(again - wav).max() < (0.05 if name == "a.ogg" else 1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_long_recordings_are_written(tmp_path):
    save_audio(tmp_path / "a.ogg", np.tile(recording(5.0), 60), 16000)
    assert soundfile.info(tmp_path / "a.ogg").frames == 5 * 60 * 16000


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW"])
def test_channels_become_one_and_the_rate_changes(tmp_path, subtype):
    wav = recording(1.0, sample_rate=44100)
    soundfile.write(tmp_path / "a.wav", np.stack([wav, 0 * wav], 1), 44100, subtype=subtype)
    mono, rate = load_audio(tmp_path / "a.wav", 16000)
    assert rate == 16000 and len(mono) == 16000
    assert np.abs(mono - resample(wav, 44100, 16000) / 2)[100:-100].max() < 0.02


def test_no_more_is_read_than_asked_for(tmp_path):
    save_audio(tmp_path / "a.wav", recording(2.0), 16000)
    assert len(load_audio(tmp_path / "a.wav", max_seconds=0.5)[0]) == 8000


def test_unusable_files_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "rate.wav", np.zeros(9), 10)
    for name in ("missing.wav", "text.wav", "empty.wav", "nan.wav", "rate.wav", "."):
        with pytest.raises(AudioError) as error:
            load_audio(tmp_path / name)
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_nothing_is_written_where_it_cannot_be_whole(tmp_path):
    (tmp_path / "old.wav").write_bytes(b"old")
    for wav in (np.array([0.0, np.nan]), np.array([np.inf]), np.zeros(0), np.zeros((2, 2))):
        with pytest.raises(AudioError):
            save_audio(tmp_path / "old.wav", wav, 16000)
    for name in ("a.xyz", "a", "missing/a.wav", "."):
        with pytest.raises(AudioError):
            check_writable(tmp_path / name)
    assert (tmp_path / "old.wav").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_samples_beyond_full_scale_do_not_wrap_around(tmp_path):
    save_audio(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5]), 16000)
    assert np.abs(load_audio(tmp_path / "a.wav")[0] - [1.0, -1.0, 0.5]).max() < 1e-3


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit():
    time = np.arange(48000) / 48000
    tone, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 12000 * time)
    out = resample(tone + high, 48000, 16000)
    assert np.abs(out - np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))[200:-200].max() < 1e-3


def test_loudness_is_that_of_the_loud_parts_and_never_clips():
    wav = recording(2.0)
    pauses = np.concatenate([np.zeros(32000, np.float32), wav, np.zeros(32000, np.float32)])
    for x in (wav, 10 * wav, 1e-3 * wav, pauses):
        level = set_loudness(x)
        loud = level[np.abs(level) > 1e-6]
        assert np.sqrt(np.square(loud).mean()) == pytest.approx(10 ** (-23 / 20), rel=0.1)
    click = np.zeros(16000, np.float32)
    click[::800] = 0.5
    assert np.abs(set_loudness(click)).max() == pytest.approx(0.95)
    assert np.abs(set_loudness(np.zeros(5, np.float32))).max() == 0 and len(set_loudness(np.zeros(0))) == 0


def test_block_power_is_the_same_however_long_the_recording():
    wav = np.random.default_rng(0).standard_normal(2_500_000).astype(np.float32)
    whole = np.square(wav[: len(wav) // 7 * 7].astype(np.float64)).reshape(-1, 7).mean(axis=1)
    assert np.array_equal(block_power(wav, 7), whole)
    assert len(block_power(wav[:6], 7)) == 0


def test_a_header_that_promises_too_much_is_refused_and_costs_nothing(tmp_path):
    """256 GB are not asked for: it is read block by block, and libsndfile finds no end."""
    save_audio(tmp_path / "a.flac", np.full(70_000, 0.25, np.float32), 16000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # total samples: 36 bits, the upper four of them here
    data[22:26] = b"\xff\xff\xff\xff"
    (tmp_path / "b.flac").write_bytes(data)
    assert soundfile.info(tmp_path / "b.flac").frames == 2**36 - 1
    with pytest.raises(AudioError, match="b.flac: not a sound file that libsndfile can read"):
        load_audio(tmp_path / "b.flac")
    assert len(load_audio(tmp_path / "b.flac", max_seconds=1.0)[0]) == 16000


def test_silence_is_trimmed_at_both_ends_only():
    wav, silence = recording(1.0), np.full(16000, 1e-5, np.float32)
    trimmed = trim_silence(np.concatenate([silence, wav, silence, wav, silence]), 16000)
    assert abs(len(trimmed) - 3.1 * 16000) < 800
    assert len(trim_silence(silence, 16000)) == 0 and len(trim_silence(silence[:0], 16000)) == 0


def test_masks():
    assert lengths_to_mask(torch.tensor([2, 0, 3])).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert lengths_to_mask(torch.tensor([1]), 3).tolist() == [[True, False, False]]


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 640, 641, 5001])
@pytest.mark.parametrize("sizes", [(1280, 1280, 320), (512, 400, 160), (1024, 800, 200)])
def test_spectrograms_have_one_frame_a_hop(samples, sizes):
    config = AudioConfig(n_fft=sizes[0], win_length=sizes[1], hop_length=sizes[2], n_mels=20)
    wav = torch.randn(2, samples)
    assert MelSpectrogram(config)(wav).shape == (2, 20, samples // sizes[2])
    assert LinearSpectrogram(config)(wav).shape == (2, sizes[0] // 2 + 1, samples // sizes[2])


def test_mel_of_a_tone_by_hand():
    """One frame of the definition, spelled out: Hann, power, HTK triangles, ln(x + 0.001)."""
    config = AudioConfig()
    wav = torch.sin(2 * torch.pi * 1000 * torch.arange(6400) / 16000)[None]
    frame = wav[0, 10 * 320 - 640 : 10 * 320 + 640] * (
        0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(1280) / 1280)
    )
    power = torch.fft.rfft(frame.double()).abs() ** 2
    mel = torch.log(power.float() @ mel_filterbank(config) + 1e-3)
    torch.testing.assert_close(MelSpectrogram(config)(wav)[0, :, 10], mel, rtol=1e-4, atol=1e-3)
    assert mel.argmax() in (27, 28)  # 1000 Hz is 1000 mel: 28.5 of the 81 steps to 2840 mel
    linear = LinearSpectrogram(config)(wav)[0, :, 10]
    torch.testing.assert_close(linear.double(), power.sqrt(), rtol=1e-3, atol=1e-3)


def test_spectrograms_stay_float32_under_autocast_and_have_finite_gradients():
    config = AudioConfig()
    wav = torch.zeros(1, 3200, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        mel, spec = MelSpectrogram(config)(wav), LinearSpectrogram(config)(wav)
    assert mel.dtype == spec.dtype == torch.float32
    (mel.sum() + spec.sum()).backward()
    assert wav.grad.isfinite().all()


@pytest.mark.parametrize("change", [{"win_length": 2000}, {"f_max": 9000.0}, {"hop_length": 0}])
def test_impossible_signal_parameters_are_refused(change):
    with pytest.raises(ValueError):
        AudioConfig(**change)
