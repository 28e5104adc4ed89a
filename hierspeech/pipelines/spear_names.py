"""Which folders are token voices, without torch: command lines ask before anything heavy is loaded."""

from pathlib import Path

VOICES_FOLDER = Path(__file__).resolve().parent.parent / "voices"


def shipped_spear_voices() -> list[str]:
    """Names of the token voices inside the package."""
    return sorted(path.parent.name for path in VOICES_FOLDER.glob("*/spear.json"))


def is_spear_voice(name: str | Path) -> bool:
    """Whether a folder or shipped name is a token voice."""
    return any((folder / "spear.json").is_file() for folder in (Path(name), VOICES_FOLDER / name))
