"""Which stretches of speech of a recording become one utterance: each alone, as many as fit, or a mix of lengths; one speaker in each.

WhisperSpeech's three kinds (spec section 5.1, vad_merge). Text to semantic wants short utterances too: merging alone leaves next to none under
10 s, which "eq" mends; semantic to acoustic wants long ones. Who speaks is told by a speaker encoder where one is named: a stretch whose
vector lies far from those of the utterance so far begins another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hierspeech.preparation.stages import once
from hierspeech.preparation.voice_activity import (
    BLOCKS_PER_SECOND,
    LONGEST_PAUSE_SECONDS,
    MARGIN_SECONDS,
    choose_pieces,
)

MERGES = ("pauses", "raw", "eq", "max")
"""pauses: the recording is only cut where it is too long, at its longest pauses. raw: every stretch between two pauses alone. eq: neighbours
together up to a limit, half of the times a random one. max: neighbours together as long as they fit."""
Span = tuple[float, float]
Embed = Callable[[np.ndarray], np.ndarray]  # wav [T] at 16 kHz -> vector [C] of length 1

LONG_SECONDS = 2.0  # stretches above it tell the speaker well, and shape the utterance's vector
SAME_LONG, SAME_SHORT = 0.75, 0.65
"""Cosine above which a stretch is the same speaker's. Of Resemblyzer's vectors, 40 LibriSpeech speakers, a stretch against 6 s: of 3 s, none of the
same and 1 % of other speakers lie on the wrong side; of 1 s, none of the same and 13 % of others: a short stretch follows what it is in."""
VOICE_SECONDS, SAME_VOICE = 3.0, 0.79
"""Whole utterances tell more: of 3 s and more, 0.79 has none of the same and 0.3 % of other speakers on the wrong side."""
RAREST = 0.05  # of the limit: the shortest random one


@dataclass
class Voices:
    """Who has spoken in a recording so far: a mean vector for each."""

    means: list[np.ndarray] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def place(self, vector: np.ndarray, seconds: float) -> int:
        """Number of the speaker whose voice this is, of an utterance of that length; a new one where it is nobody's."""
        near = [float(vector @ _unit(mean)) for mean in self.means]
        if near and max(near) >= (SAME_VOICE if seconds >= VOICE_SECONDS else SAME_SHORT):
            who = int(np.argmax(near))
            self.counts[who] += 1
            self.means[who] = self.means[who] + (vector - self.means[who]) / self.counts[who]
            return who
        self.means.append(np.array(vector, np.float64))
        self.counts.append(1)
        return len(self.means) - 1


def merge(
    seconds: float,
    pauses: list[Span],
    limit: float,
    kind: str,
    seed: str,
    quietest: np.ndarray | None = None,
    vector_of: Callable[[float, float], np.ndarray] | None = None,
) -> list[tuple[Span, np.ndarray | None]]:
    """Utterances of a recording.

    Args:
        seconds: its length; pauses: (start, end) of each, in order.
        limit: seconds that none exceeds; quietest: see `choose_pieces`.
        kind: one of MERGES. seed: of the random limits; those of one seed and place are the same whatever is around.
        vector_of: (start, end) -> speaker vector of length 1; None = nobody asks who speaks.
    Returns:
        (start, end) with a bit of the pauses around it, and the vector of who speaks (None without `vector_of`).
    """
    if kind == "pauses":
        return [(span, None) for span in choose_pieces(seconds, pauses, limit, quietest)]
    found: list[tuple[Span, np.ndarray | None]] = []
    start, end, vectors, room = 0.0, 0.0, _Mean(), 0.0
    for a, b in _stretches(seconds, pauses, limit, quietest):
        vector = None if vector_of is None else vector_of(a, b)
        long = b - a > LONG_SECONDS
        fits = end and kind != "raw" and b - start <= room and a - end < LONGEST_PAUSE_SECONDS
        if not fits or not vectors.same(vector, long):
            if end:
                found.append(((start, end), vectors.unit()))
            start, vectors = a, _Mean()
            room = limit * (_random_share(seed, a) if kind == "eq" else 1.0)
        vectors.add(vector, long)
        end = b
    return [*found, ((start, end), vectors.unit())] if end else found


def speaker_encoder(name: str | None) -> Embed | None:
    """The encoder of that name, made once a process.

    Raises:
        ValueError: an unknown name, or the package is not installed.
    """
    if name is None:
        return None
    if name not in ENCODERS:
        raise ValueError(f"--speakers {name!r}: expected one of {', '.join(ENCODERS)}")
    return once(ENCODERS[name])


def _resemblyzer() -> Embed:
    try:
        from resemblyzer import VoiceEncoder
    except ImportError as error:
        raise ValueError(
            f"--speakers resemblyzer: the package is not installed, see docs/evaluation.md ({error})"
        ) from error
    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(wav: np.ndarray) -> np.ndarray:
        level = np.sqrt(np.mean(np.square(wav))) + 1e-9
        return encoder.embed_utterance((wav * (0.07 / level)).astype(np.float32))

    return embed


ENCODERS: dict[str, Callable[[], Embed]] = {"resemblyzer": _resemblyzer}
"""What tells speakers apart; the thresholds above are Resemblyzer's."""


class _Mean:
    """Mean vector of an utterance: of its long stretches, else of what there is."""

    def __init__(self) -> None:
        self.long: list[np.ndarray] = []
        self.short: list[np.ndarray] = []

    def add(self, vector: np.ndarray | None, long: bool) -> None:
        if vector is not None:
            (self.long if long else self.short).append(vector)

    def unit(self) -> np.ndarray | None:
        known = self.long or self.short
        return _unit(np.mean(known, 0)) if known else None

    def same(self, vector: np.ndarray | None, long: bool) -> bool:
        known = self.unit()
        if vector is None or known is None:
            return True
        return float(vector @ known) >= (SAME_LONG if long else SAME_SHORT)


def _stretches(seconds: float, pauses: list[Span], limit: float, quietest) -> list[Span]:
    """Speech between the pauses, each with up to the margin of the pauses around it, none longer than the limit."""
    found, start, silent_until = [], 0.0, 0.0
    for a, b in [*pauses, (seconds, seconds)]:
        if a > silent_until:
            end = min(a + min(MARGIN_SECONDS, (b - a) / 2), seconds)
            levels = None if quietest is None else quietest[int(start * BLOCKS_PER_SECOND) :]
            inside = choose_pieces(end - start, [], limit, levels)
            found += [(start + low, start + high) for low, high in inside]
        start, silent_until = max(b - min(MARGIN_SECONDS, (b - a) / 2), 0.0), b
    return found


def _random_share(seed: str, start: float) -> float:
    """Of the limit: 1 half of the times, else anything from RAREST up."""
    digest = hashlib.sha256(f"{seed} {start:.2f}".encode()).digest()
    if digest[0] % 2:
        return 1.0
    return RAREST + (1 - RAREST) * int.from_bytes(digest[1:5], "big") / 2**32


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / (np.linalg.norm(vector) + 1e-12)
