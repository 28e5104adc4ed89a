"""Weights of judges from a folder or the hub, with a quick answer where there is no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hierspeech.evaluation.metrics.card import NotMeasured

HUB = "https://huggingface.co"
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
TIMEOUT_SECONDS = 5.0


def load_pretrained(kind: Any, model: str) -> Any:
    """`kind.from_pretrained(model)`: a folder, what the hub's cache holds, or the hub, in this order.

    Raises:
        NotMeasured: it is not there, is of another class, or cannot be fetched.
    """
    if Path(model).is_dir():
        return _load(kind, model)
    try:
        return kind.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError):  # not in the cache, or not whole
        check_hub(model)
    return _load(kind, model)


def _load(kind: Any, model: str) -> Any:
    try:
        return kind.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NotMeasured(f"{model} cannot be loaded as {kind.__name__} ({reason})") from error


def check_hub(model: str) -> None:
    """NotMeasured where the hub cannot be reached: its own client would try for minutes, file by file."""
    if any(os.environ.get(name) for name in PROXIES):
        return  # the way out is not ours to test
    place = urlsplit(os.environ.get("HF_ENDPOINT") or HUB)
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false", "no", "off")
    try:
        if offline:
            raise OSError("HF_HUB_OFFLINE is set")
        port = place.port or (80 if place.scheme == "http" else 443)
        socket.create_connection((place.hostname or "", port), TIMEOUT_SECONDS).close()
    except OSError as error:
        raise NotMeasured(
            f"{model} is neither a folder nor in the cache, and {place.hostname} cannot be reached ({error})"
        ) from error
