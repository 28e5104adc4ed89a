"""The Hugging Face hub, where models are fetched from and pushed to.

Nothing else in the project asks the network, but for transformers where a semantic encoder is named by a hub id.

Only ids of the form "owner/name" get here, and only where no local folder has that name. Needs the extra `hub`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

MODEL_FILES = ("config.json", "model.safetensors", "README.md")
"""The files of one published model."""
VOICE_FILES = (
    "voice.json",
    "spear.json",
    "README.md",
    *(f"*/{name}" for name in MODEL_FILES),
    "prompts/*.safetensors",
)
"""The files of a voice, as patterns whose * goes through folders too: what is fetched, not what is pushed."""
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_TIMEOUT_SECONDS = 10.0


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None


def download(name: str, patterns: Sequence[str]) -> Path:
    """Fetch the files that match `patterns` (or find them in the hub library's cache) -> their folder.

    Raises:
        ValueError: no such repository, no network, or the library is not installed; in one sentence.
    """
    hub = _library(name)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(patterns), etag_timeout=_TIMEOUT_SECONDS))
    except Exception as error:  # the library raises many kinds, without a common class; none gives a model
        raise ValueError(
            f"{name}: no such folder, and the hub did not give it ({_sentence(error)})"
        ) from error


def upload(folder: str | Path, name: str, patterns: Sequence[str], private: bool = False) -> str:
    """Push the files of `folder` that match `patterns` in one commit; the repository is made if it does not exist.

    Args:
        folder: what is pushed.
        name: hub id "owner/name".
        private: of a repository that has to be made.
    Returns: its address.
    Raises:
        ValueError: not a hub id, no permission, no network, or the library is not installed; in one sentence.
    """
    if not is_hub_id(name):
        raise ValueError(f"{name!r} is no hub id, expected OWNER/NAME")
    hub = _library(name)
    try:
        address = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            folder_path=str(folder),
            allow_patterns=list(patterns),
            commit_message="Upload by hierspeech",
        )
    except Exception as error:  # as above
        raise ValueError(f"{name}: the hub did not take it ({_sentence(error)})") from error
    return str(address)


def _library(name: str) -> ModuleType:
    try:
        import huggingface_hub  # optional, and slow to import: only for hub ids
    except ImportError as error:
        raise ValueError(
            f"{name}: no such folder, and for a hub id huggingface_hub is missing: pip install 'hierspeech[hub]'"
        ) from error
    return huggingface_hub


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
