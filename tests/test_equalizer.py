"""The phone equalizer: what it measures on a recording comes out again where the same phones are spoken."""

import numpy as np
import pytest
import torch
from torch import nn

from hierspeech.synthesizer.encoders import SemanticEncoderConfig
from hierspeech.synthesizer.equalizer import EqualizerConfig, NoiseFree, PhoneEqualizer
from hierspeech.synthesizer.expander import ExpanderConfig
from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.harmonic import HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGeneratorConfig
from hierspeech.synthesizer.model import FlowConfig, HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.windows import decode_windows
from speech.modules.style_pooling import StylePoolingConfig
from speech.semantic.encoder import SemanticSpec
from speech.spectrogram import AudioConfig

PHONES, BANDS, N_FFT = 3, 8, 640
SILENCE, LOW, HIGH = range(PHONES)


def config(**changes) -> HierSpeechConfig:
    values = {
        "audio": AudioConfig(n_mels=16),
        "semantic": SemanticSpec("phonetic", 1, PHONES, 50),
        "style": None,
        "pooled_style": StylePoolingConfig(n_mels=16, width=8, layers=1, out=6),
        "latent": 8,
        "encoder": SemanticEncoderConfig(hidden=8, n_layers=1),
        "semantic_posterior": False,
        "posterior": None,
        "flow": FlowConfig(n_flows=0),
        "prosody": None,
        "source": None,
        "harmonic": HarmonicSourceConfig(channels=8),
        "amp": None,
        "istft": ISTFTGeneratorConfig(width=16, layers=1),
        "equalizer": EqualizerConfig(bands=BANDS, phones=PHONES, prior_frames=2.0),
    }
    return HierSpeechConfig(**values | changes)


def named(equalizer: PhoneEqualizer) -> PhoneEqualizer:
    """Whose phone is the feature that is 1."""
    classifier = nn.Linear(PHONES, PHONES)
    classifier.weight.data, classifier.bias.data = 20 * torch.eye(PHONES), torch.zeros(PHONES)
    equalizer.name_by(classifier)
    return equalizer


def features(phones: list[int], frames: int) -> torch.Tensor:
    """Each of the phones for so many frames, [1, P, N]."""
    return torch.eye(PHONES)[torch.tensor(phones).repeat_interleave(frames)].T[None]


@pytest.fixture
def equalizer():
    return named(PhoneEqualizer(EqualizerConfig(bands=BANDS, phones=PHONES, prior_frames=2.0), PHONES, N_FFT))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = HierSpeech(config()).eval()
    named(model.equalizer)
    return model


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    wav = np.random.default_rng(seed).standard_normal(int(seconds * 16000), dtype=np.float32)
    return torch.from_numpy(0.1 * wav)[None]


def test_it_measures_what_each_phone_has_more_than_its_copy(equalizer):
    wav, frames = noise(4.0), 50
    semantic = features([LOW, HIGH, SILENCE, LOW], frames)  # a second each
    louder = wav.clone()
    louder[:, :16000] *= 2.0  # LOW by 6 dB, HIGH not at all, silence by 20
    louder[:, 32000:48000] *= 10.0
    louder[:, 48000:] *= 2.0
    table = equalizer.measure(semantic, louder, wav).unflatten(1, (PHONES, BANDS))[0]
    power = equalizer.expander.level(louder)[0]  # silence's row is the level of the voice
    assert torch.equal(table[SILENCE], power) and power.min() > 0
    six_db, mean = 2 * np.log(2.0), 2 * np.log(2.0) * 2 / 3
    # a phone of n frames counts n / (n + prior) of the way from the mean to its own
    low, high = (mean + (own - mean) * n / (n + 2) for own, n in ((six_db, 100), (0.0, 50)))
    assert torch.allclose(table[LOW], torch.full((BANDS,), low), atol=0.06)
    assert torch.allclose(table[HIGH], torch.full((BANDS,), high), atol=0.06)


