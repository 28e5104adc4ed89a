"""The audio stage: a recording is read, resampled, freed of mains hum, cut into pieces where it is long, trimmed and brought to one loudness.

pieces_of(recording, settings) -> the utterances it makes with their arrays, and what was dropped
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierspeech.preparation.merging import ENCODERS, MERGES, Voices, merge, speaker_encoder
from hierspeech.preparation.records import Dropped
from hierspeech.preparation.stages import SAMPLE_RATE, Arrays, aligner, once, phonemes_of
from hierspeech.preparation.voice_activity import block_levels, find_pauses
from speech.audio import AudioError, load_audio, set_loudness, trim_silence
from speech.hum import remove_hum

MARGIN_MS = 200.0
STRETCH_SECONDS = 1200.0  # recordings without text are read this much at a time, however long they are
ALIGNABLE_SECONDS = 600.0  # of speech with its text at once: the time it takes grows faster than the length
NEARLY = 3.0  # recordings up to this many times too long are trimmed before anything is said of their length
EMPTY = {"wav": np.zeros(0, np.int16), "phonemes": np.zeros(0, np.uint8)}


@dataclass(frozen=True)
class AudioSettings:
    """What the utterances of a pack have in common; a pack is made with one setting only.

    Args:
        min_seconds, max_seconds: length that an utterance may have after trimming.
        split_seconds: longer recordings are cut into pieces of at most this; None = they are dropped if too long.
        rms_db: level of the speech, dB re full scale.
        merge: which stretches of speech make an utterance, one of `merging.MERGES`; but for "pauses", what has no text is cut even
            where it is short enough.
        speakers: encoder that tells speakers apart, one of `merging.ENCODERS`: each utterance has one, and whoever comes second in a
            recording is called NAME#2.
    """

    min_seconds: float = 0.8
    max_seconds: float = 35.0
    split_seconds: float | None = None
    rms_db: float = -23.0
    merge: str = "pauses"
    speakers: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds < self.max_seconds:
            raise ValueError(
                f"lengths: expected 0 < min < max seconds, got {self.min_seconds:g}, {self.max_seconds:g}"
            )
        if self.split_seconds is not None and not 1 <= self.split_seconds <= self.max_seconds:
            raise ValueError(
                f"split seconds {self.split_seconds:g}: expected at least 1, at most the longest utterance, "
                f"{self.max_seconds:g}"
            )

        if self.merge not in MERGES:
            raise ValueError(f"merge {self.merge!r}: expected one of {', '.join(MERGES)}")
        if self.speakers is not None and self.speakers not in ENCODERS:
            raise ValueError(f"speakers {self.speakers!r}: expected one of {', '.join(ENCODERS)}")
        if self.cuts_all and self.split_seconds is None:
            raise ValueError(
                f"merge {self.merge}: expected split seconds too, which say how long utterances may be"
            )
        if self.speakers is not None and not self.cuts_all:
            raise ValueError(
                f"speakers {self.speakers}: expected merge raw, eq or max, which join stretches of speech"
            )

    @property
    def cuts_all(self) -> bool:
        """Whether recordings without a text are cut even where they are short enough."""
        return self.merge != "pauses"

    @property
    def longest_seconds(self) -> float:
        """The length that no utterance exceeds."""
        return self.split_seconds or self.max_seconds


Pieces = tuple[list[tuple[dict, Arrays]], list[Dropped]]


def pieces_of(recording: dict, settings: AudioSettings) -> Pieces:
    """The utterances that a recording makes, one as a rule, and what is dropped of it.

    Args:
        recording: fields of a `Recording`, and `seconds`, the length of its file.
    """
    seconds, longest, where = recording["seconds"], settings.longest_seconds, recording["where"]
    try:
        if seconds <= NEARLY * longest:  # it may fit once its silence is cut off
            wav = _load(recording)
            whole = bool(recording["text"].strip()) or not settings.cuts_all
            if settings.split_seconds is None or whole and len(_trimmed(wav)) <= longest * SAMPLE_RATE:
                return _finish(recording, [Piece(recording["id"], recording["text"], None, wav)], settings)
        if settings.split_seconds is None:
            raise _Unsplittable(f"{seconds:.1f} s, expected at most {longest:g} s; --split-seconds cuts it")
        if not recording["text"].strip():
            return _finish(recording, _cut_at_pauses(recording, settings), settings)
        if seconds > ALIGNABLE_SECONDS:
            raise _Unsplittable(
                f"{seconds:.1f} s with a text, expected at most {ALIGNABLE_SECONDS:g} s: longer ones are not aligned"
            )
        return _finish(recording, _cut_with_text(recording, settings), settings)
    except _Unsplittable as problem:
        return [], [Dropped(recording["id"], where, "too long", str(problem))]
    except AudioError as error:
        return [], [Dropped(recording["id"], where, "unreadable audio", str(error))]


class _Unsplittable(Exception):
    """A long recording whose text cannot follow the pieces."""


def _load(recording: dict, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    wav, _ = load_audio(recording["wav"], SAMPLE_RATE, seconds, start_seconds=start)
    return remove_hum(wav, SAMPLE_RATE)


@dataclass
class Piece:
    """A part of a recording, or all of it."""

    id: str
    text: str
    span: list[float] | None  # seconds of the recording; None = all of it
    wav: np.ndarray
    who: int = 0  # number of its speaker in the recording


def _finish(recording: dict, cut: list[Piece], settings: AudioSettings) -> Pieces:
    """Trim and level every piece, check its length and make its phonemes."""
    made, dropped = [], []
    for piece in cut:
        id_, text, span, wav = piece.id, piece.text, piece.span, piece.wav
        wav = set_loudness(_trimmed(wav), settings.rms_db)
        seconds = len(wav) / SAMPLE_RATE
        if seconds < settings.min_seconds:
            detail = f"{seconds:.2f} s of sound, expected at least {settings.min_seconds:g} s"
            dropped.append(Dropped(id_, recording["where"], "too short", detail))
            continue
        if seconds > settings.longest_seconds:
            detail = f"{seconds:.1f} s, expected at most {settings.longest_seconds:g} s"
            if span is not None:
                detail += "; it holds no pause to cut it at"
            elif settings.split_seconds is None:
                detail += "; --split-seconds cuts it"
            dropped.append(Dropped(id_, recording["where"], "too long", detail))
            continue
        utterance = {k: v for k, v in recording.items() if k != "seconds"} | {"id": id_, "text": text}
        if span is not None:
            utterance |= {"of": recording["id"], "span_seconds": span}
        if piece.who:
            utterance["speaker"] = f"{recording['speaker']}#{piece.who + 1}"
        try:
            phonemes = phonemes_of(utterance)
        except ValueError as error:
            dropped.append(Dropped(id_, recording["where"], "unknown language", str(error)))
            continue
        if text.strip() and not phonemes:
            detail = f"nothing can be spoken of {text!r:.100}"
            dropped.append(Dropped(id_, recording["where"], "text without phonemes", detail))
            continue
        arrays = {
            "wav": (wav * 32767).astype(np.int16),
            "phonemes": np.frombuffer(phonemes.encode(), np.uint8),
        }
        made.append((utterance, arrays))
    return made, dropped


def _trimmed(wav: np.ndarray) -> np.ndarray:
    return trim_silence(wav, SAMPLE_RATE, margin_ms=MARGIN_MS)


def _cut_at_pauses(recording: dict, settings: AudioSettings) -> list[Piece]:
    """A recording without text, in pieces; read in stretches, so that its length does not matter."""
    found: list[Piece] = []
    start, total, voices = 0.0, recording["seconds"], Voices()
    while start < total:
        wav = _load(recording, start, STRETCH_SECONDS)
        seconds = len(wav) / SAMPLE_RATE
        pauses, levels = find_pauses(wav, SAMPLE_RATE), block_levels(wav, SAMPLE_RATE)
        pieces = _merged(recording, settings, wav, pauses, levels, start)
        last = start + seconds >= total - 0.01
        if not last and len(pieces) > 1:
            pieces = pieces[:-1]  # the stretch ended somewhere in it: it is read again with what follows
        for (a, b), vector in pieces:
            span = [round(start + a, 3), round(start + b, 3)]
            piece = wav[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)]
            who = 0 if vector is None else voices.place(vector, b - a)
            found.append(Piece(f"{recording['id']}-{len(found):04d}", "", span, piece, who))
        if last:
            break
        start += pieces[-1][0][1] if pieces else seconds
    return found


def _merged(recording: dict, settings: AudioSettings, wav: np.ndarray, pauses, levels, start: float = 0.0):
    """`merge` of what was read of a recording from `start` seconds on."""
    embed = speaker_encoder(settings.speakers)

    def vector_of(a: float, b: float) -> np.ndarray:
        return embed(wav[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)])

    return merge(
        len(wav) / SAMPLE_RATE, pauses, settings.longest_seconds, settings.merge,
        f"{recording['id']} {start:.2f}", levels, vector_of if embed else None,
    )  # fmt: skip


def _cut_with_text(recording: dict, settings: AudioSettings) -> list[Piece]:
    """A recording with its text, cut between words that forced alignment has found a pause between."""
    from speech.text.languages import find_language
    from speech.text.phones import split_words

    try:
        language = find_language(recording["language"])
    except ValueError as error:
        raise _Unsplittable(str(error)) from error
    if not language.voice.startswith("en"):
        raise _Unsplittable(f"no aligner to split {recording['language']!r} speech with its text")
    wav = _load(recording)
    words = recording["text"].split()
    spoken, phonemes = [], []  # words that have phonemes, and these
    for k, word in enumerate(words):
        one = phonemes_of(recording | {"text": word})
        if split_words(one)[0]:
            spoken.append(k)
            phonemes.append(one)
    if not spoken:
        raise _Unsplittable("nothing can be spoken of its text")
    times = once(aligner).word_times(wav, phonemes)
    if times is None:
        raise _Unsplittable("speech and text do not match, so the text cannot follow the pieces")
    seconds = len(wav) / SAMPLE_RATE
    edges = [0.0, *(t for pair in times for t in pair), seconds]
    pauses = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 0.1]
    found, voices = [], Voices()
    middles = np.array([(a + b) / 2 for a, b in times])
    for (a, b), vector in _merged(recording, settings, wav, pauses, None):
        inside = np.flatnonzero((middles >= a) & (middles < b))
        if len(inside) == 0:
            continue
        # a word without sound ("-") goes with the one before it
        stop = spoken[inside[-1] + 1] if inside[-1] + 1 < len(spoken) else len(words)
        text = " ".join(words[(spoken[inside[0]] if inside[0] else 0) : stop])
        piece = wav[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)]
        who = 0 if vector is None else voices.place(vector, b - a)
        found.append(
            Piece(f"{recording['id']}-{len(found):04d}", text, [round(a, 3), round(b, 3)], piece, who)
        )
    return found
