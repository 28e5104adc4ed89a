"""prepare.py: corpora to packs, what is dropped and why, going on where it stopped, growing, and what it refuses."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from make_pack import make_pack
from tiny_voice import recording

import prepare
from hierspeech.preparation import work
from hierspeech.preparation.alignment import Aligner
from hierspeech.preparation.stages import phonemes_of
from speech.audio import load_audio, save_audio
from speech.packs import Pack
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig

ROOT = Path(__file__).resolve().parent.parent
SHARED = next((p / "shared/corpus" for p in ROOT.parents if (p / "shared/corpus/ljspeech").is_dir()), None)
HAS_ALIGNER = importlib.util.find_spec("pocketsphinx") is not None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for speaker, f0 in (("ann", 200.0), ("bob", 100.0)):
        (folder / speaker).mkdir()
        save_audio(folder / speaker / "one.wav", recording(1.5, f0, 22050), 22050)
        save_audio(folder / speaker / "two.flac", recording(2.0, f0), 16000)
    save_audio(folder / "bob" / "short.wav", recording(0.3), 16000)
    (folder / "bob" / "broken.wav").write_text("no sound at all")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of a tiny phonetic encoder."""
    folder = tmp_path_factory.mktemp("encoder") / "phonetic"
    PhoneticEncoder(PhoneticEncoderConfig(width=16, layers=1, dim=8)).save_pretrained(folder)
    return folder


def run(*arguments) -> int:
    return prepare.main([str(argument) for argument in arguments])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dropped(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]


