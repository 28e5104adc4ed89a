"""Articulation: conversions move their spectrum as the source does, and keep the colour of the target's voice."""

import math

import numpy as np
import pytest
import torch
from tiny_voice import build_voice, recording

import convert
from hierspeech import VoiceConversion
from hierspeech.synthesizer.articulation import Articulation, ArticulationConfig
from hierspeech.synthesizer.band_filter import BandFilter
from hierspeech.synthesizer.equalizer import EqualizerConfig, PhoneEqualizer, articulated
from speech.audio import save_audio
from speech.spectrogram import AudioConfig

MELS, BANDS, FRAMES = 80, 20, 60


def measure(**changes) -> Articulation:
    return Articulation(ArticulationConfig(**{"rise": 9.0, "fall": 9.0} | changes), BANDS, MELS)


def phones(sound: int = 1) -> torch.Tensor:
    """Silence, two phones in turn, 3 frames each, [1, 3, N]; the last 12 frames are silence."""
    which = (torch.arange(FRAMES) // 3) % 2 + 1
    which[-12:] = 0
    return torch.eye(3)[which * sound].T[None]


def bump(centre: float, height: torch.Tensor) -> torch.Tensor:
    """A formant at mel bin `centre` that moves up and down, [1, M, N]."""
    return torch.exp(-((torch.arange(MELS) - centre) ** 2) / 30)[None, :, None] * height[None, None]


def test_it_gives_what_the_recording_moves_more_than_what_is_spoken():
    # period of 11 frames: not the phones', whose means are taken off
    moves = torch.sin(torch.arange(FRAMES) * 2 * math.pi / 11)
    spoken = bump(30, 0.4 * moves)
    given = measure(stretches=1)(bump(30, moves), spoken, phones(), 1.0)
    wanted = torch.nn.functional.avg_pool1d(bump(30, 0.6 * moves)[0].T, 4).T[None]
    assert given.shape == (1, BANDS, FRAMES)
    assert torch.corrcoef(torch.stack([given.flatten(), wanted.flatten()]))[0, 1] > 0.9
    half = measure(stretches=1)(bump(30, moves), spoken, phones(), 0.5)
    assert torch.allclose(half, given / 2, atol=1e-5)


def test_a_recording_as_it_is_spoken_gives_nothing():
    torch.manual_seed(0)
    spoken = torch.randn(2, MELS, FRAMES)
    both = phones().expand(2, -1, -1)
    assert measure(stretches=1)(spoken, spoken, both, 1.0).abs().max() < 1e-4
    # neither does another level, another channel, nor what is the same whenever a phone is spoken
    channel = torch.randn(2, MELS, 1)
    assert measure(stretches=1)(spoken + channel, spoken, both, 1.0).abs().max() < 1e-4
    colour = torch.einsum("pm,bpn->bmn", torch.randn(3, MELS), both)
    given = measure(stretches=1, prior_frames=1e-3)(spoken + colour, spoken, both, 1.0)
    assert given.abs().max() < 1e-2
    kept = measure(stretches=1, prior_frames=1e6)(spoken + colour, spoken, both, 1.0)
    assert kept.abs().max() > 0.3


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1 / 1.1])
def test_another_vocal_tract_is_no_articulation(ratio):
    moves = torch.sin(torch.arange(FRAMES) * 2 * math.pi / 11)
    others = torch.cos(torch.arange(FRAMES) * 2 * math.pi / 7)
    spoken = bump(25, moves) + bump(50, others)
    recording = bump(25 * ratio, moves) + bump(50 * ratio, others)
    config = {"widest": 1.21, "stretches": 9}  # 1.1 is among them
    left = measure(**config)(recording, spoken, phones(), 1.0).square().mean()
    plain = measure(stretches=1)(recording, spoken, phones(), 1.0).square().mean()
    assert left < 1e-9 if ratio == 1 else left < 0.15 * plain


