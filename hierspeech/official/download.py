"""The folder that users download into, laid out as the README of the published code says, and where its parts lie.

logs/hierspeechpp_eng_kor/hierspeechpp_v1.1_ckpt.pth   (also ..._v1_ckpt.pth, and the folders of the lt460 and lt960 trainings)
logs/ttv_libritts_v1/ttv_lt960_ckpt.pth
speechsr24k/G_340000.pth   speechsr48k/G_100000.pth
denoiser/g_best            each with a config.json beside it
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where the checkpoint of one part lies below the download folder."""

    pattern: str  # matches every file that may be it
    published: str  # the file that the README names
    optional: bool = False  # a voice speaks without it


# component -> its place; the components are those of `components.CONVERTIBLE`
LAYOUT = {
    "synthesizer": Place("logs/hierspeechpp_*/*.pth", "logs/hierspeechpp_eng_kor/hierspeechpp_v1.1_ckpt.pth"),
    "ttv": Place("logs/ttv_*/*.pth", "logs/ttv_libritts_v1/ttv_lt960_ckpt.pth"),
    "speechsr-24k": Place("speechsr24k/*.pth", "speechsr24k/G_340000.pth", optional=True),
    "speechsr-48k": Place("speechsr48k/*.pth", "speechsr48k/G_100000.pth", optional=True),
    "denoiser": Place("denoiser/g_*", "denoiser/g_best", optional=True),
}
OPTIONAL = tuple(component for component, place in LAYOUT.items() if place.optional)
TOP_FOLDERS = frozenset(place.published.split("/")[0] for place in LAYOUT.values())


def find_parts(
    download: str | Path, chosen: Mapping[str, str | Path] | None = None, without: Collection[str] = ()
) -> dict[str, Path]:
    """Find the checkpoint of every part.

    Args:
        download: the download folder, the one above it, or one of its own (`logs`, `denoiser`, ...).
        chosen: component -> its file, where the layout does not decide: a path, also one below the download folder, or
            the name of one of several files there.
        without: optional components that are not wanted.
    Returns: component -> file, in the order of `LAYOUT`.
    Raises:
        ValueError: no such folder, a part that is missing or has several files; the sentence says what to do.
    """
    chosen = chosen or {}
    root = _find_root(Path(download))
    parts = {}
    for component, place in LAYOUT.items():
        if component in without:
            if not place.optional:
                raise ValueError(f"no voice works without its {component}, which --without names")
            continue
        files = candidates(root, place)
        if component in chosen:
            parts[component] = _choose(component, Path(chosen[component]), root, files)
        elif len(files) == 1:
            parts[component] = files[0]
        elif files:
            names = ", ".join(file.relative_to(root).as_posix() for file in files)
            raise ValueError(
                f"{root} holds several files for the {component}: name one with --{component} ({names})"
            )
        else:
            way_out = f"; --without {component} goes on without it" if place.optional else ""
            raise ValueError(
                f"{root}: the {component} is missing, expected {root / place.published}{way_out}"
            )
    return parts


def candidates(root: Path, place: Place) -> list[Path]:
    """The files below `root` that may be the part; discriminators (D_...) are not."""
    return sorted(p for p in root.glob(place.pattern) if p.is_file() and not p.name.startswith(("D_", ".")))


def _find_root(download: Path) -> Path:
    if not download.is_dir():
        raise ValueError(
            f"{download}: {'is a file, expected a folder' if download.exists() else 'no such folder'}"
        )
    if _is_root(download):
        return download
    absolute = download.resolve()
    if absolute.name in TOP_FOLDERS and _is_root(absolute.parent):
        return absolute.parent
    below = sorted(path for path in download.iterdir() if path.is_dir() and _is_root(path))
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise ValueError(f"{download} holds several download folders, expected one of them: {names}")
    return below[0] if below else download


def _is_root(folder: Path) -> bool:
    return any(candidates(folder, place) for place in LAYOUT.values())


def _choose(component: str, name: Path, root: Path, files: list[Path]) -> Path:
    for path in (name, root / name, *(file for file in files if file.name == str(name))):
        if path.is_file():
            return path
    raise ValueError(f"--{component} {name}: no such file, neither here nor in {root}")
