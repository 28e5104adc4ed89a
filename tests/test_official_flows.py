"""The three flows of the published scripts (hand-over section 8), written out by hand here with the models alone, beside
the pipelines: a voice of the published kind gives the same samples for the same noise, denoiser and 48 kHz included.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_voice import AUDIO, build_voice, recording
from torch.nn import functional as F

import convert
import infer
import upsample
from denoiser.model import Denoiser, DenoiserConfig
from hierspeech import SuperResolution, TextToSpeech, VoiceConversion, load_voice
from hierspeech.pipelines.arguments import piece_generator
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.voice import Voice
from speech.f0 import extract_f0
from speech.resampling import resample_kaiser
from speech.spectrogram import MelSpectrogram

TEXT = "Hello there, my friend."
SEED = 5


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Voice:
    """A tiny voice as the importer writes published weights, loud enough that every step shows in the samples."""
    folder = build_voice(
        tmp_path_factory.mktemp("voices") / "official",
        "official",
        speechsr=True,
        denoiser="denoiser",
        recordings="as_recorded",
        level="peak",
        normalizer="english_cleaners2",
    )
    torch.manual_seed(1)
    sizes = {"channels": 4, "dense_depth": 2, "n_blocks": 1, "heads": 2, "conv_kernel": 3}
    Denoiser(DenoiserConfig(**sizes, crossed_attention=True)).save_pretrained(folder / "denoiser")
    voice = load_voice(folder, "cpu")
    with torch.no_grad():
        voice.ttv.pitch_predictor.conv_post.weight *= (
            -200
        )  # untrained, all of its F0 would lie under the floor
        for model in (voice.ttv, voice.synthesizer):
            model.style_encoder.proj.weight *= 20  # untrained, all prompts would sound alike
    return voice


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """44.1 kHz, stereo with another sound on the right, and near-silence that our own preparation would cut away."""
    path = tmp_path_factory.mktemp("recordings") / "reference.wav"
    left = np.pad(recording(2.0, 180.0, 44100), (22050, 11025))
    left += 3e-4 * np.random.default_rng(0).standard_normal(len(left)).astype(np.float32)
    right = recording(2.75, 90.0, 44100)
    soundfile.write(path, np.stack([2 * left, right], 1), 44100, subtype="FLOAT")
    return path


# ---- the published steps ----


def read(path: Path) -> torch.Tensor:
    """The first channel at 16 kHz [T]."""
    wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(resample_kaiser(wav[:, 0], rate, 16000))


def cleaned(model: Denoiser, wav: torch.Tensor) -> torch.Tensor:
    """The denoiser's wrapper around one wave [T]."""
    level = (len(wav) / wav.square().sum()).sqrt()
    magnitude, phase = model.analyse((wav * level)[None])
    out = model(magnitude, phase)
    return model.synthesise(out.magnitude, out.phase, len(wav))[0] / level