def test_a_folder_becomes_a_pack_and_stays_one(corpus, encoder, tmp_path, capsys):
    out = tmp_path / "pack"
    assert run(corpus, out) == 0
    report = capsys.readouterr().out
    assert "dropped, too short         1" in report and "dropped, unreadable audio  1" in report
    pack = Pack(out)
    assert [u["speaker"] for u in pack.utterances] == ["ann", "ann", "bob", "bob"]
    for index, f0 in enumerate((200, 200, 100, 100)):
        assert pack.length("f0", index) == pack.length("wav", index) // 80
        tracked = pack.read("f0", index).astype(float)
        assert np.median(tracked[tracked > 0]) == pytest.approx(f0, rel=0.1)
        assert pack.length("token_ids", index) == 0  # there is no text

    shard = out / "shards" / "00000"
    before = (shard / "wav.bin").stat().st_mtime_ns, (out / "pack.json").stat().st_mtime_ns
    assert run(corpus, out) == 0
    assert ((shard / "wav.bin").stat().st_mtime_ns, (out / "pack.json").stat().st_mtime_ns) == before
    assert run(corpus, out, "--semantic", f"phonetic={encoder}") == 0
    assert (shard / "wav.bin").stat().st_mtime_ns == before[0]  # finished stages are not done again
    pack = Pack(out)
    pack.require_semantic(PhoneticEncoder.from_pretrained(encoder).spec)
    assert pack.read("semantic", 0).shape == (pack.length("wav", 0) // 320, 8)
    assert pack.read("semantic", 0).dtype == np.float16


def test_features_of_another_encoder_are_refused_or_made_again(corpus, encoder, tmp_path, capsys):
    out, other = tmp_path / "pack", tmp_path / "other"
    assert run(corpus, out, "--semantic", f"phonetic={encoder}") == 0
    first = Pack(out).read("semantic", 0).copy()
    PhoneticEncoder(PhoneticEncoderConfig(width=16, layers=1, dim=8)).save_pretrained(other)  # same spec
    assert run(corpus, out, "--semantic", f"phonetic={other}") == 2
    assert "holds semantic features of phonetic" in capsys.readouterr().err
    assert np.array_equal(Pack(out).read("semantic", 0), first)
    assert run(corpus, out, "--semantic", f"phonetic={other}", "--redo", "semantic") == 0
    assert not np.array_equal(Pack(out).read("semantic", 0), first)
    assert run(corpus, out, "--redo", "semantic") == 2


def test_what_is_dropped_is_named_with_file_and_line(corpus, tmp_path, capsys):
    save_audio(tmp_path / "long.wav", recording(6.0), 16000)
    good = corpus / "ann" / "one.wav"
    listed = tmp_path / "list.txt"
    listed.write_text(
        f"ok|{good}|ann|en-us|\nbroken line\nok|{good}|ann|en-us|\nmissing|{tmp_path}/none.wav|a|en-us|x\n"
        f"noise|{corpus}/bob/broken.wav|a|en-us|x\nshort|{corpus}/bob/short.wav|a|en-us|\n"
        f"long|{tmp_path}/long.wav|a|en-us|\nmute|{good}|a|en-us|\u200b - \nwho|{good}|a|no-such|Hello.\n"
    )
    arguments = [listed, tmp_path / "pack", "--layout", "filelist", "--max-seconds", "3", "--no-align"]
    assert run(*arguments) == 0
    assert len(Pack(tmp_path / "pack")) == 1
    found = {(Path(line["where"]).name, line["reason"]) for line in dropped(tmp_path / "pack")}
    assert found == {
        ("list.txt:2", "broken line"),
        ("list.txt:3", "id occurs twice"),
        ("list.txt:4", "missing audio"),
        ("list.txt:5", "unreadable audio"),
        ("list.txt:6", "too short"),
        ("list.txt:7", "too long"),
        ("list.txt:8", "text without phonemes"),
        ("list.txt:9", "unknown language"),
    }
    assert capsys.readouterr().out.count("dropped, ") == 8


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("broken", "list.txt:2: broken line"),
        ("b|none.wav|s|en-us|", "list.txt:2: missing audio"),
        ("b|SHORT|s|en-us|", "list.txt:2: too short"),
    ],
)
def test_strict_refuses_what_would_be_dropped(corpus, tmp_path, capsys, line, sentence):
    listed = tmp_path / "list.txt"
    short = str(corpus / "bob" / "short.wav")
    listed.write_text(f"a|{corpus}/ann/one.wav|s|en-us|\n{line.replace('SHORT', short)}\n")
    assert run(listed, tmp_path / "pack", "--layout", "filelist", "--strict") == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "pack" / "pack.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "out"], "nowhere: no such corpus"),
        (["EMPTY", "out"], "no recordings found"),
        (["EMPTY", "out", "--processes", "0"], "no recordings found"),
        (["BROKEN", "out"], "none of 1 recordings can be used"),
        (["BROKEN", "out", "--split-seconds", "90"], "split seconds 90: expected"),
        (["BROKEN", "out", "--min-seconds", "50"], "expected 0 < min < max"),
        (["BROKEN", "out", "--delimiter", ",,"], "expected one character"),
        (["BROKEN", "out", "--processes", "0"], "processes: expected at least 1"),
        (["BROKEN", "out", "--shard-hours", "0"], "shard hours 0"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BROKEN").mkdir()
    (tmp_path / "BROKEN" / "a.wav").write_text("no sound")
    assert prepare.main(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def many(folder: Path, count: int, first: int = 0) -> Path:
    for k in range(first, first + count):
        (folder / f"s{k % 7}").mkdir(parents=True, exist_ok=True)
        save_audio(folder / f"s{k % 7}" / f"u{k}.wav", recording(1.0 + 0.1 * (k % 3), 100.0 + 10 * k), 16000)
    return folder


SHARDS = ("--shard-hours", 3 / 3600)  # three seconds: two or three utterances each


def test_a_stopped_run_goes_on_and_makes_the_same_pack(tmp_path, monkeypatch, capsys):
    folder = many(tmp_path / "corpus", 8)
    assert run(folder, tmp_path / "whole", *SHARDS) == 0
    whole = files(tmp_path / "whole")
    assert "shards/00003/f0.bin" in whole
    done = []

    def stopped(task):
        if len(done) == stop_after:
            raise KeyboardInterrupt
        report = work.run_task(task)
        done.append(task)
        return report

    for stop_after in (1, 5, 9):
        done.clear()
        out = tmp_path / f"stopped{stop_after}"
        with monkeypatch.context() as patch:
            patch.setattr("hierspeech.preparation.packing.run_task", stopped)
            assert run(folder, out, *SHARDS) == 130
        assert "the same command goes on" in capsys.readouterr().err
        with pytest.raises(ValueError, match="not finished"):
            Pack(out)
        tasks = []

        def counted(task, tasks=tasks):
            tasks.append(task)
            return work.run_task(task)

        with monkeypatch.context() as patch:
            patch.setattr("hierspeech.preparation.packing.run_task", counted)
            assert run(folder, out, *SHARDS) == 0
        assert len(tasks) + len(done) == 3 * 4  # no stage of a shard is done twice
        assert files(out) == whole


def test_a_killed_pool_leaves_no_workers_and_goes_on(tmp_path):
    folder = many(tmp_path / "corpus", 40)
    command = [sys.executable, "prepare.py", str(folder), str(tmp_path / "killed"), "--processes", "2"]
    command += [str(value) for value in SHARDS]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    for _ in range(1200):
        if list(tmp_path.glob("killed/shards/*/f0.bin")) or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, "the run was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(200):
        if not members(process.pid):
            break
        time.sleep(0.05)
    assert not members(process.pid)
    assert run(folder, tmp_path / "killed", *SHARDS) == 0
    assert run(folder, tmp_path / "whole", *SHARDS) == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")  # two processes or one, killed or not


def members(group: int) -> list[int]:
    """Processes of a group that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(own) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_a_grown_corpus_adds_shards_and_changes_nothing_else(tmp_path):
    folder, out = many(tmp_path / "corpus", 6), tmp_path / "pack"
    options = (*SHARDS, "--dev-share", "0.4")
    assert run(folder, out, *options) == 0
    small = Pack(out)
    before, n_shards = list(small.utterances), small.index["shards"]
    old = {k: v for k, v in files(out).items() if k.startswith("shards/")}
    many(folder, 5, first=6)
    assert run(folder, out, *options) == 0
    grown = Pack(out)
    assert grown.utterances[:6] == before and len(grown) == 11 and grown.index["shards"] > n_shards
    assert old.items() <= files(out).items()
    assert np.array_equal(grown.read("f0", 10), np.asarray(grown.read("f0", 10))) and grown.has("f0")
    speakers = {u["speaker"]: u["split"] for u in grown.utterances}
    assert {u["split"] for u in grown.utterances} == {"train", "dev"}
    assert all(speakers[u["speaker"]] == u["split"] for u in grown.utterances)
    again = tmp_path / "again"  # made at once, the grown corpus has the same split
    assert run(folder, again, *options) == 0
    assert {u["id"]: u["split"] for u in Pack(again).utterances} == {
        u["id"]: u["split"] for u in grown.utterances
    }


def test_several_corpora_share_a_pack_each_with_its_own_split(tmp_path):
    """One of one speaker is split by utterances, and the next one's speakers still stay whole."""
    listed = tmp_path / "alone.txt"
    many(tmp_path / "wavs", 14)
    wavs = sorted((tmp_path / "wavs").rglob("*.wav"))
    listed.write_text("".join(f"alone/{wav.stem}|{wav}|one|en-us|\n" for wav in wavs))
    options = ("--dev-share", "0.5")
    assert run(listed, tmp_path / "pack", "--layout", "filelist", *options) == 0
    assert run(tmp_path / "wavs", tmp_path / "pack", *options) == 0
    pack = Pack(tmp_path / "pack")
    splits = [
        {(u["speaker"], u["split"]) for u in part} for part in (pack.utterances[:14], pack.utterances[14:])
    ]
    assert splits[0] == {("one", "train"), ("one", "dev")}
    assert len(splits[1]) == 7 and len({split for _, split in splits[1]}) == 2


def test_a_pack_keeps_its_settings(corpus, tmp_path, capsys):
    assert run(corpus, tmp_path / "pack") == 0
    assert run(corpus, tmp_path / "pack", "--min-seconds", "1") == 2
    assert "made with min_seconds = 0.8, not 1.0" in capsys.readouterr().err


def test_a_pack_that_is_being_made_is_left_alone(corpus, tmp_path, capsys):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "pack").mkdir()
    with open(tmp_path / "pack" / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(corpus, tmp_path / "pack") == 2
    assert "another prepare.py" in capsys.readouterr().err


def test_stages_can_be_added_to_a_plain_pack(corpus, encoder, tmp_path):
    make_pack(tmp_path / "pack")
    assert run(corpus, tmp_path / "pack", "--semantic", f"phonetic={encoder}", "--redo", "f0") == 0
    pack = Pack(tmp_path / "pack")
    assert len(pack) == 6 and pack.index is None
    assert pack.read("phonemes", 0).tobytes().decode() == "həlˈoʊ wˈɜːld"
    pack.require_semantic(PhoneticEncoder.from_pretrained(encoder).spec)
    assert pack.read("semantic", 5).shape[0] == pack.length("wav", 5) // 320
    assert pack.lengths("f0").tolist() == (pack.lengths("wav") // 80).tolist()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_makes_the_same_pack_as_the_pool(corpus, encoder, tmp_path, capsys):
    many(tmp_path / "corpus", 8)
    arguments = [*SHARDS, "--semantic", f"phonetic={encoder}", "--processes", 2]
    assert run(tmp_path / "corpus", tmp_path / "ray", *arguments, "--engine", "ray") == 0
    assert run(tmp_path / "corpus", tmp_path / "pool", *arguments) == 0
    made = files(tmp_path / "ray")
    assert made == files(tmp_path / "pool") and "shards/00003/semantic.bin" in made
    strict = [corpus, tmp_path / "strict", "--engine", "ray", "--strict", "--max-seconds", "1.8"]
    assert run(*strict) == 2
    assert "broken.wav" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_a_missing_ray_is_one_sentence(corpus, tmp_path, capsys):
    assert run(corpus, tmp_path / "pack", "--engine", "ray") == 2
    assert "Ray is not installed" in capsys.readouterr().err


@pytest.mark.skipif(not HAS_ALIGNER or SHARED is None, reason="no pocketsphinx, or no real speech to align")
def test_real_speech_is_aligned(tmp_path):
    spoken = next((SHARED / "ljspeech").glob("*.flac"))
    rows = [line.split("|") for line in (SHARED / "manifest.csv").read_text().splitlines()]
    text = next(row[-1] for row in rows if row[0].endswith(spoken.name))
    (tmp_path / "list.txt").write_text(f"a|{spoken}|LJ|en-us|{text}\nb|{spoken}|LJ|de|{text}\n")
    assert run(tmp_path / "list.txt", tmp_path / "pack", "--layout", "filelist") == 0
    pack = Pack(tmp_path / "pack")
    assert pack.length("token_ids", 0) > 10 and pack.length("token_ids", 1) == 0
    assert pack.read("token_ends", 0)[-1] == pytest.approx(pack.length("wav", 0) / 160, abs=15)
    (line,) = (tmp_path / "pack" / "incomplete.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "no aligner for this language"


@pytest.mark.skipif(not HAS_ALIGNER or SHARED is None, reason="no pocketsphinx, or no real speech to align")
def test_alignments_do_not_depend_on_what_was_aligned_before():
    rows = [line.split("|") for line in (SHARED / "manifest.csv").read_text().splitlines()[1:]]
    rows = [row for row in rows if row[0].startswith("ljspeech/") and row[-1] and float(row[4]) < 4][:3]
    aligner, pairs = Aligner(), []
    for row in rows:
        wav, _ = load_audio(SHARED / row[0], 16000)
        phonemes = phonemes_of({"text": row[-1], "language": "en-us"})
        ends = [one.align(wav, phonemes).phone_ends.tolist() for one in (aligner, Aligner(), aligner)]
        pairs.append(ends[0] == ends[1] == ends[2])
    assert pairs and all(pairs)
