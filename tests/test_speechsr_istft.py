"""The lite super-resolution: what it copies, what it makes, what it costs, its training, and its place in a voice."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_speechsr_recipe import OVERFIT, losses_on_one_batch, recipe_of
from tiny_voice import build_voice, recording
from wideband import buzz, write_recordings

import train
from hierspeech import SuperResolution
from hierspeech.pipelines.output import CHUNK_SAMPLES, CONTEXT_SAMPLES
from speech.audio import resample
from speech.run_folder import step_folders
from speech.training import fit
from speechsr import SPEECHSR_MODELS, ISTFTSpeechSR, ISTFTSpeechSRConfig, SpeechSR

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "configs/tiny/speechsr_istft.yaml"
SMALL = {"width": 16, "layers": 1}
COPIES = {"copy_from_hz": 4000.0}


def random_model(**changes) -> ISTFTSpeechSR:
    """Untrained, with a loud and restless upper band."""
    torch.manual_seed(0)
    model = ISTFTSpeechSR(ISTFTSpeechSRConfig(**(SMALL | changes))).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    said = model.head.out_features // (1 if model.config.copy_from_hz else 2)
    model.head.bias.data[:said] = -1.0
    return model


@pytest.mark.parametrize("copies", [{}, COPIES], ids=["made", "copied"])
@pytest.mark.parametrize("scale", [1.5, 3.0])
@pytest.mark.parametrize(("batch", "samples"), [(1, 1), (1, 161), (2, 3201), (2, 1600)])
def test_documented_shapes(scale, batch, samples, copies):
    model = random_model(scale=scale, **copies)
    wav = 0.1 * torch.randn(batch, 1, samples)
    out = model.infer(wav)
    assert out.shape == model(wav).shape == (batch, 1, int(samples * scale))
    assert out.isfinite().all() and out.abs().max() <= 1
    assert model.output_rate == 16000 * scale


@pytest.mark.parametrize("copies", [{}, COPIES], ids=["made", "copied"])
@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_the_low_band_is_the_input_s_and_the_high_one_is_made(scale, copies):
    model, rate = random_model(scale=scale, **copies), int(16000 * scale)
    wav = resample(buzz(1.0, 48000, 0), 48000, 16000)
    out = model.infer(torch.from_numpy(wav)[None, None])[0, 0].numpy()
    plain = resample(wav, 16000, rate)
    window = np.hanning(rate)
    made, kept = (np.abs(np.fft.rfft(x * window)) ** 2 for x in (out, plain))
    difference = np.abs(np.fft.rfft((out - plain) * window)) ** 2
    # 1 Hz a bin. Nearly bit for bit up to where the resampler itself begins to cut (7.3 kHz)
    assert difference[:7000].sum() < 1e-10 * kept[:7000].sum()
    assert difference[:7500].sum() < 1e-5 * kept[:7500].sum()
    assert made[8100:].sum() > 100 * kept[8100:].sum()
    # a lower border is a setting
    lower = (
        random_model(scale=scale, from_hz=6000.0, **copies)
        .infer(torch.from_numpy(wav)[None, None])[0, 0]
        .numpy()
    )
    difference = np.abs(np.fft.rfft((lower - plain) * window)) ** 2
    assert difference[:5800].sum() < 1e-7 * kept[:5800].sum()
    assert difference[6200:7500].sum() > 0.05 * kept[6200:7500].sum()


def test_a_tone_is_copied_as_a_tone():
    """Phases go on from frame to frame, so what is copied up is as pure as its source, at the source's distance."""
    model = random_model(**COPIES, from_hz=7500.0, flatten=0.0)
    torch.nn.init.zeros_(model.head.weight)
    t = np.arange(16000) / 16000
    wav = torch.from_numpy((0.3 * np.sin(2 * np.pi * 5010.0 * t)).astype(np.float32))[None, None]
    power = np.abs(np.fft.rfft(model.infer(wav)[0, 0].numpy() * np.hanning(48000))) ** 2
    copies = [5010 + k * 3500 for k in range(1, 6)]  # 3500 Hz are the stretch that is copied
    peaks = [7500 + k * 3500 + int(power[7500 + k * 3500 : 11000 + k * 3500].argmax()) for k in range(5)]
    assert peaks == pytest.approx(copies, abs=1)
    near = sum(power[hz - 10 : hz + 11].sum() for hz in copies)
    assert near > 0.999 * power[7600:].sum()


