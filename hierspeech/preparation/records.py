"""What one recording of a corpus is, what is left of one that cannot be used, and what a layout may be told."""

from __future__ import annotations

from dataclasses import dataclass

from speech.data import Utterance

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
DEFAULT_LANGUAGE = "en-us"


@dataclass(frozen=True)
class Recording(Utterance):
    """An utterance and what its corpus says of it.

    Args:
        split: "train", "dev" or "test"; empty where the corpus has no split of its own (see `with_splits`).
        source: name of the corpus or the part of it that the recording is from.
        where: file, or file:line, that names the recording.
    """

    split: str = ""
    source: str = ""
    where: str = ""


@dataclass(frozen=True)
class Dropped:
    """An utterance that is left out, and why.

    Args:
        reason: one of few words for the table of counts, such as "too short".
        detail: a sentence on this very case.
    """

    id: str
    where: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class CorpusOptions:
    """What a layout may be told.

    Args:
        language: of the texts; None = what the corpus says, else en-us.
        subsets: parts to read: folders of LibriTTS, lists of Common Voice; empty = all, or the validated ones.
        mic: which of VCTK's two microphones.
        delimiter: between the columns of a csv.
    """

    language: str | None = None
    subsets: tuple[str, ...] = ()
    mic: int = 1
    delimiter: str = ","