def styles(voice: Voice, wav: torch.Tensor, ratio: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of two prompts, padded, cleaned and cut back, and the mixture of their two style vectors: of both models."""
    padded = F.pad(wav, (0, (len(wav) // 1600 + 1) * 1600 - len(wav)))
    second = padded if ratio == 0 else cleaned(voice.denoiser, padded)[: len(padded)]
    batch = torch.stack([padded, second])[:, : len(wav)]
    mel = MelSpectrogram(AUDIO)(batch)
    assert mel.shape == (2, AUDIO.n_mels, len(wav) // 320)
    pairs = (voice.ttv.style_encoder(mel), voice.synthesizer.style_encoder(mel))
    return tuple((1 - ratio) * pair[0:1] + ratio * pair[1:] for pair in pairs)


def scaled(wav: torch.Tensor, prompt_peak: float | None = None) -> np.ndarray:
    wav = wav.squeeze()
    return (wav / wav.abs().max() * (0.999 if prompt_peak is None else prompt_peak)).numpy()


@torch.inference_mode()
def published_speech(voice, path, ratio, rate, noise_scale_ttv, noise_scale_vc) -> torch.Tensor:
    wav = read(path)
    ttv_style, synthesizer_style = styles(voice, wav, ratio)
    ids = torch.tensor(TextToSpeech(voice).encode(TEXT)[0])
    noise = torch.Generator().manual_seed(SEED)
    out = voice.ttv.infer(ids, ttv_style, noise_scale=noise_scale_ttv, generator=noise)
    assert 0.1 < (out.log_f0 < math.log(55)).float().mean() < 0.9  # the floor has something to do
    log_f0 = out.log_f0.clone()
    log_f0[log_f0 < math.log(55)] = 0
    y = voice.synthesizer.infer(
        out.semantic, log_f0, synthesizer_style, noise_scale=noise_scale_vc, generator=noise
    )
    return y if rate == 16000 else voice.speechsr(rate).infer(y)


@torch.inference_mode()
def published_conversion(voice, source, path, ratio, rate) -> torch.Tensor:
    padded = F.pad(source, (0, (len(source) // 1280 + 1) * 1280 - len(source)))
    target = read(path)
    own, theirs = (extract_f0(wav.numpy(), f0_max=1100.0) for wav in (padded, target))
    # In the logarithmic domain, which is our difference; the published code works in Hz.
    voiced, log_own, log_theirs = own > 0, np.log(own[own > 0]), np.log(theirs[theirs > 0])
    own[voiced] = np.exp((log_own - log_own.mean()) / log_own.std() * log_theirs.std() + log_theirs.mean())
    y = voice.synthesizer.infer(
        voice.semantic_encoder(padded[None]),
        torch.log(torch.from_numpy(own) + 1)[None, None],
        styles(voice, target, ratio)[1],
        noise_scale=0.333,
        generator=torch.Generator().manual_seed(SEED),
    )
    assert y.shape[-1] == len(padded)
    return y if rate == 16000 else voice.speechsr(rate).infer(y)


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for float32 rounding: a batch of two prompts is not summed in the order of one."""
    assert got.dtype == np.float32 and got.shape == expected.shape
    assert np.abs(got - expected).max() <= 2e-6 * np.abs(expected).max()


# ---- the pipelines beside them ----


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_speech_is_that_of_the_published_steps(voice, reference, rate, ratio):
    expected = scaled(published_speech(voice, reference, ratio, rate, 0.333, 0.333))
    speech = TextToSpeech(voice)(
        TEXT, reference, seed=SEED, output_sample_rate=rate, denoise_ratio=ratio, noise_scale=0.333
    )
    assert_same(speech.audio, expected)


def test_both_noise_scales_reach_their_models(voice, reference):
    expected = scaled(published_speech(voice, reference, 0.0, 16000, 0.667, 0.1))
    speak = TextToSpeech(voice)
    assert_same(speak(TEXT, reference, seed=SEED, noise_scale=0.667, noise_scale_vc=0.1).audio, expected)
    other = speak(TEXT, reference, seed=SEED, noise_scale=0.667).audio
    assert other.shape == expected.shape and np.abs(other - expected).max() > 1e-3


@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_level_can_be_that_of_the_prompt(voice, reference, rate):
    peak = float(read(reference).abs().max())
    assert 0.2 < peak < 0.9
    expected = scaled(published_speech(voice, reference, 0.0, rate, 0.333, 0.333), peak)
    options = {"seed": SEED, "output_sample_rate": rate, "level": "prompt"}
    assert_same(TextToSpeech(voice)(TEXT, reference, **options).audio, expected)
    source = recording(1.0)
    assert np.abs(VoiceConversion(voice)(source, reference, **options).audio).max() == pytest.approx(
        peak, rel=1e-6
    )


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("ratio", [0.0, 0.3])
@pytest.mark.parametrize("samples", [12799, 12800, 20000])
def test_conversion_is_that_of_the_published_steps(voice, reference, rate, ratio, samples):
    source = recording(3.0, 120.0)[:samples]
    expected = published_conversion(voice, torch.from_numpy(source), reference, ratio, rate)
    speech = VoiceConversion(voice)(
        source, reference, seed=SEED, output_sample_rate=rate, denoise_ratio=ratio, noise_scale=0.333
    )
    # The published output goes on to the end of the padding; ours ends where the source does.
    assert_same(speech.audio, scaled(expected[..., : samples * rate // 16000]))


def test_a_source_of_another_rate_is_resampled_and_nothing_else(voice, reference, tmp_path):
    wav = recording(1.0, 130.0, 44100)
    soundfile.write(tmp_path / "source.wav", np.stack([wav, 0.5 * wav], 1), 44100, subtype="FLOAT")
    # The mean of the channels is our difference.
    source = torch.from_numpy(resample_kaiser(np.stack([wav, 0.5 * wav]).mean(axis=0), 44100, 16000))
    expected = scaled(published_conversion(voice, source, reference, 0.0, 16000)[..., : len(source)])
    assert_same(VoiceConversion(voice)(tmp_path / "source.wav", reference, seed=SEED).audio, expected)


@pytest.mark.parametrize(("rate", "samples"), [(24000, 32000), (48000, 32000), (48000, 31999)])
def test_super_resolution_is_that_of_the_published_steps(voice, tmp_path, rate, samples):
    wav = recording(2.0)[:samples]
    with torch.inference_mode():
        expected = scaled(voice.speechsr(rate).infer(torch.from_numpy(wav)[None, None]))
    assert_same(SuperResolution(voice)(wav, rate).audio, expected)


def test_super_resolution_hears_the_first_channel_through_the_published_resampler(voice, reference):
    with torch.inference_mode():
        expected = scaled(voice.speechsr(48000).infer(read(reference)[None, None]))
    assert_same(SuperResolution(voice)(reference, 48000).audio, expected)


def test_files_differ_from_the_published_ones_by_rounding_alone(voice, reference, tmp_path, monkeypatch):
    monkeypatch.setattr("hierspeech.pipelines.voice.load_voice", lambda *_: voice)
    monkeypatch.setattr("hierspeech.pipelines.pipeline.load_voice", lambda *_: voice)
    out = tmp_path / "out.wav"
    arguments = ["--text", TEXT, "--ref", str(reference), "--out", str(out), "--seed", str(SEED)]
    assert infer.main([*arguments, "--denoise-ratio", "0.3", "--output-sr", "48000"]) == 0
    y = published_speech(voice, reference, 0.3, 48000, 0.333, 0.333).squeeze()
    published = (y / y.abs().max() * 32767.0 * 0.999).numpy().astype(np.int16)
    written = soundfile.read(out, dtype="int16")[0]
    assert np.abs(written.astype(int) - published.astype(int)).max() <= 2


# ---- what only shows at the edges ----


def test_the_denoiser_stays_on_disk_at_ratio_0(voice, reference, monkeypatch):
    monkeypatch.setattr(Voice, "denoiser", property(lambda _: pytest.fail("the denoiser was loaded")))
    tts = TextToSpeech(voice)
    assert np.array_equal(
        tts(TEXT, reference, seed=0, denoise_ratio=0).audio, tts(TEXT, reference, seed=0).audio
    )


def test_more_of_the_cleaned_recording_is_another_style(voice, reference):
    raw, mixed, clean = (
        TextToSpeech(voice).prompt(reference, denoise_ratio=ratio) for ratio in (0.0, 0.25, 1.0)
    )
    assert (raw.ttv_style - clean.ttv_style).abs().max() > 0.01
    for name in ("ttv_style", "synthesizer_style"):
        torch.testing.assert_close(
            getattr(mixed, name), 0.75 * getattr(raw, name) + 0.25 * getattr(clean, name)
        )
    assert (raw.log_f0_mean, raw.peak) == (clean.log_f0_mean, clean.peak)


def test_the_voice_says_how_much_is_cleaned_where_nobody_else_does(voice, reference, monkeypatch):
    monkeypatch.setattr(voice.description, "denoise_ratio", 0.3)
    tts = TextToSpeech(voice)
    assert torch.equal(tts.prompt(reference).ttv_style, tts.prompt(reference, denoise_ratio=0.3).ttv_style)
    assert not torch.equal(tts.prompt(reference).ttv_style, tts.prompt(reference, denoise_ratio=0).ttv_style)


def test_a_saved_prompt_keeps_its_peak_and_cannot_be_cleaned_any_more(voice, reference, tmp_path):
    prompt = TextToSpeech(voice).prompt(reference, denoise_ratio=0.3)
    prompt.save(tmp_path / "a.safetensors")
    assert (
        VoicePrompt.load(tmp_path / "a.safetensors").peak == prompt.peak == float(read(reference).abs().max())
    )
    for again in (prompt, tmp_path / "a.safetensors"):
        with pytest.raises(ValueError, match=r"denoise ratio 0\.3: a saved prompt"):
            TextToSpeech(voice)(TEXT, again, denoise_ratio=0.3)
        assert len(TextToSpeech(voice)(TEXT, again, denoise_ratio=0.0).audio)


def test_one_sentence_is_untouched_and_joints_are_faded(voice, reference):
    tts = TextToSpeech(voice)
    prompt = tts.prompt(reference)
    text = "One sentence.\n\nAnother sentence."
    pause = 8000  # 0.5 s between paragraphs
    alone = [
        tts.speak(ids, prompt, generator=piece_generator(SEED, index))
        for index, ids in enumerate(tts.encode(text)[0])
    ]
    joined = tts(text, prompt, seed=SEED).audio
    scale = 0.999 / np.abs(np.concatenate(alone)).max()
    first = len(alone[0])
    assert len(joined) == first + pause + len(alone[1])
    assert np.abs(joined[: first - 80] - scale * alone[0][:-80]).max() < 1e-6
    assert np.abs(joined[first + pause + 80 :] - scale * alone[1][80:]).max() < 1e-6
    assert joined[first - 1] == pytest.approx(scale * alone[0][-1] / 81, abs=1e-7)
    assert joined[first + pause] == pytest.approx(scale * alone[1][0] / 81, abs=1e-7)
    assert not joined[first : first + pause].any()


def test_a_long_reference_is_heard_for_30_seconds_and_a_silent_one_is_refused(voice):
    wav = np.tile(recording(2.0), 16)
    tts = TextToSpeech(voice)
    assert torch.equal(tts.prompt(wav).ttv_style, tts.prompt(wav[: 30 * 16000]).ttv_style)
    for silent in (np.zeros(32000, np.float32), np.pad(recording(1.0), (31 * 16000, 0))):
        with pytest.raises(ValueError, match="silent"):
            tts.prompt(silent)


def test_sides_without_pitch_are_left_alone(voice, reference):
    whisper = 0.05 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    for source, target in ((whisper, reference), (recording(1.0), whisper)):
        assert np.isfinite(VoiceConversion(voice)(source, target, seed=0).audio).all()


def test_the_scripts_reach_the_same_steps(voice, reference, tmp_path):
    options = ["--voice", str(voice.folder), "--device", "cpu"]
    source, out = tmp_path / "source.wav", tmp_path / "out.wav"
    soundfile.write(source, recording(1.0), 16000)
    for level, peak in (("peak", 0.999), ("prompt", float(read(reference).abs().max()))):
        arguments = [*options, "--ref", str(reference), "--out", str(out), "--level", level]
        assert (
            infer.main([*arguments, "--text", TEXT, "--noise-scale-vc", "0", "--denoise-ratio", "0.5"]) == 0
        )
        assert np.abs(soundfile.read(out)[0]).max() == pytest.approx(peak, abs=1e-4)
        assert convert.main([*arguments, "--source", str(source), "--denoise-ratio", "0.5"]) == 0
        assert np.abs(soundfile.read(out)[0]).max() == pytest.approx(peak, abs=1e-4)
    assert upsample.main([str(source), str(out), *options]) == 0
    assert np.abs(soundfile.read(out)[0]).max() == pytest.approx(0.999, abs=1e-4)
    assert json.loads((voice.folder / "voice.json").read_text())["level"] == "peak"
