"""`Denoising` and denoise.py: one recording, folders that can be gone on with, and one sentence for every bad input."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_voice import build_voice, recording

import denoise
import hierspeech.pipelines.denoising as denoise_pipeline
from denoiser.windows import denoise as clean_windows
from hierspeech import Denoising, load_voice

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return build_voice(tmp_path_factory.mktemp("voices") / "clean", "lite", denoiser=True)


@pytest.fixture(scope="module")
def denoising(voice):
    return Denoising.from_pretrained(voice, "cpu")


@pytest.fixture
def noisy(tmp_path):
    """Three recordings in two folders, and things that are no recordings."""
    folder = tmp_path / "noisy"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".cache").mkdir()
    soundfile.write(folder / "a.wav", recording(0.3), 16000)
    soundfile.write(folder / "deep" / "B.FLAC", recording(0.2, sample_rate=24000), 24000)
    soundfile.write(folder / "deep" / "er" / "c.mp3", recording(0.4), 16000)
    soundfile.write(folder / ".cache" / "hidden.wav", recording(0.2), 16000)
    (folder / "._a.wav").write_bytes(b"what another system leaves behind")
    (folder / "notes.txt").write_text("not a recording")
    return folder


def run(voice, *arguments):
    return denoise.main(["--voice", str(voice), "--device", "cpu", *map(str, arguments)])


def written(folder):
    """Every file below the folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestPipeline:
    def test_a_recording_is_what_the_windows_make_of_it(self, denoising):
        wav = recording(1.0)
        expected = clean_windows(denoising.voice.denoiser, torch.from_numpy(wav)).numpy()
        speech = denoising(wav)
        assert speech.sample_rate == 16000 and speech.audio.dtype == np.float32
        assert np.allclose(speech.audio, expected * min(1, 0.95 / np.abs(expected).max()), atol=1e-6)

    def test_other_rates_become_the_voices(self, denoising):
        assert len(denoising(recording(1.0, sample_rate=44100), sample_rate=44100).audio) == 16000

    def test_ratio_mixes(self, denoising):
        wav = 0.1 * recording(0.5)
        all_, none, half = (denoising(wav, ratio=ratio).audio for ratio in (1.0, 0.0, 0.5))
        assert np.allclose(none, wav, atol=1e-7) and not np.allclose(all_, wav, atol=1e-3)
        assert np.allclose(half, (all_ + none) / 2, atol=1e-6)

    def test_level_is_the_recordings_own(self, denoising):
        loud, faint = denoising(0.2 * recording(0.5)).audio, denoising(0.1 * recording(0.5)).audio
        assert np.allclose(loud, 2 * faint, rtol=1e-3, atol=1e-5)
        assert np.abs(denoising(8 * recording(0.5), ratio=0.1).audio).max() <= 0.951

    def test_no_channel_of_a_stereo_file_is_lost(self, voice, tmp_path):
        left, right = recording(0.5, 100), recording(0.5, 150)
        soundfile.write(tmp_path / "two.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
        official = build_voice(
            tmp_path / "official", "official", denoiser=True, recordings="as_recorded", level="peak"
        )
        for name in (voice, official):  # cleaning files is no published flow
            speech = Denoising.from_pretrained(name, "cpu")(tmp_path / "two.wav", ratio=0.0)
            assert np.allclose(speech.audio, (left + right) / 2, atol=1e-6)

    def test_progress_counts_windows(self, denoising):
        seen = []
        denoising(recording(9.0), progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 2), (2, 2)]

    def test_a_voice_without_denoiser_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="the voice 'tiny' has no denoiser"):
            Denoising(load_voice(build_voice(tmp_path / "voice", "lite"), "cpu"))

    @pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
    def test_ratios_out_of_range_are_refused(self, denoising, ratio):
        with pytest.raises(ValueError, match="denoise ratio"):
            denoising(recording(0.2), ratio=ratio)

    @pytest.mark.parametrize(
        ("wav", "message"),
        [
            (np.zeros(0), "no samples"),
            (np.zeros(16000), "silent"),
            (np.full(16000, np.nan), "finite"),
            (np.zeros((2, 100)), "shape"),
        ],
    )
    def test_unusable_recordings_are_refused(self, denoising, wav, message):
        with pytest.raises(ValueError, match=message):
            denoising(wav)

    def test_broken_weights_are_said(self, voice, tmp_path):
        broken = Denoising.from_pretrained(shutil.copytree(voice, tmp_path / "broken"), "cpu")
        broken.voice.denoiser.magnitude_decoder.slope.data.fill_(np.nan)
        with pytest.raises(ValueError, match="weights are broken"):
            broken(recording(0.2))