@pytest.mark.parametrize(("apart", "alike"), [(0.0, 1.0), (0.5, 1.0), (0.9, 0.5), (1.3, 0.0), (3.0, 0.0)])
@pytest.mark.parametrize("of", ["channel", "phone"])
def test_the_less_two_voices_differ_the_more_is_kept(apart, alike, of):
    tilt = apart * torch.tensor([1.0, -1.0]).repeat(BANDS // 2).repeat_interleave(MELS // BANDS)
    tilt = tilt[None, :, None]
    if of == "phone":  # one way in one phone, the other way in the other
        tilt = tilt * (phones()[:, 1:2] - phones()[:, 2:3])
    moves = 0.2 * bump(30, torch.sin(torch.arange(FRAMES) * 2 * math.pi / 11))

    def given(kept: float | None, prior_frames: float = 1e-3) -> torch.Tensor:
        module = measure(kept=0.4, same=0.6, other=1.2, stretches=1, prior_frames=prior_frames)
        return module(moves + tilt, 0 * moves, phones(), kept)

    without, coloured = given(1.0), given(1.0, 1e9)  # the phones' means taken off, and left
    assert without.abs().max() > 0.05 and (coloured - without).abs().max() > (
        0.9 * apart if of == "phone" else 0
    )
    wanted = (0.4 + 0.6 * alike) * (alike * coloured + (1 - alike) * without)
    torch.testing.assert_close(given(None), wanted, atol=5e-3, rtol=0)


def test_silence_says_nothing_of_a_voice():
    torch.manual_seed(0)
    recording, spoken = torch.randn(2, 1, MELS, FRAMES)
    silent = phones(sound=0)
    given = [measure(kept=0.4)(recording, spoken, silent, kept) for kept in (None, 0.4)]
    assert given[0].abs().max() > 0.01 and torch.equal(*given)


def test_changes_have_limits_and_silence_alone_is_no_trouble():
    loud = bump(30, 30 * torch.sin(torch.arange(FRAMES).float()))
    given = measure(rise=1.5, fall=3.0)(loud, 0 * loud, phones(), 1.0)
    assert given.max() == 1.5 and given.min() == -3.0
    assert measure()(loud, loud, phones(sound=0), 1.0).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kept": 1.5}, "articulation.kept 1.5"),
        ({"bands": 0}, "bands"),
        ({"rise": -1.0}, "rise and fall"),
        ({"same": 1.3}, "same of 0 or more and other above it, got 1.3 and 1.2"),
        ({"stretches": 4}, "odd"),
    ],
)
def test_impossible_values_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        ArticulationConfig(**changes)