def test_a_phone_heard_little_stays_near_the_mean_of_all(equalizer):
    wav = noise(2.0)
    semantic = features([LOW] * 49 + [HIGH], 2)  # two frames of HIGH, as many as the prior
    louder = torch.cat([wav[:, :-640], 2.0 * wav[:, -640:]], 1)
    table = equalizer.measure(semantic, louder, wav).unflatten(1, (PHONES, BANDS))[0]
    own = 2 * np.log(2.0)
    assert 0.3 * own < table[HIGH].mean() < 0.7 * own and table[LOW].abs().max() < 0.1


def test_a_band_is_raised_where_its_phone_is_spoken_and_nowhere_else(model):
    semantic, log_f0 = features([LOW, HIGH], 50), torch.zeros(1, 1, 400)  # unvoiced
    numbers = torch.randn(1, 6)
    table = torch.zeros(1, PHONES, BANDS)
    table[0, HIGH, -1] = 2 * np.log(4.0)  # 12 dB in the highest band
    plain = model.infer(semantic, log_f0, numbers, noise_scale=0.0)
    raised = model.infer(semantic, log_f0, torch.cat([numbers, table.flatten(1)], 1), noise_scale=0.0)
    spectra = [
        torch.stft(wav[0, 0], 640, 160, window=torch.hann_window(640), return_complex=True).abs()
        for wav in (plain, raised)
    ]
    ratio = 20 * (spectra[1] / spectra[0].clamp(min=1e-9)).log10()
    top, rest = slice(300, 318), slice(0, 200)
    assert ratio[top, 110:190].median() == pytest.approx(12.0, abs=0.5)
    assert ratio[top, :90].abs().max() < 0.1 and ratio[rest, 110:190].abs().median() < 0.1


def test_a_flat_table_and_none_are_the_same_speech(model):
    semantic, log_f0, numbers = torch.randn(1, PHONES, 30), torch.full((1, 1, 120), 5.0), torch.randn(1, 6)
    flat = torch.cat([numbers, torch.zeros(1, PHONES * BANDS)], 1)
    assert flat.shape[1] == model.config.style_size
    one, other = (model.infer(semantic, log_f0, style, noise_scale=0.0) for style in (numbers, flat))
    assert torch.allclose(one, other, atol=1e-6)


def test_the_measured_table_brings_the_copy_nearer(model):
    torch.manual_seed(1)
    semantic, log_f0 = features([LOW, HIGH, LOW, HIGH], 25), torch.zeros(1, 1, 400)
    numbers, wav = torch.randn(1, 6), noise(2.0, 3)
    with torch.no_grad():
        style = model.with_table(numbers, semantic, log_f0, wav)
        left = [
            model.equalizer.measure(semantic, wav, model.reconstruct(semantic, log_f0, s)[0][:, 0])[:, BANDS:]
            for s in (numbers, style)
        ]  # of what is no silence
    assert style.shape == (1, model.config.style_size) and torch.equal(style[:, :6], numbers)
    inside = left[0].abs().median() < model.config.equalizer.limit  # or the limit would hold it back
    assert inside and left[1].abs().mean() < 0.3 * left[0].abs().mean()


def test_each_pass_brings_the_table_nearer(model):
    torch.manual_seed(1)
    semantic, log_f0 = features([LOW, HIGH, LOW, HIGH], 25), torch.zeros(1, 1, 400)
    numbers, true = torch.randn(1, 6), torch.randn(1, PHONES, BANDS).clamp(-1.5, 1.5)
    true[:, SILENCE] = 0.0
    wav = model.infer(semantic, log_f0, torch.cat([numbers, true.flatten(1)], 1), noise_scale=0.0)[:, 0]
    left = []
    for passes in (1, 2, 4):
        model.equalizer.config.passes = passes
        model.equalizer.config.prior_frames = 50.0
        with torch.no_grad():
            table = model.with_table(numbers, semantic, log_f0, wav)[:, 6:].unflatten(1, (PHONES, BANDS))
        left.append(float((table - true)[:, LOW:].abs().mean()))
    assert left[1] < 0.8 * left[0] and left[2] < 0.8 * left[1]