class TestOneFile:
    def test_it_is_cleaned(self, voice, noisy, tmp_path, capsys):
        assert run(voice, noisy / "deep" / "B.FLAC", tmp_path / "out.ogg") == 0
        info = soundfile.info(tmp_path / "out.ogg")
        assert (info.samplerate, info.channels, info.format) == (16000, 1, "OGG")
        said, complaints = capsys.readouterr()
        assert "out.ogg: 0.20 s" in said and complaints == ""

    def test_it_is_what_the_pipeline_gives(self, voice, denoising, noisy, tmp_path):
        assert run(voice, noisy / "a.wav", tmp_path / "script.wav", "--ratio", "0.5") == 0
        denoising(noisy / "a.wav", ratio=0.5).save(tmp_path / "pipeline.wav")
        assert (tmp_path / "script.wav").read_bytes() == (tmp_path / "pipeline.wav").read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("missing.wav", "out.wav"), "no such sound file"),
            (("notes.txt", "out.wav"), "not a sound file"),
            (("a.wav", "a.wav"), "replace the input"),
            (("a.wav", "out.mp3"), "must end in"),
            (("a.wav", "no/where.wav"), "does not exist"),
            (("a.wav", "deep"), "must end in"),
            (("a.wav", "out.wav", "--ratio", "2"), "ratio 2"),
            (("a.wav", "out.wav", "--ratio", "nan"), "ratio nan"),
            (("a.wav", "out.wav", "--device", "gpu"), "gpu"),
            (("a.wav", "out.wav", "--surprise"), "--surprise"),
            (("a.wav",), "output"),
        ],
    )
    def test_bad_input_is_one_sentence(self, voice, noisy, monkeypatch, capsys, arguments, message):
        monkeypatch.chdir(noisy)
        before = written(noisy)
        assert run(voice, *arguments) == 2
        said, complaints = capsys.readouterr()
        assert said == "" and complaints.count("\n") == 1 and message in complaints
        assert written(noisy) == before

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_a_voice_without_denoiser_is_one_sentence(self, noisy, tmp_path, capsys, kind):
        voice = build_voice(tmp_path / "voice", "lite")
        paths = (noisy / "a.wav", tmp_path / "out.wav") if kind == "file" else (noisy, tmp_path / "out")
        assert run(voice, *paths) == 2
        said, complaints = capsys.readouterr()
        assert said == "" and complaints.count("\n") == 1 and "has no denoiser" in complaints
        assert not paths[1].exists()