def test_bands_are_a_divisor_of_the_equalizers():
    audio = AudioConfig(n_fft=512, win_length=400, hop_length=160, n_mels=80)
    for bands, expected in ((40, 20), (8, 8), (16, 16), (1, 1), (80, 20)):
        equalizer = PhoneEqualizer(EqualizerConfig(audio, bands=bands, phones=3), 3, 640)
        assert len(equalizer.articulation.plain) == expected
        wav = torch.randn(1, 3200)
        assert equalizer.articulate(torch.randn(1, 3, 10), wav, wav).shape == (1, 2 * expected, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("articulation") / "voice"
    build_voice(folder, "lite")
    return folder


def test_a_conversion_keeps_the_share_that_is_asked_for(folder):
    conversion = VoiceConversion.from_pretrained(folder)
    # weights of no training name no phones, whose means would be most of what moves
    conversion.voice.synthesizer.equalizer.config.articulation.prior_frames = 1e6
    source, reference = recording(2.0, 150.0), recording(3.0, 220.0)

    def spoken(articulation=None):
        return conversion(source, reference, seed=0, articulation=articulation).audio

    none, default, half, all_of_it = (spoken(share) for share in (0.0, None, 0.5, 1.0))
    assert np.array_equal(default, half) and np.array_equal(all_of_it, spoken(1.0))
    assert not np.allclose(none, half, atol=1e-3) and not np.allclose(half, all_of_it, atol=1e-3)

    def distance(wav):
        """Of its moving spectrum from the source's."""
        equalizer = conversion.voice.synthesizer.equalizer
        wavs = [torch.from_numpy(x)[None] for x in (np.resize(source, len(wav)).astype(np.float32), wav)]
        mels = [equalizer._mel(x).unflatten(1, (-1, 4)).mean(2) for x in wavs]
        a, b = (m - m.mean(2, keepdim=True) for m in mels)
        return float((a - b).square().mean())

    assert distance(all_of_it) < distance(half) < distance(none)


def test_a_style_without_a_table_moves_as_well(folder):
    model = VoiceConversion.from_pretrained(folder).voice.synthesizer
    config, frames = model.config, 40
    semantic, log_f0 = torch.randn(1, config.semantic.dim, frames), torch.full((1, 1, 4 * frames), 5.0)
    style, wav = torch.randn(1, config.style_size), torch.randn(1, 320 * frames) / 10
    latent = config.latent
    for some in (style[:, : config.style_config.out], style):
        z = model.sample_latent(semantic, log_f0, some, noise_scale=0.0)
        sound, moved = articulated(model, z, some, log_f0, semantic, wav, 1.0)
        assert torch.equal(moved[:, :latent], z[:, :latent])
        own = latent + config.equalizer.bands
        before, _ = model.decode(z, some, log_f0)
        after, _ = model.decode(moved, some, log_f0)
        assert not torch.allclose(before, after, atol=1e-3)
        torch.testing.assert_close(sound, after)
        table = z[:, latent:] if z.shape[1] > latent else torch.zeros_like(moved[:, latent:own])
        assert torch.equal(moved[:, latent:own], table)  # what the equalizer gives stays beneath
        wanted = model.equalizer.articulate(semantic, wav, before[:, 0], 1.0)
        torch.testing.assert_close(moved[:, own:], wanted)


def test_each_half_of_a_frame_moves_for_itself():
    frames = 12
    equalizer = PhoneEqualizer(EqualizerConfig(bands=8, phones=3), 3, 640)
    moves = torch.zeros(1, 2, len(equalizer.articulation.plain), frames)
    moves[0, 0, :, 3], moves[0, 1, :, 8] = 1.0, -0.5
    torch.manual_seed(0)
    wav = torch.randn(1, 1, 320 * frames)
    gain = 2 * (equalizer.moved(wav, moves.flatten(1, 2)) / wav).abs().log()[0, 0]
    # the first halves' gains belong to the first sample of a frame, the others' to the one in the middle of it
    at = gain.unfold(0, 5, 160)[:, 0]
    assert at[6] > 0.6 and at[17] < -0.3
    assert at[[0, 1, 2, 3, 9, 10, 11, 12, 13, 14, 20, 21, 22, 23]].abs().max() < 1e-4
    flat = equalizer.moved(wav, torch.full_like(moves, 0.8).flatten(1, 2))
    torch.testing.assert_close(flat, math.exp(0.4) * wav, atol=1e-4, rtol=1e-4)


def filtering(bands: int = 4) -> BandFilter:
    """Bands of equal width."""
    bins = torch.eye(bands).repeat_interleave(64, 0)
    return BandFilter(torch.cat([bins, bins[-1:]]), 160, limit=3.0)


def test_a_filter_gives_each_band_its_own_gain():
    torch.manual_seed(0)
    samples = torch.arange(160 * 60) / 16000
    tones = [torch.sin(2 * math.pi * hz * samples) for hz in (1000.0, 3000.0)]
    bands = torch.zeros(1, 4, 60)
    bands[0, 1] = -2.0
    made = filtering()(sum(tones)[None], bands)[0]
    wanted = tones[0] + math.exp(-1.0) * tones[1]
    assert (made - wanted)[400:-400].abs().max() < 0.01
    loud = filtering()(tones[0][None], torch.full((1, 4, 60), 50.0))[0]
    torch.testing.assert_close(loud, math.exp(1.5) * tones[0], atol=1e-4, rtol=1e-3)  # the limit


def test_a_filter_sees_as_far_as_it_says_and_no_mask_is_one_of_all():
    torch.manual_seed(0)
    filters, wav, bands = filtering(), torch.randn(2, 160 * 40), torch.randn(2, 4, 40)
    whole = filters(wav, bands)
    beside = -(-filters.reach // 160)
    part = filters(wav[:, 160 * (12 - beside) : 160 * (20 + beside)], bands[..., 12 - beside : 20 + beside])
    inner = part[:, 160 * beside : -160 * beside]
    torch.testing.assert_close(inner, whole[:, 160 * 12 : 160 * 20])
    fewer = beside - 1
    part = filters(wav[:, 160 * (12 - fewer) : 160 * (20 + fewer)], bands[..., 12 - fewer : 20 + fewer])
    assert not torch.allclose(part[:, 160 * fewer : -160 * fewer], whole[:, 160 * 12 : 160 * 20], atol=1e-5)
    # rows of a batch are what they are alone
    mask = torch.arange(40)[None] < torch.tensor([[40], [25]])
    padded = filters(wav * mask.repeat_interleave(160, 1), bands, mask)
    torch.testing.assert_close(padded[0], whole[0])
    torch.testing.assert_close(padded[1, : 25 * 160], filters(wav[1:, : 25 * 160], bands[1:, :, :25])[0])
    assert not padded[1, 25 * 160 :].any()


def test_a_filter_needs_frames_that_overlap():
    with pytest.raises(ValueError, match="n_fft of 128: expected an even hop of at most half of it, got 65"):
        BandFilter(torch.eye(65), 65, 3.0)


def test_a_stream_keeps_as_much_as_a_call(folder):
    conversion = VoiceConversion.from_pretrained(folder)
    source, reference = recording(2.0, 150.0), recording(3.0, 220.0)
    for share in (0.0, 1.0):
        whole = conversion(source, reference, seed=0, articulation=share).audio
        stream = conversion.stream(source, reference, seed=0, articulation=share)
        streamed = np.concatenate([chunk.audio for chunk in stream])
        scale = float(whole @ streamed / (streamed @ streamed))  # the level of a stream is its own
        assert np.allclose(whole, scale * streamed, atol=1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_other_shares_are_one_sentence(folder, share):
    conversion = VoiceConversion.from_pretrained(folder)
    for work in (conversion, conversion.stream):
        with pytest.raises(ValueError, match=r"articulation .*: expected a number from 0 to 1\."):
            work(recording(1.0, 150.0), recording(2.0, 220.0), articulation=share)


def test_a_voice_without_an_equalizer_has_none(tmp_path, capsys):
    build_voice(tmp_path / "base", "official")
    save_audio(tmp_path / "a.wav", recording(1.0, 150.0), 16000)
    arguments = [
        f"--voice={tmp_path / 'base'}",
        f"--source={tmp_path / 'a.wav'}",
        f"--ref={tmp_path / 'a.wav'}",
    ]
    out = tmp_path / "out.wav"
    assert convert.main([*arguments, f"--out={out}", "--articulation=0.5"]) == 2
    error = capsys.readouterr().err
    assert "articulation 0.5: this voice has no equalizer, expected 0." in error and not out.exists()
    assert convert.main([*arguments, f"--out={out}", "--articulation=0"]) == 0 and out.exists()