def test_quiet_frames_of_a_band_count_less():
    wav = noise(2.0)
    wav[:, 16000:] *= 0.03  # 30 dB quieter, as of noise between words
    louder = wav.clone()
    louder[:, 16000:] *= 2.0  # and only there does the recording have more
    semantic = features([LOW], 100)
    means = []
    for loudness in (0.0, 0.25):
        made = EqualizerConfig(bands=BANDS, phones=PHONES, loudness=loudness)
        table = named(PhoneEqualizer(made, PHONES, N_FFT)).measure(semantic, louder, wav)
        means.append(float(table.unflatten(1, (PHONES, BANDS))[0, LOW].mean()))
    assert means[0] == pytest.approx(np.log(2.0), abs=0.1)  # half of 6 dB
    assert 0.05 < means[1] < 0.5 * means[0]


def test_a_table_of_before_the_expander_keeps_its_silence(equalizer):
    semantic, table = features([SILENCE, LOW], 10), torch.randn(1, PHONES, BANDS)
    for first, expected in ((-1.5, -1.5), (0.0, 0.0), (7.0, equalizer.config.silence)):
        table[:, SILENCE] = first
        bands = equalizer(semantic, table.flatten(1))
        assert torch.allclose(bands[..., :10], torch.full((1, BANDS, 10), expected), atol=1e-3)
        assert torch.allclose(bands[0, :, 15], table[0, LOW], atol=1e-3)


def test_what_lies_far_under_the_voice_is_made_quieter(equalizer):
    expander, bins = equalizer.expander, N_FFT // 2 + 1
    steps = torch.arange(0.0, -80.0, -10.0)  # dB of the frames under the level
    log_magnitude = (steps / 20 * np.log(10.0)).expand(1, bins, -1)
    level = torch.ones(1, BANDS)
    down = 20 / np.log(10.0) * (log_magnitude - expander(log_magnitude, level))
    expected = (-20.0 - steps).clamp(0.0, 10.0)  # from 20 dB down on, dB for dB, 10 at most
    assert torch.allclose(down, expected.expand(1, bins, -1), atol=1e-2)
    for unknown in (0.0, -2.5):
        assert torch.equal(expander(log_magnitude, unknown * level), log_magnitude)


