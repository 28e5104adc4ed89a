"""Words to phonemes (IPA) by espeak-ng, through phonemizer's EspeakBackend and the library of espeakng-loader.

HierSpeech++ section 2.5 of the hand-over: stress marks on, punctuation kept, whitespace collapsed. Punctuation is cut
out here and not by phonemizer, because its set of marks and its treatment of decimals changed after 3.2.1, the version
that the published models were trained with.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PUNCTUATION = ';:,.!?¡¿—…"«»“”'
"""The marks that survive into the phoneme string (phonemizer 3.2.1's; 3.4 added brackets, which no model knows)."""

_MARKS = re.compile(rf"(\s*[{re.escape(PUNCTUATION)}]+\s*)")
# "1.5" and "1,5" stay whole so that espeak reads one number in the manner of the language
_MARKS_BUT_DECIMALS = re.compile(
    rf"((?:\s*(?:(?<!\d)[.,]|[.,](?!\d)|[{re.escape(PUNCTUATION[:2] + PUNCTUATION[4:])}])+\s*)+)"
)
# str.split knows more white space than espeak; control characters would end the C string early
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# espeak-ng copies the path of its data into 160 bytes and ends the process when it does not fit
_LONGEST_DATA_PATH = 120

_backends: dict[str, tuple[Any, threading.Lock]] = {}
_starting = threading.Lock()
_links: list[tempfile.TemporaryDirectory] = []


def phonemize(text: str, language: str = "en-us", keep_decimals: bool = True) -> str:
    """Phonemes of a text, in IPA with stress and punctuation, words separated by one space.

    Args:
        text: any Unicode text; it is spoken as it is (see speech.text.frontend for normalisation and overrides).
        language: a code of speech.text.languages or any espeak voice.
        keep_decimals: False splits "3.5" at the point as phonemizer 3.2.1 did, for parity with published models.
    Returns:
        The phonemes; empty for text without words or marks. Thread-safe; espeak is started once per language.
    Raises:
        ValueError: unknown language.
    """
    from speech.text.languages import find_language

    text = " ".join(_UNSAFE.sub(" ", text).split())
    if not text:
        return ""
    backend, lock = _backend(find_language(language).voice)
    pieces = (_MARKS_BUT_DECIMALS if keep_decimals else _MARKS).split(text)
    words = [piece for piece in pieces[::2] if piece]
    with lock:
        spoken = iter(backend.phonemize(words, strip=True) if words else [])
    joined = [next(spoken) if piece and place % 2 == 0 else piece for place, piece in enumerate(pieces)]
    return " ".join("".join(joined).split())


@functools.cache
def espeak_voices() -> dict[str, str]:
    """Codes and names of all voices of the espeak-ng library in use; starts espeak."""
    backend, lock = _backend("en-us")
    with lock:
        return {voice.language: voice.name for voice in backend._espeak.available_voices()}


def _backend(voice: str) -> tuple[Any, threading.Lock]:
    """The espeak of one voice and the lock that guards its global C state."""
    with _starting:
        if voice not in _backends:
            _backends[voice] = (_start(voice), threading.Lock())
        return _backends[voice]


def _start(voice: str) -> Any:
    """A new espeak with that voice; ValueError when its library or data cannot be used."""
    import espeakng_loader  # imported here: with joblib they cost 0.15 s that other users of the package do not need

    with _logger_kept("phonemizer"):
        from phonemizer.backend.espeak.espeak import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper

    class Backend(EspeakBackend):
        """EspeakBackend that starts one copy of the library, where the original starts four to look around."""

        @classmethod
        def is_available(cls) -> bool:
            return True

        @classmethod
        def is_supported_language(cls, language: str) -> bool:
            return True  # set_voice checks it

        @classmethod
        def version(cls) -> tuple[int, ...]:
            return ()  # only logged

    # a logger of our own: phonemizer's default one reports harmless word-count mismatches
    quiet = logging.Logger("phonemizer", level=logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if "PHONEMIZER_ESPEAK_LIBRARY" not in os.environ:  # a user's own espeak goes first
            EspeakWrapper.set_library(espeakng_loader.get_library_path())
            stack.enter_context(_data_path(EspeakWrapper, espeakng_loader.get_data_path()))
        try:
            return Backend(voice, with_stress=True, language_switch="remove-flags", logger=quiet)
        except RuntimeError as error:
            raise ValueError(f"espeak-ng could not be started with the voice {voice!r}: {error}") from error


@contextlib.contextmanager
def _logger_kept(name: str) -> Iterator[None]:
    """Undo what phonemizer does to the global logger of its name when it is imported."""
    logger = logging.getLogger(name)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@contextlib.contextmanager
def _data_path(wrapper: Any, folder: str) -> Iterator[None]:
    """Point espeak-ng to its data: the library has a path of the machine it was built on inside and, not finding it,
    ends the process. A path too long for espeak's buffer is replaced by a short link, which has to go through the
    environment since phonemizer resolves links."""
    if not (Path(folder) / "phontab").is_file():
        raise ValueError(f"the espeak-ng data is missing in {folder}: reinstall espeakng-loader")
    if len(os.fsencode(folder)) <= _LONGEST_DATA_PATH:
        wrapper.set_data_path(folder)
        yield
        return
    before = os.environ.get("ESPEAK_DATA_PATH")
    os.environ["ESPEAK_DATA_PATH"] = _link_to(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["ESPEAK_DATA_PATH"]
        else:
            os.environ["ESPEAK_DATA_PATH"] = before


@functools.cache
def _link_to(folder: str) -> str:
    """A short folder that holds `espeak-ng-data` as a link to `folder`; removed when the process ends."""
    short = tempfile.TemporaryDirectory(prefix="espeak-")
    _links.append(short)
    (Path(short.name) / "espeak-ng-data").symlink_to(folder, target_is_directory=True)
    return short.name
