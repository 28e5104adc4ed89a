"""SpeechSR's inputs: random filters and resamplers, pieces of recordings, and recordings that are of no use."""

import re
from pathlib import Path

import numpy as np
import pytest
from wideband import buzz, write_recordings

import train
from speech.audio import load_audio, read_length, resample, save_audio
from speechsr.data import DataConfig, SpeechSRData
from speechsr.narrowing import LOW_PASSES, RESAMPLERS, draw, narrow
from speechsr.recordings import find_recordings

TINY = Path(__file__).resolve().parent.parent / "configs/tiny/speechsr.yaml"
TIME = np.arange(14400) / 48000


@pytest.fixture
def filelist(tmp_path) -> Path:
    return write_recordings(tmp_path, [(0.4, 48000), (0.25, 48000), (0.3, 96000)])


def data(filelist: Path, scale: int = 3, **changes) -> SpeechSRData:
    config = DataConfig(str(filelist), wav_root=str(filelist.parent), **changes)
    return SpeechSRData(str(filelist), config, 16000, 16000 * scale)


def gain(name: str, resampler: str, hz: float, cutoff: float, seed: int, order: int = 8) -> float:
    """What remains of a sine, by the amplitude of its (possibly folded) image at 16 kHz."""
    wav = np.sin(2 * np.pi * hz * TIME)
    rng = np.random.default_rng(seed)
    out = narrow(wav, 48000, 16000, {name: 1}, {resampler: 1}, (cutoff, cutoff), (order, order), rng)
    assert out.shape == (4800,) and out.dtype == np.float32
    return float(np.sqrt(2 * np.mean(out[960:-960] ** 2)))


@pytest.mark.parametrize("name", [name for name in LOW_PASSES if name != "none"])
def test_a_filter_keeps_what_is_below_its_cutoff_and_cuts_what_is_above(name):
    for seed in range(5):
        assert gain(name, "fft", 1500, 0.6, seed) == pytest.approx(1.0, abs=0.25)  # two passes of 1 dB ripple
        assert gain(name, "fft", 7000, 0.6, seed) < 0.05


def test_no_filter_leaves_all_to_the_resampler():
    assert gain("none", "fft", 7900, 0.6, 0) == pytest.approx(1.0, abs=0.02)
    assert gain("none", "fft", 8100, 0.6, 0) < 0.02


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_resamplers_keep_the_band_and_its_place_in_time(resampler):
    low = np.sin(2 * np.pi * 3000 * TIME + 0.3)
    out = RESAMPLERS[resampler](low, 48000, 16000)
    np.testing.assert_allclose(out[960:-960], low[::3][960:-960], atol=0.02)
    assert gain("none", resampler, 12000, 0.6, 0) < 0.03


@pytest.mark.parametrize("name", LOW_PASSES)
def test_filters_do_not_shift_the_signal(name):
    """The narrow side must lie under the wide one, or the model would learn a delay."""
    rng = np.random.default_rng(3)
    wide = buzz(0.3, 48000, 3)
    for order in (2, 5, 8):
        out = narrow(wide, 48000, 16000, {name: 1}, {"soxr": 1}, (0.8, 0.8), (order, order), rng)
        reference = resample(wide, 48000, 16000)
        lags = [np.dot(np.roll(out, lag)[400:-400], reference[400:-400]) for lag in range(-5, 6)]
        assert np.argmax(lags) == 5


