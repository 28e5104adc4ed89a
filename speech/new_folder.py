"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


def check_free(folder: str | Path) -> Path:
    """Refuse a folder that cannot be created because something is there already; an empty folder is no obstacle."""
    folder = Path(folder)
    if folder.is_symlink() or folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} exists already, expected a folder to create")
    return folder


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder to fill, which is renamed to `folder` at the end, or deleted where anything fails.

    Raises:
        ValueError: `folder` exists already, or cannot be written.
    """
    folder = check_free(folder)
    temporary = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.tmp")
    made = [parent for parent in temporary.parents if not parent.exists()]  # deepest first
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.is_dir():
            folder.rmdir()
        os.replace(temporary, folder)
        made = []
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
