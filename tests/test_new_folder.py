"""Folders that appear whole or not at all, wherever they are wanted."""

import subprocess

import pytest

from speech.new_folder import check_free, new_folder


def fill(folder, name="a.txt"):
    (folder / "part").mkdir()
    (folder / "part" / name).write_text("x")
    (folder / "voice.json").write_text("{}")


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole(tmp_path, there):
    folder = tmp_path / "deep" / "new"
    if there:
        folder.mkdir(parents=True)
    identity = folder.stat().st_ino if there else None
    with new_folder(folder) as temporary:
        fill(temporary)
        assert not (folder / "voice.json").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["part", "voice.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["new"]
    if there:  # it may be a mounted volume or the working folder, which cannot be replaced
        assert folder.stat().st_ino == identity


def test_the_working_folder_may_be_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with new_folder(".") as temporary:
        fill(temporary)
    assert (tmp_path / "part" / "a.txt").read_text() == "x"


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, there):
    folder = tmp_path / "deep" / "new"
    if there:
        folder.mkdir(parents=True)
    with pytest.raises(RuntimeError), new_folder(folder) as temporary:
        fill(temporary)
        raise RuntimeError
    assert folder.exists() == there and (tmp_path / "deep").exists() == there
    assert not there or not list(folder.iterdir())


def test_rests_of_killed_processes_are_no_obstacle_and_go(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    for rest in (tmp_path / f".new.{process.pid}.tmp", tmp_path / "new" / f".new.{process.pid}.tmp"):
        rest.mkdir(parents=True)
        fill(rest)
        with new_folder(tmp_path / "new") as temporary:
            (temporary / "a.txt").write_text("x")
        assert not rest.exists()
        (tmp_path / "new" / "a.txt").unlink()
        (tmp_path / "new").rmdir()


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path):
    (tmp_path / "input").mkdir()
    with pytest.raises(IsADirectoryError), new_folder(tmp_path / "new"):
        (tmp_path / "input").read_text()
    with pytest.raises(ValueError, match="cannot write .*new"), new_folder(tmp_path / "new") as temporary:
        (temporary / "nowhere" / "a.txt").write_text("x")


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        check_free(tmp_path / "new")
