"""Folders that appear whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


def check_free(folder: str | Path) -> Path:
    """Refuse a folder that cannot be created because something is there already; an empty folder is no obstacle."""
    folder = Path(folder)
    if folder.is_symlink() or folder.exists() and not (folder.is_dir() and not _content(folder)):
        raise ValueError(f"{folder} exists already, expected a folder to create")
    return folder


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `folder` at the end, or is deleted where anything fails.

    It lies beside `folder` and is renamed; where `folder` is there already and empty (the working folder, a mounted
    volume), it lies inside and its entries are moved up. What killed processes have left there is deleted.

    Raises:
        ValueError: `folder` exists already, or cannot be written.
    """
    folder = check_free(folder)
    target = folder.absolute()
    inside = target.is_dir()
    place = target if inside else target.parent
    temporary = place / f".{target.name}.{os.getpid()}.tmp"
    made = [parent for parent in temporary.parents if not parent.exists()]  # deepest first
    try:
        for rest in _rests(place, target.name):
            shutil.rmtree(rest, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if inside:
            for entry in sorted(temporary.iterdir(), key=lambda entry: entry.is_file()):  # single files last
                os.replace(entry, target / entry.name)
        else:
            os.replace(temporary, target)
        made = []
    except (OSError, SafetensorError) as error:
        read = getattr(error, "filename", None)
        if read is not None and Path(read).exists() and target not in Path(read).absolute().parents:
            raise  # an input that cannot be read says so itself
        raise ValueError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _content(folder: Path) -> list[Path]:
    """What lies in a folder, without the rests of killed processes."""
    rests = _rests(folder, folder.absolute().name)
    return [path for path in folder.iterdir() if path not in rests]


def _rests(place: Path, name: str) -> list[Path]:
    """Temporary folders for `name` in `place` whose process is no more."""
    if not place.is_dir():
        return []
    found = [(path, re.fullmatch(rf"\.{re.escape(name)}\.(\d+)\.tmp", path.name)) for path in place.iterdir()]
    return [path for path, match in found if match and not _runs(int(match[1]))]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's
        return True
    return True
