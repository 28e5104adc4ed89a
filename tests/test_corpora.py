"""Layouts of corpora: tiny copies of each are read into the same records; broken lines are named and cost one utterance."""

from pathlib import Path

import pytest

from hierspeech.preparation.corpora import LAYOUTS, hash_share, read_corpus, with_splits
from hierspeech.preparation.records import CorpusOptions, Recording


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(path, layout, **options):
    return read_corpus(Path(path), layout, CorpusOptions(**options))


def test_ljspeech(tmp_path):
    write(
        tmp_path / "metadata.csv", "LJ1|It cost 5.|It cost five.\nno bar here\nLJ2|Yes.|\nLJ1|again|again\n"
    )
    found, dropped = read(tmp_path, "ljspeech")
    assert [(r.id, r.text, r.speaker, r.split) for r in found] == [
        ("LJ1", "It cost five.", "LJ", ""),
        ("LJ2", "Yes.", "LJ", ""),
    ]
    assert found[0].wav == str(tmp_path / "wavs" / "LJ1.wav")
    assert [(Path(d.where).name, d.reason) for d in dropped] == [
        ("metadata.csv:2", "broken line"),
        ("metadata.csv:4", "id occurs twice"),
    ]


def test_libritts_by_subset(tmp_path):
    for subset in ("train-clean-100", "dev-clean", "test-other"):
        stem = tmp_path / subset / "19" / "198" / f"19_198_{subset}"
        write(stem.with_suffix(".wav"))
        write(stem.with_suffix(".normalized.txt"), f"Text of {subset}.\n")
        write(stem.with_suffix(".original.txt"), "not this one")
    found, _ = read(tmp_path, "libritts")
    assert [(r.split, r.text) for r in found] == [
        ("dev", "Text of dev-clean."),
        ("test", "Text of test-other."),
        ("train", "Text of train-clean-100."),
    ]
    assert {r.speaker for r in found} == {"libritts-19"}
    assert [r.split for r in read(tmp_path, "libritts", subsets=("dev-clean",))[0]] == ["dev"]
    assert [r.split for r in read(tmp_path / "test-other", "libritts")[0]] == ["test"]
    with pytest.raises(ValueError, match="no subset folder 'train-other-500'"):
        read(tmp_path, "libritts", subsets=("train-other-500",))


def test_vctk_takes_one_microphone(tmp_path):
    wavs = tmp_path / "wav48_silence_trimmed"
    for name in ("p225/p225_001_mic1", "p225/p225_001_mic2", "p280/p280_001_mic1"):
        write(wavs / f"{name}.flac")
    write(tmp_path / "txt" / "p225" / "p225_001.txt", " Please call\n Stella. ")
    first, _ = read(tmp_path, "vctk")
    second, _ = read(tmp_path, "vctk", mic=2)
    assert [Path(r.wav).name for r in first] == ["p225_001_mic1.flac", "p280_001_mic1.flac"]
    assert [Path(r.wav).name for r in second] == ["p225_001_mic2.flac", "p280_001_mic1.flac"]
    assert [(r.id, r.speaker, r.text) for r in first] == [
        ("vctk/p225_001", "p225", "Please call Stella."),
        ("vctk/p280_001", "p280", ""),
    ]
    with pytest.raises(ValueError, match="wav48"):
        read(tmp_path / "txt", "vctk")


def test_common_voice(tmp_path):
    header = "client_id\tpath\tsentence\tlocale\n"
    write(
        tmp_path / "validated.tsv",
        header + 'a\t1.mp3\tEr sagte "ja.\tde\nb\t2.mp3\tNein.\tde\nb\t3.mp3\n\t4.mp3\tx\tde\n',
    )
    write(tmp_path / "dev.tsv", header + "b\t9.mp3\tDoch.\tde\n")
    write(tmp_path / "other.tsv", header + "c\t5.mp3\tHello.\ten\n")
    found, dropped = read(tmp_path, "commonvoice")
    assert [(r.id, r.text, r.language, r.split) for r in found] == [
        ("commonvoice/1", 'Er sagte "ja.', "de", "train"),  # a lone quotation mark swallows nothing
        ("commonvoice/2", "Nein.", "de", "dev"),  # the speaker is in dev.tsv
    ]
    assert found[0].wav == str(tmp_path / "clips" / "1.mp3") and found[0].speaker == "cv-a"
    assert [(Path(d.where).name, d.reason) for d in dropped] == [
        ("validated.tsv:4", "broken line"),
        ("validated.tsv:5", "broken line"),
    ]
    (other,), _ = read(tmp_path, "commonvoice", subsets=("other",))
    assert (other.language, other.source) == ("en-us", "commonvoice-other")
    with pytest.raises(ValueError, match="invalidated.tsv"):
        read(tmp_path, "commonvoice", subsets=("invalidated",))


