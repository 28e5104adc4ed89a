"""Segments for the variational recipe from packs and filelists: places, padding, prompts, what is left out."""

import json

import numpy as np
import pytest
import torch
from make_pack import make_pack
from tiny_encoder import make_mms

import train
from hierspeech.synthesizer.variational_data import SegmentData, VariationalDataConfig
from speech.audio import count_samples, load_audio, save_audio
from speech.data import Utterance, write_filelist
from speech.semantic.encoder import SemanticSpec
from speech.training import TrainConfig

SPEC = SemanticSpec(name="phonetic", layer=1, dim=8)
CONFIG = "configs/tiny/synthesizer_variational.yaml"


def tone(hz: float, seconds: float, rate: int = 16000) -> np.ndarray:
    """A buzz, which has a pitch to be tracked."""
    phase = 2 * np.pi * hz * np.arange(int(seconds * rate)) / rate
    return sum(0.1 / k * np.sin(k * phase) for k in range(1, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments")
    make_pack(folder / "pack")
    files = {"a": (120, 1.5, "x"), "b": (200, 0.5, "x"), "c": (150, 1.2, "y"), "short": (150, 0.1, "y")}
    lines = []
    for name, (hz, seconds, speaker) in files.items():
        save_audio(folder / f"{name}.wav", tone(hz, seconds), 16000)
        lines.append(Utterance(name, f"{name}.wav", speaker, "", ""))
    (folder / "broken.wav").write_text("no sound")
    lines += [Utterance("broken", "broken.wav", "x", "", ""), Utterance("gone", "gone.wav", "x", "", "")]
    write_filelist(folder / "list.txt", lines)
    save_audio(folder / "dev.wav", tone(180, 1.0, 24000), 24000)
    write_filelist(folder / "dev.txt", [Utterance("dev", "dev.wav", "z", "", "")])
    return folder


def open_data(place, batch_size=2, **changes) -> SegmentData:
    values = {"seconds": 0.8, "wav_root": str(place)} | changes
    train_config = TrainConfig(batch_size=batch_size, num_workers=0)
    return SegmentData(VariationalDataConfig(**values), train_config, SPEC, window_frames=10)


def test_a_pack_gives_wave_f0_and_features_of_one_place(place):
    data = open_data(place, pack=str(place / "pack"), stored_semantic=True)
    assert len(data.items) == 4 and len(data.dev) == 2  # the last two are the dev split
    source, index = data.items[1]
    starts = set()
    for seed in range(40):
        example = data.example(source, index, np.random.default_rng(seed))
        whole = source.pack.read("wav", index).astype(np.float32) / 32768
        start = next(s for s in range(41) if np.array_equal(whole[320 * s : 320 * (s + 40)], example["wav"]))
        f0 = source.pack.read("f0", index, 4 * start, 4 * (start + 40)).astype(np.float32)
        semantic = source.pack.read("semantic", index, start, start + 40).astype(np.float32)
        assert np.array_equal(example["f0"], f0) and np.array_equal(example["semantic"], semantic.T)
        assert 0 <= example["window_start"] <= 30
        starts.add(start)
    assert min(starts) < 5 and max(starts) > 35


def test_short_recordings_are_padded_and_the_window_lies_in_them(place):
    data = open_data(place, filelist=str(place / "list.txt"))
    names = [source.paths[index].stem for source, index in data.items]
    assert names == ["a", "b", "c"]
    source, index = data.items[1]  # 0.5 s: 25 frames
    windows = set()
    for seed in range(60):
        example = data.example(source, index, np.random.default_rng(seed))
        assert example["n_frames"] == 25 and len(example["wav"]) == 40 * 320 and len(example["f0"]) == 160
        assert not example["wav"][8000:].any() and not example["f0"][100:].any()
        windows.add(int(example["window_start"]))
    assert windows == set(range(16))
    assert np.median(example["f0"][10:90]) == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_a_segment_of_a_file_equals_that_part_of_the_whole(tmp_path, rate, monkeypatch):
    save_audio(tmp_path / "long.wav", tone(200, 4.0, rate), rate)
    write_filelist(tmp_path / "list.txt", [Utterance("long", "long.wav", "z", "", "")])
    source = open_data(tmp_path, filelist=str(tmp_path / "list.txt")).sources[0]
    whole, _ = load_audio(tmp_path / "long.wav", 16000)
    seconds_read = []

    def counting(*arguments, **options):
        wav, rate = load_audio(*arguments, **options)
        seconds_read.append(len(wav) / rate)
        return wav, rate

    monkeypatch.setattr("hierspeech.synthesizer.variational_data.load_audio", counting)
    for start in (0, 3, 77, 160):
        part = source.wav(start=start, index=0, count=40)
        assert np.abs(part - whole[320 * start : 320 * (start + 40)]).max() < 2e-3
    assert max(seconds_read) < 1.1  # 0.8 s and what the resampler needs


def test_what_cannot_be_used_is_counted_with_its_reason(place):
    data = open_data(place, filelist=str(place / "list.txt"))
    reasons = "; ".join(f"{reason}: {count}" for reason, count in data.left_out.items())
    assert "shorter than 10 frames: 1" in reasons
    assert "not readable" in reasons and "broken.wav" in reasons and data.left_out.total() == 3
    with pytest.raises(ValueError, match="no usable training recording, left out"):
        SegmentData(
            VariationalDataConfig(filelist=str(place / "list.txt"), wav_root=str(place)),
            TrainConfig(),
            SPEC,
            window_frames=100,
        )


def test_filelists_and_a_pack_together(place):
    data = open_data(
        place,
        pack=str(place / "pack"),
        filelist=str(place / "list.txt"),
        validation_filelist=str(place / "dev.txt"),
    )
    assert len(data.items) == 7 and len(data.dev) == 3
    seen = {int(n) for step in range(8) for n in _batch(data, step).n_frames}
    assert seen == {25, 40}
    pieces = data.fixed(10)
    assert [len(batch.wav) for batch in pieces] == [2, 1]  # of batch_size
    again = data.fixed(10)
    assert torch.equal(pieces[1].wav, again[1].wav)
    f0 = pieces[1].f0[0]  # resampled from 24 kHz
    assert f0[f0 > 0].median().item() == pytest.approx(180, rel=0.01)


def _batch(data, step):
    return next(data.batches(step))


def test_batches_are_a_function_of_the_step(place):
    data = open_data(place, pack=str(place / "pack"), prompt_seconds=0.5)
    batches = data.batches(0)
    next(batches)
    continued, resumed = next(batches), _batch(data, 1)
    for name, value in vars(continued).items():
        assert value is None or torch.equal(value, getattr(resumed, name)), name


def test_prompts_are_other_recordings_of_the_speaker(place):
    data = open_data(place, filelist=str(place / "list.txt"), prompt_seconds=1.0)
    source, index = data.items[0]
    example = data.example(source, index, np.random.default_rng(0))
    assert example["n_prompt"] == 8000 and example["prompt"].shape == (16000,)  # b.wav, 0.5 s
    assert np.allclose(example["prompt"][:8000], source.wav(1, 0, 25))
    alone = data.example(*data.items[2], np.random.default_rng(0))  # y has no other usable recording
    assert alone["n_prompt"] == 16000
    assert open_data(place, filelist=str(place / "list.txt")).example(source, index, np.random.default_rng(0)).keys() == {
        "wav", "f0", "n_frames", "window_start",
    }  # fmt: skip


def test_source_weights_draw_more_of_a_source(place, tmp_path):
    make_pack(tmp_path / "pack")
    lines = (tmp_path / "pack/utterances.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    rows[0]["source"] = "rare"
    (tmp_path / "pack/utterances.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    data = open_data(place, pack=str(tmp_path / "pack"), source_weights={"rare": 9.0}, batch_size=8)
    drawn = 0
    rare = data.items[0]
    marks = {data.example(*rare, np.random.default_rng(s))["f0"].max() for s in range(10)} - {0}
    for step in range(20):
        drawn += sum(float(f0.max()) in {float(m) for m in marks} for f0 in _batch(data, step).f0)
    assert (
        drawn > 60
    )  # of 160, where a quarter of the draws would be 40; segments of its silent half do not count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected a pack or a filelist"),
        ({"filelist": "x", "stored_semantic": True}, "stored_semantic needs a pack"),
        ({"filelist": "x", "seconds": 0.0}, "expected positive seconds"),
        ({"filelist": "nowhere.txt"}, "cannot read the filelist nowhere.txt"),
    ],
)
def test_wrong_data_sections_are_refused(place, changes, message):
    with pytest.raises(ValueError, match=message):
        open_data(place, **changes)


def test_features_of_another_encoder_are_refused(place):
    with pytest.raises(ValueError, match="holds semantic features of"):
        SegmentData(
            VariationalDataConfig(pack=str(place / "pack"), stored_semantic=True),
            TrainConfig(),
            SemanticSpec(),
            window_frames=10,
        )


def test_count_samples_is_what_load_audio_gives(place):
    assert count_samples(place / "a.wav", 16000) == 24000
    assert count_samples(place / "dev.wav", 16000) == 16000
    with pytest.raises(ValueError, match="no such sound file"):
        count_samples(place / "gone.wav", 16000)
    with pytest.raises(ValueError, match="not a sound file"):
        count_samples(place / "broken.wav", 16000)


def test_two_steps_on_a_filelist_with_a_wav2vec_encoder(place, tmp_path):
    """The published arrangement at toy size: recordings, F0 tracked on the fly, features of clean and perturbed speech."""
    pytest.importorskip("transformers")
    make_mms(24, layers=2).save_pretrained(tmp_path / "mms")
    arguments = [
        "data.pack=null", f"data.filelist={place / 'list.txt'}", f"data.validation_filelist={place / 'dev.txt'}",
        f"data.wav_root={place}", "data.seconds=0.4", f"recipe.semantic_encoder={tmp_path / 'mms'}",
        "model.semantic={name: mms-300m, layer: 1, dim: 24, rate_hz: 50}", f"train.runs_folder={tmp_path}",
        "train.run=run", "train.precision=fp32",
    ]  # fmt: skip
    assert train.main([CONFIG, *arguments]) == 0
    assert (tmp_path / "run/step_00000002/model.safetensors").is_file()
