"""Corpora of the protocols: LibriTTS, VCTK and the lists of Seed-TTS-eval as they lie on disk after unpacking.

What is picked depends on the seed and the names of the files alone, so that two machines compare the same utterances.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from hierspeech.benchmarking.protocols import Protocol, Utterance, find_root
from speech.audio import audio_seconds

VCTK_READ_BY_ALL = 24  # the first 24 texts of VCTK are read by every speaker (its README)


def read_libritts(protocol: Protocol) -> list[Utterance]:
    """LibriTTS/test-clean/SPEAKER/CHAPTER/*.wav with *.normalized.txt: each text with another utterance of its speaker as reference."""
    root = find_root(protocol)
    by_speaker: dict[str, list[Path]] = defaultdict(list)
    for wav in sorted(root.glob("*/*/*.wav")):
        if wav.with_suffix(".normalized.txt").is_file():
            by_speaker[wav.parent.parent.name].append(wav)
    utterances = []
    for speaker in _pick(by_speaker, protocol.speakers, protocol.seed):
        wavs = [wav for wav in by_speaker[speaker] if _fits(wav, protocol.source_seconds)]
        others = [wav for wav in by_speaker[speaker] if _fits(wav, protocol.reference_seconds)]
        for wav in _pick(wavs, protocol.per_speaker, f"{protocol.seed} {speaker}"):
            # of another chapter where there is one: neither room nor text goes on from the reference
            far = [other for other in others if other.parent != wav.parent]
            pool = far or [other for other in others if other != wav]
            if pool:
                reference = random.Random(f"{protocol.seed} {wav.stem}").choice(pool)
                utterances.append(
                    Utterance(
                        id=wav.stem,
                        text=_read_text(wav.with_suffix(".normalized.txt")),
                        language=protocol.language,
                        speaker=speaker,
                        reference=reference,
                        reference_text=_read_text(reference.with_suffix(".normalized.txt")),
                        target=wav,
                    )
                )
    return utterances


def read_seed_tts(protocol: Protocol) -> list[Utterance]:
    """A meta.lst of Seed-TTS-eval: utt|prompt text|prompt wav|text[|target wav], wavs relative to the list."""
    path = find_root(protocol, "file")
    utterances = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        fields = line.strip().split("|")
        if len(fields) not in (4, 5) or not all(fields[k].strip() for k in (0, 2, 3)):
            raise ValueError(
                f"{path}, line {number}: expected utt|prompt text|prompt wav|text or ...|target wav, got {line[:60]!r}."
            )
        name, prompt_text, prompt, text = (entry.strip() for entry in fields[:4])
        target = path.parent / fields[4].strip() if len(fields) == 5 else path.parent / "wavs" / f"{name}.wav"
        reference = path.parent / prompt
        if not reference.is_file():
            raise ValueError(f"{path}, line {number}: there is no prompt {reference}.")
        if len(fields) == 5 and not target.is_file():
            raise ValueError(f"{path}, line {number}: there is no target {target}.")
        utterances.append(
            Utterance(
                id=name.removesuffix(".wav"),
                text=text,
                language=protocol.language,
                reference=reference,
                reference_text=prompt_text or None,
                target=target if target.is_file() else None,
            )
        )
    if protocol.limit is None:
        return utterances
    # the published list goes through its source in order: a part of it is drawn, not its beginning
    return _pick(utterances, protocol.limit, protocol.seed)


def read_vctk_conversion(protocol: Protocol) -> list[Utterance]:
    """VCTK 0.92: utterances of picked speakers in the voice of the next of them; the reference is one that he does not share.

    The target of an utterance among the texts that all speakers read is the other speaker's own recording of it.
    """
    root = find_root(protocol)
    by_speaker = {k: v for k, v in _vctk(root).items() if len(v) > 1}
    speakers = _pick(by_speaker, protocol.speakers, protocol.seed)
    if len(speakers) < 2:
        return []
    utterances = []
    for number, speaker in enumerate(speakers):
        other = speakers[(number + 1) % len(speakers)]
        sources = [
            wav
            for wav in by_speaker[speaker]
            if _fits(wav, protocol.source_seconds) and _vctk_text(root, wav)
        ]
        references = [
            wav
            for wav in by_speaker[other]
            if _vctk_number(wav) > VCTK_READ_BY_ALL and _fits(wav, protocol.reference_seconds)
        ]
        for source in _pick(sources, protocol.per_speaker, f"{protocol.seed} {speaker}"):
            if references:
                reference = random.Random(f"{protocol.seed} {source.stem}").choice(references)
                same = reference.with_name(source.name.replace(speaker, other, 1))
                shared = _vctk_number(source) <= VCTK_READ_BY_ALL and same.is_file()
                utterances.append(
                    Utterance(
                        id=f"{_stem(source)}-{other}",
                        text=_vctk_text(root, source),
                        language=protocol.language,
                        speaker=other,
                        reference=reference,
                        reference_text=_vctk_text(root, reference),
                        source=source,
                        target=same if shared else None,
                    )
                )
    return utterances


def read_vctk_upsampling(protocol: Protocol) -> list[Utterance]:
    """VCTK 0.92 recordings: source and target are the same 48 kHz file, of which systems get a copy at `input_rate`."""
    root = find_root(protocol)
    by_speaker = _vctk(root)
    utterances = []
    for speaker in _pick(by_speaker, protocol.speakers, protocol.seed):
        wavs = [wav for wav in by_speaker[speaker] if _fits(wav, protocol.source_seconds)]
        for wav in _pick(wavs, protocol.per_speaker, f"{protocol.seed} {speaker}"):
            text = _vctk_text(root, wav)
            utterances.append(
                Utterance(_stem(wav), text, None, protocol.language, speaker, source=wav, target=wav)
            )
    return utterances


READERS: dict[str, Callable[[Protocol], list[Utterance]]] = {
    "libritts": read_libritts,
    "seed-tts-eval": read_seed_tts,
    "vctk-conversion": read_vctk_conversion,
    "vctk-upsampling": read_vctk_upsampling,
}


def _vctk(root: Path) -> dict[str, list[Path]]:
    """Recordings by speaker: of the first microphone (version 0.92), or the wavs of older versions."""
    found: dict[str, list[Path]] = defaultdict(list)
    for pattern in (
        "wav48_silence_trimmed/*/*_mic1.flac",
        "wav48_silence_trimmed/*/*_mic1.wav",
        "wav48/*/*.wav",
    ):
        for wav in sorted(root.glob(pattern)):
            found[wav.parent.name].append(wav)
        if found:
            break
    return dict(found)


def _stem(wav: Path) -> str:
    return wav.stem.removesuffix("_mic1")


def _vctk_number(wav: Path) -> int:
    number = _stem(wav).rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def _vctk_text(root: Path, wav: Path) -> str | None:
    path = root / "txt" / wav.parent.name / f"{_stem(wav)}.txt"
    return _read_text(path) if path.is_file() else None


def _read_text(path: Path) -> str | None:
    return " ".join(path.read_text(encoding="utf-8").split()) if path.is_file() else None


def _fits(wav: Path, seconds: tuple[float, float]) -> bool:
    return seconds[0] <= audio_seconds(wav) <= seconds[1]


def _pick(entries: Iterable, count: int | None, seed: object) -> list:
    """`count` of the entries (all for None), drawn by the seed, in their own order."""
    entries = list(entries)
    if count is None or count >= len(entries):
        return entries
    return [entries[k] for k in sorted(random.Random(str(seed)).sample(range(len(entries)), count))]