def test_folder(tmp_path):
    write(tmp_path / "ann" / "a.wav")
    write(tmp_path / "ann" / "a.txt", "Hello.")
    write(tmp_path / "bob" / "b.FLAC")
    (tmp_path / "bob" / "b.txt").write_bytes(b"\xff\xfe\xff")
    write(tmp_path / "bob" / "c.mp3")
    found, dropped = read(tmp_path, "folder", language="de")
    assert [(r.id, r.text, r.speaker, r.language) for r in found] == [
        ("ann/a", "Hello.", "ann", "de"),
        ("bob/c", "", "bob", "de"),
    ]
    assert [(d.id, d.reason) for d in dropped] == [("bob/b", "broken text")]


def test_csv_with_named_columns(tmp_path):
    path = write(
        tmp_path / "t.csv",
        'text,path,split,nobody\n"One, two.",x/1.wav,dev,1\nThree,2.wav,,1\n,,,\nfour\nv,5.wav,night,1\n',
    )
    found, dropped = read(path, "csv")
    assert [(r.id, r.text, r.split, r.speaker) for r in found] == [
        ("x/1", "One, two.", "dev", "x/1"),
        ("2", "Three", "", "2"),
    ]
    assert found[0].wav == str(tmp_path / "x" / "1.wav")
    assert [Path(d.where).name for d in dropped] == ["t.csv:4", "t.csv:5", "t.csv:6"]
    path = write(tmp_path / "t.tsv", 'id;speaker;path;language;text\nu;s;a.wav;pl;say "no\nv;s;b.wav;;x\n')
    found, dropped = read(path, "csv", delimiter=";")
    assert [(r.id, r.language, r.text) for r in found] == [("u", "pl", 'say "no'), ("v", "en-us", "x")]
    with pytest.raises(ValueError, match="lacks the column 'path'"):
        read(path, "csv")


def test_filelist_names_broken_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"u1|a.wav|||hi | there\n\nu2|a.wav|\nu3|\xff.wav|s|en|x\nu1|b.wav|||\n")
    (line,), dropped = read(path, "filelist", language="de")
    assert (line.speaker, line.language, line.text, line.where) == ("u1", "de", "hi | there", f"{path}:1")
    assert [(d.where, d.reason) for d in dropped] == [
        (f"{path}:3", "broken line"),
        (f"{path}:4", "broken line"),
        (f"{path}:5", "id occurs twice"),
    ]
    assert "expected id|wav" in dropped[0].detail and "UTF-8" in dropped[1].detail


def test_manifest(tmp_path):
    header = "path|speaker|source|licence|seconds|age|gender|split|transcript\n"
    rows = "x/1.wav|s1|made|none|1.0|9|f|train|HI\nx/2.wav|pico_unknown|made|none|1.0|||dev|\nx/3.wav|s\n"
    write(tmp_path / "manifest.csv", header + rows)
    (kept,), dropped = read(tmp_path, "manifest")  # "unknown" is not one speaker
    assert (kept.speaker, kept.split) == ("2", "dev")
    assert [d.reason for d in dropped] == ["child", "broken line"]


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"folder", "vctk", "libritts"}))
def test_a_corpus_without_a_list_or_recordings_is_refused(layout, tmp_path):
    with pytest.raises(ValueError, match="no such corpus"):
        read(tmp_path / "none", layout)
    with pytest.raises(ValueError, match="cannot read|lacks|no recordings"):
        read(tmp_path, layout)


def recordings(n_speakers, each):
    return [
        Recording(f"s{s}/{i}", "x.wav", f"s{s}", "en-us", "") for s in range(n_speakers) for i in range(each)
    ]


def test_the_dev_split_holds_whole_speakers_and_is_stable_when_the_corpus_grows():
    few, many = (
        {r.id: r.split for r in with_splits(recordings(n, 3), 0.1, {"": "speakers"})} for n in (300, 1000)
    )
    assert few == {id: many[id] for id in few}
    for speaker in {id.split("/")[0] for id in many}:
        assert len({many[f"{speaker}/{i}"] for i in range(3)}) == 1
    assert sum(s == "dev" for s in many.values()) / len(many) == pytest.approx(0.1, rel=0.3)
    one = [r.split for r in with_splits(recordings(1, 1000), 0.1, {"": "utterances"})]
    assert one.count("dev") == pytest.approx(100, rel=0.3)
    own = [Recording("a", "a.wav", "s", "en", "", "test")]
    assert [r.split for r in with_splits(own, 0.99, {})] == ["test"]


def test_the_hash_is_the_same_everywhere():
    assert round(hash_share("x"), 6) == round(int("2d711642b726", 16) / 2**48, 6)