@pytest.mark.parametrize("copies", [{}, COPIES], ids=["made", "copied"])
def test_a_lower_rate_is_the_same_spectrum_that_ends_earlier(copies, tmp_path):
    model = random_model(**copies, from_hz=7500.0)
    wav = torch.from_numpy(resample(buzz(1.0, 48000, 0), 48000, 16000))[None, None]
    lower = model.at_rate(24000)
    assert lower.output_rate == 24000 and lower.config.scale == 1.5 and not lower.training
    out = lower.infer(wav)[0, 0].numpy()
    expected = resample(model.infer(wav)[0, 0].numpy(), 48000, 24000)
    spectra = [np.fft.rfft(x * np.hanning(24000))[:11000] for x in (out, expected)]  # 1 Hz a bin
    assert np.square(np.abs(spectra[0] - spectra[1])).sum() < 1e-5 * np.square(np.abs(spectra[1])).sum()
    lower.save_pretrained(tmp_path)  # it is a model like any other
    assert torch.equal(ISTFTSpeechSR.from_pretrained(tmp_path).infer(wav), lower.infer(wav))
    assert model.at_rate(48000) is model
    with pytest.raises(ValueError, match="gives 24000 Hz or less, which 48000 Hz is not"):
        lower.at_rate(48000)


def test_pieces_join_without_a_seam():
    """The pipelines' context is longer than the receptive field of the shipped size, and keeps its frames in place."""
    config = train.read(ROOT / "configs/lite/speechsr_48k.yaml", [])[2].model
    torch.manual_seed(0)
    model = ISTFTSpeechSR(config).eval()
    assert CHUNK_SAMPLES % config.hop_length == CONTEXT_SAMPLES % config.hop_length == 0
    wav = 0.1 * torch.randn(1, 1, 3 * CONTEXT_SAMPLES)
    whole = model.infer(wav)
    right = model.infer(wav[..., CONTEXT_SAMPLES:])
    torch.testing.assert_close(
        right[..., 3 * CONTEXT_SAMPLES :], whole[..., 6 * CONTEXT_SAMPLES :], atol=1e-6, rtol=0
    )
    left = model.infer(wav[..., : 2 * CONTEXT_SAMPLES])
    torch.testing.assert_close(
        left[..., : 3 * CONTEXT_SAMPLES], whole[..., : 3 * CONTEXT_SAMPLES], atol=1e-6, rtol=0
    )


def test_what_the_lite_size_costs():
    """At most 0.01 of real time on two cores: 20 ms of processor time for a second (measured: 9 ms)."""
    config = train.read(ROOT / "configs/lite/speechsr_48k.yaml", [])[2].model
    model = ISTFTSpeechSR(config).eval()
    assert sum(p.numel() for p in model.parameters()) < 175_000  # in float16 the voice has 350 KB left
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for one another count as busy
    try:
        wav, seconds = 0.1 * torch.randn(1, 1, 5 * 16000), []
        for _ in range(6):
            start = time.process_time()
            model.infer(wav)
            seconds.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(seconds) / 5 < 0.02