class TestFolder:
    def test_it_is_mirrored(self, voice, noisy, tmp_path, capsys):
        out = tmp_path / "new" / "clean"
        assert run(voice, noisy, out) == 0
        assert written(out) == ["a.wav", "deep/B.FLAC", "deep/er/c.wav"]
        assert all(soundfile.info(out / name).samplerate == 16000 for name in written(out))
        said, complaints = capsys.readouterr()
        assert complaints == "" and "[3/3]" in said and said.endswith("done 3, skipped 0, failed 0\n")

    def test_what_is_there_is_skipped(self, voice, noisy, tmp_path, capsys):
        assert run(voice, noisy, tmp_path / "clean") == 0
        (tmp_path / "clean" / "a.wav").write_bytes(b"changed by the user")
        (tmp_path / "clean" / "deep" / "B.FLAC").unlink()
        capsys.readouterr()
        assert run(voice, noisy, tmp_path / "clean") == 0
        said = capsys.readouterr().out
        assert "2 of 3 recordings are in" in said and said.endswith("done 1, skipped 2, failed 0\n")
        assert (tmp_path / "clean" / "a.wav").read_bytes() == b"changed by the user"

    def test_nothing_left_to_do_needs_no_model(self, voice, noisy, tmp_path, monkeypatch):
        assert run(voice, noisy, tmp_path / "clean") == 0
        monkeypatch.setattr(denoise, "load", lambda _: pytest.fail("a model was loaded"))
        assert run(voice, noisy, tmp_path / "clean") == 0

    def test_bad_files_are_named_and_the_rest_goes_on(self, voice, noisy, tmp_path, capsys):
        (noisy / "0.wav").write_text("no sound")
        soundfile.write(noisy / "deep" / "silent.wav", np.zeros(1600), 16000)
        (noisy / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
        assert run(voice, noisy, tmp_path / "clean") == 2
        assert written(tmp_path / "clean") == ["a.wav", "deep/B.FLAC", "deep/er/c.wav"]
        said, complaints = capsys.readouterr()
        lines = complaints.splitlines()
        assert said.endswith("done 3, skipped 0, failed 3\n") and len(lines) == 4
        assert all(
            name in line for name, line in zip(("0.wav", "gone.wav", "silent.wav"), lines[:-1], strict=True)
        )
        assert lines[-1] == "denoise.py: 3 recordings were not denoised, as said above."

    def test_an_interruption_loses_nothing(self, voice, noisy, tmp_path, capsys, monkeypatch):
        """Ctrl-C in the middle of writing the second recording; then the same command again."""
        write, count = soundfile.SoundFile.write, iter(range(100))

        def write_or_stop(file, data):
            if next(count) == 1:
                write(file, data[:100])
                raise KeyboardInterrupt
            write(file, data)

        monkeypatch.setattr(soundfile.SoundFile, "write", write_or_stop)
        assert run(voice, noisy, tmp_path / "clean") == 130
        complaints = capsys.readouterr().err
        assert complaints.count("\n") == 1 and "after 1 recordings were written" in complaints
        assert written(tmp_path / "clean") == ["a.wav"]
        first = (tmp_path / "clean" / "a.wav").read_bytes()
        assert run(voice, noisy, tmp_path / "clean") == 0
        assert written(tmp_path / "clean") == ["a.wav", "deep/B.FLAC", "deep/er/c.wav"]
        assert (tmp_path / "clean" / "a.wav").read_bytes() == first

    def test_one_sick_file_does_not_stop_the_others(self, voice, noisy, tmp_path, capsys, monkeypatch):
        read = denoise_pipeline.read_recording

        def read_or_fail(path, *arguments, **options):
            if Path(path).name == "a.wav":
                raise MemoryError("Unable to allocate 256. GiB")
            return read(path, *arguments, **options)

        monkeypatch.setattr(denoise_pipeline, "read_recording", read_or_fail)
        assert run(voice, noisy, tmp_path / "clean") == 2
        said, complaints = capsys.readouterr()
        assert "256. GiB" in complaints and said.endswith("done 2, skipped 0, failed 1\n")

    def test_a_broken_model_is_said_once(self, voice, noisy, tmp_path, capsys):
        broken = shutil.copytree(voice, tmp_path / "broken")
        (broken / "denoiser" / "model.safetensors").unlink()
        assert run(broken, noisy, tmp_path / "clean") == 2
        assert capsys.readouterr().err.count("\n") == 1

    def test_links_to_folders_are_named(self, voice, noisy, tmp_path, capsys):
        (noisy / "link").symlink_to(noisy / "deep", target_is_directory=True)
        assert run(voice, noisy, tmp_path / "clean") == 0
        assert "link: a link to a folder, which is not followed" in capsys.readouterr().err

    def test_an_output_folder_inside_the_input_is_not_read(self, voice, noisy):
        for _ in range(2):
            assert run(voice, noisy, noisy / "clean") == 0
        assert written(noisy / "clean") == ["a.wav", "deep/B.FLAC", "deep/er/c.wav"]

    def test_two_recordings_never_become_one_file(self, voice, noisy, tmp_path, capsys):
        shutil.copy(noisy / "deep" / "er" / "c.mp3", noisy / "a.mp3")
        assert run(voice, noisy, tmp_path / "clean") == 2
        said, complaints = capsys.readouterr()
        assert "a.mp3" in complaints and complaints.count("\n") == 2
        assert said.endswith("done 3, skipped 0, failed 1\n")
        assert soundfile.info(tmp_path / "clean" / "a.wav").frames == 4800  # made of a.wav, not of a.mp3

    def test_a_subfolder_that_cannot_be_read_is_named(self, voice, noisy, tmp_path, capsys, monkeypatch):
        scandir = os.scandir

        def scandir_or_refuse(place):
            if Path(place).name == "deep":  # permissions would not do: root may read everything
                raise PermissionError(13, "Permission denied", str(place))
            return scandir(place)

        monkeypatch.setattr(os, "scandir", scandir_or_refuse)
        assert run(voice, noisy, tmp_path / "clean") == 2
        assert "deep: the folder cannot be read (Permission denied)" in capsys.readouterr().err
        monkeypatch.undo()
        assert written(tmp_path / "clean") == ["a.wav"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("noisy", "lie among the inputs"),
            (".", "lie among the inputs"),
            ("file", "is a file"),
            ("file/out", "cannot be written"),
        ],
    )
    def test_output_folders_that_cannot_be(self, voice, noisy, tmp_path, capsys, monkeypatch, name, message):
        monkeypatch.setattr(denoise, "load", lambda _: pytest.fail("work was done"))
        (tmp_path / "file").write_text("")
        assert run(voice, noisy, tmp_path / name) == 2
        said, complaints = capsys.readouterr()
        assert said == "" and complaints.count("\n") == 1 and message in complaints

    def test_a_folder_without_recordings_is_said(self, voice, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        assert run(voice, tmp_path / "empty", tmp_path / "out") == 2
        assert "holds no recordings" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_help_does_not_load_torch():
    code = (
        "import sys, denoise\ntry: denoise.main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    help_ = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert help_.stdout.endswith("False\n")