def test_random_inputs_differ_from_one_another():
    config = DataConfig("unused")
    spectra = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        out = narrow(
            np.random.default_rng(0).standard_normal(14400),
            48000,
            16000,
            config.filters,
            config.resamplers,
            config.cutoff_range,
            config.order_range,
            rng,
        )
        power = np.abs(np.fft.rfft(out[960:-960])) ** 2
        spectra.append(np.log10(power.reshape(-1)[: len(power) // 24 * 24].reshape(24, -1).mean(1)))
    spread = np.std(spectra, axis=0)
    assert spread[:12].max() < 0.1 and spread[20:].max() > 0.5  # alike below 4 kHz, different near 8 kHz
    names = [draw(config.filters, np.random.default_rng(seed)) for seed in range(300)]
    assert set(names) == set(LOW_PASSES) and 110 < names.count("none") < 190


def test_pairs_have_their_shapes_and_belong_together(filelist):
    pieces = data(filelist)
    for index in range(3):
        for seed in range(6):
            small, wide = pieces.example(index, np.random.default_rng(seed))
            assert small.shape == (3200,) and wide.shape == (9600,)
            assert small.dtype == wide.dtype == np.float32 and np.abs(wide).max() <= 1
            # below the lowest cutoff (6 kHz) both hold the same sound at the same time
            a = np.fft.rfft(small * np.hanning(3200))[: 3200 * 4 // 16]
            b = np.fft.rfft(wide * np.hanning(9600))[: len(a)] / 3
            assert np.abs(a - b).max() < 0.35 * np.abs(b).max()
    small, wide = next(pieces.batches(2, 0, 0, 0))
    assert small.shape == (2, 1, 3200) and wide.shape == (2, 1, 9600)
    # 24 kHz too, where a whole narrow sample is one and a half wide ones
    config = DataConfig(str(filelist), wav_root=str(filelist.parent), segment_samples=3000)
    small, wide = SpeechSRData(str(filelist), config, 16000, 24000).example(0, np.random.default_rng(0))
    assert small.shape == (2000,) and wide.shape == (3000,)


def test_a_batch_is_a_function_of_the_step(filelist):
    stream = data(filelist).batches(2, 5, 0, 0)
    batches = [next(stream) for _ in range(3)]
    again = next(data(filelist).batches(2, 5, 2, 0))
    assert all((a == b).all() for a, b in zip(batches[2], again, strict=True))
    assert not (batches[1][1] == batches[2][1]).all()


def test_only_a_piece_is_read_and_it_is_the_right_one(tmp_path):
    ramp = np.linspace(-0.9, 0.9, 48000, dtype=np.float32)
    save_audio(tmp_path / "ramp.wav", ramp, 48000)
    assert read_length(tmp_path / "ramp.wav") == (48000, 48000)
    wav, rate = load_audio(tmp_path / "ramp.wav", start_seconds=12345 / 48000, max_seconds=0.1)
    assert rate == 48000 and len(wav) == 4800
    np.testing.assert_allclose(wav, ramp[12345 : 12345 + 4800], atol=1e-4)
    with pytest.raises(ValueError, match="no samples"):
        load_audio(tmp_path / "ramp.wav", start_seconds=1.0)


def test_held_out_pieces_are_fixed_and_heard_as_inference_would(filelist):
    pieces = data(filelist)
    for index, seconds in ((0, 0.2), (2, 5.0)):
        small, wide = pieces.held_out(index, seconds)
        again = pieces.held_out(index, seconds)
        assert len(wide) == 3 * len(small) and np.array_equal(wide, again[1])
        np.testing.assert_array_equal(small, resample(wide, 48000, 16000))
        assert 20 * np.log10(np.sqrt(np.mean(wide**2))) == pytest.approx(-23, abs=0.5)
    assert len(pieces.held_out(2, 5.0)[1]) == 14400  # no longer than the recording


def spoil(filelist: Path) -> None:
    """One line of each kind of fault behind the three good ones; line 4 is empty."""
    folder = filelist.parent
    save_audio(folder / "phone.wav", buzz(0.4, 16000, 1), 16000)
    save_audio(folder / "dvd.wav", buzz(0.4, 44100, 1), 44100)
    save_audio(folder / "blip.wav", buzz(0.05, 48000, 1), 48000)
    (folder / "text.wav").write_text("not a sound")
    with filelist.open("a") as file:
        file.write("\n")
        for name in ("phone", "dvd", "blip", "text", "nowhere"):
            file.write(f"{name}|{name}.wav|buzz|en-us|\n")


def test_unfit_recordings_are_named_with_file_and_line_and_counted(filelist, capsys):
    spoil(filelist)
    with pytest.raises(ValueError) as caught:
        data(filelist)
    sentence = str(caught.value)
    assert "5 of 8 recordings unfit" in sentence and "\n" not in sentence
    for part in (
        f"2 below 48000 Hz ({filelist}:5: {filelist.parent / 'phone.wav'} has 16000 Hz, {filelist}:6: ",
        f"1 shorter than 0.2 s ({filelist}:7: {filelist.parent / 'blip.wav'} lasts 0.050 s)",
        f"1 unreadable ({filelist}:8: {filelist.parent / 'text.wav'}: not a sound file",
        f"1 missing ({filelist}:9: {filelist.parent / 'nowhere.wav'})",
        "data.unfit=skip",
    ):
        assert part in sentence
    kept = data(filelist, unfit="skip")
    assert [r.where for r in kept.recordings] == [f"{filelist}:{n}" for n in (1, 2, 3)]
    assert "5 of 8 recordings unfit" in capsys.readouterr().out
    # a share below 1 lets 44.1 kHz in
    assert len(data(filelist, unfit="skip", min_rate=0.9).recordings) == 4
    with pytest.raises(ValueError, match="6 below 144000 Hz .*, and 3 more"):
        data(filelist, scale=9, unfit="skip", segment_samples=9000)


def test_a_file_damaged_behind_its_header(filelist):
    name = filelist.parent / "0.flac"
    save_audio(name, np.random.default_rng(0).uniform(-0.5, 0.5, 96000).astype(np.float32), 48000)
    content = bytearray(name.read_bytes())
    content[len(content) // 8 :] = bytes(len(content) - len(content) // 8)
    name.write_bytes(content)
    lines = filelist.read_text().replace("0|0.wav", "0|0.flac")
    filelist.write_text(lines)
    rng = np.random.default_rng(0)
    try:
        load_audio(name, start_seconds=80000 / 48000, max_seconds=0.2)
    except ValueError:
        pass
    else:
        pytest.skip("this libsndfile reads damaged FLAC files")
    with pytest.raises(ValueError, match=f"{filelist}:1: "):
        for _ in range(20):
            data(filelist).example(0, rng)
    with pytest.warns(UserWarning, match=f"{filelist}:1: .*Another one is taken"):
        for _ in range(20):
            assert data(filelist, unfit="skip").example(0, rng)[0].shape == (3200,)


def test_a_broken_line_is_refused_whatever_unfit_says(filelist):
    with filelist.open("a") as file:
        file.write("no separators\n")
    for unfit in ("refuse", "skip"):
        with pytest.raises(ValueError, match=re.escape(f"{filelist}:4: expected id|wav|speaker")):
            find_recordings(str(filelist), "", 48000, 0.1, unfit)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("data.filters={brick: 1}", "filters: unknown ['brick']; known: ['butterworth'"),
        ("data.resamplers={soxr: 0}", "resamplers: expected frequencies of which one is above 0"),
        ("data.cutoff_range=[0.9, 0.8]", "cutoff_range: expected shares of the band in order"),
        ("data.order_range=[0, 8]", "order_range: expected orders of 1 to 12"),
        ("data.unfit=ignore", "unfit: expected one of ['refuse', 'skip'], got 'ignore'"),
        ("data.min_rate=0", "min_rate: expected a share above 0"),
        ("data.segment_samples=2401", "expected a multiple of 3"),
        ("data.segment_samples=30000", "3 shorter than 0.625 s"),
        ("data.wav_root=/nowhere", "3 of 3 recordings unfit: 3 missing"),
    ],
)
def test_bad_settings_are_one_sentence_and_exit_code_2(filelist, tmp_path, capsys, change, sentence):
    arguments = [f"data.filelist={filelist}", "data.validation_filelist=null", f"data.wav_root={tmp_path}"]
    assert train.main([str(TINY), *arguments, f"train.runs_folder={tmp_path / 'runs'}", change]) == 2
    output = capsys.readouterr()
    assert sentence in output.err and output.err.count("\n") == 1