@pytest.mark.parametrize("copies", [{}, COPIES], ids=["made", "copied"])
def test_silence_and_full_scale_stay_finite(copies):
    model = random_model(**copies)
    for wav in (torch.zeros(1, 1, 500), torch.ones(1, 1, 500), torch.full((1, 1, 500), 1e-30)):
        out = model.infer(wav)
        assert out.isfinite().all() and out.abs().max() <= 1
    out = model(torch.zeros(1, 1, 500))
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_wrong_settings_and_input_are_refused():
    for values, message in [
        ({"scale": 1.00001}, "whole output rate"),
        ({"scale": 1.5, "hop_length": 81}, "whole and even sizes"),
        ({"n_fft": 200}, "frames must overlap"),
        ({"from_hz": 9000.0}, "from_hz: expected a frequency up to 8000 Hz, got 9000"),
        (COPIES | {"hop_length": 100}, "an n_fft of whole hops, got 480 and 100"),
        (COPIES | {"from_hz": 4050.0}, "above 0 and 100 Hz or more below from_hz 4050, got 4000"),
        (COPIES | {"band_hz": 5.0}, "band_hz of a bin or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            ISTFTSpeechSRConfig(**values)
    for shape in ((1, 100), (1, 2, 100), (1, 1, 0)):
        with pytest.raises(ValueError, match="expected wav of shape"):
            random_model().infer(torch.zeros(shape))


@pytest.fixture
def filelist(tmp_path) -> Path:
    return write_recordings(tmp_path, [(0.4, 48000), (0.25, 48000)])


def tiny(filelist: Path, runs: Path, *changes: str) -> list[str]:
    paths = [f"data.filelist={filelist}", f"data.validation_filelist={filelist}"]
    return [str(TINY), *paths, f"data.wav_root={filelist.parent}", f"train.runs_folder={runs}", *changes]


def test_two_steps_of_the_tiny_configuration(filelist, tmp_path, capsys):
    assert train.main(tiny(filelist, tmp_path / "runs")) == 0
    output = capsys.readouterr().out
    for name in ("generator/stft", "wavelet_discriminator/adversarial", "log_spectral_distance_above"):
        assert name in output
    folder = step_folders(tmp_path / "runs/tiny_speechsr_istft")[-1]
    out = ISTFTSpeechSR.from_pretrained(folder).infer(0.1 * torch.randn(1, 1, 1600))
    assert out.shape == (1, 1, 4800) and out.isfinite().all()
    assert train.main([str(folder / "config.yaml")]) == 0


def test_spectral_losses_fall_on_one_batch(filelist, tmp_path):
    spectral = "losses={generator: {mel: 15.0, stft: 2.5}}"
    arguments = [*OVERFIT, spectral, "data.filters={none: 1}", "data.resamplers={soxr: 1}"]
    seen = losses_on_one_batch(tiny(filelist, tmp_path, *arguments, "train.max_steps=120"), 120)
    for name, values in seen.items():
        assert values[-1] < 0.6 * values[0], name


def test_a_trained_model_is_nearer_to_unheard_sounds_than_a_resampler(filelist, tmp_path):
    """On sounds of one family: what a short training learns of the upper band holds for recordings that it never met."""
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    write_recordings(held_out, [(0.3, 48000)] * 2, first_seed=10)
    arguments = tiny(filelist, tmp_path, *OVERFIT, "losses={generator: {mel: 15.0, stft: 2.5}}")
    arguments += [
        "train.batch_size=2",
        "train.max_steps=60",
        "train.log_every=1000",
        f"data.wav_root={held_out}",
    ]
    arguments += [f"data.validation_filelist={held_out / 'wideband.txt'}"]
    # both lists name their files alike: the training ones are found in the other folder
    lines = filelist.read_text().replace("|0.wav", f"|{tmp_path / '0.wav'}")
    filelist.write_text(lines.replace("|1.wav", f"|{tmp_path / '1.wav'}"))
    recipe, losses, config = recipe_of(arguments)
    before = recipe.validate()
    fit(recipe, config, losses, {})
    with torch.no_grad():
        after = recipe.validate()
    assert after["log_spectral_distance_above"] < 0.6 * after["log_spectral_distance_above_plain"]
    assert after["log_spectral_distance_above"] < before["log_spectral_distance_above"]
    assert after["mel"] < 0.5 * before["mel"]


def test_a_voice_takes_either_model(tmp_path):
    assert SPEECHSR_MODELS == {"SpeechSR": SpeechSR, "ISTFTSpeechSR": ISTFTSpeechSR}
    folder = build_voice(tmp_path / "voice", "lite", speechsr=True)
    random_model().save_pretrained(folder / "speechsr-48000", dtype=torch.float16)
    upsample = SuperResolution.from_pretrained(folder)
    assert isinstance(upsample.voice.speechsr(48000), ISTFTSpeechSR)
    assert isinstance(upsample.voice.speechsr(24000), SpeechSR)
    speech = upsample(recording(1.0), 48000)
    assert speech.sample_rate == 48000 and len(speech.audio) == 48000 and np.isfinite(speech.audio).all()


def test_one_folder_of_a_voice_serves_two_rates(tmp_path):
    folder = build_voice(tmp_path / "voice", "lite", speechsr=True)
    random_model(**COPIES).save_pretrained(folder / "speechsr-48000", dtype=torch.float16)
    description = json.loads((folder / "voice.json").read_text())
    description["speechsr"]["24000"] = "speechsr-48000"
    (folder / "voice.json").write_text(json.dumps(description))
    upsample = SuperResolution.from_pretrained(folder)
    for rate in (24000, 48000, 24000):
        assert upsample.voice.speechsr(rate).output_rate == rate
        assert len(upsample(recording(1.0), rate).audio) == rate


def test_the_shipped_voice_makes_the_upper_band_at_both_rates():
    upsample = SuperResolution.from_pretrained("lite", device="cpu")
    wav = resample(buzz(1.0, 48000, 0), 48000, 16000)
    for rate in (24000, 48000):
        made, plain = upsample(wav, rate).audio, resample(wav, 16000, rate)
        spectra = [np.abs(np.fft.rfft(x * np.hanning(rate))) ** 2 for x in (made, plain)]
        assert spectra[0][8100:].sum() > 1000 * spectra[1][8100:].sum()
        # and what is made of it is no louder than what is below
        assert spectra[0][8100:].sum() < spectra[0][:8000].sum()


def test_a_voice_refuses_another_kind_of_model(tmp_path):
    folder = build_voice(tmp_path / "voice", "lite", speechsr=True)
    (folder / "speechsr-48000/config.json").write_text('{"model": "Denoiser", "format": 1}')
    with pytest.raises(ValueError, match="holds a Denoiser, expected one of SpeechSR, ISTFTSpeechSR"):
        SuperResolution.from_pretrained(folder)(recording(1.0), 48000)