def test_the_level_of_a_recording_is_that_of_the_generators_spectrum(equalizer):
    wav = noise(3.0)
    spectrum = torch.stft(wav, N_FFT, N_FFT // 4, window=torch.hann_window(N_FFT), return_complex=True)
    mean = spectrum.abs().square().mean()
    assert torch.allclose(equalizer.expander.level(wav), mean.expand(1, BANDS), rtol=0.15)
    assert torch.allclose(equalizer.expander.level(2 * wav), 4 * equalizer.expander.level(wav))


def test_windows_and_padded_batches_are_equalized_alike(model):
    torch.manual_seed(2)
    semantic, log_f0 = torch.randn(2, PHONES, 90), torch.full((2, 1, 360), 5.0)
    style = torch.randn(2, model.config.style_size)
    mask = torch.ones(2, 90, dtype=torch.bool)
    mask[1, 60:] = False
    whole = model.infer(semantic, log_f0, style, mask, noise_scale=0.0)
    alone = model.infer(semantic[1:, :, :60], log_f0[1:, :, :240], style[1:], noise_scale=0.0)
    assert torch.allclose(whole[1:, :, : 60 * 320], alone, atol=1e-5)
    z = model.sample_latent(semantic[:1], log_f0[:1], style[:1], noise_scale=0.0)
    assert z.shape[1] == model.config.latent + BANDS
    windows = torch.cat(list(decode_windows(model, z, style[:1], log_f0[:1], [7, 20, 30])), 2)
    assert torch.allclose(windows, whole[:1], atol=1e-5)


def test_the_null_style_has_no_colour(model):
    torch.manual_seed(3)
    semantic, log_f0 = torch.randn(1, PHONES, 20), torch.full((1, 1, 80), 5.0)
    style = torch.randn(1, model.config.style_size)
    with_table, without = (
        model.infer(semantic, log_f0, s, noise_scale=0.0, unconditional=True) for s in (style, style[:, :6])
    )
    assert torch.allclose(with_table, without, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bands": 7}, "equalizer.bands must divide audio.n_mels 80, got 7"),
        ({"phones": 1}, "phones of 2 or more"),
        ({"prior_frames": 0.0}, "prior_frames above 0"),
        ({"passes": 0}, "passes of 1 or more"),
        ({"loudness": 2.0}, "loudness of 0 to 1"),
        ({"silence": 0.5}, "equalizer.silence 0.5: expected -3 to 0"),
        ({"silence": -4.0}, "equalizer.silence -4: expected -3 to 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        EqualizerConfig(**changes)


@pytest.mark.parametrize("changes", [{"below_db": -1.0}, {"slope": -1.0}, {"most_db": -1.0}])
def test_expanders_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="expander: expected below_db, slope and most_db of 0 or more"):
        ExpanderConfig(**changes)


def test_it_needs_a_generator_with_a_spectrum():
    with pytest.raises(
        ValueError, match="the equalizer works on the spectrum of the generator istft, got amp"
    ):
        config(amp=AMPGeneratorConfig(), istft=None)


def test_its_frames_are_halves_of_the_models():
    equalizer = EqualizerConfig(AudioConfig(n_fft=512, win_length=400, hop_length=200, n_mels=80))
    with pytest.raises(ValueError, match="hop_length must be half of audio.hop_length 320, got 200"):
        config(equalizer=equalizer)


def test_a_classifier_of_other_phones_is_refused(equalizer):
    with pytest.raises(ValueError, match=r"weights \[5, 3\], the equalizer expected \[3, 3\]"):
        equalizer.name_by(nn.Linear(3, 5))


def test_noise_that_a_denoiser_knows_does_not_colour_the_voice(equalizer):
    """A second of each phone, 6 dB louder than the copy in all bands; noise in the upper half of the spectrum."""
    copy, semantic = noise(3.0), features([LOW, HIGH, LOW], 50)
    clean = 2.0 * copy
    spectrum = torch.fft.rfft(noise(3.0, seed=1))
    spectrum[:, : spectrum.shape[1] // 2] = 0
    noisy = clean + 6.0 * torch.fft.irfft(spectrum, n=clean.shape[1])
    plain, known, truth = (
        equalizer.measure(semantic, *arguments).unflatten(1, (PHONES, BANDS))[0]
        for arguments in (
            (noisy, copy),
            (noisy, copy, None, NoiseFree(clean, 1.0)),
            (clean, copy),
        )
    )
    loud = plain[LOW] - truth[LOW] > 1.0  # bands that the noise covers
    assert 2 <= loud.sum() < BANDS
    assert (known[LOW] - truth[LOW])[loud].abs().max() < 0.5 * (plain[LOW] - truth[LOW])[loud].min()
    assert torch.allclose(known[LOW][:2], truth[LOW][:2], atol=0.1)  # what is not covered is heard as it is
    assert torch.equal(known[SILENCE], truth[SILENCE])  # the level of the voice, not of the noise


def test_a_denoiser_that_is_not_believed_changes_nothing_but_the_level(equalizer):
    wav, copy, semantic = noise(2.0, seed=2), noise(2.0), features([LOW, HIGH], 50)
    plain, other = (
        equalizer.measure(semantic, wav, copy, None, cleaned)[:, BANDS:]
        for cleaned in (None, NoiseFree(0.1 * wav, 0.0))
    )
    assert torch.allclose(plain, other, atol=1e-5)


def test_bands_that_a_denoiser_empties_stay_as_the_model_speaks_them(equalizer):
    wav, copy, semantic = 3.0 * noise(2.0, seed=3), noise(2.0), features([LOW, HIGH], 50)
    table = equalizer.measure(semantic, wav, copy, None, NoiseFree(1e-4 * wav, 1.0))[:, BANDS:]
    assert table.abs().max() < 0.05
