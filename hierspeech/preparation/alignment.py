"""Forced alignment: when each phone of a known transcript is spoken, by PocketSphinx and our own phoneme front end.

The pronunciation handed to the aligner is made from the same espeak phonemes that the text-to-vec model will read, so the
durations belong to its tokens one to one and words outside the aligner's dictionary are no special case.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from speech.text.phones import BEGIN, WORD, PhoneTokenizer, arpabet, split_words

FRAMES_PER_SECOND = 100  # PocketSphinx frames
PAUSE_FRAMES = 12  # a silence of 120 ms between words is a pause, whatever the transcript's punctuation says
BEAMS = (
    {"beam": 1e-20, "pbeam": 1e-20, "wbeam": 1e-10},
    {},
    {"beam": 1e-20},
    {"beam": 1e-30, "pbeam": 1e-20, "wbeam": 1e-15},
    {"beam": 1e-15},
)
SILENCES = {"SIL", "+NSN+", "+SPN+", "+BREATH+", "+COUGH+", "+NOISE+", "+SMACK+", "+UH+", "+UHUM+", "+UM+"}


@dataclass
class Alignment:
    """Tokens of one utterance and their times."""

    token_ids: np.ndarray  # [S] int16
    token_ends: np.ndarray  # [S] int32, end of each token in 10 ms frames
    phone_ends: np.ndarray  # [P] int32, end of each ARPAbet phone in 10 ms frames
    phone_ids: np.ndarray  # [P] int16, index into `PHONES`


PHONES = [
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
]  # fmt: skip


class Aligner:
    """One PocketSphinx decoder (one per process: it is not thread-safe).

    Source: PocketSphinx 5 two-pass alignment (words, then phones), its US-English acoustic model.
    """

    def __init__(self) -> None:
        self.tokenizer = PhoneTokenizer()
        self.pronunciations: dict[str, str] = {}
        self.decoders: dict[int, _Decoder] = {}

    def align(self, wav: np.ndarray, phonemes: str) -> Alignment | None:
        """Align 16 kHz speech `wav` ([T] in -1..1) with its IPA transcript; None where no path through it was found."""
        words, end, _ = split_words(phonemes)
        names, expected = [], []
        for _, units in words:
            phones = [p for unit in arpabet(units) for p in unit]
            names.append(self._name(phones))
            expected.append(phones)
        spoken = self._phones(wav, " ".join(names))
        if spoken is None:
            return None
        return self._tokens(words, end, expected, spoken)

    def word_times(self, wav: np.ndarray, words: list[str]) -> list[tuple[float, float]] | None:
        """When each of `words` (phonemes; one may be several spoken words) is said in `wav`: (start, end) in seconds.

        None where no path was found, or one of the words has no phone of the acoustic model.
        """
        names, counts = [], []
        for word in words:
            phones = [p for _, units in split_words(word)[0] for unit in arpabet(units) for p in unit]
            if not phones:
                return None
            names.append(self._name(phones))
            counts.append(len(phones))
        spoken = self._phones(wav, " ".join(names))
        sounds = [phone for phone in spoken or [] if phone[0] not in SILENCES]
        if len(sounds) != sum(counts):
            return None
        times, at = [], 0
        for count in counts:
            times.append((sounds[at][1] / FRAMES_PER_SECOND, sounds[at + count - 1][2] / FRAMES_PER_SECOND))
            at += count
        return times

    def _name(self, phones: list[str]) -> str:
        """The name under which the decoder knows a word of these phones."""
        name = "w" + hashlib.md5(" ".join(phones).encode()).hexdigest()[:12]
        self.pronunciations[name] = " ".join(phones)
        return name

    def _phones(self, wav: np.ndarray, text: str) -> list[tuple[str, int, int]] | None:
        # the second pass loses its last state on about a third of all recordings at any one beam width, so several are tried
        for k, beams in enumerate(BEAMS):
            if k not in self.decoders:
                self.decoders[k] = _Decoder(**beams)
            found = self.decoders[k].phones(wav, text, self.pronunciations)
            if found is not None:
                return found
            del self.decoders[k]  # a decoder that failed once is not trusted again
        return None

    def _tokens(self, words, end, expected, spoken) -> Alignment | None:
        ids = self.tokenizer.ids
        token_ids, token_ends = [ids[BEGIN, 0]], [0]
        at = 0

        def silence() -> int:
            nonlocal at
            while at < len(spoken) and spoken[at][0] in SILENCES:
                at += 1
            return spoken[at - 1][2] if at else 0

        token_ends[0] = silence()
        for (boundary, units), phones in zip(words, expected, strict=True):
            if boundary:
                before = token_ends[-1]
                after = max(silence(), before)
                if boundary == WORD and after - before >= PAUSE_FRAMES:
                    boundary = ","
                token_ids.append(ids[boundary, 0])
                token_ends.append(after)
            if [name for name, _, _ in spoken[at : at + len(phones)]] != phones:
                return None
            for unit, names in zip(units, arpabet(units), strict=True):
                at += len(names)
                token_ids.append(ids[unit])
                token_ends.append(spoken[at - 1][2])
        token_ids.append(ids[end, 0])
        token_ends.append(max(silence(), token_ends[-1]))
        if at != len(spoken):
            return None
        index = {name: i for i, name in enumerate(PHONES)}
        return Alignment(
            np.array(token_ids, np.int16),
            np.array(token_ends, np.int32),
            np.array([e for _, _, e in spoken], np.int32),
            np.array([index.get(name, 0) for name, _, _ in spoken], np.int16),
        )


class _Decoder:
    def __init__(self, **beams: float) -> None:
        from pocketsphinx import Decoder

        self.decoder = Decoder(samprate=16000, lm=None, loglevel="FATAL", **beams)
        self.known: set[str] = set()

    def phones(
        self, wav: np.ndarray, text: str, pronunciations: dict[str, str]
    ) -> list[tuple[str, int, int]] | None:
        """(name, start, end) in 10 ms frames of every phone and silence, or None."""
        for name in set(text.split()) - self.known:
            self.decoder.add_word(name, pronunciations[name], True)
            self.known.add(name)
        # the features of an utterance start from the end of the last one otherwise, and its phones move by a frame
        self.decoder.reinit_feat()
        pcm = (np.clip(wav, -1, 1) * 32767).astype(np.int16).tobytes()
        try:
            self.decoder.set_align_text(text)
            self._decode(pcm)
            if self.decoder.hyp() is None:
                return None
            self.decoder.set_alignment()
            self._decode(pcm)
            alignment = self.decoder.get_alignment()
        except RuntimeError:
            return None
        return alignment and [(p.name, p.start, p.start + p.duration) for word in alignment for p in word]

    def _decode(self, pcm: bytes) -> None:
        self.decoder.start_utt()
        self.decoder.process_raw(pcm, no_search=False, full_utt=True)
        self.decoder.end_utt()
